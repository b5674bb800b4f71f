/** All environments that this agent is to run or to remove: one worker each, and what they report. */
import type { DesiredObject } from '../../shared/desired.js';
import type { EnvironmentReport } from '../../shared/container.js';
import { differences, PersistentMap } from '../persistent/map.js';
import type { EnvironmentObject, RemovalObject } from './plan.js';
import { Worker, type WorkerOptions } from './worker.js';

export type EnvironmentsOptions = WorkerOptions;

export class Environments {
  private readonly workers = new Map<string, Worker>();
  /** Those that are ending: what they do then is of no interest. */
  private readonly ending = new Set<Promise<void>>();
  private objects: ReadonlyMap<string, DesiredObject> = PersistentMap.empty<DesiredObject>();
  private isClosed = false;

  constructor(private readonly options: EnvironmentsOptions) {}

  /** `objects` must not be changed afterwards. */
  setDesired(objects: ReadonlyMap<string, DesiredObject>): void {
    if (this.isClosed) return;
    const changed = differences(this.objects, objects).filter(isOurs);
    this.objects = objects;
    const names = new Set(changed.map(nameIn));
    for (const name of names) this.set(name, wanted(objects, name));
    if (names.size > 0) this.options.onReport();
  }

  /** Docker may have something else now. */
  poke(): void {
    for (const worker of this.workers.values()) if (!worker.isLeftAlone) worker.poke();
  }

  /** In order of name. */
  reports(): EnvironmentReport[] {
    return [...this.workers].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, { report }]) => report ?? []);
  }

  /** What is begun in Docker goes on there: the next agent finds it. */
  async close(): Promise<void> {
    this.isClosed = true;
    await Promise.all([...this.ending, ...Array.from(this.workers.values(), worker => worker.close())]);
  }

  private set(name: string, object: EnvironmentObject | RemovalObject | undefined): void {
    const worker = this.workers.get(name);
    if (object === undefined) {
      if (worker === undefined) return;
      this.workers.delete(name);
      const ended = worker.close().finally(() => this.ending.delete(ended));
      this.ending.add(ended);
    } else if (worker === undefined) this.workers.set(name, new Worker(object, { ...this.options, onReport: () => { if (!this.isClosed) this.options.onReport(); } }));
    else worker.set(object);
  }
}

function isOurs(key: string): boolean {
  return key.startsWith('environment/') || key.startsWith('removal/');
}

function nameIn(key: string): string {
  return key.slice(key.indexOf('/') + 1);
}

/** A removal comes first: a container of a later environment of that name is made when it is confirmed. */
function wanted(objects: ReadonlyMap<string, DesiredObject>, name: string): EnvironmentObject | RemovalObject | undefined {
  const removal = objects.get(`removal/${name}`);
  if (removal?.kind === 'removal') return removal;
  const object = objects.get(`environment/${name}`);
  return object?.kind === 'environment' ? object : undefined;
}
