/**
 * What a book is made of when its database turned out to be an older copy: the copy, and what the agents accepted since. Nothing that
 * an agent serves rightly is taken from it. Pure: records in, records out.
 *
 * Who is right: where the gateway's agent knows more than the copy, its routes say which host has which ports; else the newest grant
 * does, whether the copy or a host has it. A host that knows more than the copy says what is mapped on the ports that are its own.
 */
import { isAboutPorts } from '../../shared/desired.js';
import type { ContainerSpec } from '../../shared/container.js';
import { overlaps } from '../../shared/ports.js';
import { isInForce } from './states.js';
import { newHostRecord } from './host-record.js';
import { inRanges } from './state.js';
import { tunnelsAfter } from './adopt-tunnels.js';
import { NO_LIMITS, type DesiredObject, type EnvironmentRecord, type GatewayRecord, type HelloCommand, type HostRecord, type LeaseRecord, type MappingRecord, type PoolSpec, type StoredGateway, type TunnelRecord, type WorkloadRecord } from './types.js';

/** What one agent said; `isAhead`: it knows more than the copy. */
export type Report = { hello: HelloCommand; objects: readonly DesiredObject[]; isAhead: boolean };

export type Copy = {
  gateway: GatewayRecord;
  pools: readonly PoolSpec[];
  hosts: readonly HostRecord[];
  leases: readonly LeaseRecord[];
  environments: readonly EnvironmentRecord[];
  mappings: readonly MappingRecord[];
  workloads: readonly WorkloadRecord[];
  tunnels: readonly TunnelRecord[];
};

export type Pools = Pick<Copy, 'pools' | 'mappings' | 'leases'>;

export type Adopted = Pick<StoredGateway, 'gateway' | 'hosts' | 'leases' | 'environments' | 'mappings' | 'workloads' | 'tunnels'>;

/** Ids are made of the sequence, sessions are counted: so far beyond what was heard of, nothing unheard of comes twice. */
export const MARGIN = 1_000_000;

export function adopt(copy: Copy, reports: ReadonlyMap<string, Report>, nowMs: number): Adopted {
  const accepted = [...reports.values()].flatMap(({ hello }) => hello.accepted ?? []);
  const epoch = Math.max(copy.gateway.epoch, Math.floor(nowMs), ...accepted.map((version) => version.epoch)) + 1;
  const sequence = Math.max(copy.gateway.sequence, ...accepted.map(({ revision }) => revision)) + MARGIN;
  const leases = leasesAfter(copy, reports, nowMs).flatMap((lease) => withoutReport(lease, copy, reports));
  const mappings = mappingsAfter(copy, reports, { leases, nowMs, sequence });
  return {
    workloads: workloadsAfter(copy, reports), tunnels: tunnelsAfter(copy.tunnels, reports, { nowMs, sequence }),
    gateway: { ...copy.gateway, epoch, sequence, restoring: 'resting' }, leases, mappings, environments: environmentsAfter(copy, mappings, sequence),
    hosts: [...copy.hosts, ...hostsMadeSince(copy, reports)].map((host) => ({ ...hostAfter(host, reports.get(host.host)), ...placeAfter(host, reports) })),
  };
}

/**
 * What a host that was waived has on its ports nobody knows. In a shared space they are taken back behind the gateway's fence; its own space
 * is leased to it anew when it comes back, and has applied that it serves nothing.
 */
function withoutReport(lease: LeaseRecord, { gateway, hosts }: Copy, reports: ReadonlyMap<string, Report>): LeaseRecord[] {
  const isWaived = !reports.has(lease.host) && hosts.some(({ host, waived }) => waived && host === lease.host);
  if (!isWaived || lease.state === 'withdrawing') return [lease];
  if (gateway.scope === 'host') return [];
  return [{ ...lease, state: 'withdrawing', guarded: false, guards: [...new Set([...lease.guards, lease.host])] }];
}

