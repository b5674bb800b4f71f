/** What a cut ends, and what it leaves alone. Pure. */
import type { PortRange, Transport } from '../../../shared/ports.js';
import { isWelcome, type Clients } from './clients.js';
import type { Deletion } from './conntrack.js';
import { isTranslated, type ConntrackEntry, type Tuple } from './entry.js';

/** Where a public port leads, and for whom. `port` undefined: the number of the public port. */
export type Endpoint = {
  readonly address: string;
  readonly port: number | undefined;
  /** Undefined: everybody, without limit. */
  readonly clients?: Clients | undefined;
  /** The endpoint is a proxy of this machine that leads on to these. */
  readonly through?: string | undefined;
};

/** Connections to public ports that must end. */
export type Cut = {
  readonly transport: Transport;
  readonly ports: PortRange;
  /** Where the ports led, as far as it is known: new packets from there are dropped for `dropMs`. */
  readonly from: readonly Endpoint[];
  readonly dropMs: number;
  /** Who may be connected has changed: those that may be no more end, the others stay. */
  readonly isForClients?: true;
};

/** Where public ports lead by the rules that stand now; connections of the clients that may be connected there stay. Asked anew for every entry. */
export type Standing = {
  endpoints(transport: Transport, port: number): readonly Endpoint[];
  /** True when any port leads to this address. */
  isTarget(address: string): boolean;
};

/** An address and port whose new packets are dropped. */
export type Source = { address: string; transport: Transport; ports: PortRange; dropMs: number };

/** A connection that must stay ended: the former target and its port, and the client. */
export type Flow = { address: string; transport: Transport; port: number; client: string };

/**
 * Why an entry has to go: it came in through a public port that does not lead there any more, or that leads there for others only
 * ('unwelcome'), or it was re-created by the packets of the server it led to. 'proxied': it ends at a proxy of this machine, whose socket
 * is closed: nothing re-creates it, and the proxy serves others from the same port.
 */
export type Doomed = { entry: ConntrackEntry; cuts: readonly Cut[]; direction: 'inward' | 'unwelcome' | 'revived' | 'proxied' };

export type IsProxied = (transport: Transport, port: number) => boolean;

export class CutIndex {
  private readonly byPort = new Map<string, Cut[]>();
  /** How the servers of doomed entries would re-create them, whoever they are. */
  private readonly reversed = new Map<string, readonly Cut[]>();
  /** Targets with connections from an own address that stay, whoever led them there; see targetKey. */
  readonly spared = new Set<string>();
  /** Connections that stay, of each place that has room for so many only. */
  private readonly counts = new Map<Clients, number>();

  /** `isProxied`: what comes in there ends at a proxy of this machine. */
  constructor(readonly cuts: readonly Cut[], private readonly addresses: ReadonlySet<string>, private readonly standing: Standing, private readonly isProxied: IsProxied = () => false) {
    for (const cut of cuts) for (let port = cut.ports.first; port <= cut.ports.last; port++) this.add(cut, port);
  }

  private add(cut: Cut, port: number): void {
    const key = `${cut.transport}:${port}`;
    const there = this.byPort.get(key);
    if (there === undefined) this.byPort.set(key, [cut]);
    else there.push(cut);
  }

  /** Before the table is gone through once more. */
  begin(): void {
    this.counts.clear();
  }

  /** Undefined when the entry may stay. */
  doom(entry: ConntrackEntry): Doomed | undefined {
    const doomed = this.inward(entry) ?? this.revived(entry);
    if (doomed === undefined && this.addresses.has(entry.original.destination)) this.spared.add(targetKey(entry));
    return doomed;
  }

  private inward(entry: ConntrackEntry): Doomed | undefined {
    const { transport, original, reply } = entry;
    if (!this.addresses.has(original.destination)) return undefined;
    const cuts = this.byPort.get(`${transport}:${original.destinationPort}`);
    if (cuts === undefined) return undefined;
    const end = { address: reply.source, port: reply.sourcePort };
    const place = this.standing.endpoints(transport, original.destinationPort).find(to => isSame(to, end, original.destinationPort));
    if (place !== undefined && this.mayStay(entry, place)) return undefined;
    if (!isTranslated(entry) && this.isProxied(transport, original.destinationPort)) return { entry, cuts, direction: 'proxied' };
    this.reversed.set(tupleKey(transport, reply), cuts);
    return { entry, cuts, direction: place === undefined ? 'inward' : 'unwelcome' };
  }

  /** As many as there is room for stay: those that the kernel lists first. */
  private mayStay({ original, isClosing }: ConntrackEntry, { clients }: Endpoint): boolean {
    if (clients === undefined) return true;
    if (!isWelcome(clients, original.source)) return false;
    const { maxConnections } = clients.limits;
    if (maxConnections === 0 || isClosing === true) return true;
    const count = (this.counts.get(clients) ?? 0) + 1;
    if (count <= maxConnections) this.counts.set(clients, count);
    return count <= maxConnections;
  }

