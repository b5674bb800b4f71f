/** The processes that play the agents, as the bench sees them. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { ROOT } from '../../support/root.js';
import { LineProcess } from '../lines.js';
import type { AgentsCommand, AgentsFile } from './agents.js';

type Progress = { missing: number; lastMs: number; streams: number };
export type Heartbeats = { ms: number[]; failures: number };
export type Return = { lastMs: number; streams: number };

/** Agents of one process, which fall silent and come back together. */
export class AgentGroup {
  readonly size: number;
  readonly #process: LineProcess;

  private constructor(process: LineProcess, size: number) {
    this.#process = process;
    this.size = size;
  }

  static launch(file: AgentsFile, { directory, name }: { directory: string; name: string }): AgentGroup {
    const path = join(directory, `${name}.json`);
    writeFileSync(path, JSON.stringify(file));
    const argv = ['setpriv', '--pdeathsig', 'KILL', process.execPath, '--max-old-space-size=8192', join(ROOT, 'dist/test/bench/fleet/agents.js'), path];
    return new AgentGroup(new LineProcess(argv), file.agents.length);
  }

  get pid(): number {
    return this.#process.pid;
  }

  start(): Promise<unknown> {
    return this.#ask('start');
  }

  mark(): Promise<unknown> {
    return this.#ask('mark');
  }

  heartbeats(): Promise<Heartbeats> {
    return this.#ask('heartbeats') as Promise<Heartbeats>;
  }

  /** Stops the process: its agents say nothing more, and their connections stay. */
  silence(): void {
    process.kill(this.pid, 'SIGSTOP');
  }

  goOn(): void {
    process.kill(this.pid, 'SIGCONT');
  }

  /** Waits until every agent has had a session confirmed that is newer than the one it had at the mark. */
  async untilBack(withinMs: number): Promise<Return> {
    const startMs = performance.now();
    for (;;) {
      const { missing, lastMs, streams } = await this.#ask('progress') as Progress;
      if (missing === 0) return { lastMs, streams };
      if (performance.now() - startMs > withinMs) throw new Error(`${missing} of ${this.size} agents were not back within ${Math.round(withinMs / 1_000)} s`);
      await pause(100);
    }
  }

  close(): Promise<void> {
    return this.#process.close();
  }

  async #ask(command: AgentsCommand): Promise<unknown> {
    return JSON.parse(await this.#process.ask(command)) as unknown;
  }
}
