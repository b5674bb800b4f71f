/** AllocatePorts: all the ports of an environment, or none. */
import { sameLimits } from '../../shared/desired.js';
import { covers, MAX_PORT } from '../../shared/ports.js';
import { sameTarget } from '../../shared/target.js';
import { refuseTunnelled, refuseUnlimited } from './capabilities.js';
import { refuseCordoned } from './duty.js';
import { Draft, type Ask, type Pick } from './draft.js';
import { refuseHidden } from './hidden.js';
import { about, index, tellHost } from './mappings.js';
import { isInForce } from './states.js';
import type { Environment, Host, Mapping, Pool, Request, State } from './state.js';
import { NO_LIMITS, type AllocateCommand, type EnvironmentView, type MappingRecord, type Refusal, type Reply, type RequestRecord, type WantSpec } from './types.js';
import { takeUp } from './take-up.js';
import { remember } from './tick.js';
import { refuseUnderWay } from './under-way.js';
import { viewOf } from './views.js';

/** A mapping that the request gets: one that the environment has, or a pick. */
type Answer = Mapping | Pick;

export function allocate(state: State, command: AllocateCommand): Reply {
  const request = state.requests.get(command.requestId);
  if (request !== undefined) {
    if (request.record.bodyHash !== command.bodyHash) {
      return { kind: 'refused', reason: 'REQUEST_ID_REUSED', message: `request id ${command.requestId} was used with another body`, field: 'request_id' };
    }
    tell(command, request.mappings);
    return answer(state, request.record, request.mappings, true);
  }
  const host = readyHost(state, command.host);
  if ('kind' in host) return host;
  const environment = state.environments.get(command.environment);
  const refusal = checkEnvironment(state, command, environment);
  if (refusal !== undefined) return refusal;
  const asks: Ask[] = [];
  for (const [position, want] of command.wants.entries()) {
    const ask = askOf(state, { command, environment, want, field: `wants[${position}]` });
    if ('kind' in ask) return ask;
    asks.push(ask);
  }
  if (host.record.duty !== 'open' && asks.some(({ had, want }) => had.length < want.count)) return refuseCordoned(host);
  const draft = new Draft(state, host, command);
  for (const ask of asks.length === 1 ? asks : hardestFirst(asks, draft)) {
    const outcome = draft.take(ask);
    if (outcome === undefined) continue;
    draft.rollback();
    return outcome;
  }
  const answers = asks.length === 1 ? answersOf(asks[0] as Ask, draft) : asks.flatMap((ask) => answersOf(ask, draft));
  return command.dryRun ? preview(state, command, draft, answers) : record(state, command, { draft, answers, known: environment });
}

/** Exact ports first, then long runs, so that no want takes what another one of the request cannot do without, or had. */
function hardestFirst(asks: readonly Ask[], draft: Draft): readonly Ask[] {
  const need = (ask: Ask): number => {
    const { want } = ask;
    if (want.choice.kind === 'exact') return Infinity;
    return want.contiguous && want.count > 1 ? want.count : want.choice.kind === 'preferred' ? 1 : draft.hasFormer(ask) ? 0.5 : 0;
  };
  return [...asks].sort((a, b) => (need(a) === need(b) ? 0 : need(b) - need(a)));
}

/** What the want gets, in order of index. */
function answersOf({ want, had }: Ask, draft: Draft): Answer[] {
  if (had.length === 0 && draft.picks.length === 1) return draft.picks;
  const picks = draft.picks.filter((pick) => pick.want === want);
  const indexOf = (found: Answer): number => ('record' in found ? found.record.index : found.index);
  return [...had, ...picks].sort((a, b) => indexOf(a) - indexOf(b));
}

