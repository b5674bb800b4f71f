/** The audit record of a purge: durable before anything goes, in the first gateway's book, as there is one for the whole coordinator. */
import type { PurgeBefore } from '../journal/journal.js';
import type { Gateways } from '../keeper/gateways.js';
import { Refused } from '../keeper/refused.js';

export async function auditPurge(gateways: Gateways, { actor, before }: { actor: string; before: PurgeBefore }): Promise<void> {
  const { releasedAtMs, eventsAtMs, auditsAtMs } = before;
  const detail = JSON.stringify({ releasedBeforeMs: releasedAtMs, eventsBeforeMs: eventsAtMs, auditsBeforeMs: auditsAtMs });
  const reply = await gateways.all()[0]?.submit({ kind: 'notePurge', actor, detail });
  if (reply?.kind === 'refused') throw new Refused(reply);
}
