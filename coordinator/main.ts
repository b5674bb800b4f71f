/** The coordinator's daemon: config, journal, keepers, servers; ready when it serves, gone when it is told to. */
import { systemClock } from '../shared/clock.js';
import { ConfigError, EX_CONFIG } from '../shared/config.js';
import { createLogger } from '../shared/log.js';
import { parseArguments, type Arguments } from '../shared/arguments.js';
import { loadCoordinatorConfig, USAGE, type CoordinatorConfig } from './config.js';
import { packageVersion } from '../shared/package-files.js';
import { runCoordinator } from './run.js';

const EX_USAGE = 64;

async function main(argv: readonly string[]): Promise<void> {
  const args = understood(argv);
  switch (args.command) {
    case 'help': process.stdout.write(USAGE); return;
    case 'version': process.stdout.write(`${packageVersion()}\n`); return;
    case 'check':
      loadCoordinatorConfig(args, process.env);
      process.stdout.write('the config is good\n');
      return;
    case 'run': return run(loadCoordinatorConfig(args, process.env));
    default: return args.command satisfies never;
  }
}

function understood(argv: readonly string[]): Arguments {
  try {
    return parseArguments(argv);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${USAGE}`);
    process.exit(EX_USAGE);
  }
}

async function run(config: CoordinatorConfig): Promise<void> {
  const log = createLogger({ name: 'portlease-coordinator', level: config.log.level });
  const running = await runCoordinator({
    config, log, clock: systemClock(), random: Math.random, env: process.env,
  });
  const stop = (signal: NodeJS.Signals): void => {
    log.info({ signal }, 'stopping');
    void running.close().finally(() => process.exit(0));
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(error instanceof ConfigError ? EX_CONFIG : 1);
});
