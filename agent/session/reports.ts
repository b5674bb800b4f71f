/** Reports: each repeats all that still matters, so only the last outcome is kept, and a new session is told it again. */
import { unchanged } from './phases.js';
import type { Effect, LinkState, Now, Step } from './words.js';

/** When the last outcome is to be sent over this stream; Infinity: never. */
export function reportDueMs({ phase, outcome, sentReport: sent, settings }: LinkState): number {
  if (phase.kind !== 'established' || outcome === undefined) return Infinity;
  return sent?.stream === phase.stream && sent.outcome === outcome ? sent.atMs + settings.repeatReportMs : -Infinity;
}

export function sendReport(state: LinkState, { nowMs }: Now): Step {
  const { phase, outcome } = state;
  if (phase.kind !== 'established' || outcome === undefined || nowMs < reportDueMs(state)) return unchanged(state);
  const effect: Effect = { kind: 'sendReport', stream: phase.stream, report: { session: phase.session, ...outcome } };
  return { state: { ...state, sentReport: { stream: phase.stream, outcome, atMs: nowMs } }, effects: [effect] };
}