/** Ports that agents hold and no pool of the copy has, nor had when it was shrunk: the pool was created after it. */
export function portsWithoutPool(copy: Pools, reports: ReadonlyMap<string, Report>): { host: string; first: number; last: number }[] {
  return [...reports.values()].flatMap(({ hello, objects }) => objects.filter(isAboutPorts).flatMap((object) => {
    const ports = 'ports' in object ? object.ports : { first: object.port, last: object.port };
    return poolAt(copy, ports.first) === undefined ? [{ host: hello.host, ...ports }] : [];
  }));
}

/** Where the gateway leads clients of the host, if it knows more than the copy: it goes on doing so until the host says where it is. */
function placeAfter({ host, addresses, tunnelKey }: HostRecord, reports: ReadonlyMap<string, Report>): Pick<HostRecord, 'addresses' | 'tunnelKey'> {
  for (const { isAhead, objects } of reports.values()) {
    const route = isAhead ? objects.find((object) => object.kind === 'route' && object.host === host) : undefined;
    if (route?.kind !== 'route') continue;
    const isThere = route.addresses.every((address) => addresses.includes(address));
    return { addresses: isThere ? addresses : [...route.addresses], tunnelKey: route.tunnelKey ?? '' };
  }
  return { addresses, tunnelKey };
}

/** Hosts that the copy has never heard of and that the config admits: they have reported. */
function hostsMadeSince({ hosts }: Copy, reports: ReadonlyMap<string, Report>): HostRecord[] {
  const known = new Set(hosts.map(({ host }) => host));
  return [...reports.values()].filter(({ hello }) => !known.has(hello.host)).map(({ hello: { host, roles } }) => newHostRecord(host, roles, '', ''));
}

/** A machine that did not report may have been given sessions that the copy does not know. */
function hostAfter(record: HostRecord, report: Report | undefined): HostRecord {
  const { session, confirmedSession } = record;
  if (report === undefined) return { ...record, session: session + MARGIN, waived: false };
  // Whoever has that name now reports: it was made again since, or has not been told. An operator decides anew.
  const duty = record.duty === 'forgetting' ? 'cordoned' : record.duty;
  // Where it is, it says again in its next hello: what is routed to another address is fenced then.
  const { lastSession } = report.hello;
  return { ...record, duty, waived: false, session: Math.max(session, lastSession), confirmedSession: Math.max(confirmedSession, lastSession) };
}

function leasesAfter(copy: Copy, reports: ReadonlyMap<string, Report>, nowMs: number): LeaseRecord[] {
  const gateway = [...reports.values()].find(({ hello }) => hello.roles.includes('gateway'));
  if (copy.gateway.scope === 'shared' && gateway?.isAhead === true) return routedLeases(copy, reports, { gateway, nowMs });
  const claims = [...copy.leases.filter((lease) => !isGivenUp(lease, reports.get(lease.host))), ...toldLeases(copy, reports, nowMs)];
  const kept: LeaseRecord[] = [];
  for (const claim of claims.sort((a, b) => b.epoch - a.epoch || b.generation - a.generation)) {
    const winners = kept.filter((other) => other.space === claim.space && overlaps(other, claim));
    if (winners.length === 0) kept.push({ ...claim });
    for (const winner of winners) inherit(winner, claim);
  }
  return kept;
}

/** The gateway may lead clients of the newer lease to the hosts of the older one still: they keep their guard until it confirms. */
function inherit(winner: LeaseRecord, claim: LeaseRecord): void {
  const former = [...claim.guards, ...(claim.guarded || claim.state !== 'fencing' ? [claim.host] : [])].filter((host) => host !== winner.host || winner.state === 'withdrawing');
  if (former.length === 0) return;
  winner.guards = [...new Set([...winner.guards, ...former])];
  if (winner.state !== 'withdrawing') winner.state = 'fencing';
}

/** The host knows more than the copy, and has no such lease any more. */
function isGivenUp({ leaseId, state }: LeaseRecord, report: Report | undefined): boolean {
  if (report?.isAhead !== true || state === 'withdrawing') return false;
  return !report.objects.some((object) => object.kind === 'lease' && object.leaseId === leaseId);
}