/** The host, if new ports may be allocated on it. */
export function readyHost(state: State, name: string, field = 'host'): Host | Refusal {
  const host = state.hosts.get(name);
  const refuse = (reason: Refusal['reason'], message: string): Refusal => ({ kind: 'refused', reason, message, field, metadata: { host: name }, retryAfterMs: state.timing.heartbeatMs });
  if (host === undefined) return { kind: 'refused', reason: 'HOST_UNKNOWN', message: `there is no host ${name}`, field, metadata: { host: name } };
  if (!host.record.roles.includes('host')) return { kind: 'refused', reason: 'HOST_NOT_SERVING', message: `host ${name} does not have the role host`, field, metadata: { host: name } };
  switch (host.state) {
    case 'alive': return host;
    case 'unknown': return refuse('HOST_NOT_READY', `host ${name} has not said hello since the coordinator started`);
    case 'suspect': return refuse('HOST_SUSPECT', `the heartbeat of host ${name} is late`);
    case 'lost': return refuse('HOST_LOST', `the heartbeat of host ${name} was lost`);
  }
}

function checkEnvironment(state: State, command: AllocateCommand, known: Environment | undefined): Refusal | undefined {
  if (known === undefined) return undefined;
  const underWay = refuseUnderWay(state, command.environment);
  if (underWay !== undefined) return underWay;
  const { tenant, host } = known.record;
  if (tenant !== command.tenant) return { kind: 'refused', reason: 'ENVIRONMENT_OF_OTHER_TENANT', message: `environment ${command.environment} belongs to another tenant`, field: 'environment' };
  const hasContainer = state.workloads.has(command.environment);
  if (host === command.host || (!hasContainer && !known.mappings.some((mapping) => isInForce(mapping.record.state)))) return undefined;
  return { kind: 'refused', reason: 'ENVIRONMENT_ELSEWHERE', message: `environment ${command.environment} is on host ${host}`, field: 'host', metadata: { host } };
}

/** The want, if it can be asked of its pool. */
function askOf(state: State, of: { command: AllocateCommand; environment: Environment | undefined; want: WantSpec; field: string }): Ask | Refusal {
  const { command, environment, want, field } = of;
  const pool = poolOf(state, want, field);
  if ('kind' in pool) return pool;
  const refusal = checkWant(want, pool, field) ?? refuseHidden(state, want.limits, `${field}.client_networks`) ?? refuseUnlimited(state.hosts.get(command.host), want.limits, `${field}.`)
    ?? refuseTunnelled(state.hosts.get(command.host), want.protocol ?? pool.spec.protocol, `${field}.protocol`);
  if (refusal !== undefined) return refusal;
  const had = existing(environment, want);
  for (const mapping of had) {
    const differs = difference(mapping.record, want, pool);
    if (differs !== undefined) return { kind: 'refused', reason: 'PORT_NAME_DIFFERS', message: `environment ${command.environment} has a port ${want.name} with another ${differs}`, field: `${field}.${differs}`, metadata: { mapping: mapping.record.mappingId } };
  }
  return { want, field, pool, had };
}

function checkWant(want: WantSpec, { spec }: Pool, field: string): Refusal | undefined {
  if (want.protocol !== undefined && !covers(spec.protocol, want.protocol)) {
    return { kind: 'refused', reason: 'PROTOCOL_NOT_SERVED', message: `pool ${spec.pool} serves ${spec.protocol}, not ${want.protocol}`, field: `${field}.protocol`, metadata: { pool: spec.pool } };
  }
  const internalPort = want.internalPort === 0 ? spec.defaultInternalPort : want.internalPort;
  if (internalPort !== 0 && internalPort + want.count - 1 <= MAX_PORT) return undefined;
  const message = internalPort === 0 ? `pool ${spec.pool} has no default internal port: name one` : `internal_port + count - 1 is above ${MAX_PORT}`;
  return { kind: 'refused', reason: 'INVALID_FIELD', message, field: `${field}.internal_port` };
}

/** The mappings in force that the environment has under this port name, in order of index. */
function existing(environment: Environment | undefined, want: WantSpec): Mapping[] {
  if (environment === undefined) return [];
  const had = environment.mappings.filter((mapping) => mapping.record.name === want.name && mapping.record.index < want.count && isInForce(mapping.record.state));
  return had.sort((a, b) => a.record.index - b.record.index);
}

