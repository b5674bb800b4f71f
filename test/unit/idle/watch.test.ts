import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Traffic, Watched } from '../../../agent/drivers/traffic/traffic.js';
import { IdleWatch } from '../../../agent/idle/watch.js';
import type { DesiredObject } from '../../../shared/desired.js';
import { createLogger } from '../../../shared/log.js';
import { eventually } from '../../support/wait.js';

const MINUTE = 60_000;

const mapping = (mappingId: string, more: Partial<Extract<DesiredObject, { kind: 'mapping' }>> = {}): DesiredObject => ({
  kind: 'mapping', key: `mapping/${mappingId}`, version: 1, mappingId, environment: 'e', tenant: 't', name: 'ssh', index: 0, protocol: 'tcp', port: 30_001,
  target: { kind: 'address', address: '10.0.0.5' }, internalPort: 22, generation: 1, verify: false, idleLimitMs: 5 * MINUTE, ...more,
});

/** Agents one after the other on a machine whose time is stepped. */
class Rig {
  readonly path: string;
  readonly objects = new Map<string, DesiredObject>();
  readonly traffic = new Map<string, Traffic>();
  readonly asked: (readonly Watched[])[] = [];
  bootId = 'boot-1';
  nowMs = 1_000_000;
  fails: string | undefined;
  lives = new Set<string>();
  changes = 0;
  #wake: (() => void) | undefined;
  #watch: IdleWatch | undefined;

  constructor(private readonly directory: string, objects: readonly DesiredObject[]) {
    this.path = join(directory, 'idle.json');
    for (const object of objects) this.objects.set(object.key, object);
    for (const object of objects) if (object.kind === 'mapping') this.counts(object.mappingId, 0);
  }

  get watch(): IdleWatch {
    assert.ok(this.#watch !== undefined);
    return this.#watch;
  }

  counts(mappingId: string, tcp: number, isTracked = false): void {
    this.traffic.set(mappingId, { begun: { tcp }, isTracked });
  }

  async start(): Promise<void> {
    await this.#watch?.close();
    this.#wake = undefined;
    this.#watch = await IdleWatch.open({
      path: this.path, bootId: this.bootId, intervalMs: MINUTE, log: createLogger({ name: 'test', level: 'silent' }),
      traffic: {
        look: mappings => {
          this.asked.push(mappings);
          return this.fails === undefined ? Promise.resolve(this.traffic) : Promise.reject(new Error(this.fails));
        },
      },
      standing: { endpoints: () => [] }, objects: () => this.objects, lives: (key) => (this.lives.has(key) ? true : undefined),
      onChange: () => { this.changes++; },
      sinceBootMs: () => this.nowMs,
      after: (_, act) => {
        this.#wake = act;
        return () => { this.#wake = undefined; };
      },
    });
    this.#watch.start();
  }

