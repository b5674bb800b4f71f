/** Counters of own DNAT rules, as iptables-save -c prints them. Pure. */
import type { Transport } from '../../../shared/ports.js';

/** Connections that met the rules of a mapping since these were made: nat sees the first packet of each. */
export type Begun = Readonly<Partial<Record<Transport, number>>>;

const RULE = /^\[(\d+):\d+\] -A PORTLEASE-([TU])[0-9a-f]* .*--comment "?portlease:([a-z0-9-]{1,18}):g(\d+)"? .*-j DNAT /;

export function counterKey({ mappingId, generation }: { mappingId: string; generation: number }): string {
  return `${mappingId} ${generation}`;
}

/** Adds the rules of one family to `counters`, which has them by counterKey(). */
export function addCounters(counters: Map<string, Begun>, text: string): void {
  for (const line of text.split('\n')) {
    const found = line.startsWith('[') ? RULE.exec(line) : null;
    if (found === null) continue;
    const [, packets, letter, mappingId = '', generation] = found;
    const key = counterKey({ mappingId, generation: Number(generation) });
    const transport = letter === 'T' ? 'tcp' : 'udp';
    const before = counters.get(key);
    counters.set(key, { ...before, [transport]: (before?.[transport] ?? 0) + Number(packets) });
  }
}
