/** A scheduler that goes on allocating, whatever happens: so many requests a second, each at its time, answered or not. */
import { setTimeout as pause } from 'node:timers/promises';
import { Wait } from '../../../shared/gen/portlease/v1/common.js';
import type { AllocatePortsResponse, Mapping } from '../../../shared/gen/portlease/v1/ports.js';
import { Api, Refused, status } from '../../support/api.js';
import { eventually } from '../../support/wait.js';
import { quantile } from '../rows.js';

/** Milliseconds that answers took, by what was asked for; calls that were refused, by reason. */
export type Samples = { recorded: number[]; live: number[]; refused: Record<string, number> };

/** Refusals of a fleet that comes and goes: the scheduler takes another host. */
const EXPECTED: ReadonlySet<string> = new Set(['HOST_NOT_READY', 'HOST_SUSPECT', 'HOST_LOST', 'GATEWAY_NOT_READY', 'NOT_LIVE_IN_TIME', 'UNAVAILABLE', 'DEADLINE_EXCEEDED', 'STOPPING', 'JOURNAL_UNAVAILABLE']);
const POOLS = ['ssh', 'jupyter'];
const FILL_WITHIN_MS = 60_000;

export class Scheduler {
  /** What was answered: nothing of it may be missing afterwards. */
  readonly answered: Mapping[] = [];
  readonly #api: Api;
  readonly #hosts: readonly string[];
  #environments = 0;
  #samples: Samples = noSamples();
  readonly #failures: unknown[] = [];

  constructor(address: string, hosts: readonly string[]) {
    this.#api = new Api(address, 30_000);
    this.#hosts = hosts;
  }

  /** Gives each host so many environments, each with a port of each pool. */
  async fill(environmentsPerHost: number, callers = 32): Promise<void> {
    const all = Array.from({ length: environmentsPerHost }, () => this.#hosts).flat();
    const next = all[Symbol.iterator]();
    await Promise.all(Array.from({ length: callers }, async () => {
      for (const host of next) await this.#allocateSoon(host);
    }));
  }

  /** On a machine that is busy with other things, a host may be suspect for a moment. */
  async #allocateSoon(host: string): Promise<void> {
    await eventually(`an environment on ${host}`, async () => {
      this.#keep(await this.#allocate(host, Wait.WAIT_RECORDED));
      return true;
    }, { withinMs: FILL_WITHIN_MS, everyMs: 500 });
  }

  /** Allocates on hosts taken by chance, every second call waiting until the port is live, until the result is called. */
  begin(perSecond: number): () => Promise<Samples> {
    this.#samples = noSamples();
    let goesOn = true;
    const calls: Promise<void>[] = [];
    const startMs = performance.now();
    const running = (async () => {
      for (let n = 0; goesOn; n += 1) {
        const dueMs = startMs + (1_000 * n) / perSecond;
        await pause(Math.max(0, dueMs - performance.now()));
        calls.push(this.#call(n % 2 === 0 ? 'recorded' : 'live', dueMs));
      }
    })();
    return async () => {
      goesOn = false;
      await running;
      await Promise.all(calls);
      if (this.#failures.length > 0) throw new Error(`${this.#failures.length} allocations failed in ways that they must not`, { cause: this.#failures[0] });
      return this.#samples;
    };
  }

  close(): void {
    this.#api.close();
  }

  /** Timed from when it was due: a call that could not leave in time is late too. */
  async #call(wait: 'recorded' | 'live', dueMs: number): Promise<void> {
    const host = this.#hosts[Math.floor(Math.random() * this.#hosts.length)] ?? '';
    try {
      this.#keep(await this.#allocate(host, wait === 'live' ? Wait.WAIT_LIVE : Wait.WAIT_RECORDED));
      this.#samples[wait].push(performance.now() - dueMs);
    } catch (error) {
      const reason = error instanceof Refused ? error.details.reason ?? status[error.code] : 'unknown';
      if (!EXPECTED.has(reason)) this.#failures.push(error);
      this.#samples.refused[reason] = (this.#samples.refused[reason] ?? 0) + 1;
    }
  }

  #allocate(host: string, wait: Wait): Promise<AllocatePortsResponse> {
    this.#environments += 1;
    return this.#api.allocate({
      tenant: 'bench', environment: `env-${this.#environments}`, host, wait,
      wants: POOLS.map((pool) => ({ name: pool, source: { $case: 'pool' as const, value: pool }, target: { kind: { $case: 'address' as const, value: '10.200.0.1' } } })),
    });
  }

  #keep({ mappings }: AllocatePortsResponse): void {
    for (const mapping of mappings) this.answered.push(mapping);
  }
}

function noSamples(): Samples {
  return { recorded: [], live: [], refused: {} };
}

export function inWords({ recorded, live, refused }: Samples): string {
  const part = (name: string, ms: readonly number[]): string => (ms.length === 0 ? `${name} 0` : `${name} ${ms.length} (p50 ${quantile(ms, 0.5).toFixed(1)}, p99 ${quantile(ms, 0.99).toFixed(1)}, most ${quantile(ms, 1).toFixed(0)} ms)`);
  const others = Object.entries(refused).map(([reason, count]) => `${reason} ${count}`);
  return [part('recorded', recorded), part('live', live), ...others].join(', ');
}