  /** Lets so many minutes pass, with a look after each. */
  async pass(minutes: number): Promise<void> {
    for (let minute = 0; minute < minutes; minute++) {
      this.nowMs += MINUTE;
      const wake = await eventually('the next look', () => this.#wake, { withinMs: 5_000, everyMs: 1 });
      this.#wake = undefined;
      wake();
    }
    await eventually('the look to end', () => this.#wake, { withinMs: 5_000, everyMs: 1 });
    await nextTurn();
  }

  idle(): [string, number, boolean][] {
    return this.watch.idle().map(({ mappingId, idleMs, lives }) => [mappingId, idleMs / MINUTE, lives]);
  }

  async close(): Promise<void> {
    await this.#watch?.close();
    rmSync(this.directory, { recursive: true });
  }
}

describe('the watch over idle mappings', () => {
  let rig: Rig;
  const begin = async (...objects: DesiredObject[]): Promise<Rig> => {
    rig = new Rig(mkdtempSync(join(tmpdir(), 'plidle-')), objects);
    await rig.start();
    return rig;
  };
  afterEach(() => rig.close());

  it('names a mapping once it was quiet for longer than its limit, and for how long, until a connection comes', async () => {
    await begin(mapping('m1'));
    await rig.pass(6);
    assert.deepEqual(rig.idle(), [], 'five minutes since it was first seen are not longer');
    await rig.pass(1);
    assert.deepEqual(rig.idle(), [['m1', 6, false]]);
    await rig.pass(2);
    assert.deepEqual([rig.idle(), rig.changes], [[['m1', 8, false]], 3]);
    rig.counts('m1', 1);
    await rig.pass(1);
    assert.deepEqual([rig.idle(), rig.changes], [[], 4]);
  });

  it('asks for mappings with a limit only, and for nothing when there is none', async () => {
    const { idleLimitMs: _, ...unlimited } = mapping('m2') as Extract<DesiredObject, { kind: 'mapping' }>;
    await begin(unlimited);
    await rig.pass(2);
    assert.deepEqual(rig.asked, []);
    rig.objects.set('mapping/m1', mapping('m1', { protocol: 'tcp+udp', port: 30_007, generation: 9 }));
    await rig.pass(1);
    assert.deepEqual(rig.asked, [[{ mappingId: 'm1', generation: 9, port: 30_007, transports: ['tcp', 'udp'] }]]);
  });

  it('knows after a restart of the agent what was known before, and says so before it has looked', async () => {
    await begin(mapping('m1'));
    rig.counts('m1', 7);
    await rig.pass(8);
    await rig.start();
    assert.deepEqual(rig.idle(), [['m1', 7, false]]);
    await rig.pass(1);
    assert.deepEqual(rig.idle(), [['m1', 8, false]]);
  });

  it('counts the time in which there was no agent when the counter is the same as before, and not otherwise', async () => {
    await begin(mapping('m1'), mapping('m2'));
    rig.counts('m1', 7);
    await rig.pass(8);
    rig.nowMs += 100 * MINUTE;
    await rig.start();
    await rig.pass(1);
    assert.deepEqual(rig.idle(), [['m1', 108, false], ['m2', 7, false]]);
  });

  it('goes on after a reboot where it was: what the machine was off is not counted', async () => {
    await begin(mapping('m1'));
    rig.counts('m1', 7);
    await rig.pass(8);
    Object.assign(rig, { bootId: 'boot-2', nowMs: 10 * MINUTE });
    rig.counts('m1', 0);
    await rig.start();
    await rig.pass(1);
    assert.deepEqual(rig.idle(), [['m1', 7, false]]);
    await rig.pass(1);
    assert.deepEqual(rig.idle(), [['m1', 8, false]]);
  });

  it('says what it knew while it cannot look, and takes no time for quiet that nobody looked at', async () => {
    await begin(mapping('m1'));
    await rig.pass(7);
    const { changes } = rig;
    rig.fails = 'conntrack: exit status 1';
    await rig.pass(20);
    assert.deepEqual([rig.idle(), rig.changes], [[['m1', 6, false]], changes]);
    rig.fails = undefined;
    await rig.pass(1);
    assert.deepEqual(rig.idle(), [['m1', 6, false]]);
    await rig.pass(1);
    assert.deepEqual(rig.idle(), [['m1', 7, false]]);
  });

  it('begins anew with another generation, and forgets what is gone', async () => {
    await begin(mapping('m1'), mapping('m2'));
    await rig.pass(8);
    rig.objects.set('mapping/m1', mapping('m1', { generation: 2 }));
    rig.objects.delete('mapping/m2');
    await rig.pass(1);
    assert.deepEqual(rig.idle(), []);
    assert.deepEqual(JSON.parse(readFileSync(rig.path, 'utf8')), { format: 1, bootId: 'boot-1', sinceBootMs: rig.nowMs, mappings: [['m1', 2, 0, 0, 0, null]] });
  });

  it('names those first that are not known to live, and of these the longest idle', async () => {
    await begin(mapping('m1'), mapping('m2'));
    rig.lives.add('mapping/m1');
    await rig.pass(3);
    rig.counts('m2', 1);
    await rig.pass(1);
    rig.objects.set('mapping/m3', mapping('m3'));
    rig.counts('m3', 0);
    await rig.pass(8);
    assert.deepEqual(rig.idle(), [['m2', 8, false], ['m3', 7, false], ['m1', 11, true]]);
  });

  for (const [what, text] of Object.entries({
    'is no JSON': '{"format":1,', 'has another format': '{"format":2}', 'is empty': '', 'is a list': '[]', 'is null': 'null',
    'has a row that is too short': '{"format":1,"bootId":"boot-1","sinceBootMs":1,"mappings":[["m1",1]]}',
    'has a negative time': '{"format":1,"bootId":"boot-1","sinceBootMs":1,"mappings":[["m1",1,-1,0,0,null]]}',
  })) {
    it(`begins to count when its file ${what}`, async () => {
      rig = new Rig(mkdtempSync(join(tmpdir(), 'plidle-')), [mapping('m1')]);
      writeFileSync(rig.path, text);
      await rig.start();
      await rig.pass(6);
      assert.deepEqual(rig.idle(), []);
      await rig.pass(1);
      assert.deepEqual(rig.idle(), [['m1', 6, false]]);
    });
  }
});
