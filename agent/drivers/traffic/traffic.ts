/**
 * What the kernel knows of the traffic of mappings: how many connections have begun, by the counters of their rules, and which conntrack
 * knows: open ones, and those that ended a moment ago, which a counter that was reset would hide. Only reads. A look costs as much as two dumps, so it is for once a minute, not for every round.
 */
import { canonicalAddress, ipFamily } from '../../../shared/names.js';
import type { Transport } from '../../../shared/ports.js';
import type { RunChild } from '../child.js';
import { listForwarded } from '../connections/conntrack.js';
import type { Standing } from '../connections/connections.js';
import { isSame } from '../connections/cut.js';
import type { ConntrackEntry } from '../connections/entry.js';
import { addCounters, counterKey, type Begun } from './counters.js';

export type Watched = { readonly mappingId: string; readonly generation: number; readonly port: number; readonly transports: readonly Transport[] };

/** `begun`: connections since the mapping has been served, by transport; left out where it is not. `isTracked`: one is open, or ended a moment ago. */
export type Traffic = { readonly begun: Begun; readonly isTracked: boolean };

export type TrafficDriver = {
  /** By id of the mapping; one that is left out is not served. Throws when a tool fails. */
  look(mappings: readonly Watched[], standing: Pick<Standing, 'endpoints'>): Promise<ReadonlyMap<string, Traffic>>;
};

const DEADLINE_MS = 20_000;
const SAVE_TOOLS = { 4: 'iptables-save', 6: 'ip6tables-save' } as const;

export class KernelTraffic implements TrafficDriver {
  private readonly addresses: ReadonlySet<string>;

  /** `addresses`: lease addresses. */
  constructor(private readonly run: RunChild, addresses: readonly string[]) {
    this.addresses = new Set(addresses.map(address => canonicalAddress(address) ?? address));
  }

  async look(mappings: readonly Watched[], standing: Pick<Standing, 'endpoints'>): Promise<ReadonlyMap<string, Traffic>> {
    const [counters, entries] = await Promise.all([this.counters(), listForwarded(this.run)]);
    const tracked = new Set(entries.filter(entry => this.isServed(entry, standing)).map(({ transport, original }) => `${transport} ${original.destinationPort}`));
    return new Map(mappings.flatMap(mapping => {
      const begun = counters.get(counterKey(mapping));
      const isTracked = mapping.transports.some(transport => tracked.has(`${transport} ${mapping.port}`));
      return begun === undefined ? [] : [[mapping.mappingId, { begun, isTracked }] as const];
    }));
  }

  private async counters(): Promise<Map<string, Begun>> {
    const families = ([4, 6] as const).filter(family => [...this.addresses].some(address => ipFamily(address) === family));
    const texts = await Promise.all(families.map(async family => (await this.run(SAVE_TOOLS[family], ['-c', '-t', 'nat'], { deadlineMs: DEADLINE_MS })).stdout));
    const counters = new Map<string, Begun>();
    for (const text of texts) addCounters(counters, text);
    return counters;
  }

  /** Of somebody else, or of a former target, it is no traffic of the mapping. */
  private isServed({ transport, original, reply }: ConntrackEntry, standing: Pick<Standing, 'endpoints'>): boolean {
    if (!this.addresses.has(original.destination)) return false;
    const place = { address: reply.source, port: reply.sourcePort };
    return standing.endpoints(transport, original.destinationPort).some(endpoint => isSame(endpoint, place, original.destinationPort));
  }
}
