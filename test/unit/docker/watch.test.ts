import assert from 'node:assert/strict';
import type { DockerClient } from '../../../agent/drivers/docker/client.js';
import type { Container } from '../../../agent/drivers/docker/containers.js';
import type { DockerEvent } from '../../../agent/drivers/docker/events.js';
import { DockerWatch, type DockerView } from '../../../agent/drivers/docker/watch.js';
import type { Log } from '../../../shared/log.js';

const LOG = { info: () => undefined, warn: () => undefined, error: () => undefined } as unknown as Log;

function container(id: string, v4: string | undefined, state = 'running'): Container {
  return { id, name: `name-${id}`, labels: {}, state, networkMode: 'bridge', published: [], attachments: [{ name: 'bridge', networkId: 'n1', endpointId: 'e1', v4, v6: undefined }] };
}

/** An engine whose answers the test gives: real ones cannot be stopped between two of them. */
class Engine implements DockerClient {
  readonly there = new Map<string, Container>();
  rootless = false;
  fails: Error | undefined;
  looks = 0;
  follows = 0;
  closes = 0;
  /** What lists say, where they are behind. */
  listed: Container[] | undefined;
  network = { driver: 'bridge', isInternal: false };
  inspected: string[] = [];
  /** Answers to questions for one container wait here while it is set. */
  gate: Promise<void> | undefined;
  emit: (event: DockerEvent) => void = () => undefined;
  end: (problem: string) => void = () => undefined;

  containers = async () => { this.looks++; await this.ask(); return this.listed ?? [...this.there.values()]; };
  container = async (id: string) => {
    this.inspected.push(id);
    const found = this.there.get(id);
    await this.gate;
    await this.ask();
    return found;
  };
  pidOf = async () => { await this.ask(); return undefined; };
  networks = async () => { await this.ask(); return new Map([['n1', this.network]]); };
  isRootless = async () => { await this.ask(); return this.rootless; };
  follow: DockerClient['follow'] = async (listener) => {
    await this.ask();
    this.follows++;
    this.emit = (event) => { listener.onEvent(event); };
    this.end = (problem) => { listener.onEnd(problem); };
    return { close: () => { this.closes++; } };
  };

  private ask(): Promise<void> {
    return this.fails === undefined ? Promise.resolve() : Promise.reject(this.fails);
  }
}

