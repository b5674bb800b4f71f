/**
 * Looks for leaks, for as long as the agent lives, apart from the rounds. Promises:
 * - nothing is told or done before a leak was seen in so many scans in a row as the config says;
 * - what cannot be looked at is neither a leak nor the end of one;
 * - only processes with the mark of a tunnel are ended, and only where the config says repair; all else is reported.
 */
import type { Log } from '../../shared/log.js';
import { systemTimers, type After } from '../../shared/timers.js';
import type { DockerView } from '../drivers/docker/watch.js';
import type { Placed } from '../reconcile/places.js';
import { mappingFindings, newsOf, nextLeaks, tunnelFindings, type Finding, type Leak, type Leaks, type TunnelProcess } from './findings.js';
import { endTunnel, tunnelProcesses } from './tunnels.js';

export type LeakPolicy = {
  /** Scans in a row that must see a leak. */
  sightings: number;
  tunnelProcesses: 'report' | 'repair';
};

export type LeakWatchOptions = {
  policy: LeakPolicy;
  intervalMs: number;
  log: Log;
  /** Undefined: nothing is served yet. */
  placed: () => Placed | undefined;
  docker: () => DockerView;
  /** Ids of the tunnels that there are. */
  tunnels: () => ReadonlySet<string>;
  after?: After;
  processes?: () => Promise<TunnelProcess[]>;
};

export class LeakWatch {
  readonly #options: Required<LeakWatchOptions>;
  #leaks: Leaks = new Map();
  #scanning: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  readonly #ending = new Map<string, () => void>();
  #problem: string | undefined;
  #isClosed = false;

  /** Does nothing before start(). */
  constructor(options: LeakWatchOptions) {
    this.#options = { after: systemTimers.after, processes: () => tunnelProcesses(), ...options };
  }

  /** What the last scan came to, also what was not seen often enough yet. */
  get leaks(): Leaks {
    return this.#leaks;
  }

  start(): void {
    if (this.#isClosed) return;
    this.#cancelTimer = this.#options.after(this.#options.intervalMs, () => {
      this.#scanning = this.scan().finally(() => this.start());
    });
  }

  /** Processes that were asked to end are not killed any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelTimer?.();
    await this.#scanning;
    for (const cancel of this.#ending.values()) cancel();
    this.#ending.clear();
  }

  async scan(): Promise<void> {
    const { policy: { sightings }, log, docker } = this.#options;
    const tunnelProcess = await this.#tunnels();
    if (this.#isClosed) return;
    const placed = this.#options.placed();
    const before = this.#leaks;
    this.#leaks = nextLeaks(before, { tunnelProcess, mappingWithoutContainer: placed === undefined ? undefined : mappingFindings(placed, docker()) });
    const { found, over } = newsOf(before, this.#leaks, sightings);
    for (const { finding: { id, kind, text } } of over) {
      this.#ending.get(id)?.();
      this.#ending.delete(id);
      log.info({ leak: id, kind, what: text }, 'leak is over');
    }
    for (const leak of found) this.#tell(leak);
  }

  async #tunnels(): Promise<Finding[] | undefined> {
    const { processes, tunnels, log } = this.#options;
    try {
      const found = tunnelFindings(await processes(), tunnels());
      this.#problem = undefined;
      return found;
    } catch (error) {
      const problem = (error as Error).message;
      if (problem !== this.#problem) log.warn({ problem }, 'processes of tunnels could not be looked for');
      this.#problem = problem;
      return undefined;
    }
  }

  #tell({ finding, sightings }: Leak): void {
    const { policy, log } = this.#options;
    const isRepaired = finding.kind === 'tunnelProcess' && policy.tunnelProcesses === 'repair';
    const plan = finding.kind !== 'tunnelProcess' ? 'none: it is only reported' : isRepaired ? 'end the process' : 'none: leaks.tunnelProcesses is report; repair would end the process';
    log.warn({ leak: finding.id, kind: finding.kind, what: finding.text, sightings, plan }, 'leak found');
    if (isRepaired) this.#end(finding.id, finding.process);
  }

  #end(id: string, process: TunnelProcess): void {
    const { after, log } = this.#options;
    const failed = (error: Error): void => { log.warn({ leak: id, pid: process.pid, problem: error.message }, 'process of a leaked tunnel could not be ended'); };
    try {
      this.#ending.set(id, endTunnel(process, after, failed));
    } catch (error) {
      failed(error as Error);
    }
  }
}
