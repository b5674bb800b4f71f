/** The ipsets whose members may not begin connections: the old targets of what was cut. The rules that ask them stand already. */
import { rangeText } from '../../../shared/ports.js';
import type { RunChild } from '../child.js';
import { CUT_SET } from '../rules/layout.js';
import { familyOf } from '../rules/spec.js';
import type { Source } from './cut.js';

/** The kernel keeps ipset timeouts in milliseconds in 32 bits. */
const MAX_TIMEOUT_S = 2_147_483;

/** Input for ipset restore: each source with its ports, until its time is over; what is there already gets the new time. */
export function cutLines(sources: readonly Source[]): string {
  return sources.map(({ address, transport, ports, dropMs }) => {
    const seconds = Math.min(MAX_TIMEOUT_S, Math.max(1, Math.ceil(dropMs / 1000)));
    const set = CUT_SET[familyOf(address)];
    return `add ${set} ${address},${transport}:${rangeText(ports)} timeout ${seconds}\n`;
  }).join('');
}

export async function dropNewFrom(run: RunChild, sources: readonly Source[]): Promise<void> {
  if (sources.length > 0) await run('ipset', ['restore', '-exist'], { stdin: cutLines(sources) });
}
