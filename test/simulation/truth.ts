/**
 * What must hold, checked from outside: on what the database holds, on the kernels, and on what callers were told. Each message begins with
 * the safety rule that is broken.
 */
import type { Changes, MappingRecord } from '../../coordinator/book/types.js';
import { compareVersions } from '../../shared/desired.js';
import type { AcceptedState } from '../../agent/state/accepted.js';
import type { Database } from './database.js';
import type { Flow } from './kernel.js';
import type { Machine } from './machine.js';

/** A connection of a client: through the gateway, or straight to a host. */
export type Connection = { readonly id: number; readonly port: number; readonly atGateway: { machine: Machine; flow: Flow } | undefined; readonly atHost: { machine: Machine; flow: Flow } };

export type World = {
  scope: 'shared' | 'host';
  database: Database;
  machines: readonly Machine[];
  connections: Set<Connection>;
  ports: { first: number; last: number };
  quarantineMs: number;
  /** The container at `address` is, or was, one of that environment's. */
  isOf: (address: string, owner: { environment: string; tenant: string }) => boolean;
};

type Owner = Pick<MappingRecord, 'mappingId' | 'environment' | 'tenant' | 'target' | 'state' | 'host'>;

export class Truth {
  /** By "space:port". */
  readonly #owners = new Map<string, Owner>();
  /** When the release of a port's last mapping was durable, and whose it was. */
  readonly #restedSince = new Map<string, { environment: string; tenant: string; atMs: number }>();
  readonly #generations = new Map<string, string>();
  #newestGrant = { epoch: 0, generation: 0 };
  /** Rules or connections have changed since check() looked. */
  isDirty = false;
  /** The first rule that was broken. */
  breach: string | undefined;

  constructor(private readonly world: World) {}

  note(breach: string): void {
    this.breach ??= breach;
  }

  /** A commit is on the disk. `nowMs`: by the coordinator's clock. */
  committed(changes: Changes, nowMs: number): void {
    this.isDirty = true;
    for (const { leaseId, epoch, generation } of changes.leases) this.#checkGrant(leaseId, epoch, generation);
    for (const mapping of changes.mappings) this.#noteMapping(mapping, nowMs);
    this.#checkAudits(changes);
  }

