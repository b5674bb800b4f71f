/** Reports: each repeats all that still matters, so only the last outcome is kept, and a new session is told it again. */
import { unchanged } from './phases.js';
import type { Effect, LinkState, Now, Step } from './words.js';

/** Sends the last outcome unless this stream carried the same a short while ago. */
export function sendReport(state: LinkState, { nowMs }: Now): Step {
  const { phase, outcome, sentReport: sent, settings } = state;
  if (phase.kind !== 'established' || outcome === undefined) return unchanged(state);
  const text = JSON.stringify(outcome);
  const isKnown = sent?.stream === phase.stream && sent.text === text && nowMs - sent.atMs < settings.repeatReportMs;
  if (isKnown) return unchanged(state);
  const effect: Effect = { kind: 'sendReport', stream: phase.stream, report: { session: phase.session, ...outcome } };
  return { state: { ...state, sentReport: { stream: phase.stream, text, atMs: nowMs } }, effects: [effect] };
}