/** Leases that hosts were told of and the copy does not know: made after it. */
function toldLeases(copy: Copy, reports: ReadonlyMap<string, Report>, nowMs: number): LeaseRecord[] {
  const known = new Set(copy.leases.map(({ leaseId }) => leaseId));
  const isShared = copy.gateway.scope === 'shared';
  const guardsOf = guardsByLease(reports);
  const found = new Map<string, LeaseRecord>();
  for (const { hello, objects, isAhead } of reports.values()) {
    for (const object of isAhead ? objects : []) {
      if (object.kind !== 'lease' || known.has(object.leaseId) || found.has(object.leaseId)) continue;
      const state = object.host === '' ? 'withdrawing' as const : isShared && object.guardOccupied === true ? 'fencing' as const : 'active' as const;
      const host = object.host === '' ? hello.host : object.host;
      const guards = state === 'active' ? [] : (guardsOf.get(object.leaseId) ?? []).filter((name) => name !== host || state === 'withdrawing');
      found.set(object.leaseId, leaseOf(copy, object, { host, state, guarded: !isShared, guards, epoch: hello.accepted?.epoch ?? 0, nowMs }));
    }
  }
  return [...found.values()];
}

/** Leases as the gateway's agent routes them. One that it has not been told leads nowhere: it is not kept. */
function routedLeases(copy: Copy, reports: ReadonlyMap<string, Report>, { gateway, nowMs }: { gateway: Report; nowMs: number }): LeaseRecord[] {
  const epoch = gateway.hello.accepted?.epoch ?? 0;
  const guardsOf = guardsByLease(reports);
  return gateway.objects.flatMap((object) => {
    if (object.kind !== 'route' && object.kind !== 'withdrawal') return [];
    const guards = guardsOf.get(object.leaseId) ?? [];
    if (object.kind === 'withdrawal') {
      const former = copy.leases.find((lease) => overlaps(lease, object.ports))?.host;
      return leaseOf(copy, object, { host: former ?? guards[0] ?? gateway.hello.host, state: 'withdrawing', guarded: false, guards, epoch, nowMs });
    }
    const others = guards.filter((host) => host !== object.host);
    return leaseOf(copy, object, { host: object.host, state: object.fence ? 'fencing' : 'active', guarded: true, guards: object.fence ? others : [], epoch, nowMs });
  });
}

/** By lease: hosts that have been told to guard its ports. */
function guardsByLease(reports: ReadonlyMap<string, Report>): ReadonlyMap<string, string[]> {
  const guards = new Map<string, string[]>();
  for (const { hello, objects } of reports.values()) {
    for (const object of objects) if (object.kind === 'lease') guards.set(object.leaseId, [...(guards.get(object.leaseId) ?? []), hello.host]);
  }
  return guards;
}

type Granted = Pick<Extract<DesiredObject, { kind: 'lease' }>, 'leaseId' | 'ports' | 'protocol' | 'generation'>;

function leaseOf(copy: Copy, { leaseId, ports, protocol, generation }: Granted, as: Pick<LeaseRecord, 'host' | 'state' | 'guarded' | 'guards' | 'epoch'> & { nowMs: number }): LeaseRecord {
  const { host, state, guarded, guards, epoch, nowMs } = as;
  const known = copy.leases.find((lease) => lease.leaseId === leaseId);
  return {
    leaseId, space: spaceOf(copy, host), pool: poolAt(copy, ports.first) ?? '', host, first: ports.first, last: ports.last, protocol, state,
    epoch: known?.epoch ?? epoch, generation, grantedAtMs: known?.grantedAtMs ?? nowMs, expiredAtMs: 0, guarded, guards,
  };
}

type Rest = { leases: readonly LeaseRecord[]; nowMs: number; sequence: number };

