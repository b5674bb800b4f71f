/** The coordinator's config: /etc/portlease/coordinator.yaml, overridden by PORTLEASE_COORDINATOR_… variables, overridden by --set. */
import { z } from 'zod';
import { usageOf, type Arguments } from '../shared/arguments.js';
import { durationMs, endpointText, filePathText, loadConfig, tlsFiles } from '../shared/config.js';
import { namesTaken } from '../shared/domain.js';
import { LOG_LEVELS } from '../shared/log.js';
import { listenPolicy } from '../shared/tls.js';
import type { Timing } from './book/types.js';
import { gatewaySeed, overlapsOf } from './config/pools.js';
import { isTimeZone, parseTimeOfDay } from './purge/schedule.js';

const DEFAULT_CONFIG_PATH = '/etc/portlease/coordinator.yaml';

const ENV_PREFIX = 'PORTLEASE_COORDINATOR_';
const MAX_SOCKET_PATH = 100;
const TIME_WORDS = 'is not a time of day, as in "02:00"';

function between(minMs: number, maxMs: number) {
  return durationMs.refine((ms) => ms >= minMs && ms <= maxMs, { error: `is not between ${minMs} and ${maxMs} ms` });
}

const timing = z.strictObject({
  /** H: how often agents send a heartbeat. */
  heartbeat: between(50, 600_000).prefault('5s'),
  /** D: how long a heartbeat may take. */
  deadline: between(50, 600_000).prefault('3s'),
  /** J: without a heartbeat for so long a host gets no new ports. */
  suspect: between(50, 3_600_000).prefault('15s'),
  /** T: without a heartbeat for so long its leases expire. */
  lost: between(50, 86_400_000).prefault('120s'),
}).transform(({ heartbeat, deadline, suspect, lost }): Timing => ({ heartbeatMs: heartbeat, deadlineMs: deadline, suspectMs: suspect, lostMs: lost }))
  .superRefine(({ heartbeatMs, deadlineMs, suspectMs, lostMs }, context) => {
    const say = (key: string, message: string): void => { context.addIssue({ code: 'custom', path: [key], message, input: key }); };
    const soonest = heartbeatMs + 2 * deadlineMs;
    if (soonest > suspectMs) say('suspect', `is ${suspectMs} ms: timing.heartbeat + 2 × timing.deadline = ${soonest} ms is the least`);
    if (suspectMs >= lostMs) say('lost', `is ${lostMs} ms: it has to be longer than timing.suspect = ${suspectMs} ms`);
  });

const DAY_MS = 86_400_000;

const purge = z.strictObject({
  /** Local time of day. */
  at: z.string({ error: TIME_WORDS }).transform((text, context) => {
    const time = parseTimeOfDay(text);
    if (time !== undefined) return time;
    context.addIssue({ code: 'custom', message: TIME_WORDS });
    return z.NEVER;
  }).prefault('02:00'),
  /** Whose local time; this machine's when it is not given. */
  timeZone: z.string().refine(isTimeZone, { error: 'is not a time zone, as in "Europe/Berlin"' }).optional(),
  /** How long records of released ports are kept. */
  releasedAfter: between(60_000, 3650 * DAY_MS).prefault('7d'),
  /** How long a watcher may have been away. */
  eventsAfter: between(60_000, 3650 * DAY_MS).prefault('7d'),
  auditAfter: between(60_000, 3650 * DAY_MS).prefault('180d'),
}).transform(({ at, timeZone, releasedAfter, eventsAfter, auditAfter }) => ({
  at, timeZone, ages: { releasedAfterMs: releasedAfter, eventsAfterMs: eventsAfter, auditAfterMs: auditAfter },
}));

/** What is there without what it is for. */
const leaks = z.strictObject({
  /** repair: the port of a container that has gone is released. */
  mappings: z.enum(['report', 'repair'], { error: 'is not a policy: report or repair' }).prefault('report'),
});

export const coordinatorConfigSchema = z.strictObject({
  listen: z.strictObject({
    grpc: endpointText.refine((endpoint) => endpoint.kind === 'tcp', { error: 'is a unix socket: that is listen.unix' }).prefault('127.0.0.1:7410'),
    /** For operators on this machine: only root and the daemon's user can connect. */
    unix: filePathText.refine((path) => path.length <= MAX_SOCKET_PATH, { error: `has more than ${MAX_SOCKET_PATH} characters` }).prefault('/run/portlease/coordinator.sock'),
  }).prefault({}),
  database: z.strictObject({ path: filePathText.prefault('/var/lib/portlease/coordinator.db') }).prefault({}),
  timing: timing.prefault({}),
  /** known: hosts are created by an operator. any: by their first hello as well. */
  admit: z.enum(['known', 'any'], { error: 'is not known or any' }).prefault('known'),
  /** Once a day old records go. */
  purge: purge.prefault({}),
  leaks: leaks.prefault({}),
  tls: tlsFiles.optional(),
  /** Allows plaintext beyond loopback. */
  insecure: z.boolean({ error: 'is not true or false' }).prefault(false),
  log: z.strictObject({ level: z.enum(LOG_LEVELS, { error: `is not one of ${LOG_LEVELS.join(', ')}` }).prefault('info') }).prefault({}),
  gateways: z.array(gatewaySeed).prefault([]),
}).superRefine(({ listen, tls, insecure, gateways }, context) => {
  const say = (path: PropertyKey[], message: string): void => { context.addIssue({ code: 'custom', path, message, input: path }); };
  const verdict = listenPolicy({ endpoint: listen.grpc, tls: tls !== undefined, insecure });
  if (verdict.kind === 'refused') say(['listen', 'grpc'], `: ${verdict.message}`);
  for (const { at, pool, name, gateway } of namesTaken(gateways)) {
    say(['gateways', at, 'pools'], `: pool ${pool} gives its environments the names ${name}, as gateway ${gateway} does: put {gateway} in the template`);
  }
  for (const [i, { gateway, pools }] of gateways.entries()) {
    if (gateways.findIndex((other) => other.gateway === gateway) < i) say(['gateways', i, 'gateway'], 'is the name of another gateway');
    for (const message of overlapsOf(pools, ownPortsOf(listen))) say(['gateways', i, 'pools'], message);
    for (const [at, { pool }] of pools.entries()) {
      if (pools.findIndex((other) => other.pool === pool) < at) say(['gateways', i, 'pools'], `two pools are called ${pool}`);
    }
  }
});

export type CoordinatorConfig = z.output<typeof coordinatorConfigSchema>;

/** Ports that no pool may have. */
function ownPortsOf({ grpc }: CoordinatorConfig['listen']): number[] {
  return grpc.port === 0 ? [] : [grpc.port];
}

type Env = Readonly<Record<string, string | undefined>>;

/** Throws ConfigError, which names the key of each problem. */
export function loadCoordinatorConfig({ configPath, set }: Pick<Arguments, 'configPath' | 'set'>, env: Env): CoordinatorConfig {
  const named = configPath ?? env[`${ENV_PREFIX}CONFIG`];
  const file = { path: named ?? DEFAULT_CONFIG_PATH, optional: named === undefined };
  return loadConfig({ schema: coordinatorConfigSchema, file, env, flags: set, envPrefix: ENV_PREFIX });
}

export const USAGE = usageOf('portlease-coordinator', { defaultPath: DEFAULT_CONFIG_PATH, envPrefix: ENV_PREFIX, example: 'timing.heartbeat=1s' });
