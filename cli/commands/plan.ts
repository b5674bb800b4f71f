/** `portlease plan check`: needs no coordinator. */
import type { Command } from 'commander';
import { durationToMs } from '../../shared/wire.js';
import { packageFile } from '../../shared/package-files.js';
import { checkPlan, type Fleet, type PlanPool, type PoolCheck } from '../../shared/plan-check.js';
import type { Pool } from '../../shared/gen/portlease/v1/operations.js';
import { EXIT } from '../exit.js';
import { choice, dnsLabel, durationMs, keyAndValue, wholeNumber } from '../fields.js';
import { collect, needed, optional, text, texts } from '../flags.js';
import type { Act, Flags, Job, Result } from '../job.js';
import { poolFromFile, scalar } from '../pool-fields.js';
import { table, type Column } from '../table.js';
import { UsageError } from '../usage.js';
import { readYaml } from '../yaml-file.js';

const PLANS = ['service', 'domain'] as const;
const MAX_HOSTS = 1_000_000;
const MAX_ENVS = 10_000;
const MAX_PORTS = 256;
const DEFAULT_QUARANTINE_MS = 60_000;
const DEFAULT_LIFETIME_MS = 3_600_000;
const REMEDY = `Name ${PLANS.join(' or ')}, or a YAML file: "pools:" with one entry a pool ("pool: NAME", "ranges: [30000-30999]").`;

type Plan = { plan: string; pools: PlanPool[] };
type Checked = { plan: string; checks: PoolCheck[] };

export function addPlan(program: Command, act: Act): void {
  const plan = program.command('plan').description('port plans');
  plan.command('check')
    .description('say whether a port plan suffices for a fleet; exits with 1 when it does not')
    .option('--hosts <count>', 'hosts of the gateway')
    .option('--envs-per-host <count>', 'environments that run on a host at the same time')
    .option('--plan <plan>', `${PLANS.join(' or ')}, or a YAML file with pools (default: both)`)
    .option('--ports <pool=count>', 'ports that each environment takes of this pool (repeatable; default: one of each)', collect)
    .option('--lifetime <time>', 'how long an environment lives: the shorter, the more ports rest (default: 1h)')
    .option('--scope <scope>', 'shared: one port space for all hosts; host: one each (default: shared)')
    .action(act(prepareCheck));
}

function prepareCheck(_args: readonly string[], flags: Flags): Job {
  const fleet = {
    hosts: needed(flags, 'hosts', (flag, value) => wholeNumber(flag, value, { min: 1, max: MAX_HOSTS }), 'Say how many hosts there are: --hosts 300'),
    envsPerHost: needed(flags, 'envsPerHost', (flag, value) => wholeNumber(flag, value, { min: 1, max: MAX_ENVS }), 'Say how many environments run on one: --envs-per-host 8'),
    lifetimeMs: optional(flags, 'lifetime', (flag, value) => durationMs(flag, value, 1_000)) ?? DEFAULT_LIFETIME_MS,
    scope: optional(flags, 'scope', (flag, value) => choice(flag, value, { shared: 'shared', host: 'host' } as const)) ?? 'shared',
  };
  const name = text(flags, 'plan');
  const plans = name === undefined ? PLANS.map(readyMade) : [(PLANS as readonly string[]).includes(name) ? readyMade(name) : planOf(name, name)];
  const given = portsGiven(texts(flags, 'ports'), plans);
  const checked = plans.map(({ plan, pools }): Checked => ({ plan, checks: checkPlan(pools, { ...fleet, portsPerEnv: given ?? oneOfEach(pools) }) }));
  return { what: 'check the plan', run: () => Promise.resolve(resultOf(checked, fleet)) };
}

function readyMade(name: string): Plan {
  return planOf(name, packageFile(`coordinator/plans/${name}.yaml`));
}

function planOf(plan: string, path: string): Plan {
  const content = readYaml('--plan', path, REMEDY);
  const pools: unknown = typeof content === 'object' && content !== null && 'pools' in content ? content.pools : undefined;
  if (!Array.isArray(pools) || pools.length === 0) throw new UsageError(`--plan: ${plan} has no list of pools`, REMEDY);
  return { plan, pools: pools.map((entry: unknown, i) => poolOf(`--plan: pools[${i}]`, entry)) };
}

