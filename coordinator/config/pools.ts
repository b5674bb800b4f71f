/** Gateways and pools as a config has them: seeds, applied only where there is none of the name. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';
import { dnsLabelText, durationMs } from '../../shared/config.js';
import { isDomainTemplate, isPublicHost } from '../../shared/names.js';
import { isPort, MAX_PORT, overlaps, rangeText, type PortRange } from '../../shared/ports.js';
import type { PoolSpec, Scope } from '../book/types.js';
import { packageFile } from '../../shared/package-files.js';
import { POOL_DEFAULTS } from '../pool-defaults.js';

export type GatewaySeed = { gateway: string; scope: Scope; publicHost: string; pools: PoolSpec[] };

const PLANS = ['service', 'domain'] as const;
export type Plan = (typeof PLANS)[number];

const RANGE_WORDS = `is not a range of ports, as in "30000-30999" or "30000", between 1 and ${MAX_PORT}`;

/** "30000-30999", "30000" or 30000. */
const portRange = z.union([z.string(), z.number()], { error: RANGE_WORDS }).transform((value, context): PortRange => {
  const [, low, high = low] = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(String(value)) ?? [];
  const range = { first: Number(low), last: Number(high) };
  if (isPort(range.first) && isPort(range.last) && range.first <= range.last) return range;
  context.addIssue({ code: 'custom', message: RANGE_WORDS });
  return z.NEVER;
});

const publicHost = z.string().refine(isPublicHost, { error: 'is neither a DNS name nor an IP address' });

const pool = z.strictObject({
  pool: dnsLabelText,
  description: z.string().max(256, { error: 'has more than 256 characters' }).regex(/^\P{Cc}*$/u, { error: 'has control characters' }).prefault(''),
  serviceType: z.union([dnsLabelText, z.literal('')]).prefault(''),
  aliases: z.array(dnsLabelText).max(16, { error: 'has more than 16 elements' }).prefault([]),
  ranges: z.array(portRange).min(1, { error: 'is empty: name at least one range' }).max(64, { error: 'has more than 64 ranges' }),
  protocol: z.enum(['tcp', 'udp', 'tcp+udp'], { error: 'is not tcp, udp or tcp+udp' }),
  defaultInternalPort: z.number().int().min(0).max(MAX_PORT, { error: `is not a port: 1-${MAX_PORT}, or 0 for none` }).prefault(0),
  strategy: z.enum(['sequential', 'random', 'leastRecentlyUsed'], { error: 'is not sequential, random or leastRecentlyUsed' }).prefault('leastRecentlyUsed'),
  reserved: z.array(portRange).max(256, { error: 'has more than 256 ranges' }).prefault([]),
  quarantine: durationMs.optional(),
  hold: durationMs.optional(),
  idleLimit: durationMs.optional(),
  idleAction: z.enum(['report', 'release'], { error: 'is not report or release' }).prefault('report'),
  onConflict: z.enum(['block', 'renumber'], { error: 'is not block or renumber' }).prefault('block'),
  tls: z.enum(['none', 'terminate', 'passthrough'], { error: 'is not none, terminate or passthrough' }).prefault('none'),
  idleWarning: durationMs.optional(),
  connectionTimeout: durationMs.optional(),
  domainTemplate: z.string().refine((text) => text === '' || isDomainTemplate(text), { error: 'is not a host name made of a-z 0-9 . - {env} {service} {gateway}' }).prefault(''),
}).transform(({ quarantine, hold, idleLimit, idleWarning, connectionTimeout, ...rest }): PoolSpec => ({
  ...rest,
  quarantineMs: quarantine ?? POOL_DEFAULTS.quarantineMs,
  holdMs: hold ?? POOL_DEFAULTS.holdMs,
  idleLimitMs: idleLimit ?? POOL_DEFAULTS.idleLimitMs,
  idleWarningMs: idleWarning ?? POOL_DEFAULTS.idleWarningMs,
  connectionTimeoutMs: connectionTimeout ?? POOL_DEFAULTS.connectionTimeoutMs,
}));

/** One gateway, with its own pools and those of a ready-made plan. */
export const gatewaySeed = z.strictObject({
  gateway: dnsLabelText,
  scope: z.enum(['shared', 'host'], { error: 'is not shared or host' }),
  publicHost: publicHost.optional(),
  /** service: a range a service. domain: equal shares, with host names under `domain`. */
  plan: z.enum(PLANS, { error: `is not ${PLANS.join(' or ')}` }).optional(),
  domain: publicHost.optional(),
  pools: z.array(pool).prefault([]),
}).superRefine((seed, context) => {
  const say = (path: PropertyKey[], message: string): void => { context.addIssue({ code: 'custom', path, message, input: seed }); };
  if (seed.scope === 'shared' && seed.publicHost === undefined) say(['publicHost'], 'is missing: what clients of the gateway connect to');
  if (seed.scope === 'host' && seed.publicHost !== undefined) say(['publicHost'], 'belongs to the hosts in scope host: leave it out');
  if (seed.plan === 'domain' && seed.domain === undefined) say(['domain'], 'is missing: the domain plan makes host names under it');
}).transform(({ plan, domain, pools, publicHost: name = '', ...rest }): GatewaySeed => ({
  ...rest, publicHost: name, pools: [...(plan === undefined ? [] : planPools(plan, domain ?? '')), ...pools],
}));

/** Pools of a plan that ships with portlease. */
export function planPools(plan: Plan, domain: string): PoolSpec[] {
  const text = readFileSync(packageFile(`coordinator/plans/${plan}.yaml`), 'utf8');
  const { pools } = parse(text.replaceAll('DOMAIN"', `${domain.toLowerCase()}"`)) as { pools: unknown };
  return z.array(pool).parse(pools);
}

/** What is wrong with the pools of one gateway together: overlaps, also with ports that portlease itself listens on. */
export function overlapsOf(pools: readonly PoolSpec[], ownPorts: readonly number[]): string[] {
  const all = pools.flatMap(({ pool: name, ranges }) => ranges.map((range) => ({ name, range })));
  const found: string[] = [];
  for (const [i, { name, range }] of all.entries()) {
    for (const other of all.slice(i + 1)) {
      if (overlaps(range, other.range)) found.push(`POOL_OVERLAP: ${rangeText(range)} of pool ${name} overlaps ${rangeText(other.range)} of pool ${other.name}`);
    }
    for (const port of ownPorts) {
      if (overlaps(range, { first: port, last: port })) found.push(`POOL_OVERLAP: ${rangeText(range)} of pool ${name} has port ${port}, which portlease itself listens on`);
    }
  }
  return found;
}
