/** Requests of PortService, checked field by field. Each parser throws InvalidRequest with all that is wrong. */
import { hash } from 'node:crypto';
import { MappingState as WireState, OnConflict as WireOnConflict, Protocol as WireProtocol, Wait as WireWait, type Target as WireTarget } from '../../shared/gen/portlease/v1/common.js';
import type {
  AllocatePortsRequest, ExplainPortRequest, ListEnvironmentsRequest, ListMappingsRequest, MoveEnvironmentRequest, ReleasePortsRequest, UpdateMappingRequest, Want,
} from '../../shared/gen/portlease/v1/ports.js';
import { objectId, port as checkPort, shown } from '../../shared/fields.js';
import { isLabelKey, isLabelValue, isRequestId } from '../../shared/names.js';
import { limitsFromWire, maxConnectionsFromWire, networksFromWire } from '../../shared/networks.js';
import { isPort, MAX_PORT } from '../../shared/ports.js';
import { optionalProtocolFromWire, protocolFromWire, targetFromWire } from '../../shared/wire.js';
import type { AllocateCommand, Choice, Command, Protocol, ReleaseSelector, Target, WantSpec } from '../book/types.js';
import { Checks } from './checks.js';
import { newName } from './new-name.js';

export type Wait = 'recorded' | 'live' | 'verified';

const MAX_WANTS = 64;
const MAX_PORTS = 1024;
/** Ports of one want. */
export const MAX_COUNT = 256;
const MAX_LABELS = 64;
const MAX_PORT_NAME = 32;
const MAX_TARGETS = 64;
const LABEL_WORDS = '1-63 characters of A-Z a-z 0-9 . _ - /, letters or digits at both ends';
const NO_TARGET: Target = { kind: 'address', address: '' };

export function parseAllocate(request: AllocatePortsRequest, actor: string): { command: AllocateCommand; wait: Wait } {
  const checks = new Checks();
  const wait = parseWait(request.wait, checks);
  if (request.requestId !== '' && !isRequestId(request.requestId)) {
    checks.add('request_id', `${shown(request.requestId)} is not 1-128 characters of A-Z a-z 0-9 . _ : -, not - at the begin`);
  }
  checks.label(request.tenant, 'tenant');
  checks.optionalLabel(request.environment, 'environment');
  checks.label(request.host, 'host');
  const wants = parseWants(request.wants, checks);
  const labels = parseLabels(request.labels, checks);
  checks.done();
  const { tenant, host, dryRun } = request;
  const bodyHash = hash('sha256', JSON.stringify([tenant, request.environment, host, wants, labels]), 'base64url');
  const environment = request.environment === '' ? `env-${newName()}` : request.environment;
  const requestId = request.requestId === '' ? `req-${newName()}` : request.requestId;
  return {
    command: { kind: 'allocate', actor, requestId, bodyHash, tenant, environment, host, wants, labels, dryRun, verify: wait === 'verified', tellsWhenLive: wait !== 'recorded' },
    wait,
  };
}

export function parseWait(wait: WireWait, checks: Checks): Wait {
  switch (wait) {
    case WireWait.WAIT_UNSPECIFIED: return 'live';
    case WireWait.WAIT_RECORDED: return 'recorded';
    case WireWait.WAIT_LIVE: return 'live';
    case WireWait.WAIT_VERIFIED: return 'verified';
    default:
      checks.add('wait', `${String(wait)} is not a value of Wait`);
      return 'live';
  }
}

/** `target`: of all of them, whatever they say. */
export function parseWants(wants: readonly Want[], checks: Checks, target?: Target): WantSpec[] {
  if (wants.length === 0) checks.add('wants', 'is empty: name at least one port');
  if (wants.length > MAX_WANTS) {
    checks.add('wants', `has ${wants.length} elements; at most ${MAX_WANTS} are allowed`);
    return [];
  }
  const specs = wants.map((want, i) => parseWant(want, { i, target }, checks));
  if (specs.length > 1) checkTogether(specs, checks);
  return specs;
}

