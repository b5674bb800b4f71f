/** Services that say who they are, and a client that keeps asking through the public ports. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import type { Transport } from '../../shared/ports.js';
import { LoggedProcess } from './logged-process.js';
import { inNamespace } from './netns.js';
import { ROOT } from './root.js';
import type { ProbeRecord, Timeline } from './timeline.js';
import { eventually } from './wait.js';

const GUESTS = join(ROOT, 'test/support/guests');

export type Listener = { transport: Transport; port: number; address?: string; style?: 'lines' | 'ssh' | 'http' };
export type ServiceSpec = { who: string; listen: Listener[]; pushEveryMs?: number };

/** Starts a service in a namespace; returns once it listens. */
export async function startService(namespace: string, spec: ServiceSpec, logFile: string): Promise<LoggedProcess> {
  const argv = inNamespace(namespace, [process.execPath, join(GUESTS, 'service.mjs'), JSON.stringify(spec)]);
  const service = new LoggedProcess(argv, { logFile });
  await service.line(/^ready$/);
  return service;
}

export type Watched = { address: string; port: number; transport: Transport };

export type ProbeOptions = { everyMs: number; timeoutMs: number };

/** Connects ten times a second to each watched port, anew and on a connection that it keeps, and remembers who answered. */
export class Probe {
  readonly timeline: Timeline = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #errors = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = new Promise((resolve) => child.once('close', () => resolve()));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#errors += text));
  }

  static async start(namespace: string, options: ProbeOptions = { everyMs: 100, timeoutMs: 500 }): Promise<Probe> {
    const argv = inNamespace(namespace, [process.execPath, join(GUESTS, 'probe.mjs'), JSON.stringify(options)]);
    const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: 'pipe' });
    const probe = new Probe(child);
    let isReady = false;
    createInterface({ input: child.stdout }).on('line', (line) => {
      const message = JSON.parse(line) as ProbeRecord | { ready: true };
      if ('ready' in message) isReady = true;
      else probe.timeline.push(message);
    });
    await eventually('the probe to start', () => isReady, { withinMs: 5_000, everyMs: 5, hint: () => probe.#errors });
    return probe;
  }

  watch(...targets: Watched[]): void {
    this.#child.stdin?.write(`${JSON.stringify({ watch: targets })}\n`);
  }

  unwatch(...targets: Watched[]): void {
    this.#child.stdin?.write(`${JSON.stringify({ unwatch: targets })}\n`);
  }

  /** The first record from now on (or from `fromMs` on) that fits. */
  async until(what: string, fits: (record: ProbeRecord) => boolean, options: { withinMs?: number; fromMs?: number } = {}): Promise<ProbeRecord> {
    const fromMs = options.fromMs ?? Date.now();
    let next = 0;
    const look = () => {
      for (; next < this.timeline.length; next++) {
        const record = this.timeline[next];
        if (record !== undefined && record.sentAtMs >= fromMs && fits(record)) return record;
      }
      return undefined;
    };
    return await eventually(what, look, { withinMs: options.withinMs ?? 10_000, everyMs: 5, hint: () => `last records: ${lastRecords(this.timeline)}\n${this.#errors}` });
  }

  async close(): Promise<void> {
    this.#child.stdin?.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 2_000);
    await this.#ended;
    clearTimeout(timer);
  }
}

function lastRecords(timeline: Timeline): string {
  return timeline.slice(-12).map((record) => `\n  ${JSON.stringify(record)}`).join('');
}