describe('what is known of containers', () => {
  let engine: Engine;
  let views: DockerView[];
  let timers: { delayMs: number; act: () => void }[];
  let watch: DockerWatch;
  const settle = async (): Promise<void> => { for (let i = 0; i < 50; i++) await Promise.resolve(); };
  const addressOf = (id: string): string | undefined => {
    const { view } = watch;
    return view.kind === 'known' ? view.containers.get(id)?.attachments[0]?.v4 : undefined;
  };

  function begin(): DockerWatch {
    return watch = new DockerWatch({
      client: engine, log: LOG, random: () => 0, onChange: (view) => { views.push(view); },
      after: (delayMs, act) => { const timer = { delayMs, act }; timers.push(timer); return () => { timers = timers.filter((one) => one !== timer); }; },
    });
  }

  beforeEach(() => {
    engine = new Engine();
    views = [];
    timers = [];
    engine.there.set('a', container('a', '172.17.0.2'));
  });
  afterEach(async () => { engine.gate = undefined; await watch.close(); });

  it('begins with all containers, and follows each from its events', async () => {
    await begin().ready(1_000);
    assert.equal(addressOf('a'), '172.17.0.2');
    engine.there.set('a', container('a', '172.17.0.3'));
    engine.emit({ kind: 'container', action: 'start', id: 'a' });
    await settle();
    assert.deepEqual([addressOf('a'), engine.looks, engine.inspected], ['172.17.0.3', 1, ['a']]);
    engine.there.delete('a');
    engine.emit({ kind: 'container', action: 'destroy', id: 'a' });
    await settle();
    assert.ok(watch.view.kind === 'known' && watch.view.containers.size === 0);
  });

  it('takes the address from one that died before Docker is asked anything', async () => {
    await begin().ready(1_000);
    engine.emit({ kind: 'container', action: 'die', id: 'a' });
    const view = views.at(-1);
    assert.ok(view?.kind === 'known');
    assert.deepEqual([view.containers.get('a')?.state, view.containers.get('a')?.attachments[0]?.v4], ['exited', undefined]);
  });

  it('asks again when an event comes while an answer is on its way, and never goes back to the older one', async () => {
    await begin().ready(1_000);
    let open: () => void = () => undefined;
    engine.gate = new Promise((resolve) => { open = resolve; });
    engine.there.set('a', container('a', '172.17.0.3'));
    engine.emit({ kind: 'container', action: 'start', id: 'a' });
    await settle();
    engine.there.set('a', container('a', '172.17.0.4'));
    engine.emit({ kind: 'network', action: 'connect', container: 'a' });
    engine.gate = undefined;
    open();
    await settle();
    assert.equal(addressOf('a'), '172.17.0.4');
    const seen = views.flatMap((view) => (view.kind === 'known' ? [view.containers.get('a')?.attachments[0]?.v4] : []));
    assert.ok(!seen.includes('172.17.0.3'), String(seen));
  });

  it('keeps what it knew while Docker is away, and looks at everything when it is back', async () => {
    await begin().ready(1_000);
    engine.end('closed');
    assert.equal(addressOf('a'), '172.17.0.2');
    assert.ok(watch.view.kind === 'known' && watch.view.problem === 'closed');
    engine.fails = new Error('connect ECONNREFUSED');
    const delays: number[] = [];
    for (let attempt = 0; attempt < 8; attempt++) {
      const [timer] = timers.splice(0);
      assert.ok(timer);
      delays.push(timer.delayMs);
      timer.act();
      await settle();
    }
    assert.deepEqual(delays, [100, 200, 400, 800, 1_000, 1_000, 1_000, 1_000]);
    engine.fails = undefined;
    engine.there.set('a', container('a', '172.17.0.9'));
    timers.splice(0)[0]?.act();
    await settle();
    assert.deepEqual([addressOf('a'), engine.looks], ['172.17.0.9', 2]);
    assert.ok(watch.view.kind === 'known' && watch.view.problem === undefined);
  });

  it('says that Docker is not there, and that it is one without root', async () => {
    engine.fails = new Error('connect ENOENT /run/docker.sock');
    await begin().ready(1_000);
    assert.deepEqual(watch.view, { kind: 'unknown', problem: 'connect ENOENT /run/docker.sock' });
    engine.fails = undefined;
    engine.rootless = true;
    timers.splice(0)[0]?.act();
    await settle();
    assert.deepEqual(watch.view, { kind: 'rootless' });
  });

  describe('while its event stream is open', () => {
    /** The next list is due. */
    async function relist(): Promise<void> {
      const [due] = timers.splice(timers.findIndex(({ delayMs }) => delayMs === 10_000), 1);
      assert.ok(due);
      due.act();
      await settle();
    }
    const graces = (): (() => void)[] => timers.filter(({ delayMs }) => delayMs === 3_000).map(({ act }) => act);
    const problem = (): string | undefined => (watch.view.kind === 'rootless' ? undefined : watch.view.problem);

    beforeEach(async () => { await begin().ready(1_000); });

    const missed: [what: string, change: () => void, known: () => unknown, expected: unknown, named: string][] = [
      ['a container has another address', () => engine.there.set('a', container('a', '172.17.0.3')), () => addressOf('a'), '172.17.0.3', 'container a'],
      ['a container has ended', () => engine.there.set('a', container('a', undefined, 'exited')), () => addressOf('a'), undefined, 'container a'],
      ['a container is gone', () => engine.there.delete('a'), () => addressOf('a'), undefined, 'container a'],
      ['there is another container', () => engine.there.set('b', container('b', '172.17.0.4')), () => addressOf('b'), '172.17.0.4', 'container b'],
      ['a network has changed', () => { engine.network = { driver: 'bridge', isInternal: true }; }, () => watch.view.kind === 'known' && watch.view.containers.networks.get('n1')?.isInternal, true, 'networks'],
    ];
    for (const [what, change, known, expected, named] of missed) {
      it(`notices without an event that ${what}, and opens the stream anew`, async () => {
        change();
        await relist();
        assert.deepEqual([known(), problem(), engine.follows], [expected, undefined, 1]);
        graces()[0]?.();
        assert.deepEqual([problem(), engine.closes], [`the event stream said nothing of a change of ${named}`, 1]);
        timers.find(({ delayMs }) => delayMs === 100)?.act();
        await settle();
        assert.deepEqual([known(), problem(), engine.follows, engine.looks], [expected, undefined, 2, 3]);
      });
    }

    it('keeps the stream when the event of what was listed comes a moment later', async () => {
      engine.there.set('a', container('a', '172.17.0.3'));
      await relist();
      assert.equal(graces().length, 1);
      engine.emit({ kind: 'container', action: 'start', id: 'a' });
      graces()[0]?.();
      await settle();
      assert.deepEqual([addressOf('a'), problem(), engine.follows], ['172.17.0.3', undefined, 1]);
    });

    it('does not go back to what a list says that is behind its events', async () => {
      engine.listed = [container('a', '172.17.0.2')];
      engine.there.set('a', container('a', '172.17.0.3'));
      engine.there.set('b', container('b', '172.17.0.2'));
      engine.emit({ kind: 'container', action: 'start', id: 'a' });
      engine.emit({ kind: 'container', action: 'start', id: 'b' });
      await settle();
      views = [];
      for (let i = 0; i < 3; i++) await relist();
      assert.deepEqual([addressOf('a'), addressOf('b'), engine.looks, graces()], ['172.17.0.3', '172.17.0.2', 4, []]);
      const seen = views.flatMap((view) => (view.kind === 'known' ? [view.containers.get('a')?.attachments[0]?.v4, view.containers.get('b')?.state] : []));
      assert.deepEqual([...new Set(seen)], ['172.17.0.3', 'running']);
    });

    it('takes what has an event while it is asked for as told, not as missed', async () => {
      let open: () => void = () => undefined;
      engine.gate = new Promise((resolve) => { open = resolve; });
      engine.there.set('a', container('a', '172.17.0.3'));
      await relist();
      engine.emit({ kind: 'container', action: 'die', id: 'a' });
      engine.there.set('a', container('a', undefined, 'exited'));
      engine.gate = undefined;
      open();
      await settle();
      assert.deepEqual([addressOf('a'), graces(), problem()], [undefined, [], undefined]);
    });

    it('asks for nothing more than the list as long as that says what is known', async () => {
      for (let i = 0; i < 3; i++) await relist();
      assert.deepEqual([engine.looks, engine.inspected, views.length, engine.follows], [4, [], 1, 1]);
    });

    it('takes an engine that does not answer for one that is away', async () => {
      engine.fails = new Error('the Docker Engine did not answer within 10000 ms');
      await relist();
      assert.deepEqual([problem(), engine.closes, addressOf('a')], ['the Docker Engine did not answer within 10000 ms', 1, '172.17.0.2']);
    });

    it('asks for nothing any more when it is closed', async () => {
      await watch.close();
      assert.deepEqual(timers, []);
    });
  });
});
