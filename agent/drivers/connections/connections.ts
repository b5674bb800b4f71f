/**
 * Ends connections through public ports, so that they stay ended. The rules no longer lead there when it is asked. The order is
 * 1. new packets of the old target are dropped: the server's next one would re-create the entry from its side. Those of each connection
 *    that is found are dropped for days, for a server may be idle now and speak later;
 * 2. sockets that end on this host are closed, while the entry still tells the client so;
 * 3. entries are deleted;
 * 4. the table is read back, and all begins again until nothing is found.
 */
import type { Log } from '../../../shared/log.js';
import { canonicalAddress } from '../../../shared/names.js';
import type { RunChild } from '../child.js';
import { deleteEntries, listEntries } from './conntrack.js';
import { CutIndex, deletionsOf, flowsOf, isSame, sourcesOf, type Cut, type Doomed, type IsProxied, type Source, type Standing } from './cut.js';
import { dropNewFrom, keepEnded } from './cutset.js';
import { isTranslated } from './entry.js';
import { closeSockets } from './sockets.js';

export type { Cut, Endpoint, Standing } from './cut.js';

export type ConnectionsOptions = {
  run: RunChild;
  /** Lease addresses. */
  addresses: readonly string[];
  /** True for an address of this host: only then can a socket of it be meant. */
  isLocal(address: string): boolean;
  /** True for a public port that a proxy of this machine serves, or served. Left out: there is no proxy. */
  isProxied?: IsProxied;
  log: Log;
};

/** `ended`: read back empty. `remaining`: entries were there after the last pass, too. */
export type CutResult = { ended: Cut[]; remaining: Cut[] };

/** Passes of deleting and reading back. Two are the rule. */
const PASSES = 5;

export class ConnectionsDriver {
  private readonly addresses: ReadonlySet<string>;
  private hasWarned = false;
  private isCrowded = false;

  constructor(private readonly options: ConnectionsOptions) {
    this.addresses = new Set(options.addresses.map(address => canonicalAddress(address) ?? address));
  }

  /** Ends every connection of these cuts that does not lead where the rules stand to lead. Throws when a tool fails. */
  async cut(cuts: readonly Cut[], standing: Standing): Promise<CutResult> {
    const index = new CutIndex(cuts, this.addresses, standing, this.options.isProxied);
    const known = sourcesOf(cuts, []);
    // First of all: what a server says after the table was read would not be found.
    await dropNewFrom(this.options.run, known);
    let doomed = await this.find(cuts, index);
    for (let pass = 0; pass < PASSES && doomed.length > 0; pass++) {
      await Promise.all([dropNewFrom(this.options.run, without(sourcesOf([], doomed), known)), this.keepEnded(doomed)]);
      await this.closeOwnSockets(doomed);
      await deleteEntries(this.options.run, deletionsOf(doomed, standing, index.spared));
      doomed = await this.find(cuts, index);
    }
    const remaining = new Set(doomed.flatMap(one => one.cuts));
    return { ended: cuts.filter(cut => !remaining.has(cut)), remaining: [...remaining] };
  }

  private async find(cuts: readonly Cut[], index: CutIndex): Promise<Doomed[]> {
    const entries = await listEntries(this.options.run, [...new Set(cuts.map(({ transport }) => transport))]);
    index.begin();
    return entries.flatMap(entry => index.doom(entry) ?? []);
  }

  private async keepEnded(doomed: readonly Doomed[]): Promise<void> {
    const flows = flowsOf(doomed, this.isOwn());
    const kept = await keepEnded(this.options.run, flows);
    if (flows.length === 0 || (kept === 'wide') === this.isCrowded) return;
    this.isCrowded = kept === 'wide';
    if (this.isCrowded) this.options.log.warn({ flows: flows.length }, 'portlease-flow is full: former targets of ended connections are kept from everybody, not only from those clients, until the entries time out');
    else this.options.log.info('there is room in portlease-flow again');
  }

  /** True for an address of this host; asks once for each. */
  private isOwn(): (address: string) => boolean {
    const known = new Map<string, boolean>();
    return address => {
      const own = known.get(address) ?? (this.addresses.has(address) || this.options.isLocal(address));
      known.set(address, own);
      return own;
    };
  }

  private async closeOwnSockets(doomed: readonly Doomed[]): Promise<void> {
    const isOwn = this.isOwn();
    const own = doomed.filter(({ entry }) => isOwn(entry.reply.source)).filter(wasServed).map(({ entry }) => entry);
    if (own.length === 0) return;
    const left = await closeSockets(this.options.run, own);
    if (left === 0 || this.hasWarned) return;
    this.hasWarned = true;
    this.options.log.warn({ sockets: left }, 'sockets could not be closed (kernel without INET_DIAG_DESTROY?): their packets are dropped instead');
  }
}

/** portlease led the connection there: no socket of a foreign server is closed. */
function wasServed({ entry, cuts, direction }: Doomed): boolean {
  if (direction === 'revived') return false;
  if (direction === 'proxied') return true;
  const seen = { address: entry.reply.source, port: entry.reply.sourcePort };
  return isTranslated(entry) || cuts.some(({ from }) => from.some(old => isSame(old, seen, entry.original.destinationPort)));
}

function without(sources: readonly Source[], known: readonly Source[]): Source[] {
  const has = (source: Source): boolean => known.some(({ address, transport, ports, dropMs }) => address === source.address
    && transport === source.transport && ports.first <= source.ports.first && ports.last >= source.ports.last && dropMs >= source.dropMs);
  return sources.filter(source => !has(source));
}
