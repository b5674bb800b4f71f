/**
 * Looks for leaks, for as long as the agent lives, apart from the rounds. Promises:
 * - nothing is told or done before a leak was seen in so many scans in a row as the config says;
 * - what cannot be looked at is neither a leak nor the end of one;
 * - only processes with the mark of a tunnel are ended, and containers removed that containers.ts allows, and only where the config says repair, or an operator asks
 *   for it; all else is reported.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Conflict } from '../../shared/desired.js';
import { MAX_LEAKS, type Leak as ReportedLeak } from '../../shared/leak.js';
import type { Log } from '../../shared/log.js';
import { systemTimers, type After } from '../../shared/timers.js';
import type { Wanted } from '../drivers/connections/listeners.js';
import type { DockerView } from '../drivers/docker/watch.js';
import type { ForeignRule } from '../drivers/rules/foreign.js';
import type { Placed } from '../reconcile/places.js';
import { containerFindings, isSeenTo, type Accepted, type ContainerFinding } from './containers.js';
import { mappingFindings, newsOf, nextLeaks, servedMappings, tunnelFindings, withoutGone, type Finding, type Leak, type Leaks, type Scan, type TunnelProcess } from './findings.js';
import { listenerFindings, portFacts, publishedFindings, ruleFindings } from './ports.js';
import { isAutomatic, planOf, repairOf, reportOf, type LeakPolicy, type Plans } from './plans.js';
import { endTunnel, tunnelProcesses } from './tunnels.js';

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
  /** Lease addresses. */
  addresses: readonly string[];
  /** Undefined: nothing is served yet. */
  placed: () => Placed | undefined;
  docker: () => DockerView;
  /** Foreign processes on leased ports, as the last round saw them; undefined: there was none yet. */
  conflicts: () => readonly Conflict[] | undefined;
  /** Rules of others that take these ports. Throws when a tool fails. */
  foreignRules: (served: Wanted) => Promise<readonly ForeignRule[]>;
  /** Ids of the tunnels that there are. */
  tunnels: () => ReadonlySet<string>;
  /** Left out: containers are not looked at. */
  containers?: LeakedContainers;
  /** What reports() says is not what it was. */
  onChange: () => void;
  after?: After;
  processes?: () => Promise<TunnelProcess[]>;
};

export class LeakWatch {
  readonly #options: Required<Omit<LeakWatchOptions, 'containers'>> & Pick<LeakWatchOptions, 'containers'>;
  #leaks: Leaks = new Map();
  #reports: readonly ReportedLeak[] = [];
  #looking: Promise<void> | undefined;
  /** Left of those that come before the next scan. */
  #rechecks = 0;
  #cancelTimer: (() => void) | undefined;
  readonly #ending = new Map<string, () => void>();
  /** Mappings whose container was there in a scan. */
  #served: ReadonlySet<string> = new Set();
  /** Leaks that an operator wants repaired, until a look has found them again. */
  readonly #asked = new Set<string>();
  /** Containers that an operator wants removed, until they are gone. */
  readonly #removing = new Set<string>();
  readonly #problems = new Map<string, string>();
  #isClosed = false;

  /** Does nothing before start(). */
  constructor(options: LeakWatchOptions) {
    this.#options = { after: systemTimers.after, processes: () => tunnelProcesses(), ...options };
  }

  /** What the last scan came to, also what was not seen often enough yet. */
  get leaks(): Leaks {
    return this.#leaks;
  }

  /** Those that were seen often enough: at most MAX_LEAKS. The same list for as long as it says the same. */
  reports(): readonly ReportedLeak[] {
    return this.#reports;
  }

