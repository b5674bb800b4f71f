/** The command line as a whole: its commands and the flags that all of them have. */
import { Command } from 'commander';
import { addAllocate } from './commands/allocate.js';
import { addEnv } from './commands/env.js';
import { addEnvironments } from './commands/environments.js';
import { addEvents } from './commands/events.js';
import { addExplain } from './commands/explain.js';
import { addGateways } from './commands/gateways.js';
import { addHosts } from './commands/hosts.js';
import { addLeaks } from './commands/leaks.js';
import { addLeases } from './commands/leases.js';
import { addLimit } from './commands/limit.js';
import { addMappings } from './commands/mappings.js';
import { addMove } from './commands/move.js';
import { addConflicts } from './commands/conflicts.js';
import { addDns } from './commands/dns.js';
import { addPlan } from './commands/plan.js';
import { addPools } from './commands/pools.js';
import { addPurge } from './commands/purge.js';
import { addRelease } from './commands/release.js';
import { addStatus } from './commands/status.js';
import { addTunnels } from './commands/tunnels.js';
import { COMPLETION_SCRIPTS } from './completion.js';
import { EXIT_CODES_HELP } from './exit.js';
import { choice } from './fields.js';
import type { Io } from './io.js';
import type { Act } from './job.js';
import { ENV_PREFIX } from './settings.js';

export function buildProgram(io: Io, act: Act): Command {
  const program = new Command('portlease')
    .description('Leases port ranges to hosts and maps them to the environments on them.')
    .version(io.version, '--version', 'show the version')
    .option('--server <address>', `coordinator: HOST:PORT or unix:/PATH (default: unix:${io.paths.socket} when it exists, else 127.0.0.1:7410)`)
    .option('--tls-cert <path>', 'certificate of this caller (PEM)')
    .option('--tls-key <path>', 'its key (PEM)')
    .option('--tls-ca <path>', "CA of the coordinator's certificate (PEM)")
    .option('--insecure', 'go without TLS to a coordinator on another machine')
    .option('--config <path>', `config file (default: ${io.paths.config} when it exists)`)
    .option('--timeout <time>', 'how long to wait for the whole command (default: 30s)')
    .option('--json', 'one JSON document instead of tables; errors, too, on standard error')
    .addHelpText('after', `\nFlags come before ${ENV_PREFIX}SERVER, ${ENV_PREFIX}TIMEOUT and the like, and those before the config file.\n\n${EXIT_CODES_HELP}`)
    .exitOverride()
    .configureOutput({ writeOut: io.out, writeErr: () => undefined });
  addStatus(program, act);
  addPools(program, act);
  addGateways(program, act);
  addHosts(program, act);
  addLeases(program, act);
  addAllocate(program, act, io.newId);
  addRelease(program, act);
  addMove(program, act);
  addEnvironments(program, act);
  addEnv(program, act);
  addMappings(program, act);
  addLimit(program, act);
  addExplain(program, act);
  addConflicts(program, act);
  addLeaks(program, act);
  addTunnels(program, act);
  addDns(program, act);
  addPlan(program, act);
  addEvents(program, act);
  addPurge(program, act);
  addCompletion(program, io);
  return program;
}

function addCompletion(program: Command, io: Io): void {
  program.command('completion')
    .description('print a completion script: bash, zsh or fish')
    .argument('<shell>', Object.keys(COMPLETION_SCRIPTS).join(', '))
    .action((shell: string) => io.out(choice('SHELL', shell, COMPLETION_SCRIPTS)));
}