  /**
   * The old server went on sending; source NAT may have given its packets the public port again. Other connections that this
   * host opened from a port of a cut are left alone.
   */
  private revived(entry: ConntrackEntry): Doomed | undefined {
    const { transport, original, reply } = entry;
    if (!this.addresses.has(reply.destination)) return undefined;
    const start = { address: original.source, port: original.sourcePort };
    const mirrored = this.reversed.get(tupleKey(transport, original));
    if (mirrored !== undefined) return { entry, cuts: mirrored, direction: 'revived' };
    const cuts = this.byPort.get(`${transport}:${reply.destinationPort}`)
      ?.filter(({ from }) => from.some(old => isSame(old, start, reply.destinationPort)));
    return cuts === undefined || cuts.length === 0 ? undefined : { entry, cuts, direction: 'revived' };
  }
}

function tupleKey(transport: Transport, { source, sourcePort, destination, destinationPort }: Tuple): string {
  return `${transport} ${source} ${sourcePort} ${destination} ${destinationPort}`;
}

/** True when `endpoint` is what was seen, for a connection to `publicPort`. */
export function isSame(endpoint: Endpoint, seen: { address: string; port: number }, publicPort: number): boolean {
  return endpoint.address === seen.address && (endpoint.port ?? publicPort) === seen.port;
}

/** Whose new packets must be dropped before `doomed` is deleted: the known old targets, and those that the entries show. */
export function sourcesOf(cuts: readonly Cut[], doomed: readonly Doomed[]): Source[] {
  const sources = new Map<string, Source>();
  const add = (source: Source): void => {
    const key = `${source.address} ${source.transport} ${source.ports.first} ${source.ports.last}`;
    const known = sources.get(key);
    if (known === undefined || known.dropMs < source.dropMs) sources.set(key, source);
  };
  for (const { transport, ports, from, dropMs } of cuts) {
    for (const { address, port } of from.filter(({ through }) => through === undefined)) add({ address, transport, ports: port === undefined ? ports : { first: port, last: port }, dropMs });
  }
  for (const { entry, cuts: ended, direction } of doomed) {
    // The server of one that is unwelcome goes on serving others: what it says to that client is dropped by its flow alone.
    if (direction !== 'inward') continue;
    const { source, sourcePort } = entry.reply;
    add({ address: source, transport: entry.transport, ports: { first: sourcePort, last: sourcePort }, dropMs: Math.max(...ended.map(({ dropMs }) => dropMs)) });
  }
  return [...sources.values()];
}

/**
 * The connections to remember. One that ends on this host is none: without its entry, packets of the server go no further than here.
 * (Where this host hides clients behind its own address, that is all of them; a flow would only keep servers from calling this host.)
 */
export function flowsOf(doomed: readonly Doomed[], isLocal: (address: string) => boolean): Flow[] {
  const flows = new Map<string, Flow>();
  for (const { entry: { transport, original, reply }, direction } of doomed) {
    const { source: address, sourcePort: port, destination: client } = direction === 'revived' ? original : reply;
    if (!isLocal(client) && direction !== 'proxied') flows.set(`${transport} ${address} ${port} ${client}`, { address, transport, port, client });
  }
  return [...flows.values()];
}

/** So many ports of one target are deleted one by one; for each the kernel walks its whole table. */
const SINGLE_DELETIONS = 8;

/**
 * What to delete: a port as a whole where nothing of it stays, else all of it that leads to one place. Many ports that led to a
 * target of which no port is left, as when a host is lost, go at once, unless others lead connections there (`spared`).
 */
export function deletionsOf(doomed: readonly Doomed[], standing: Standing, spared: ReadonlySet<string>): Deletion[] {
  const deletions = new Map<string, Deletion>();
  const many = manyPorts(doomed);
  for (const { entry, direction } of doomed) {
    const { transport, original, reply } = entry;
    const { destination, destinationPort } = original;
    const target = targetKey(entry);
    if (direction !== 'inward' && direction !== 'proxied') deletions.set(tupleKey(transport, original), { kind: 'entry', entry });
    else if (many.has(target) && !spared.has(target) && !standing.isTarget(reply.source)) deletions.set(target, { kind: 'target', transport, address: destination, target: reply.source });
    else if (standing.endpoints(transport, destinationPort).length > 0) deletions.set(`${target} ${destinationPort} ${reply.sourcePort}`, placeOf(entry));
    else deletions.set(`${transport} ${destination} ${destinationPort}`, { kind: 'port', transport, address: destination, port: destinationPort });
  }
  return [...deletions.values()];
}

function placeOf({ transport, original, reply }: ConntrackEntry): Deletion {
  const place = { address: reply.source, port: reply.sourcePort };
  return { kind: 'place', transport, address: original.destination, port: original.destinationPort, place };
}

function targetKey({ transport, original, reply }: ConntrackEntry): string {
  return `${transport} ${original.destination} ${reply.source}`;
}

/** Targets, other than this host itself, with so many doomed ports. */
function manyPorts(doomed: readonly Doomed[]): Set<string> {
  const ports = new Map<string, Set<number>>();
  for (const { entry, direction } of doomed) {
    if (direction !== 'inward' || entry.reply.source === entry.original.destination) continue;
    const target = targetKey(entry);
    const known = ports.get(target) ?? new Set();
    ports.set(target, known.add(entry.original.destinationPort));
  }
  return new Set([...ports].filter(([, each]) => each.size > SINGLE_DELETIONS).map(([target]) => target));
}