function difference(record: MappingRecord, want: WantSpec, pool: Pool): string | undefined {
  if (record.pool !== pool.spec.pool) return want.source.kind === 'pool' ? 'pool' : 'service_type';
  if (record.protocol !== (want.protocol ?? pool.spec.protocol)) return 'protocol';
  if (!sameTarget(record.target, want.target)) return 'target';
  if (record.internalPort !== (want.internalPort || pool.spec.defaultInternalPort) + record.index) return 'internal_port';
  if (want.choice.kind === 'exact' && record.port !== want.choice.port + record.index) return 'exact_port';
  if (!sameLimits(record.limits, want.limits)) return record.limits.maxConnections === (want.limits?.maxConnections ?? 0) ? 'client_networks' : 'max_connections';
  return undefined;
}

function poolOf(state: State, want: WantSpec, field: string): Pool | Refusal {
  const { source } = want;
  if (source.kind === 'pool') {
    const pool = state.pools.get(source.pool);
    return pool ?? { kind: 'refused', reason: 'POOL_UNKNOWN', message: `gateway ${state.gateway.gateway} has no pool ${source.pool}`, field: `${field}.pool`, metadata: { pool: source.pool, gateway: state.gateway.gateway } };
  }
  const type = source.serviceType;
  const fitting = [...state.pools.values()].filter(({ spec }) => spec.serviceType === type || spec.aliases.includes(type));
  const metadata = { service_type: type, gateway: state.gateway.gateway, pools: fitting.map(({ spec }) => spec.pool).join(',') };
  if (fitting.length > 1) return { kind: 'refused', reason: 'SERVICE_TYPE_AMBIGUOUS', message: `pools ${metadata.pools} serve ${type}`, field: `${field}.service_type`, metadata };
  return fitting[0] ?? { kind: 'refused', reason: 'SERVICE_TYPE_UNKNOWN', message: `no pool of gateway ${state.gateway.gateway} serves ${type}`, field: `${field}.service_type`, metadata };
}

function record(state: State, command: AllocateCommand, of: { draft: Draft; answers: Answer[]; known: Environment | undefined }): Reply {
  const { draft, answers } = of;
  const environment = environmentFor(state, command, of.known);
  takeUp(state, draft);
  const mappings = answers.map((found) => ('record' in found ? found : makeMapping(state, command, environment, found)));
  for (const mapping of mappings) if (command.verify && !mapping.verify) askVerification(state, mapping);
  tell(command, mappings);
  const request = { requestId: command.requestId, bodyHash: command.bodyHash, environment: command.environment, mappingIds: mappings.map(({ record: { mappingId } }) => mappingId), atMs: state.nowMs };
  const kept: Request = { record: request, mappings };
  for (const mapping of mappings) mapping.askedBy.push(kept);
  state.requests.set(command.requestId, kept);
  remember(state, kept);
  state.dirty.requests.add(kept);
  state.changed = true;
  const made = request.mappingIds.filter((_, at) => !('record' in (answers[at] as Answer)));
  return { ...answer(state, request, mappings, false), made };
}

/** The answer tells the numbers, unless the caller waits until they are live. */
function tell({ tellsWhenLive }: AllocateCommand, mappings: readonly Mapping[]): void {
  if (tellsWhenLive !== true) for (const mapping of mappings) mapping.isUntold = false;
}

function askVerification(state: State, mapping: Mapping): void {
  mapping.verify = true;
  mapping.verified = false;
  tellHost(state, mapping);
}

function environmentFor(state: State, command: AllocateCommand, known: Environment | undefined): Environment {
  let environment = known;
  if (environment === undefined) {
    const { tenant, labels, host } = command;
    environment = { record: { environment: command.environment, tenant, host, labels, createdAtMs: state.nowMs, revision: 0 }, mappings: [], isGone: false };
    state.environments.set(command.environment, environment);
  } else {
    environment.record.host = command.host;
    if (Object.keys(command.labels).length > 0) environment.record.labels = command.labels;
  }
  state.dirtyEnvironment(environment);
  return environment;
}

