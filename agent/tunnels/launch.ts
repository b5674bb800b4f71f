/**
 * Starts the process that leads a tunnel's group, so that it outlives this agent: a session of its own, no descriptor but its log, and under
 * systemd a scope of its own, because what is in the agent's own control group ends with the agent.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Command } from './argv.js';
import { TUNNEL_MARK } from '../leaks/tunnels.js';
import { leaderOf } from './processes.js';
import type { Leader } from './words.js';

/** Rejects when it cannot be started. */
export type Launch = (command: Command, log: FileHandle) => Promise<Leader>;

type Env = Readonly<Record<string, string | undefined>>;

/** True in a unit of systemd. */
export function isUnderSystemd(env: Env): boolean {
  return (env['INVOCATION_ID'] ?? '') !== '' && existsSync('/run/systemd/system');
}

/** The same program in a scope: systemd-run becomes it, so pid and environment stay. */
export function inScope({ file, argv, env }: Command, { suffix, isRoot }: { suffix: string; isRoot: boolean }): Command {
  return { file: 'systemd-run', argv: [...(isRoot ? [] : ['--user']), '--scope', '--quiet', '--collect', `--unit=portlease-tunnel-${suffix}`, `--description=portlease tunnel ${env[TUNNEL_MARK] ?? ''}`, '--', file, ...argv], env };
}

export function launcher({ usesScopes, isRoot }: { usesScopes: boolean; isRoot: boolean }): Launch {
  return (command, log) => new Promise((resolve, reject) => {
    const { file, argv, env } = usesScopes ? inScope(command, { suffix: randomBytes(6).toString('hex'), isRoot }) : command;
    const child = spawn(file, argv, { env: { ...env }, cwd: '/', detached: true, stdio: ['ignore', log.fd, log.fd] });
    child.on('error', reject);
    child.on('spawn', () => {
      const leader = child.pid === undefined ? undefined : leaderOf(child.pid);
      if (leader === undefined) reject(new Error(`${file} ended at once`));
      else resolve(leader);
    });
    child.unref();
  });
}
