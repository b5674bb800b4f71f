/**
 * Sessions of hosts behind NAT at the sshd of this gateway. Promises:
 * - what a session may listen for is what its host was granted when it came, and a session that may listen for more than its host has now is ended:
 *   `keepTo` answers only when it is gone, or names it;
 * - a host that comes again finds its ports free: of its older sessions those that have been silent, and would be held for minutes, are ended first;
 * - only processes that are remembered with their start time are ended; an agent that starts knows those of the one before.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { Log } from '../../shared/log.js';
import type { PortRange } from '../../shared/ports.js';
import type { RunChild } from '../drivers/child.js';
import { lostPorts, portsText, type Grant, type Grants } from './grants.js';
import { familyOf, isThere, sessionProcess, silenceOf, type SessionProcess } from './processes.js';

export type Session = SessionProcess & { readonly host: string; readonly ports: readonly PortRange[] };

export type SessionsOptions = { readonly path: string; readonly run: RunChild; readonly log: Log; readonly staleMs?: number };

/** Hosts send something each second (ServerAliveInterval=1). */
const STALE_MS = 1_500;
const LOOK_MS = 5;
const TERM_MS = 500;
const KILL_MS = 1_000;

export class Sessions {
  private sessions: readonly Session[];
  private readonly staleMs: number;

  private constructor(private readonly options: SessionsOptions, sessions: readonly Session[]) {
    this.sessions = sessions;
    this.staleMs = options.staleMs ?? STALE_MS;
  }

  /** Throws when what an earlier agent remembered cannot be read. */
  static open(options: SessionsOptions): Sessions {
    return new Sessions(options, stored(options.path).filter(isThere));
  }

  /** Those that are there. */
  list(): readonly Session[] {
    this.sessions = this.sessions.filter(isThere);
    return this.sessions;
  }

  /** A host logs in: `pid` asked for its key. False: that is no sshd, and is told nothing. Resolves when its ports are free as far as they were held by its own silent sessions. */
  async admit(pid: number, { host, ports }: Grant): Promise<boolean> {
    const process = sessionProcess(pid);
    if (process === undefined) return false;
    this.remember([...this.list().filter(one => one.pid !== pid), { ...process, host, ports }]);
    const others = this.list().filter(one => one.host === host && one.pid !== pid);
    const silentMs = await silenceOf(this.options.run, others);
    const stale = others.filter(one => (silentMs.get(one.pid) ?? 0) > this.staleMs);
    for (const session of stale) this.options.log.info({ host, pid: session.pid, silentMs: silentMs.get(session.pid) }, 'a session of a host that has come again is ended: its peer is silent');
    await this.end(stale);
    return true;
  }

  /** Ends sessions that may listen for what their hosts do not have any more. Returns those that are there still. */
  async keepTo(grants: Grants): Promise<readonly Session[]> {
    const unwanted = this.list().filter(session => lostPorts(session, grants).length > 0);
    for (const session of unwanted) {
      this.options.log.info({ host: session.host, pid: session.pid, ports: portsText(lostPorts(session, grants)) }, 'a session is ended: its host does not have these ports any more');
    }
    await this.end(unwanted);
    return unwanted.filter(isThere);
  }

  /** SIGTERM, and SIGKILL when that is not heeded; what is stopped is killed. */
  private async end(sessions: readonly Session[]): Promise<void> {
    const families = sessions.flatMap(familyOf);
    for (const [signal, forMs] of [['SIGTERM', TERM_MS], ['SIGKILL', KILL_MS]] as const) {
      const left = families.filter(isThere);
      for (const one of left) kill(one, signal);
      for (let waitedMs = 0; waitedMs < forMs && left.some(isThere); waitedMs += LOOK_MS) await pause(LOOK_MS);
    }
    if (sessions.length > 0) this.remember(this.list());
  }

  private remember(sessions: readonly Session[]): void {
    this.sessions = sessions;
    const { path, log } = this.options;
    try {
      writeFileSync(`${path}.new`, `${JSON.stringify(sessions)}\n`, { mode: 0o600 });
      renameSync(`${path}.new`, path);
    } catch (error) {
      log.warn({ problem: (error as Error).message }, 'sessions of hosts could not be remembered on disk');
    }
  }
}

function kill(one: SessionProcess, signal: NodeJS.Signals): void {
  try {
    if (isThere(one)) process.kill(one.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function stored(path: string): Session[] {
  let text;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  const value = JSON.parse(text) as unknown;
  if (!Array.isArray(value)) throw new Error(`${path} is not understood`);
  return value.filter(isSession);
}

function isSession(value: unknown): value is Session {
  const { pid, startTicks, host, ports } = (value ?? {}) as Partial<Session>;
  return Number.isSafeInteger(pid) && Number.isSafeInteger(startTicks) && typeof host === 'string' && Array.isArray(ports);
}