  #checkGrant(leaseId: string, epoch: number, generation: number): void {
    const grant = `${epoch}.${generation}`;
    const known = this.#generations.get(leaseId);
    if (known === grant) return;
    if (known !== undefined) this.note(`S3: lease ${leaseId} was granted at ${known} and says ${grant} now`);
    this.#generations.set(leaseId, grant);
    const newest = this.#newestGrant;
    if (epoch < newest.epoch || (epoch === newest.epoch && generation < newest.generation)) this.note(`S3: lease ${leaseId} is granted at ${grant}, after ${newest.epoch}.${newest.generation}`);
    this.#newestGrant = { epoch, generation };
  }

  #noteMapping(mapping: MappingRecord, nowMs: number): void {
    const key = `${mapping.space}:${mapping.port}`;
    const owner = this.#owners.get(key);
    if (mapping.state === 'released') {
      if (owner?.mappingId === mapping.mappingId) this.#owners.delete(key);
      return;
    }
    if (owner?.mappingId !== mapping.mappingId) this.#checkRest(key, mapping, nowMs);
    if (mapping.state === 'quarantined' && owner?.state !== 'quarantined') this.#restedSince.set(key, { environment: mapping.environment, tenant: mapping.tenant, atMs: nowMs });
    this.#owners.set(key, { ...mapping });
  }

  #checkRest(key: string, { environment, tenant, mappingId }: MappingRecord, nowMs: number): void {
    const rested = this.#restedSince.get(key);
    if (rested === undefined || (rested.environment === environment && rested.tenant === tenant)) return;
    const forMs = nowMs - rested.atMs;
    // A commit is later than its decision, by no more than this.
    if (forMs < this.world.quarantineMs - 50) this.note(`S12: ${mappingId} of ${environment} got ${key} ${forMs} ms after it was released by ${rested.environment}`);
  }

  #checkAudits({ audits, mappings, requests }: Changes): void {
    for (const { requestId } of requests) {
      const of = audits.filter((audit) => audit.requestId === requestId && audit.outcome === 'ok');
      if (of.length !== 1) this.note(`S11: request ${requestId} left ${of.length} audit records in its transaction (${mappings.length} mappings)`);
    }
  }

  /** A machine has written what it accepted. */
  accepted(machine: Machine, before: AcceptedState, after: AcceptedState): void {
    if (after.session < before.session) this.note(`S4: ${machine.host} went from session ${before.session} to ${after.session}`);
    if (before.version !== undefined && (after.version === undefined || compareVersions(after.version, before.version) < 0)) this.note(`S4: ${machine.host} accepted an older state`);
  }

  /** Looks at everything that a client could reach now. */
  check(): void {
    if (!this.isDirty) return;
    this.isDirty = false;
    const { world } = this;
    for (const connection of world.connections) this.#checkConnection(connection);
    if (world.scope === 'shared') this.#checkNewOnes('gw', world.machines.find((machine) => machine.options.roles.includes('gateway')));
    else for (const machine of world.machines) this.#checkNewOnes(`gw/${machine.host}`, machine);
  }

  #checkConnection(connection: Connection): void {
    const { atGateway, atHost, port } = connection;
    const isOpen = atHost.machine.kernel.flows.has(atHost.flow.id) && (atGateway === undefined || atGateway.machine.kernel.flows.has(atGateway.flow.id));
    if (!isOpen) this.world.connections.delete(connection);
    else this.#checkReach(this.#space(atHost.machine), port, { address: atHost.flow.to, by: 'an open connection' });
  }

  #space(machine: Machine): string {
    return this.world.scope === 'shared' ? 'gw' : `gw/${machine.host}`;
  }

  #checkNewOnes(space: string, entry: Machine | undefined): void {
    if (entry === undefined) return;
    const { first, last } = this.world.ports;
    for (let port = first; port <= last; port += 1) {
      const reached = this.reach(entry, port);
      if (reached?.kind === 'target') this.#checkReach(space, port, { address: reached.to, by: 'a new connection' });
      else if (reached?.kind === 'local' && this.world.scope === 'shared') this.note(`S7: port ${port} leads to whatever listens on ${reached.machine.host}`);
    }
  }

  /** Where a new connection through `entry` ends; undefined: nowhere. */
  reach(entry: Machine, port: number): { kind: 'target'; to: string; toPort: number; machine: Machine } | { kind: 'local'; machine: Machine } | undefined {
    const place = entry.kernel.placeOf(port);
    if (place.kind === 'dropped') return undefined;
    if (place.kind === 'local') return this.world.scope === 'shared' ? undefined : { kind: 'local', machine: entry };
    if (this.world.scope === 'host') return { ...place, machine: entry };
    const host = this.world.machines.find((machine) => machine.address === place.to);
    const behind = host?.kernel.placeOf(place.toPort);
    if (host === undefined || behind === undefined || behind.kind === 'dropped') return undefined;
    return behind.kind === 'target' ? { ...behind, machine: host } : { kind: 'local', machine: host };
  }

  #checkReach(space: string, port: number, { address, by }: { address: string; by: string }): void {
    const owner = this.#owners.get(`${space}:${port}`);
    const what = `${by} to port ${port} of ${space} reaches ${address}`;
    if (owner === undefined) return this.note(`S8: ${what}, and nobody has the port`);
    if (owner.state === 'quarantined') return this.note(`S12: ${what}, and the port was released by ${owner.environment} already`);
    if (owner.target.address === address) return;
    if (!this.world.isOf(address, owner)) return this.note(`S1: ${what}, but it is ${owner.environment}'s (${owner.target.address}, ${owner.state})`);
    if (owner.state === 'live') this.note(`S1: ${what}, but ${owner.environment} has moved and lives at ${owner.target.address}`);
  }

  /** What the database has of a mapping. */
  owner(space: string, port: number): Owner | undefined {
    return this.#owners.get(`${space}:${port}`);
  }
}
