/**
 * Sessions of hosts behind NAT at the sshd of this gateway. Promises:
 * - what a session may listen for is what its key was granted when it came. One that listens for what its host does not have any more, or that came before its host was
 *   fenced, is ended: `keepTo` answers only when it is gone, or names it. Others of the host, and other ports of a session that lets go by itself, go on;
 * - a host that comes again finds its ports free: of its older sessions those whose peer has been silent, and that would be held for minutes, are ended first;
 * - only processes that are remembered with their start time in this boot are ended; an agent that starts knows those of the one before. Nobody is let in whom it
 *   could not remember.
 */
import { readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Log } from '../../shared/log.js';
import type { RunChild } from '../drivers/child.js';
import { syncFolder, writeNewFile } from '../state/files.js';
import { lostPorts, portsText, type Grant, type Grants } from './grants.js';
import { familyOf, isThere, listensOn, sessionProcess, silenceOf, type SessionProcess } from './processes.js';

/** `isDoomed`: it came before its host was fenced. */
export type Session = SessionProcess & Grant & { readonly isDoomed?: boolean };

export type SessionsOptions = { readonly path: string; readonly bootId: string; readonly run: RunChild; readonly log: Log; readonly staleMs?: number; readonly graceMs?: number };

/** Hosts send something each second, and give a connection up after three without an answer. */
const STALE_MS = 2_500;
/** So long a host that answers has to let go of a port by itself. */
const GRACE_MS = 1_000;
const LOOK_MS = 5;
const END_MS = 2_000;

export class Sessions {
  private sessions: readonly Session[];
  private saving: Promise<boolean> = Promise.resolve(true);
  private ending: Promise<unknown> = Promise.resolve();

  private constructor(private readonly options: SessionsOptions, sessions: readonly Session[]) {
    this.sessions = sessions;
  }

  static async open(options: SessionsOptions): Promise<Sessions> {
    return new Sessions(options, (await stored(options)).filter(isThere));
  }

  /** Those that are there. */
  list(): readonly Session[] {
    this.sessions = this.sessions.filter(session => familyOf(session).length > 0);
    return this.sessions;
  }

  /** A host logs in: `pid` asked for its key. False: that is no sshd, or cannot be remembered; it is told nothing. Resolves when its ports are free as far as they were held by its own silent sessions. */
  async admit(pid: number, grant: Grant): Promise<boolean> {
    const process = sessionProcess(pid);
    if (process === undefined) return false;
    if (!await this.remember([...this.list().filter(one => one.pid !== pid), { ...process, ...grant }])) return false;
    const others = this.list().filter(one => one.key === grant.key && one.pid !== pid);
    const silentMs = await silenceOf(this.options.run, others);
    const stale = others.filter(one => (silentMs.get(one.pid) ?? 0) > (this.options.staleMs ?? STALE_MS));
    for (const session of stale) this.options.log.info({ host: grant.host, pid: session.pid, silentMs: silentMs.get(session.pid) }, 'a session of a host that has come again is ended: its peer is silent');
    await this.end(stale);
    return true;
  }

  /** Whoever came with this key until now is ended by the next keepTo. */
  async doom(key: string): Promise<void> {
    await this.remember(this.list().map(session => (session.key === key ? { ...session, isDoomed: true } : session)));
  }

  /** Ends sessions that listen for what their hosts do not have any more, after a moment in which a host that answers lets go by itself. Returns those that are there still. */
  keepTo(grants: Grants): Promise<readonly Session[]> {
    const turn = this.ending.then(() => this.endUnwanted(grants));
    this.ending = turn.catch(() => undefined);
    return turn;
  }

  private async endUnwanted(grants: Grants): Promise<readonly Session[]> {
    const { log, graceMs = GRACE_MS } = this.options;
    const isUnwanted = (session: Session): boolean => session.isDoomed === true || listensForLost(session, grants);
    for (let waitedMs = 0; waitedMs < graceMs && this.list().some(session => session.isDoomed !== true && isUnwanted(session)); waitedMs += 2 * LOOK_MS) await pause(2 * LOOK_MS);
    const unwanted = this.list().filter(isUnwanted);
    for (const session of unwanted) log.info({ host: session.host, pid: session.pid, ports: portsText(lostPorts(session, grants)) }, 'a session is ended: it listens for what its host does not have any more');
    await this.end(unwanted);
    return unwanted.filter(session => familyOf(session).length > 0 && isUnwanted(session));
  }

  /** Stopped first, so that it makes no further process meanwhile, and then killed with all that it made. */
  private async end(sessions: readonly Session[]): Promise<void> {
    if (sessions.length === 0) return;
    for (const session of sessions) this.kill(session, 'SIGSTOP');
    const families = sessions.flatMap(familyOf);
    for (const one of families) this.kill(one, 'SIGKILL');
    for (let waitedMs = 0; waitedMs < END_MS && families.some(isThere); waitedMs += LOOK_MS) await pause(LOOK_MS);
    await this.remember(this.list());
  }

  private kill(one: SessionProcess, signal: NodeJS.Signals): void {
    try {
      if (isThere(one)) process.kill(one.pid, signal);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== 'ESRCH') this.options.log.error({ pid: one.pid, problem: message }, 'a session of a host could not be ended: does the unit of the agent have CAP_KILL?');
    }
  }

  /** One write after the other. False: it is not on disk. */
  private remember(sessions: readonly Session[]): Promise<boolean> {
    this.sessions = sessions;
    this.saving = this.saving.then(() => this.save());
    return this.saving;
  }

  private async save(): Promise<boolean> {
    const { path, bootId, log } = this.options;
    try {
      const handle = await writeNewFile(`${path}.new`, Buffer.from(`${JSON.stringify({ format: 1, bootId, sessions: this.sessions })}\n`));
      await handle.close();
      await rename(`${path}.new`, path);
      await syncFolder(dirname(path));
      return true;
    } catch (error) {
      log.error({ problem: (error as Error).message }, 'sessions of hosts cannot be remembered on disk: nobody new is let in');
      return false;
    }
  }
}

function listensForLost(session: Session, grants: Grants): boolean {
  const lost = lostPorts(session, grants);
  return lost.length > 0 && listensOn(session, session.address).some(port => lost.some(({ first, last }) => first <= port && port <= last));
}

/** Nothing of another boot means anything; what is not understood is not known. */
async function stored({ path, bootId, log }: SessionsOptions): Promise<Session[]> {
  try {
    const value = JSON.parse(await readFile(path, 'utf8')) as { bootId?: unknown; sessions?: unknown };
    return value.bootId === bootId && Array.isArray(value.sessions) ? value.sessions.filter(isSession) : [];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') log.warn({ problem: (error as Error).message }, 'sessions of hosts that an earlier agent let in are not known');
    return [];
  }
}

function isSession(value: unknown): value is Session {
  const { pid, startTicks, host, key, address, ports } = (value ?? {}) as Partial<Session>;
  return Number.isSafeInteger(pid) && Number.isSafeInteger(startTicks) && [host, key, address].every(one => typeof one === 'string') && Array.isArray(ports);
}
