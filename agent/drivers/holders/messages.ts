/** What the agent and its helper say to each other: a line of JSON each. Both ends are of the same release. */
import type { PortHolder } from '../../../shared/desired.js';
import type { Listener } from '../connections/listeners.js';
import type { Question } from './lookup.js';

export type Request = { id: number } & Question;

/** `same`: as the answer of this topic before. Of thousands of sockets few processes are the holders: each is said once, and named by its pid. */
export type Answer = { id: number } & (Found | { same: true } | { problem: string });

type Found = { listeners: (Omit<Listener, 'holder'> & { pid?: number })[]; holders: PortHolder[] };

export function foundOf(listeners: readonly Listener[]): Found {
  const holders = new Set(listeners.flatMap(({ holder }) => holder ?? []));
  return { listeners: listeners.map(({ holder, ...one }) => (holder === undefined ? one : { ...one, pid: holder.pid })), holders: [...holders] };
}

export function listenersOf({ listeners, holders }: Found): Listener[] {
  const byPid = new Map(holders.map(holder => [holder.pid, holder]));
  return listeners.map(({ pid = 0, ...one }) => {
    const holder = byPid.get(pid);
    return holder === undefined ? one : { ...one, holder };
  });
}

/** Puts lines together from chunks of any size. */
export class LineReader {
  #rest = '';

  /** The values of the lines that are whole with this chunk. Throws when one is no JSON. */
  push(chunk: string): unknown[] {
    const lines = (this.#rest + chunk).split('\n');
    this.#rest = lines.pop() ?? '';
    return lines.map(line => JSON.parse(line) as unknown);
  }
}

export function lineOf(message: Request | Answer): string {
  return `${JSON.stringify(message)}\n`;
}
