/**
 * Looks for leaks, for as long as the agent lives, apart from the rounds. Promises:
 * - nothing is told or done before a leak was seen in so many scans in a row as the config says;
 * - what cannot be looked at is neither a leak nor the end of one;
 * - only processes with the mark of a tunnel are ended, and containers removed that containers.ts allows, and only where the config says repair; all else is reported.
 */
import type { Log } from '../../shared/log.js';
import { systemTimers, type After } from '../../shared/timers.js';
import type { DockerView } from '../drivers/docker/watch.js';
import type { Placed } from '../reconcile/places.js';
import { containerFindings, isSeenTo, type Accepted, type ContainerFinding } from './containers.js';
import { mappingFindings, newsOf, nextLeaks, tunnelFindings, type Finding, type Leak, type Leaks, type TunnelProcess } from './findings.js';
import { endTunnel, tunnelProcesses } from './tunnels.js';

export type LeakPolicy = {
  /** Scans in a row that must see a leak. */
  sightings: number;
  tunnelProcesses: 'report' | 'repair';
  /** Left out: report. */
  containers?: 'report' | 'repair';
};

/** What there is to do about containers. */
export type LeakedContainers = {
  /** Of this host, as the label of its containers has it. */
  host: string;
  /** Undefined: none was accepted in a session since the start. */
  accepted: () => Accepted | undefined;
  /** One that runs stays; absent is fine. */
  remove: (containerId: string) => Promise<void>;
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
  /** Left out: containers are not looked at. */
  containers?: LeakedContainers;
  after?: After;
  processes?: () => Promise<TunnelProcess[]>;
};

export class LeakWatch {
  readonly #options: Required<Omit<LeakWatchOptions, 'containers'>> & Pick<LeakWatchOptions, 'containers'>;
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
    const { policy: { sightings }, log, docker, containers } = this.#options;
    const tunnelProcess = await this.#tunnels();
    if (this.#isClosed) return;
    const placed = this.#options.placed();
    const before = this.#leaks;
    const containerWithoutEnvironment = containers && containerFindings(containers.accepted(), docker(), containers.host);
    this.#leaks = nextLeaks(before, {
      tunnelProcess, mappingWithoutContainer: placed === undefined ? undefined : mappingFindings(placed, docker()), containerWithoutEnvironment,
    });
    const { found, over } = newsOf(before, this.#leaks, sightings);
    for (const { finding: { id, kind, text } } of over) {
      this.#ending.get(id)?.();
      this.#ending.delete(id);
      log.info({ leak: id, kind, what: text }, 'leak is over');
    }
    for (const leak of found) this.#tell(leak);
    await this.#removeContainers(containerWithoutEnvironment ?? []);
  }

  /** Those that were seen often enough; what fails is tried again with the next scan. */
  async #removeContainers(found: readonly ContainerFinding[]): Promise<void> {
    const { policy, log, containers } = this.#options;
    if (containers === undefined || policy.containers !== 'repair') return;
    for (const finding of found) {
      if (this.#isClosed) return;
      if (finding.kept !== '' || (this.#leaks.get(finding.id)?.sightings ?? 0) < policy.sightings) continue;
      await this.#removeContainer(finding, containers).catch((error: unknown) => { log.warn({ leak: finding.id, problem: (error as Error).message }, 'leaked container could not be removed'); });
    }
  }

  async #removeContainer({ id, containerId, environment, generation }: ContainerFinding, { accepted, remove }: LeakedContainers): Promise<void> {
    const now = accepted();
    if (now === undefined || isSeenTo(now, environment, generation)) return;
    await remove(containerId);
    this.#options.log.warn({ leak: id, container: containerId, environment }, 'leaked container was removed');
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
    log.warn({ leak: finding.id, kind: finding.kind, what: finding.text, sightings, plan: planFor(finding, policy) }, 'leak found');
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

/** What is done about it, in words. */
function planFor(finding: Finding, policy: LeakPolicy): string {
  switch (finding.kind) {
    case 'mappingWithoutContainer': return 'none: it is only reported';
    case 'tunnelProcess': return policy.tunnelProcesses === 'repair' ? 'end the process' : 'none: leaks.tunnelProcesses is report; repair would end the process';
    case 'containerWithoutEnvironment': {
      if (finding.kept !== '') return `none: ${finding.kept}`;
      return policy.containers === 'repair' ? 'remove the container' : 'none: leaks.containers is report; repair would remove the container';
    }
    default: return finding satisfies never;
  }
}