function makeMapping(state: State, command: AllocateCommand, environment: Environment, pick: Pick): Mapping {
  const { want, holder, port, protocol, internalPort } = pick;
  const mapping = index(state, {
    mappingId: state.newId('m'), environment: command.environment, tenant: command.tenant, name: want.name, index: pick.index,
    space: holder.poolSpace.space.name, pool: holder.poolSpace.pool.spec.pool, host: holder.host, port, protocol, target: want.target,
    internalPort, limits: want.limits ?? NO_LIMITS, state: 'pending', reason: 'NOT_CONFIRMED_BY_HOST', epoch: state.gateway.epoch, generation: state.sequence,
    createdAtMs: state.nowMs, untilMs: 0, releasedSequence: 0, onConflict: onConflictOf(want),
  }, environment);
  mapping.verify = command.verify;
  mapping.isUntold = command.tellsWhenLive === true && isExchangeable(want);
  state.dirtyMapping(mapping);
  tellHost(state, mapping);
  state.event('PortAllocated', about(mapping));
  return mapping;
}

/** Neither this very number nor one of a run was asked for. */
function isExchangeable({ choice, contiguous, count }: WantSpec): boolean {
  return choice.kind !== 'exact' && !(contiguous && count > 1);
}

function onConflictOf(want: WantSpec): MappingRecord['onConflict'] {
  return want.onConflict ?? (isExchangeable(want) ? 'pool' : 'block');
}

/** Today's mappings of a request, and which of them it made. */
export function requested(state: State, requestId: string): { mappings: MappingRecord[]; made: string[] } | undefined {
  const request = state.requests.get(requestId);
  if (request === undefined) return undefined;
  return { mappings: request.mappings.map(({ record: each }) => ({ ...each })), made: madeBy(request.record, request.mappings) };
}

function madeBy({ atMs }: RequestRecord, mappings: readonly Mapping[]): string[] {
  return mappings.filter(({ record: { createdAtMs } }) => createdAtMs === atMs).map(({ record: { mappingId } }) => mappingId);
}

function answer(state: State, request: RequestRecord, mappings: Mapping[], replayed: boolean): Extract<Reply, { kind: 'allocated' }> {
  const view = viewOf(state, request.environment, mappings);
  const copyOf = ({ record }: Mapping): MappingRecord => view.mappings.find(({ mappingId }) => mappingId === record.mappingId) ?? { ...record };
  return { kind: 'allocated', view, mappings: mappings.map(copyOf), made: madeBy(request, mappings), replayed };
}

/** What a dry run answers: the mappings as they would be, without an id. */
function preview(state: State, command: AllocateCommand, draft: Draft, answers: Answer[]): Reply {
  const { environment, tenant, host, labels } = command;
  const mappings = answers.map((found): MappingRecord => ('record' in found ? { ...found.record } : {
    mappingId: '', environment, tenant, name: found.want.name, index: found.index, space: found.holder.poolSpace.space.name,
    pool: found.holder.poolSpace.pool.spec.pool, host, port: found.port, protocol: found.protocol, target: found.want.target,
    internalPort: found.internalPort, limits: found.want.limits ?? NO_LIMITS, state: 'pending', reason: 'DRY_RUN', epoch: state.gateway.epoch, generation: 0,
    createdAtMs: state.nowMs, untilMs: 0, releasedSequence: 0, onConflict: onConflictOf(found.want),
  }));
  draft.rollback();
  const view: EnvironmentView = { environment: { environment, tenant, host, labels, createdAtMs: state.nowMs, revision: state.gateway.sequence }, mappings };
  return { kind: 'allocated', view, mappings, made: [], replayed: false };
}