function checkTogether(specs: readonly WantSpec[], checks: Checks): void {
  const total = specs.reduce((sum, { count }) => sum + count, 0);
  if (total > MAX_PORTS) checks.add('wants', `ask for ${total} ports; at most ${MAX_PORTS} are allowed`);
  const names = new Set<string>();
  for (const [i, { name }] of specs.entries()) {
    if (names.has(name)) checks.add(`wants[${i}].name`, `${shown(name)} is the name of another want`);
    names.add(name);
  }
}

function parseWant(want: Want, { i, target }: { i: number; target: Target | undefined }, checks: Checks): WantSpec {
  const count = want.count === 0 ? 1 : want.count;
  if (count > MAX_COUNT) checks.add(`wants[${i}].count`, `${count} is more than ${MAX_COUNT}`);
  checks.label(want.name, `wants[${i}].name`, MAX_PORT_NAME);
  if (want.internalPort > MAX_PORT) checks.add(`wants[${i}].internal_port`, `${want.internalPort} is not a port: 1-${MAX_PORT}, or 0 for the pool's default`);
  else if (want.internalPort + count - 1 > MAX_PORT) checks.add(`wants[${i}].internal_port`, `${want.internalPort} and ${count - 1} ports after it go beyond ${MAX_PORT}`);
  return {
    name: want.name,
    source: parseSource(want, i, checks),
    protocol: want.protocol === WireProtocol.PROTOCOL_UNSPECIFIED ? undefined : checks.take<Protocol | undefined>(() => optionalProtocolFromWire(want.protocol, `wants[${i}].protocol`), undefined),
    count,
    contiguous: want.contiguous,
    target: target ?? parseTarget(want.target, () => `wants[${i}].target`, checks),
    internalPort: want.internalPort,
    choice: parseChoice(want, { i, count }, checks),
    limits: want.clientNetworks.length === 0 && want.maxConnections === 0 ? undefined : checks.take(() => limitsFromWire(want, `wants[${i}].`), undefined),
    onConflict: parseOnConflict(want, { i, count }, checks),
  };
}

function parseSource({ source }: Want, i: number, checks: Checks): WantSpec['source'] {
  switch (source?.$case) {
    case 'pool':
      return { kind: 'pool', pool: checks.label(source.value, `wants[${i}].pool`) };
    case 'serviceType':
      return { kind: 'serviceType', serviceType: checks.label(source.value, `wants[${i}].service_type`) };
    default:
      checks.add(`wants[${i}].pool`, 'is missing: name a pool or a service_type');
      return { kind: 'pool', pool: '' };
  }
}

/** Addresses that were found good: parsing one takes longer than all the rest of a request. */
const goodTargets = new Map<string, Target>();
const MAX_GOOD_TARGETS = 10_000;

function parseTarget(value: WireTarget | undefined, field: () => string, checks: Checks): Target {
  const address = value?.kind?.$case === 'address' ? value.kind.value : undefined;
  const known = address === undefined ? undefined : goodTargets.get(address);
  if (known !== undefined) return known;
  const target = checks.take(() => targetFromWire(value, field()), NO_TARGET);
  if (target === NO_TARGET || address === undefined) return target;
  if (goodTargets.size >= MAX_GOOD_TARGETS) goodTargets.clear();
  goodTargets.set(address, target);
  return target;
}

const ANY: Choice = { kind: 'any' };

function parseChoice({ choice }: Want, { i, count }: { i: number; count: number }, checks: Checks): Choice {
  if (choice === undefined) return ANY;
  const isExact = choice.$case === 'exactPort';
  const port = choice.value;
  const field = `wants[${i}].${isExact ? 'exact_port' : 'preferred_port'}`;
  if (!isPort(port)) checks.add(field, `${port} is not a port: 1-${MAX_PORT}`);
  else if (port + count - 1 > MAX_PORT) checks.add(field, `${port} and ${count - 1} ports after it go beyond ${MAX_PORT}`);
  return { kind: isExact ? 'exact' : 'preferred', port };
}