  start(): void {
    if (!this.#isClosed) this.#cancelTimer = this.#options.after(this.#rechecks > 0 ? RECHECK_MS : this.#options.intervalMs, () => { this.#lookNow(); });
  }

  /** Repairs these now, as far as they are portlease's and are found again. */
  resolve(ids: readonly string[]): void {
    const news = ids.filter(id => this.#leaks.has(id) && !this.#asked.has(id) && !this.#ending.has(id) && !this.#removing.has(id));
    if (news.length === 0 || this.#isClosed) return;
    for (const id of news) this.#asked.add(id);
    this.#rechecks = RECHECKS;
    if (this.#looking === undefined) this.#lookNow();
  }

  /** Processes that were asked to end are not killed any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelTimer?.();
    await this.#looking;
    for (const cancel of this.#ending.values()) cancel();
    this.#ending.clear();
  }

  async scan(): Promise<void> {
    const scan = await this.#look();
    if (this.#isClosed) return;
    this.#take(nextLeaks(this.#leaks, scan));
    if (scan.containerWithoutEnvironment !== undefined) await this.#removeContainers();
  }

  #lookNow(): void {
    this.#cancelTimer?.();
    this.#looking = (this.#rechecks > 0 ? this.#recheck() : this.scan()).finally(() => {
      this.#looking = undefined;
      this.start();
    });
  }

  /** Of what was found: is it still there? And what an operator asked for. */
  async #recheck(): Promise<void> {
    const asked = [...this.#asked];
    const processes = await this.#processes();
    const containers = this.#containers();
    this.#rechecks -= 1;
    if (this.#isClosed) return;
    this.#take(withoutGone(withoutGone(this.#leaks, 'tunnelProcess', processes), 'containerWithoutEnvironment', containers));
    for (const id of asked) await this.#repairAsked(id);
    this.#take(withoutGone(this.#leaks, 'containerWithoutEnvironment', this.#containers()));
    if (this.#asked.size + this.#ending.size + this.#removing.size === 0) this.#rechecks = 0;
  }

  #take(after: Leaks): void {
    const before = this.#leaks;
    this.#leaks = after;
    const { found, over } = newsOf(before, after, this.#options.policy.sightings);
    for (const { finding: { id, kind, text } } of over) this.#options.log.info({ leak: id, kind, what: text }, 'leak is over');
    for (const [id, cancel] of this.#ending) {
      if (after.has(id)) continue;
      cancel();
      this.#ending.delete(id);
    }
    for (const id of [...this.#removing]) if (!after.has(id)) this.#removing.delete(id);
    for (const leak of found) this.#tell(leak);
    const reports = [...after.values()].filter(leak => this.#isConfirmed(leak)).slice(0, MAX_LEAKS).map(({ finding }) => reportOf(finding, this.#plans));
    if (isDeepStrictEqual(reports, this.#reports)) return;
    this.#reports = reports;
    this.#options.onChange();
  }

  async #look(): Promise<Scan> {
    const { addresses, docker, placed, foreignRules, conflicts } = this.#options;
    const tunnelProcess = await this.#processes();
    const served = placed();
    if (served === undefined) return { tunnelProcess, containerWithoutEnvironment: this.#containers() };
    const rules = await this.#tried('rules of others', () => foreignRules(portFacts(served, addresses).served));
    // What has changed while the tools ran counts as it is now.
    const now = placed() ?? served;
    const [facts, view, taken] = [portFacts(now, addresses), docker(), conflicts()];
    this.#served = new Set([...servedMappings(now), ...[...this.#served].filter(key => now.objects.has(`mapping/${key.split('/')[0]}`))]);
    return {
      tunnelProcess, containerWithoutEnvironment: this.#containers(), mappingWithoutContainer: mappingFindings(now, view), publishedPort: publishedFindings(facts, view),
      listener: taken && listenerFindings(facts, taken, view), foreignRule: rules && ruleFindings(rules, view),
    };
  }

  #containers(): ContainerFinding[] | undefined {
    const { containers, docker } = this.#options;
    return containers === undefined ? [] : containerFindings(containers.accepted(), docker(), containers.host);
  }

  #processes(): Promise<Finding[] | undefined> {
    const { processes, tunnels } = this.#options;
    return this.#tried('processes of tunnels', async () => tunnelFindings(await processes(), tunnels()));
  }

  async #tried<T>(what: string, look: () => Promise<T>): Promise<T | undefined> {
    try {
      const found = await look();
      this.#problems.delete(what);
      return found;
    } catch (error) {
      const problem = (error as Error).message;
      if (problem !== this.#problems.get(what)) this.#options.log.warn({ problem }, `${what} could not be looked for`);
      this.#problems.set(what, problem);
      return undefined;
    }
  }

  get #plans(): Plans {
    return { policy: this.#options.policy, served: this.#served };
  }

  #isConfirmed({ sightings }: Leak): boolean {
    return sightings >= this.#options.policy.sightings;
  }

  #tell({ finding, sightings }: Leak): void {
    this.#options.log.warn({ leak: finding.id, kind: finding.kind, what: finding.text, sightings, plan: planOf(finding, this.#plans) }, 'leak found');
    if (finding.kind === 'tunnelProcess' && isAutomatic(finding, this.#plans)) this.#end(finding.id, finding.process);
  }

  async #repairAsked(id: string): Promise<void> {
    this.#asked.delete(id);
    const finding = this.#leaks.get(id)?.finding;
    if (finding === undefined || this.#ending.has(id)) return;
    this.#options.log.warn({ leak: id, what: finding.text, repair: repairOf(finding) }, 'an operator resolves a leak');
    if (finding.kind === 'tunnelProcess') this.#end(id, finding.process);
    if (finding.kind !== 'containerWithoutEnvironment') return;
    this.#removing.add(id);
    await this.#removeContainer(finding);
  }

  /** Those that the policy has removed; what fails is tried again with the next scan. */
  async #removeContainers(): Promise<void> {
    for (const leak of [...this.#leaks.values()]) {
      const { finding } = leak;
      if (this.#isClosed || finding.kind !== 'containerWithoutEnvironment' || !this.#isConfirmed(leak) || !isAutomatic(finding, this.#plans)) continue;
      await this.#removeContainer(finding);
    }
  }

  async #removeContainer({ id, containerId, environment, generation, kept }: ContainerFinding): Promise<void> {
    const { containers, log } = this.#options;
    const now = containers?.accepted();
    if (containers === undefined || now === undefined || kept !== '' || isSeenTo(now, environment, generation)) {
      this.#removing.delete(id);
      return;
    }
    try {
      await containers.remove(containerId);
      log.warn({ leak: id, container: containerId, environment }, 'leaked container was removed');
    } catch (error) {
      // Whoever asks again is heard.
      this.#removing.delete(id);
      log.warn({ leak: id, problem: (error as Error).message }, 'leaked container could not be removed');
    }
  }

  #end(id: string, process: TunnelProcess): void {
    const { after, log } = this.#options;
    const failed = (error: Error): void => { log.warn({ leak: id, pid: process.pid, problem: error.message }, 'process of a leaked tunnel could not be ended'); };
    this.#rechecks = RECHECKS;
    try {
      this.#ending.set(id, endTunnel(process, after, failed));
    } catch (error) {
      failed(error as Error);
    }
  }
}

/** Whether what was repaired has gone is looked at so often, and so many times: in between nothing counts as a sighting. */
const RECHECK_MS = 1_000;
const RECHECKS = 30;
