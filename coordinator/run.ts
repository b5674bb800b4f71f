/** All parts of a coordinator, put together and taken apart in reverse. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Clock } from '../shared/clock.js';
import { ConfigError } from '../shared/config.js';
import { endpointAddress } from '../shared/grpc.js';
import type { Log } from '../shared/log.js';
import { createNotifier, watchdogIntervalMs } from '../shared/notify.js';
import { systemTimers } from '../shared/timers.js';
import { listenPolicy, loadTls } from '../shared/tls.js';
import type { CoordinatorConfig } from './config.js';
import { SqliteJournal } from './journal/sqlite/journal.js';
import { Gateways } from './keeper/gateways.js';
import { packageFile, packageVersion } from '../shared/package-files.js';
import { ADMISSION, Admission } from './rpc/admission.js';
import { auditPurge } from './purge/audit.js';
import { Purger } from './purge/purger.js';
import { dailyAt } from './purge/schedule.js';
import { startServer } from './rpc/server.js';
import { applySeeds } from './seeds.js';

export type CoordinatorOptions = {
  config: CoordinatorConfig;
  log: Log;
  clock: Clock;
  /** Uniform in [0, 1). */
  random: () => number;
  /** What systemd says: NOTIFY_SOCKET, WATCHDOG_USEC. */
  env: Readonly<Record<string, string | undefined>>;
};

export type RunningCoordinator = {
  /** Port of the gRPC listener. */
  port: number;
  /** Stops accepting, finishes what is in flight within some seconds, lets go of the database. May be called again. */
  close: () => Promise<void>;
};

type Closer = () => Promise<void> | void;

const GRACE_MS = 3000;

/** Resolves when the coordinator serves. Throws what is wrong with config, database or addresses. */
export async function runCoordinator(options: CoordinatorOptions): Promise<RunningCoordinator> {
  const { config, log, env } = options;
  const closers: Closer[] = [];
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => (closing ??= closeAll(closers, log));
  try {
    const notifier = createNotifier({ socket: env['NOTIFY_SOCKET'], log });
    const { server, gateways } = await start(options, closers);
    const stopFeeding = feedWatchdog({ ...options, gateways, feed: () => notifier.watchdog() });
    closers.push(stopFeeding);
    await notifier.ready();
    closers.push(() => notifier.stopping());
    log.info({ listen: endpointAddress(config.listen.grpc), port: server.port, unix: config.listen.unix, version: packageVersion() }, 'serving');
    return { port: server.port, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function start({ config, log, clock, random }: CoordinatorOptions, closers: Closer[]) {
  const tls = config.tls === undefined ? undefined : tlsOf(config.tls);
  const verdict = listenPolicy({ endpoint: config.listen.grpc, tls: tls !== undefined, insecure: config.insecure });
  if (verdict.kind === 'warned') log.warn(verdict.warning);
  mkdirSync(path.dirname(config.database.path), { recursive: true, mode: 0o700 });
  const journal = await SqliteJournal.open({ path: config.database.path });
  closers.push(() => journal.close());
  let tellHealth: (serving: boolean) => void = () => undefined;
  const { timing, leaks } = config;
  const gateways = await Gateways.open({ journal, timing, leakPolicy: leaks.mappings, clock, random, log, onHealth: (serving) => { tellHealth(serving); } });
  closers.push(() => gateways.close());
  await applySeeds(gateways, config.gateways, log);
  const purger = new Purger({
    journal, clock, log, timers: systemTimers, schedule: dailyAt(config.purge.at, config.purge.timeZone), ages: config.purge.ages,
    audit: (actor, before) => auditPurge(gateways, { actor, before }),
  });
  closers.push(() => purger.close());
  purger.start();
  const server = await startServer({
    gateways, purger, log, timing, clock, tls,
    listen: config.listen,
    admission: new Admission(ADMISSION, random),
    admitsUnknown: config.admit === 'any',
    version: packageVersion(),
    startedAtMs: clock.nowMs(),
    journalStatus: () => journal.status(),
    descriptors: descriptors(log),
  });
  tellHealth = server.setServing;
  tellHealth(gateways.serving);
  closers.push(() => {
    const closed = server.close(GRACE_MS);
    gateways.dismiss();
    return closed;
  });
  return { server, gateways };
}

function tlsOf(files: NonNullable<CoordinatorConfig['tls']>) {
  try {
    return loadTls(files);
  } catch (error) {
    throw new ConfigError([(error as Error).message]);
  }
}

function descriptors(log: Log): Uint8Array | undefined {
  const file = packageFile('dist/descriptors.binpb');
  if (existsSync(file)) return readFileSync(file);
  log.warn({ file }, 'no reflection: the descriptors are not there, `npm run build` makes them');
  return undefined;
}

type Watchdog = Pick<CoordinatorOptions, 'env' | 'clock' | 'config'> & { gateways: Gateways; feed: () => Promise<void> };

/** Fed as long as every book lets time pass: a journal that fails does not get better by a restart. */
function feedWatchdog({ env, clock, config, gateways, feed }: Watchdog): () => void {
  const everyMs = watchdogIntervalMs(env['WATCHDOG_USEC']);
  if (everyMs === undefined) return () => undefined;
  const timer = setInterval(() => {
    const overdueMs = 2 * config.timing.heartbeatMs;
    if (gateways.all().every(({ lastTickMs }) => clock.nowMs() - lastTickMs < overdueMs)) void feed();
  }, everyMs);
  return () => { clearInterval(timer); };
}

/** Last opened, first closed; each is closed even when another fails. */
async function closeAll(closers: Closer[], log: Log): Promise<void> {
  for (const close of closers.splice(0).reverse()) {
    try {
      await close();
    } catch (error) {
      log.error({ err: error }, 'something did not close');
    }
  }
}
