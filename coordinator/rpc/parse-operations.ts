/** Requests of OperationsService, checked field by field. Each parser throws InvalidRequest with all that is wrong. */
import type { Duration } from '../../shared/gen/google/protobuf/duration.js';
import type { PortRange as WireRange } from '../../shared/gen/portlease/v1/common.js';
import { GatewayScope, IdleAction as WireIdleAction, Strategy as WireStrategy, Pool, type Gateway, type UpdatePoolRequest } from '../../shared/gen/portlease/v1/operations.js';
import { shown } from '../../shared/fields.js';
import { isDomainTemplate, isPublicHost } from '../../shared/names.js';
import { MAX_PORT, type PortRange } from '../../shared/ports.js';
import { durationToMs, protocolFromWire, rangeFromWire } from '../../shared/wire.js';
import type { IdleAction, PoolSpec, Protocol, Scope, Strategy } from '../book/types.js';
import { tlsModeFromWire } from '../../shared/wire/connections.js';
import { Checks } from './checks.js';
import { onConflictFromWire } from './parse-ports.js';
import { POOL_DEFAULTS } from '../pool-defaults.js';

const MAX_RANGES = 64;
const MAX_RESERVED = 256;
const MAX_ALIASES = 16;
export const MAX_DESCRIPTION = 256;
const MAX_DURATION_MS = 3650 * 86_400_000;
export const PRINTABLE = /^\P{Cc}*$/u;

export function parseGateway(gateway: Gateway | undefined): { gateway: string; scope: Scope; publicHost: string } {
  const checks = new Checks();
  if (gateway === undefined) checks.add('gateway', 'is missing');
  checks.label(gateway?.gateway ?? '', 'gateway.gateway');
  const scope = scopeOf(gateway?.scope ?? GatewayScope.GATEWAY_SCOPE_UNSPECIFIED, checks);
  const publicHost = gateway?.publicHost ?? '';
  if (scope === 'shared' || publicHost !== '') checkPublicHost(publicHost, 'gateway.public_host', checks);
  if (scope === 'host' && publicHost !== '') checks.add('gateway.public_host', 'belongs to the hosts in scope host: leave it out');
  checks.done();
  return { gateway: gateway?.gateway ?? '', scope, publicHost };
}

function scopeOf(value: GatewayScope, checks: Checks): Scope {
  switch (value) {
    case GatewayScope.GATEWAY_SCOPE_SHARED: return 'shared';
    case GatewayScope.GATEWAY_SCOPE_HOST: return 'host';
    case GatewayScope.GATEWAY_SCOPE_UNSPECIFIED: checks.add('gateway.scope', 'is missing: GATEWAY_SCOPE_SHARED or GATEWAY_SCOPE_HOST'); break;
    default: checks.add('gateway.scope', `${String(value)} is not a value of GatewayScope`);
  }
  return 'shared';
}

export function checkPublicHost(value: string, field: string, checks: Checks): void {
  if (!isPublicHost(value)) checks.add(field, value === '' ? 'is missing' : `${shown(value)} is neither a DNS name nor an IP address`);
}

/** `fields`: those that an update names; undefined: all of a new pool. */
export function parsePool(pool: Pool | undefined, fields?: ReadonlySet<string>): { gateway: string; spec: PoolSpec } {
  const checks = new Checks();
  if (pool === undefined) checks.add('pool', 'is missing');
  const value = pool ?? Pool.create();
  checks.label(value.gateway, 'pool.gateway');
  checks.label(value.pool, 'pool.pool');
  const asked = (field: string): boolean => pool !== undefined && (fields === undefined || fields.has(field));
  const spec: PoolSpec = {
    pool: value.pool,
    ...parseNaming(value, asked, checks),
    ...parsePorts(value, asked, checks),
    ...parseTimes(value, asked, checks),
    strategy: asked('strategy') ? strategyOf(value.strategy, checks) : 'leastRecentlyUsed',
    idleAction: asked('idle_action') ? idleActionOf(value.idleAction, checks) : 'report',
    onConflict: asked('on_conflict') ? onConflictFromWire(value.onConflict, 'pool.on_conflict', checks) ?? 'block' : 'block',
    tls: asked('tls') ? checks.take(() => tlsModeFromWire(value.tls, 'pool.tls'), 'none') : 'none',
  };
  checks.done();
  return { gateway: value.gateway, spec };
}

type Asked = (field: string) => boolean;

function parseNaming(pool: Pool, asked: Asked, checks: Checks): Pick<PoolSpec, 'description' | 'serviceType' | 'aliases' | 'domainTemplate'> {
  const { description, serviceType, aliases, domainTemplate } = pool;
  if (asked('description') && (description.length > MAX_DESCRIPTION || !PRINTABLE.test(description))) checks.add('pool.description', `is at most ${MAX_DESCRIPTION} characters without control characters`);
  if (asked('service_type')) checks.optionalLabel(serviceType, 'pool.service_type');
  if (asked('aliases')) {
    if (aliases.length > MAX_ALIASES) checks.add('pool.aliases', `has ${aliases.length} elements; at most ${MAX_ALIASES} are allowed`);
    for (const [i, alias] of aliases.slice(0, MAX_ALIASES).entries()) checks.label(alias, `pool.aliases[${i}]`);
  }
  if (asked('domain_template') && domainTemplate !== '' && !isDomainTemplate(domainTemplate)) {
    checks.add('pool.domain_template', `${shown(domainTemplate)} is not a host name made of a-z 0-9 . - {env} {service} {gateway}`);
  }
  return { description, serviceType, aliases, domainTemplate };
}

