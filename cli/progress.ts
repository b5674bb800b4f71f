/** One line on a terminal that says how long something has been waited for. */
import type { Io } from './io.js';
import { msText } from './words.js';

const EVERY_MS = 1_000;
const CLEAR_LINE = '\r\x1b[K';

/** Draws from the first second on, once a second, until the returned function is called, which leaves the line clear. */
export function showProgress(what: string, io: Pick<Io, 'err' | 'errIsTerminal' | 'nowMs'>): () => void {
  if (!io.errIsTerminal) return () => undefined;
  const startMs = io.nowMs();
  let drawn = false;
  const timer = setInterval(() => {
    io.err(`${CLEAR_LINE}${what}: ${msText(wholeSeconds(io.nowMs() - startMs))} (Ctrl-C stops waiting)`);
    drawn = true;
  }, EVERY_MS);
  return () => {
    clearInterval(timer);
    if (drawn) io.err(CLEAR_LINE);
  };
}

/** A timer may come a moment early, and a busy process late. */
function wholeSeconds(ms: number): number {
  return Math.round(ms / 1_000) * 1_000;
}
