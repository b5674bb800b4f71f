/** MoveEnvironment: the same numbers on another host. In a shared space that is a re-pointed route, behind the fence. */
import { sameTarget } from '../../shared/target.js';
import { readyHost } from './allocate.js';
import { refuseTunnelled, refuseUnlimited } from './capabilities.js';
import { refuseCordoned } from './duty.js';
import { isSettled, spaceIn, takeWhole } from './growth.js';
import { grant, holderOf, transfer } from './leases.js';
import { about, giveUp, index, setState, tellHost } from './mappings.js';
import { isInForce } from './states.js';
import { drop } from './outbox.js';
import { fenceIfSilent } from './giving-up.js';
import { gatewayReady } from './shortage.js';
import type { Holder, Host, Lease, Mapping, State } from './state.js';
import type { Command, Refusal, Reply } from './types.js';
import { viewOf } from './views.js';

type MoveCommand = Extract<Command, { kind: 'move' }>;

export function move(state: State, command: MoveCommand): Reply {
  const environment = state.environments.get(command.environment);
  if (environment === undefined) return { kind: 'refused', reason: 'ENVIRONMENT_UNKNOWN', message: `there is no environment ${command.environment}`, field: 'environment' };
  if (state.workloads.has(command.environment)) return { kind: 'refused', reason: 'ENVIRONMENT_HAS_CONTAINER', message: `portlease runs the container of environment ${command.environment}`, field: 'environment', metadata: { host: environment.record.host } };
  const host = readyHost(state, command.host);
  if ('kind' in host) return host;
  const mappings = environment.mappings.filter((mapping) => isInForce(mapping.record.state)).sort((a, b) => a.record.port - b.record.port);
  const unknown = command.targets.findIndex((target) => !mappings.some((mapping) => mapping.record.name === target.name));
  if (unknown >= 0) return { kind: 'refused', reason: 'INVALID_FIELD', message: 'the environment has no port of this name', field: `targets[${unknown}].name` };
  const staying = mappings.filter((mapping) => mapping.record.host === command.host);
  const leaving = mappings.filter((mapping) => mapping.record.host !== command.host);
  const obstacle = leaving.length === 0 ? undefined : whyNot(state, host, leaving);
  if (obstacle !== undefined) return obstacle;
  environment.record.host = command.host;
  for (const mapping of staying) retarget(state, mapping, command);
  if (state.shared) for (const run of runsOf(state, leaving)) moveRun(state, run, host, command);
  else for (const mapping of leaving) moveToOwnSpace(state, mapping, host, command);
  state.dirtyEnvironment(environment);
  return { kind: 'moved', view: viewOf(state, command.environment, mappings) };
}

/** What keeps the mappings from moving to the host, now or at all. */
function whyNot(state: State, host: Host, leaving: readonly Mapping[]): Refusal | { kind: 'waiting' } | undefined {
  if (host.record.duty !== 'open') return refuseCordoned(host);
  const limited = leaving.map(({ record }) => refuseUnlimited(host, record.limits) ?? refuseTunnelled(host, record.protocol, 'host')).find((refusal) => refusal !== undefined);
  if (limited !== undefined) return { ...limited, field: 'host' };
  if (!state.shared) return takenThere(state, host, leaving);
  const waits = !gatewayReady(state) || !isSettled(host) || leaving.some((mapping) => isAtGateway(leaseOf(state, mapping)));
  return waits ? { kind: 'waiting' } : undefined;
}

/** Mappings whose ports follow one another in one lease: they move as one range. */
function runsOf(state: State, mappings: readonly Mapping[]): Mapping[][] {
  const runs: Mapping[][] = [];
  for (const mapping of mappings) {
    const last = runs.at(-1)?.at(-1);
    const follows = last !== undefined && last.record.port + 1 === mapping.record.port && leaseOf(state, last) === leaseOf(state, mapping);
    if (follows) (runs.at(-1) as Mapping[]).push(mapping);
    else runs.push([mapping]);
  }
  return runs;
}