/** undefined is left out of the hash of a body: requests of earlier versions are the same ones. */
function parseOnConflict({ onConflict, contiguous }: Want, { i, count }: { i: number; count: number }, checks: Checks): WantSpec['onConflict'] {
  const value = onConflictFromWire(onConflict, `wants[${i}].on_conflict`, checks);
  if (value === 'renumber' && contiguous && count > 1) checks.add(`wants[${i}].on_conflict`, 'is ON_CONFLICT_RENUMBER, which would tear contiguous ports apart: say ON_CONFLICT_BLOCK, or leave out contiguous');
  return value;
}

/** undefined for ON_CONFLICT_UNSPECIFIED. */
export function onConflictFromWire(value: WireOnConflict, field: string, checks: Checks): WantSpec['onConflict'] {
  switch (value) {
    case WireOnConflict.ON_CONFLICT_UNSPECIFIED: return undefined;
    case WireOnConflict.ON_CONFLICT_BLOCK: return 'block';
    case WireOnConflict.ON_CONFLICT_RENUMBER: return 'renumber';
    default: checks.add(field, `${String(value)} is not a value of OnConflict`); return undefined;
  }
}

export function parseLabels(labels: Readonly<Record<string, string>>, checks: Checks): Record<string, string> {
  const keys = Object.keys(labels);
  if (keys.length === 0) return {};
  if (keys.length > MAX_LABELS) {
    checks.add('labels', `has ${keys.length} entries; at most ${MAX_LABELS} are allowed`);
    return {};
  }
  const sorted: Record<string, string> = {};
  for (const key of keys.sort()) {
    const value = labels[key] ?? '';
    if (!isLabelKey(key)) checks.add('labels', `the key ${shown(key)} is not ${LABEL_WORDS}`);
    else if (!isLabelValue(value)) checks.add(`labels[${key}]`, `${shown(value)} is not empty or ${LABEL_WORDS}`);
    else sorted[key] = value;
  }
  return sorted;
}

export function parseRelease(request: ReleasePortsRequest, actor: string): { command: Extract<Command, { kind: 'release' }>; wait: Wait } {
  const checks = new Checks();
  const wait = parseWait(request.wait, checks);
  const selector = checks.take<ReleaseSelector | undefined>(() => parseSelector(request, checks), undefined);
  checks.done();
  if (selector === undefined) throw new Error('a selector that is not there was not refused');
  return { command: { kind: 'release', actor, selector }, wait };
}

function parseSelector({ selector }: ReleasePortsRequest, checks: Checks): ReleaseSelector | undefined {
  switch (selector?.$case) {
    case 'environment':
      return { kind: 'environment', environment: checks.label(selector.value, 'environment') };
    case 'mappingId':
      return { kind: 'mapping', mappingId: objectId(selector.value, 'mapping_id') };
    case 'port': {
      const { space, protocol, port } = selector.value;
      checkSpace(space, 'port.space', checks);
      return {
        kind: 'port', space,
        protocol: checks.take(() => protocolFromWire(protocol, 'port.protocol'), 'tcp'),
        port: checks.take(() => checkPort(port, 'port.port'), 1),
      };
    }
    default:
      checks.add('environment', 'is missing: name an environment, a mapping_id or a port');
      return undefined;
  }
}

function checkSpace(space: string, field: string, checks: Checks): void {
  const [gateway = '', host, ...rest] = space.split('/');
  if (rest.length > 0) checks.add(field, `${shown(space)} is not a port space: GATEWAY or GATEWAY/HOST`);
  else checks.label(gateway, field);
  if (host !== undefined) checks.label(host, field);
}

