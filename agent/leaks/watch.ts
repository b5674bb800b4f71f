/**
 * Looks for leaks, for as long as the agent lives, apart from the rounds. Promises:
 * - nothing is told or done before a leak was seen in so many scans in a row as the config says;
 * - what cannot be looked at is neither a leak nor the end of one;
 * - only processes with the mark of a tunnel are ended, and only where the config says repair, or an operator asks for it; all else is reported.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Conflict } from '../../shared/desired.js';
import { MAX_LEAKS, type Leak as ReportedLeak, type LeakRepair } from '../../shared/leak.js';
import type { Log } from '../../shared/log.js';
import { systemTimers, type After } from '../../shared/timers.js';
import type { Wanted } from '../drivers/connections/listeners.js';
import type { DockerView } from '../drivers/docker/watch.js';
import type { ForeignRule } from '../drivers/rules/foreign.js';
import type { Placed } from '../reconcile/places.js';
import { hasLostContainer, mappingFindings, newsOf, nextLeaks, servedMappings, tunnelFindings, withoutGone, type Finding, type Leak, type Leaks, type Scan, type TunnelProcess } from './findings.js';
import { listenerFindings, portFacts, publishedFindings, ruleFindings } from './ports.js';
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
  /** What reports() says is not what it was. */
  onChange: () => void;
  after?: After;
  processes?: () => Promise<TunnelProcess[]>;
};

export class LeakWatch {
  readonly #options: Required<LeakWatchOptions>;
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
    const news = ids.filter(id => this.#leaks.has(id) && !this.#asked.has(id) && !this.#ending.has(id));
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
    if (!this.#isClosed) this.#take(nextLeaks(this.#leaks, scan));
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
    this.#rechecks -= 1;
    if (this.#isClosed || processes === undefined) return;
    this.#take(withoutGone(this.#leaks, 'tunnelProcess', processes));
    for (const id of asked) this.#repairAsked(id);
    if (this.#asked.size + this.#ending.size === 0) this.#rechecks = 0;
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
    for (const leak of found) this.#tell(leak);
    const reports = this.#confirmed();
    if (isDeepStrictEqual(reports, this.#reports)) return;
    this.#reports = reports;
    this.#options.onChange();
  }

  async #look(): Promise<Scan> {
    const { addresses, docker, placed, foreignRules, conflicts } = this.#options;
    const tunnelProcess = await this.#processes();
    const served = placed();
    if (served === undefined) return { tunnelProcess };
    const rules = await this.#tried('rules of others', () => foreignRules(portFacts(served, addresses).served));
    // What has changed while the tools ran counts as it is now.
    const now = placed() ?? served;
    const [facts, view, taken] = [portFacts(now, addresses), docker(), conflicts()];
    this.#served = new Set([...servedMappings(now), ...[...this.#served].filter(key => now.objects.has(`mapping/${key.split('/')[0]}`))]);
    return {
      tunnelProcess, mappingWithoutContainer: mappingFindings(now, view), publishedPort: publishedFindings(facts, view),
      listener: taken && listenerFindings(facts, taken, view), foreignRule: rules && ruleFindings(rules, view),
    };
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

  #confirmed(): ReportedLeak[] {
    const confirmed = [...this.#leaks.values()].filter(({ sightings }) => sightings >= this.#options.policy.sightings);
    return confirmed.slice(0, MAX_LEAKS).map(leak => this.#reportOf(leak));
  }

  /** The number of sightings stays as it was when it was told of: a report changes only with the leaks. */
  #reportOf({ finding }: Leak): ReportedLeak {
    const { mappingId, generation } = finding.kind === 'mappingWithoutContainer' ? finding : { mappingId: '', generation: 0 };
    return {
      id: finding.id, kind: finding.kind, message: finding.text, sightings: this.#options.policy.sightings, repair: REPAIRS[finding.kind],
      isAutomatic: this.#isAutomatic(finding), mappingId, generation, at: finding.at,
    };
  }

  #isAutomatic(finding: Finding): boolean {
    if (finding.kind === 'mappingWithoutContainer') return hasLostContainer(finding, this.#served);
    return finding.kind === 'tunnelProcess' && this.#options.policy.tunnelProcesses === 'repair';
  }

  #tell({ finding, sightings }: Leak): void {
    const plan = finding.kind === 'tunnelProcess' && !this.#isAutomatic(finding) ? 'none: leaks.tunnelProcesses is report; repair would end the process' : PLANS[finding.kind];
    this.#options.log.warn({ leak: finding.id, kind: finding.kind, what: finding.text, sightings, plan }, 'leak found');
    if (finding.kind === 'tunnelProcess' && this.#isAutomatic(finding)) this.#end(finding.id, finding.process);
  }

  #repairAsked(id: string): void {
    this.#asked.delete(id);
    const finding = this.#leaks.get(id)?.finding;
    if (finding?.kind !== 'tunnelProcess' || this.#ending.has(id)) return;
    this.#options.log.warn({ leak: id, what: finding.text, plan: PLANS.tunnelProcess }, 'an operator resolves a leak');
    this.#end(id, finding.process);
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

/** Whether a process has gone is looked at so often, and so many times: in between nothing counts as a sighting. */
const RECHECK_MS = 1_000;
const RECHECKS = 30;

const REPAIRS: Record<Finding['kind'], LeakRepair> = {
  mappingWithoutContainer: 'release', publishedPort: 'none', listener: 'none', foreignRule: 'none', tunnelProcess: 'endProcess',
};

const FOREIGN = 'none: it is not portlease\'s, and left as it is';
const PLANS: Record<Finding['kind'], string> = {
  mappingWithoutContainer: 'left to the coordinator', publishedPort: FOREIGN, listener: FOREIGN, foreignRule: FOREIGN, tunnelProcess: 'end the process',
};