function parsePorts(pool: Pool, asked: Asked, checks: Checks): Pick<PoolSpec, 'ranges' | 'reserved' | 'protocol' | 'defaultInternalPort'> {
  const ranges = asked('ranges') ? rangesOf(pool.ranges, { field: 'pool.ranges', max: MAX_RANGES }, checks) : [];
  if (asked('ranges') && pool.ranges.length === 0) checks.add('pool.ranges', 'is empty: name at least one range');
  const reserved = asked('reserved') ? rangesOf(pool.reserved, { field: 'pool.reserved', max: MAX_RESERVED }, checks) : [];
  const protocol = asked('protocol') ? checks.take<Protocol>(() => protocolFromWire(pool.protocol, 'pool.protocol'), 'tcp') : 'tcp';
  if (asked('default_internal_port') && pool.defaultInternalPort > MAX_PORT) checks.add('pool.default_internal_port', `${pool.defaultInternalPort} is not a port: 1-${MAX_PORT}, or 0 for none`);
  return { ranges, reserved, protocol, defaultInternalPort: pool.defaultInternalPort };
}

function rangesOf(values: readonly WireRange[], { field, max }: { field: string; max: number }, checks: Checks): PortRange[] {
  if (values.length > max) checks.add(field, `has ${values.length} elements; at most ${max} are allowed`);
  return values.slice(0, max).map((value, i) => checks.take(() => rangeFromWire(value, `${field}[${i}]`), { first: 1, last: 1 }));
}

function parseTimes(pool: Pool, asked: Asked, checks: Checks): Pick<PoolSpec, 'quarantineMs' | 'holdMs' | 'idleLimitMs' | 'idleWarningMs' | 'connectionTimeoutMs'> {
  const ms = (field: string, value: Duration | undefined, otherwise: number): number =>
    (asked(field) && value !== undefined ? durationOf(value, `pool.${field}`, checks) : otherwise);
  return {
    quarantineMs: ms('quarantine', pool.quarantine, POOL_DEFAULTS.quarantineMs),
    holdMs: ms('hold', pool.hold, POOL_DEFAULTS.holdMs),
    idleLimitMs: ms('idle_limit', pool.idleLimit, POOL_DEFAULTS.idleLimitMs),
    idleWarningMs: ms('idle_warning', pool.idleWarning, POOL_DEFAULTS.idleWarningMs),
    connectionTimeoutMs: ms('connection_timeout', pool.connectionTimeout, POOL_DEFAULTS.connectionTimeoutMs),
  };
}

function durationOf(value: Duration, field: string, checks: Checks): number {
  const ms = checks.take(() => durationToMs(value, field), 0);
  if (ms > MAX_DURATION_MS) checks.add(field, 'is more than 3650 days');
  return ms;
}

function strategyOf(value: WireStrategy, checks: Checks): Strategy {
  switch (value) {
    case WireStrategy.STRATEGY_UNSPECIFIED:
    case WireStrategy.STRATEGY_LEAST_RECENTLY_USED: return 'leastRecentlyUsed';
    case WireStrategy.STRATEGY_SEQUENTIAL: return 'sequential';
    case WireStrategy.STRATEGY_RANDOM: return 'random';
    default: checks.add('pool.strategy', `${String(value)} is not a value of Strategy`); return 'leastRecentlyUsed';
  }
}

function idleActionOf(value: WireIdleAction, checks: Checks): IdleAction {
  switch (value) {
    case WireIdleAction.IDLE_ACTION_UNSPECIFIED:
    case WireIdleAction.IDLE_ACTION_REPORT: return 'report';
    case WireIdleAction.IDLE_ACTION_RELEASE: return 'release';
    default: checks.add('pool.idle_action', `${String(value)} is not a value of IdleAction`); return 'report';
  }
}

/** Fields of Pool that an update may name, and the fields of the record that they change. */
const UPDATABLE: Record<string, keyof PoolSpec> = {
  description: 'description', service_type: 'serviceType', aliases: 'aliases', ranges: 'ranges', protocol: 'protocol',
  default_internal_port: 'defaultInternalPort', strategy: 'strategy', reserved: 'reserved', quarantine: 'quarantineMs', hold: 'holdMs',
  idle_limit: 'idleLimitMs', idle_action: 'idleAction', idle_warning: 'idleWarningMs', connection_timeout: 'connectionTimeoutMs', domain_template: 'domainTemplate',
  on_conflict: 'onConflict', tls: 'tls',
};

export function parsePoolUpdate({ pool, updateMask, drain }: UpdatePoolRequest): { gateway: string; pool: string; change: Partial<Omit<PoolSpec, 'pool'>>; drain: boolean } {
  const checks = new Checks();
  const paths = [...new Set(updateMask ?? [])];
  if (paths.length === 0) checks.add('update_mask', `is empty: name at least one of ${Object.keys(UPDATABLE).join(', ')}`);
  for (const path of paths) {
    if (!Object.hasOwn(UPDATABLE, path)) checks.add('update_mask', `${shown(path)} is not a field that can be changed: ${Object.keys(UPDATABLE).join(', ')}`);
  }
  checks.done();
  const { gateway, spec } = parsePool(pool, new Set(paths));
  const fields = paths.map((path) => UPDATABLE[path]).filter((field) => field !== undefined);
  const change: Partial<Omit<PoolSpec, 'pool'>> = Object.fromEntries(fields.map((field) => [field, spec[field]]));
  return { gateway, pool: spec.pool, change, drain };
}