export function parseMove(request: MoveEnvironmentRequest, actor: string): { command: Extract<Command, { kind: 'move' }>; wait: Wait } {
  const checks = new Checks();
  const wait = parseWait(request.wait, checks);
  checks.label(request.environment, 'environment');
  checks.label(request.host, 'host');
  if (request.targets.length > MAX_TARGETS) checks.add('targets', `has ${request.targets.length} elements; at most ${MAX_TARGETS} are allowed`);
  const names = new Set<string>();
  const targets = request.targets.slice(0, MAX_TARGETS).map(({ name, target, internalPort }, i) => {
    checks.label(name, `targets[${i}].name`, MAX_PORT_NAME);
    if (names.has(name)) checks.add(`targets[${i}].name`, `${shown(name)} comes twice`);
    names.add(name);
    if (internalPort > MAX_PORT) checks.add(`targets[${i}].internal_port`, `${internalPort} is not a port: 1-${MAX_PORT}, or 0 to keep it`);
    return { name, internalPort, target: target && parseTarget(target, () => `targets[${i}].target`, checks) };
  });
  checks.done();
  return {
    command: { kind: 'move', actor, environment: request.environment, host: request.host, targets, verify: wait === 'verified' },
    wait,
  };
}

export function parseUpdate(request: UpdateMappingRequest, actor: string): { command: Extract<Command, { kind: 'updateMapping' }>; wait: Wait } {
  const checks = new Checks();
  const wait = parseWait(request.wait, checks);
  const { clientNetworks, maxConnections } = request;
  if (clientNetworks === undefined && maxConnections === undefined) checks.add('client_networks', 'is missing: name client_networks, max_connections or both');
  const command = {
    kind: 'updateMapping' as const, actor,
    mappingId: checks.take(() => objectId(request.mappingId, 'mapping_id'), ''),
    networks: clientNetworks && checks.take(() => networksFromWire(clientNetworks.networks, 'client_networks.networks'), []),
    maxConnections: maxConnections === undefined ? undefined : checks.take(() => maxConnectionsFromWire(maxConnections, 'max_connections'), 0),
  };
  checks.done();
  return { command, wait };
}

export function parseExplain({ space, port, tenant }: ExplainPortRequest): { space: string; port: number; tenant: string } {
  const checks = new Checks();
  checkSpace(space, 'space', checks);
  checks.take(() => checkPort(port, 'port'), 1);
  checks.optionalLabel(tenant, 'tenant');
  checks.done();
  return { space, port, tenant };
}

export function parseEnvironmentName({ environment }: { environment: string }): string {
  const checks = new Checks();
  checks.label(environment, 'environment');
  checks.done();
  return environment;
}

export type EnvironmentFilter = Pick<ListEnvironmentsRequest, 'tenant' | 'gateway' | 'host' | 'labels'>;

export function parseEnvironmentFilter(request: ListEnvironmentsRequest): EnvironmentFilter {
  const checks = new Checks();
  const filter = {
    tenant: checks.optionalLabel(request.tenant, 'tenant'),
    gateway: checks.optionalLabel(request.gateway, 'gateway'),
    host: checks.optionalLabel(request.host, 'host'),
    labels: parseLabels(request.labels, checks),
  };
  checks.done();
  return filter;
}

export type MappingFilter = Pick<ListMappingsRequest, 'tenant' | 'gateway' | 'pool' | 'host' | 'environment' | 'state' | 'port'>;

export function parseMappingFilter(request: ListMappingsRequest): MappingFilter {
  const checks = new Checks();
  if (!(request.state in WireState)) checks.add('state', `${String(request.state)} is not a value of MappingState`);
  if (request.port > MAX_PORT) checks.add('port', `${request.port} is not a port: 1-${MAX_PORT}, or 0 for all`);
  const filter = {
    tenant: checks.optionalLabel(request.tenant, 'tenant'),
    gateway: checks.optionalLabel(request.gateway, 'gateway'),
    pool: checks.optionalLabel(request.pool, 'pool'),
    host: checks.optionalLabel(request.host, 'host'),
    environment: checks.optionalLabel(request.environment, 'environment'),
    state: request.state,
    port: request.port,
  };
  checks.done();
  return filter;
}
