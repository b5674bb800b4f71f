/** What the agent and its helper say to each other: a line of JSON each. Both ends are of the same release. */
import type { Listener } from '../connections/listeners.js';
import type { Question } from './lookup.js';

export type Request = { id: number } & Question;

/** `same`: as the answer before. */
export type Answer = { id: number } & ({ listeners: Listener[] } | { same: true } | { problem: string });

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