function mappingsAfter(copy: Copy, reports: ReadonlyMap<string, Report>, { leases, nowMs, sequence }: Rest): MappingRecord[] {
  const leaseAt = (space: string, port: number): LeaseRecord | undefined => leases.find((lease) => lease.space === space && lease.first <= port && lease.last >= port);
  const known = new Map(copy.mappings.map((mapping) => [mapping.mappingId, mapping]));
  const adopted = new Map<string, MappingRecord>();
  const owned = new Set<string>();
  const keep = (mapping: MappingRecord): void => {
    adopted.set(mapping.mappingId, mapping);
    if (mapping.state !== 'released') owned.add(`${mapping.space}:${mapping.port}`);
  };
  for (const mapping of reportedMappings(copy, reports, { known, nowMs })) {
    const lease = leaseAt(mapping.space, mapping.port);
    const isServed = lease?.host === mapping.host && (lease.state === 'active' || lease.state === 'expired');
    const isEnding = mapping.state === 'releasing' && lease?.state === 'withdrawing';
    if ((isServed || isEnding) && !owned.has(`${mapping.space}:${mapping.port}`)) keep(mapping);
  }
  for (const mapping of copy.mappings) {
    if (adopted.has(mapping.mappingId)) continue;
    const isTaken = owned.has(`${mapping.space}:${mapping.port}`);
    keep(leftOver(mapping, { lease: leaseAt(mapping.space, mapping.port), report: reports.get(mapping.host), isTaken, nowMs, sequence }));
  }
  return withoutDoubles([...adopted.values()]);
}

/** Newest first, so that of two that claim a port, or a name of an environment, the later grant has it. */
function reportedMappings(copy: Copy, reports: ReadonlyMap<string, Report>, { known, nowMs }: { known: ReadonlyMap<string, MappingRecord>; nowMs: number }): MappingRecord[] {
  const found = [...reports.values()].filter(({ isAhead }) => isAhead).flatMap(({ hello, objects }) => objects.flatMap((object): MappingRecord[] => {
    if (object.kind !== 'mapping' && object.kind !== 'release') return [];
    const { mappingId, environment, tenant, name, index, port, protocol, target, internalPort, generation } = object;
    const before = known.get(mappingId);
    return [{
      mappingId, environment, tenant, name, index, space: spaceOf(copy, hello.host), pool: poolAt(copy, port) ?? '', host: hello.host, port, protocol, target,
      internalPort, limits: (object.kind === 'mapping' ? object.limits : before?.limits) ?? NO_LIMITS, generation, epoch: hello.accepted?.epoch ?? 0, createdAtMs: before?.createdAtMs ?? nowMs, untilMs: 0, releasedSequence: 0, onConflict: before?.onConflict ?? 'pool',
      ...(object.kind === 'mapping' ? { state: 'pending', reason: 'NOT_CONFIRMED_BY_HOST' } : { state: 'releasing', reason: 'RELEASE_NOT_CONFIRMED' }),
    }];
  }));
  return found.sort((a, b) => b.generation - a.generation);
}

type Place = { lease: LeaseRecord | undefined; report: Report | undefined; isTaken: boolean; nowMs: number; sequence: number };

/** A mapping of the copy that no agent said anything of. */
function leftOver(mapping: MappingRecord, { lease, report, isTaken, nowMs, sequence }: Place): MappingRecord {
  if (mapping.state === 'released') return { ...mapping };
  if (isTaken) return { ...mapping, state: 'released', reason: '', untilMs: nowMs, releasedSequence: mapping.releasedSequence || sequence };
  if (mapping.state === 'quarantined') return { ...mapping };
  const resting: MappingRecord = { ...mapping, state: 'quarantined', reason: '', untilMs: nowMs, releasedSequence: sequence };
  if (lease === undefined || lease.host !== mapping.host) return resting;
  if (lease.state === 'withdrawing') return { ...mapping, state: 'releasing', reason: 'RELEASE_NOT_CONFIRMED', untilMs: 0 };
  // Its host is told of it only when the fence has ended.
  if (report?.isAhead === true && lease.state !== 'fencing') return resting;
  return mapping.state === 'releasing' ? { ...mapping } : { ...mapping, state: 'pending', reason: 'NOT_CONFIRMED_BY_HOST', untilMs: 0 };
}

/** An environment has a name once, and belongs to one tenant: the newest mapping says to whom. What is older is released. */
function withoutDoubles(mappings: readonly MappingRecord[]): MappingRecord[] {
  const names = new Set<string>();
  const tenants = new Map<string, string>();
  return [...mappings].sort((a, b) => b.generation - a.generation).map((mapping) => {
    if (!isInForce(mapping.state)) return mapping;
    const { environment, tenant, name, index } = mapping;
    const key = `${environment} ${name} ${index}`;
    const owner = tenants.get(environment) ?? tenant;
    if (names.has(key) || owner !== tenant) return { ...mapping, state: 'releasing', reason: 'RELEASE_NOT_CONFIRMED', untilMs: 0 };
    names.add(key);
    tenants.set(environment, tenant);
    return mapping;
  });
}

