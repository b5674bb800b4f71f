/** Lists come in pages; a command shows them whole, or up to --limit. */
import { wholeNumber } from './fields.js';
import { optional } from './flags.js';
import type { Flags } from './job.js';

const PAGE = 1_000;
const MAX_LIMIT = 999_999_999;

export type Page<Item> = { items: readonly Item[]; nextPageToken: string };

export type Listed<Item> = {
  items: Item[];
  /** Empty when all are there. */
  nextPageToken: string;
};

/** Infinity without --limit. */
export function limitOf(flags: Flags): number {
  return optional(flags, 'limit', (flag, value) => wholeNumber(flag, value, { min: 1, max: MAX_LIMIT })) ?? Infinity;
}

/** Asks for page after page until `limit` items are there or the last page was read. */
export async function readPages<Item>(limit: number, read: (pageSize: number, pageToken: string) => Promise<Page<Item>>): Promise<Listed<Item>> {
  const items: Item[] = [];
  let token = '';
  do {
    const page = await read(Math.min(PAGE, limit - items.length), token);
    for (const item of page.items) items.push(item);
    token = page.nextPageToken;
  } while (token !== '' && items.length < limit);
  return { items, nextPageToken: token };
}

export function moreHint(listed: Listed<unknown>): string[] {
  return listed.nextPageToken === '' ? [] : [`there are more than these ${listed.items.length}: raise --limit, or leave it out`];
}
