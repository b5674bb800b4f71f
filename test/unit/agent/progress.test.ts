import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { Progress } from '../../../agent/progress.js';

class Systemd extends EventEmitter {
  readonly told: string[] = [];

  #tell(what: string): Promise<void> {
    this.told.push(what);
    this.emit(what);
    return Promise.resolve();
  }

  ready = (): Promise<void> => this.#tell('ready');
  watchdog = (): Promise<void> => this.#tell('watchdog');
  stopping = (): Promise<void> => this.#tell('stopping');
  status = (): Promise<void> => this.#tell('status');
}

describe('what systemd is told of the agent', () => {
  let systemd: Systemd;
  let progress: Progress;
  let lastRoundAtMs = 0;

  beforeEach(() => {
    systemd = new Systemd();
    lastRoundAtMs = 1_000;
  });
  afterEach(() => progress.close());

  function watch(isReady: boolean, watchdogIntervalMs: number | undefined = 5): void {
    progress = new Progress({ notifier: systemd, lastRoundAtMs: () => lastRoundAtMs, watchdogIntervalMs, isReady });
  }

  /** Resolves after several intervals of the watchdog, with what was told in them. */
  async function laps(count: number): Promise<string[]> {
    const before = systemd.told.length;
    for (let i = 0; i < count; i++) await new Promise(resolve => { setTimeout(resolve, 5); });
    return systemd.told.slice(before);
  }

  const soon = (what: string): Promise<unknown> => once(systemd, what, { signal: AbortSignal.timeout(5_000) });

  it('is ready after its first round, not before', async () => {
    watch(false);
    assert.deepEqual(await laps(15), []);
    lastRoundAtMs++;
    await soon('ready');
    assert.deepEqual(systemd.told, ['ready']);
  });

  it('is ready at once when there is nothing to serve yet', () => {
    watch(true);
    assert.deepEqual(systemd.told, ['ready']);
  });

  it('feeds the watchdog while rounds come to an end, and stops when they do not', async () => {
    watch(true);
    for (let round = 0; round < 3; round++) {
      lastRoundAtMs++;
      await soon('watchdog');
    }
    assert.deepEqual(await laps(10), []);
  });

  it('is silent after close', async () => {
    watch(true);
    progress.close();
    lastRoundAtMs++;
    assert.deepEqual(await laps(5), []);
  });
});