function poolOf(at: string, entry: unknown): PlanPool {
  if (typeof entry !== 'object' || entry === null) throw new UsageError(`${at} is not a pool`, REMEDY);
  const { pool: name, domainTemplate: _, ...fields } = entry as Record<string, unknown>;
  const pool: Partial<Pool> = poolFromFile(at, fields);
  if (pool.ranges === undefined) throw new UsageError(`${at}: ranges is missing`, REMEDY);
  return {
    pool: dnsLabel(`${at}: pool`, scalar(`${at}: pool`, name)), ranges: pool.ranges, reserved: pool.reserved ?? [],
    quarantineMs: pool.quarantine === undefined ? DEFAULT_QUARANTINE_MS : durationToMs(pool.quarantine),
  };
}

/** undefined: nothing was said. */
function portsGiven(given: readonly string[], plans: readonly Plan[]): Fleet['portsPerEnv'] | undefined {
  if (given.length === 0) return undefined;
  const known = plans.flatMap(({ pools }) => pools.map(({ pool }) => pool));
  return new Map(given.map((one) => {
    const [pool, count] = keyAndValue('--ports', one);
    if (!known.includes(pool)) throw new UsageError(`--ports: there is no pool ${dnsLabel('--ports', pool)}`, `Name one of ${known.join(', ')}.`);
    return [pool, wholeNumber('--ports', count, { min: 0, max: MAX_PORTS })] as const;
  }));
}

/** Of each pool that gives out any. */
function oneOfEach(pools: readonly PlanPool[]): Fleet['portsPerEnv'] {
  return new Map(pools.filter(({ ranges, reserved }) => JSON.stringify(ranges) !== JSON.stringify(reserved)).map(({ pool }) => [pool, 1]));
}

const COLUMNS: readonly Column<PoolCheck & { plan: string }>[] = [
  { header: 'PLAN', cell: ({ plan }) => plan },
  { header: 'POOL', cell: ({ pool }) => pool },
  { header: 'VERDICT', cell: ({ verdict }) => verdict },
  { header: 'USABLE', align: 'right', cell: ({ usable }) => usable },
  { header: 'NEEDED', align: 'right', cell: ({ needed: ports }) => ports },
  { header: 'IN BLOCKS', align: 'right', cell: ({ inBlocks }) => inBlocks },
  { header: 'RESTING', align: 'right', cell: ({ resting }) => resting },
  { header: 'MISSING', align: 'right', cell: ({ missing }) => missing },
  { header: 'FITS/HOST', align: 'right', cell: ({ envsPerHost }) => (envsPerHost === Infinity ? '' : envsPerHost) },
];

function resultOf(plans: readonly Checked[], { hosts, envsPerHost }: { hosts: number; envsPerHost: number }): Result {
  const isShort = plans.some(({ checks }) => checks.some(({ verdict }) => verdict === 'short'));
  return {
    json: { plans: plans.map(({ plan, checks }) => ({ plan, suffices: !checks.some(({ verdict }) => verdict === 'short'), pools: checks.map(finite) })) },
    text: table(COLUMNS, plans.flatMap(({ plan, checks }) => checks.map((check) => ({ plan, ...check })))),
    next: plans.flatMap(({ plan, checks }) => hints(plan, checks, `${hosts} hosts with ${envsPerHost} environments each`)),
    exitCode: isShort ? EXIT.refused : EXIT.ok,
  };
}

function finite(check: PoolCheck): object {
  const { envsPerHost, ...rest } = check;
  return envsPerHost === Infinity ? rest : { ...rest, envsPerHost };
}

function hints(plan: string, checks: readonly PoolCheck[], fleet: string): string[] {
  const short = checks.filter(({ verdict }) => verdict === 'short');
  const tight = checks.filter(({ verdict }) => verdict === 'tight').map(({ pool }) => pool);
  return [
    ...short.map(({ pool, missing, envsPerHost }) => `plan ${plan} is ${missing} ports of ${pool} short for ${fleet}: give the pool more ranges, use several gateways or scope host, or at most ${envsPerHost} environments a host`),
    ...(tight.length === 0 ? [] : [`plan ${plan} is tight in ${tight.join(', ')}: hosts give idle ports back to each other, so some allocations wait for that`]),
    ...(short.length + tight.length === 0 ? [`plan ${plan} suffices for ${fleet}`] : []),
  ];
}