function moveRun(state: State, run: readonly Mapping[], host: Host, command: MoveCommand): void {
  const first = (run[0] as Mapping).record;
  const last = (run.at(-1) as Mapping).record;
  const lease = leaseOf(state, run[0] as Mapping);
  const holder = lease?.holder;
  if (lease === undefined || holder === undefined) throw new Error(`mapping ${first.mappingId} is on no lease`);
  for (const mapping of run) {
    const from = state.hosts.get(mapping.record.host);
    drop(state, from, `mapping/${mapping.record.mappingId}`);
    from?.mappings.delete(mapping);
    from?.awaiting.delete(mapping);
    change(mapping, command);
    mapping.isUntold = false;
    mapping.record.host = host.record.host;
    mapping.record.epoch = state.gateway.epoch;
    mapping.record.generation = state.sequence;
    mapping.applied = false;
    host.mappings.add(mapping);
    setState(state, mapping, 'pending', 'WAITS_FOR_FENCE');
    state.event('PortChanged', about(mapping));
  }
  transfer(state, lease, { first: first.port, last: last.port }, holderOf(state, holder.poolSpace, host.record.host));
}

/** Scope host: a new mapping with the same number in the other host's space; the old one is released. */
function moveToOwnSpace(state: State, mapping: Mapping, host: Host, command: MoveCommand): void {
  giveUp(state, mapping);
  fenceIfSilent(state, mapping);
  const holder = holderThere(state, host, mapping);
  for (const ports of takeWhole(holder.poolSpace.blocks)) grant(state, holder, ports);
  holder.free.remove(mapping.record.port);
  const next = index(state, {
    ...mapping.record, mappingId: state.newId('m'), space: holder.poolSpace.space.name, host: host.record.host, state: 'pending',
    reason: 'NOT_CONFIRMED_BY_HOST', epoch: state.gateway.epoch, generation: state.sequence, createdAtMs: state.nowMs, untilMs: 0, releasedSequence: 0,
  }, mapping.environment);
  next.verify = command.verify;
  change(next, command);
  state.dirtyMapping(next);
  tellHost(state, next);
  state.event('PortChanged', about(next));
}

/** Scope host: why a number cannot be had on the new host, if one cannot. */
function takenThere(state: State, host: Host, mappings: readonly Mapping[]): Refusal | undefined {
  for (const mapping of mappings) {
    const { free, poolSpace } = holderThere(state, host, mapping);
    const { port } = mapping.record;
    if (free.has(port) || (poolSpace.blocks.has(port) && !host.occupied.has(port))) continue;
    return { kind: 'refused', reason: 'PORT_TAKEN', message: `port ${port} is not free on host ${host.record.host}`, field: 'host', metadata: { host: host.record.host, port: `${port}` } };
  }
  return undefined;
}

function holderThere(state: State, host: Host, mapping: Mapping): Holder {
  const pool = state.pools.get(mapping.record.pool);
  if (pool === undefined) throw new Error(`mapping ${mapping.record.mappingId} is of no pool`);
  return holderOf(state, spaceIn(state, pool, host), host.record.host);
}

function retarget(state: State, mapping: Mapping, command: MoveCommand): void {
  if (!change(mapping, command)) return;
  mapping.record.generation = state.sequence;
  mapping.record.epoch = state.gateway.epoch;
  setState(state, mapping, 'pending', 'NOT_CONFIRMED_BY_HOST');
  tellHost(state, mapping);
  state.event('PortChanged', about(mapping));
}

/** Applies the new target and what is to be verified; returns whether the host has to be told. */
function change(mapping: Mapping, command: MoveCommand): boolean {
  const { record } = mapping;
  const wanted = command.targets.find((target) => target.name === record.name);
  const target = wanted?.target ?? record.target;
  const internalPort = wanted === undefined || wanted.internalPort === 0 ? record.internalPort : wanted.internalPort + record.index;
  const changed = !sameTarget(target, record.target) || internalPort !== record.internalPort || command.verify;
  mapping.verify = command.verify;
  mapping.verified = false;
  record.target = target;
  record.internalPort = internalPort;
  return changed;
}

/** The gateway is about to confirm something of the lease: what comes next has to wait for that. */
function isAtGateway(lease: Lease | undefined): boolean {
  return lease?.record.state === 'withdrawing' || (lease?.record.state === 'fencing' && lease.record.guarded);
}

function leaseOf(state: State, mapping: Mapping): Lease | undefined {
  return state.leaseAt(state.space(mapping.record.space), mapping.record.port);
}
