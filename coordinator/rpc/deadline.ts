/** How long a call may wait. */
import type { Deadline } from '@grpc/grpc-js';

/** When the caller sets no deadline. */
const DEFAULT_MS = 30_000;
/** The answer leaves this much earlier, so that it arrives and says more than "deadline exceeded". */
const HEADROOM_MS = 100;

/** Milliseconds from now on. gRPC states deadlines on the wall clock, so this is the one place that asks it. */
export function waitOf(call: { getDeadline(): Deadline }): number {
  const deadline = call.getDeadline();
  if (deadline === Infinity) return DEFAULT_MS;
  const leftMs = Number(deadline) - Date.now();
  return Math.max(0, leftMs - Math.min(HEADROOM_MS, leftMs / 5));
}
