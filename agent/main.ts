/**
 * The agent's program. Exits with 0 after SIGTERM or SIGINT: connections to the coordinator end, rules of this host stay. Every
 * other status is one of EXIT, with the remedy in the last log line or on standard error.
 */
import { systemClock } from '../shared/clock.js';
import { ConfigError } from '../shared/config.js';
import { createLogger, type Log } from '../shared/log.js';
import { createNotifier, watchdogIntervalMs } from '../shared/notify.js';
import { listenPolicy } from '../shared/tls.js';
import { Agent } from './agent.js';
import { parseArguments, type Arguments } from '../shared/arguments.js';
import { packageVersion } from '../shared/package-files.js';
import { loadAgentConfig, USAGE, type AgentConfig } from './config.js';
import { EXIT, StartRefused } from './exit.js';
import { isUnderSystemd } from './tunnels/launch.js';
import { Progress } from './progress.js';

const CLOSE_MS = 5_000;

async function main(argv: readonly string[]): Promise<number> {
  const args = understood(argv);
  if (args === undefined) return EXIT.usage;
  switch (args.command) {
    case 'help': process.stdout.write(USAGE); return EXIT.ok;
    case 'version': process.stdout.write(`portlease-agent ${packageVersion()}\n`); return EXIT.ok;
    case 'check':
    case 'run': {
      const config = checkedConfig(args);
      if (config === undefined) return EXIT.config;
      if (args.command === 'run') return serve(config);
      process.stdout.write('the config is good\n');
      return EXIT.ok;
    }
    default: return args.command satisfies never;
  }
}

function understood(argv: readonly string[]): Arguments | undefined {
  try {
    return parseArguments(argv);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${USAGE}`);
    return undefined;
  }
}

function checkedConfig(args: Arguments): AgentConfig | undefined {
  try {
    return loadAgentConfig(args, process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return undefined;
  }
}

async function serve(config: AgentConfig): Promise<number> {
  const log = createLogger({ name: 'portlease-agent', level: config.log.level });
  const stopped = stopSignal();
  endOnDefects(log);
  warnOfPlaintext(config, log);
  try {
    await runUntil(stopped, { config, log });
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof StartRefused)) throw error;
    log.fatal({ exitCode: error.exitCode }, error.message);
    return error.exitCode;
  }
}

async function runUntil(stopped: Promise<NodeJS.Signals>, { config, log }: { config: AgentConfig; log: Log }): Promise<void> {
  const version = packageVersion();
  const { host, gateway, roles, addresses, driver } = config;
  log.info({ version, host, gateway, roles, addresses, driver }, 'starting');
  const command = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const agent = await Agent.start({ config, version, clock: systemClock(), random: Math.random, log, command, isUnderSystemd: isUnderSystemd(process.env) });
  const notifier = createNotifier({ socket: process.env['NOTIFY_SOCKET'], log });
  const progress = new Progress({
    notifier, isReady: !agent.hasState, lastRoundAtMs: () => agent.lastRoundAtMs,
    watchdogIntervalMs: watchdogIntervalMs(process.env['WATCHDOG_USEC']),
  });
  const end = await Promise.race([stopped, agent.refused]);
  if (!(end instanceof StartRefused)) log.info({ signal: end }, config.driver === 'userspace' ? 'stopping; connections end' : 'stopping; the rules of this host stay');
  void notifier.stopping();
  progress.close();
  if (!await endsInTime(agent.close())) log.warn({ afterMs: CLOSE_MS }, 'not everything ended in time');
  if (end instanceof StartRefused) throw end;
}

function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise(resolve => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve(signal));
  });
}

/** What is accepted is durable at every instant, so a process that does not know its own state any more just ends. */
function endOnDefects(log: Log): void {
  const end = (err: unknown): void => {
    log.fatal({ err }, 'a defect of portlease; ending');
    process.exit(EXIT.defect);
  };
  process.on('uncaughtException', end);
  process.on('unhandledRejection', end);
}

function warnOfPlaintext({ coordinator, tls, insecure }: AgentConfig, log: Log): void {
  const { kind } = listenPolicy({ endpoint: coordinator, tls: tls !== undefined, insecure });
  if (kind === 'warned') log.warn({ coordinator }, 'insecure: true: the connection to the coordinator is neither private nor authenticated');
}

async function endsInTime(closing: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>(resolve => { timer = setTimeout(() => resolve(false), CLOSE_MS); });
  const isInTime = await Promise.race([closing.then(() => true), late]);
  clearTimeout(timer);
  return isInTime;
}

process.exit(await main(process.argv.slice(2)));