function environmentsAfter(copy: Copy, mappings: readonly MappingRecord[], sequence: number): EnvironmentRecord[] {
  const known = new Map(copy.environments.map((record) => [record.environment, record]));
  const found = new Map<string, EnvironmentRecord>();
  for (const mapping of [...mappings].sort((a, b) => Number(isInForce(b.state)) - Number(isInForce(a.state)))) {
    const { environment, tenant, host, createdAtMs, state } = mapping;
    if ((!isInForce(state) && state !== 'releasing') || found.has(environment)) continue;
    const before = known.get(environment);
    found.set(environment, before?.tenant === tenant ? { ...before, host, revision: sequence } : { environment, tenant, host, labels: {}, createdAtMs, revision: sequence });
  }
  return [...found.values()];
}

/** How long a start has whose request is not known any more. */
const START_TIMEOUT_MS = 300_000;

/** A host that knows more than the copy says which containers it runs or removes; what others have is as in the copy. */
function workloadsAfter(copy: Copy, reports: ReadonlyMap<string, Report>): WorkloadRecord[] {
  const found = new Map(copy.workloads.filter(({ host }) => reports.get(host)?.isAhead !== true).map((record) => [record.environment, record]));
  for (const { hello, objects, isAhead } of reports.values()) {
    for (const object of isAhead ? objects : []) {
      if ((object.kind !== 'environment' && object.kind !== 'removal') || (found.get(object.environment)?.generation ?? -1) >= object.generation) continue;
      const before = copy.workloads.find(({ environment, generation }) => environment === object.environment && generation === object.generation);
      found.set(object.environment, workloadOf(object, hello.host, before));
    }
  }
  return [...found.values()];
}

function workloadOf(object: Extract<DesiredObject, { kind: 'environment' | 'removal' }>, host: string, before: WorkloadRecord | undefined): WorkloadRecord {
  const { environment, tenant, generation } = object;
  const { bodyHash, startTimeoutMs, containerId, container } = before ?? UNKNOWN;
  const known = { environment, tenant, generation, host, bodyHash, startTimeoutMs, containerId, failure: undefined };
  if (object.kind === 'removal') return { ...known, container, credentials: [], phase: 'deleting', rotation: 0, credentialsReturned: true, removesVolumes: object.volumes };
  return {
    ...known, container: object.container, credentials: [...object.credentials], phase: object.isReady ? 'ready' : 'creating', rotation: object.rotation,
    credentialsReturned: !object.tellCredentials, removesVolumes: false,
  };
}

/** Of a container that is to be removed, and of which nothing more is known. */
const NO_CONTAINER: ContainerSpec = {
  image: '', entrypoint: [], command: [], env: {}, workingDir: '', user: '', mounts: [], gpus: { kind: 'none' }, network: '', memoryBytes: 0, cpuMillis: 0, maxProcesses: 0,
  shmBytes: 0, ulimits: [], restart: 'never', credentials: [], rotateCommand: [],
};
const UNKNOWN = { bodyHash: '', startTimeoutMs: START_TIMEOUT_MS, containerId: '', container: NO_CONTAINER };

function spaceOf({ gateway: { gateway, scope } }: Copy, host: string): string {
  return scope === 'shared' ? gateway : `${gateway}/${host}`;
}

/** Name of the pool that has the port, or that still serves it because it was shrunk while an environment had it. */
function poolAt({ pools, mappings, leases }: Pools, port: number): string | undefined {
  const found = pools.find(({ ranges }) => inRanges(ranges, port))?.pool;
  if (found !== undefined) return found;
  const served = mappings.find((mapping) => mapping.port === port && mapping.state !== 'released') ?? leases.find(({ first, last }) => first <= port && last >= port);
  return pools.find(({ pool }) => pool === served?.pool)?.pool;
}
