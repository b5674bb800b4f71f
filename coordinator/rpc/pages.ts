/** Pages of a list: sizes, and tokens that are opaque outside and checked inside. */
import { hash } from 'node:crypto';
import { InvalidField } from '../../shared/invalid.js';
import { Refused } from '../keeper/refused.js';

const DEFAULT_SIZE = 100;
const MAX_SIZE = 1000;
const MAX_TOKEN = 512;

/** Throws InvalidField. */
export function pageSize(value: number): number {
  if (value > MAX_SIZE) throw new InvalidField('page_size', `${value} is more than ${MAX_SIZE}`);
  return value === 0 ? DEFAULT_SIZE : value;
}

/** A position in the list `list` under `filter`: the last key of a page. */
export type Position = { list: string; filter: unknown; after: string };

export function pageToken(position: Position): string {
  return Buffer.from(JSON.stringify([sealOf(position), position.after])).toString('base64url');
}

/** The key after which the page begins; '' without a token. Throws Refused for a token of another list or filter. */
export function positionOf(token: string, { list, filter }: Omit<Position, 'after'>): string {
  if (token === '') return '';
  const after = token.length > MAX_TOKEN ? undefined : decode(token, { list, filter });
  if (after !== undefined) return after;
  throw new Refused({
    kind: 'refused', reason: 'PAGE_TOKEN_INVALID', field: 'page_token',
    message: 'the page token is not one that this list gave out for this filter',
  });
}

function decode(token: string, about: Omit<Position, 'after'>): string | undefined {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
    if (!Array.isArray(parsed)) return undefined;
    const [seal, after] = parsed as unknown[];
    return typeof after === 'string' && seal === sealOf({ ...about, after }) ? after : undefined;
  } catch {
    return undefined;
  }
}

/** Not a secret: it tells a token of another list, another filter or a spoilt one from a good one. */
function sealOf({ list, filter, after }: Position): string {
  return hash('sha256', JSON.stringify([list, filter, after]), 'base64url').slice(0, 12);
}
