/** Requests of OperationsService that are about hosts. Each parser throws InvalidRequest with all that is wrong. */
import type { Duration } from '../../shared/gen/google/protobuf/duration.js';
import { Role as WireRole } from '../../shared/gen/portlease/v1/agents.js';
import type { HoldHostRequest, Host, OverrideMassLossRequest } from '../../shared/gen/portlease/v1/operations.js';
import { durationToMs, leakId } from '../../shared/wire.js';
import type { Role } from '../book/types.js';
import { Checks } from './checks.js';
import { checkPublicHost, MAX_DESCRIPTION, PRINTABLE } from './parse-operations.js';

const MAX_HOLD_MS = 30 * 86_400_000;

export function parseHost(host: Host | undefined): { gateway: string; host: string; roles: Role[]; failureDomain: string; publicHost: string } {
  const checks = new Checks();
  if (host === undefined) checks.add('host', 'is missing');
  const { host: name = '', gateway = '', failureDomain = '', publicHost = '' } = host ?? {};
  checks.label(name, 'host.host');
  checks.label(gateway, 'host.gateway');
  checks.optionalLabel(failureDomain, 'host.failure_domain');
  if (publicHost !== '') checkPublicHost(publicHost, 'host.public_host', checks);
  const roles = (host?.roles ?? []).map((role, i) => roleOf(role, `host.roles[${i}]`, checks));
  checks.done();
  return { gateway, host: name, roles: [...new Set(roles)], failureDomain, publicHost };
}

function roleOf(role: WireRole, field: string, checks: Checks): Role {
  switch (role) {
    case WireRole.ROLE_HOST: return 'host';
    case WireRole.ROLE_GATEWAY: return 'gateway';
    case WireRole.ROLE_UNSPECIFIED: checks.add(field, 'is missing: ROLE_HOST or ROLE_GATEWAY'); return 'host';
    default: checks.add(field, `${String(role)} is not a value of Role`); return 'host';
  }
}

/** Of ReplaceHost, ReclaimHost and ForgetHost: a host, and why. */
export function parseHostAndReason({ host, reason }: { host: string; reason: string }): { host: string; reason: string } {
  const checks = new Checks();
  checks.label(host, 'host');
  checkReason(reason, 1, checks);
  checks.done();
  return { host, reason };
}

/** A host, and why, if the caller says so. */
export function parseHostNote({ host, reason }: { host: string; reason: string }): { host: string; reason: string } {
  const checks = new Checks();
  checks.label(host, 'host');
  checkReason(reason, 0, checks);
  checks.done();
  return { host, reason };
}

/** A leak of a host, and why it is resolved, if the caller says so. */
export function parseLeak({ host, leak, reason }: { host: string; leak: string; reason: string }): { host: string; leak: string; reason: string } {
  const checks = new Checks();
  checks.label(host, 'host');
  checks.take(() => leakId(leak, 'leak'), '');
  checkReason(reason, 0, checks);
  checks.done();
  return { host, leak, reason };
}

export function parseHold({ host, reason, duration }: HoldHostRequest): { host: string; reason: string; forMs: number } {
  const checks = new Checks();
  checks.label(host, 'host');
  checkReason(reason, 0, checks);
  const forMs = durationWithin(duration, { field: 'duration', maxMs: MAX_HOLD_MS }, checks);
  checks.done();
  return { host, reason, forMs };
}

export function parseOverride({ gateway, failureDomain, reason, duration }: OverrideMassLossRequest): { gateway: string; failureDomain: string; reason: string; forMs: number } {
  const checks = new Checks();
  checks.label(gateway, 'gateway');
  checks.optionalLabel(failureDomain, 'failure_domain');
  checkReason(reason, 1, checks);
  const forMs = durationWithin(duration, { field: 'duration', maxMs: MAX_HOLD_MS }, checks);
  checks.done();
  return { gateway, failureDomain, reason, forMs };
}

function durationWithin(value: Duration | undefined, { field, maxMs }: { field: string; maxMs: number }, checks: Checks): number {
  if (value === undefined) checks.add(field, 'is missing');
  const ms = checks.take(() => durationToMs(value ?? { seconds: 0, nanos: 0 }, field), 0);
  if (ms > maxMs) checks.add(field, `is more than ${maxMs / 86_400_000} days`);
  return ms;
}

export function checkReason(reason: string, least: 0 | 1, checks: Checks): void {
  const fits = reason.length >= least && reason.length <= MAX_DESCRIPTION && PRINTABLE.test(reason);
  if (!fits) checks.add('reason', `is ${least}-${MAX_DESCRIPTION} characters without control characters, for the audit record`);
}
