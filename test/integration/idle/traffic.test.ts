/** Traffic of mappings as the real kernel counts and tracks it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { KernelTraffic, type Traffic } from '../../../agent/drivers/traffic/traffic.js';
import { IdleWatch } from '../../../agent/idle/watch.js';
import { createLogger } from '../../../shared/log.js';
import { transportsOf } from '../../../shared/ports.js';
import { eventually } from '../../support/wait.js';
import { Machine } from '../reconcile/machine.js';
import { lease, mapping } from '../reconcile/objects.js';
import { ADDRESS } from '../rules/bench.js';

const RANGE = lease({ first: 30_000, last: 30_015 });
const INTERNAL = 8_000;
const FAMILIES = { v4: 30_001, v6: 30_002 } as const;
const MINUTE = 60_000;
const LIMIT_MS = 5 * MINUTE;

const served = (port: number, family: 'v4' | 'v6', more: Parameters<typeof mapping>[2] = {}) => mapping(port, ADDRESS.target[family], { internalPort: INTERNAL, idleLimitMs: LIMIT_MS, ...more });

function driverOf(machine: Machine): KernelTraffic {
  return new KernelTraffic(machine.bench.onHost, [ADDRESS.host.v4, ADDRESS.host.v6]);
}

/** What has ended need not be waited for. */
async function forgetSoon(machine: Machine): Promise<void> {
  const names = ['udp_timeout', 'udp_timeout_stream', 'tcp_timeout_time_wait', 'tcp_timeout_close', 'tcp_timeout_last_ack'];
  for (const name of names) await machine.bench.onHost('sysctl', ['-qw', `net.netfilter.nf_conntrack_${name}=1`]);
}

async function trafficOf(machine: Machine, ...mappings: ReturnType<typeof mapping>[]): Promise<(Traffic | undefined)[]> {
  const watched = mappings.map(({ mappingId, generation, port, protocol }) => ({ mappingId, generation, port, transports: transportsOf(protocol) }));
  const seen = await driverOf(machine).look(watched, machine.standing);
  return mappings.map(({ mappingId }) => seen.get(mappingId));
}

describe('the traffic of a mapping on a real host', () => {
  let machine: Machine;
  before(async () => {
    machine = await Machine.start(['host']);
    for (const family of ['v4', 'v6'] as const) {
      await machine.talker('target').serveQuietly(INTERNAL, 'target', ADDRESS.target[family]);
      await machine.bench.listen('target', 'udp', INTERNAL, ADDRESS.target[family]);
    }
    await forgetSoon(machine);
  });
  after(() => machine?.close());
  beforeEach(async () => { await machine.want(RANGE, served(FAMILIES.v4, 'v4'), served(FAMILIES.v6, 'v6')); });

  for (const [family, port] of [['v4', FAMILIES.v4], ['v6', FAMILIES.v6]] as const) {
    it(`over TCP and ${family} is counted, and tracked until a moment after its end`, async () => {
      const one = served(port, family);
      const [before] = await trafficOf(machine, one);
      assert.ok(await machine.talker('client').reaches(ADDRESS.host[family], port, 5_000));
      const after = await eventually('the connection to be forgotten', async () => (await trafficOf(machine, one))[0]?.isTracked === false && (await trafficOf(machine, one))[0], { withinMs: 10_000 });
      assert.deepEqual(after.begun, { tcp: (before?.begun.tcp ?? 0) + 1, udp: before?.begun.udp });
    });

    it(`over UDP and ${family} is counted, and tracked as long as conntrack remembers the flow`, async () => {
      const one = served(port, family);
      const [before] = await trafficOf(machine, one);
      assert.match(await machine.bench.ask('client', 'udp', [ADDRESS.host[family], port]), /^target sees/);
      const [now] = await trafficOf(machine, one);
      assert.deepEqual([now?.isTracked, now?.begun], [true, { tcp: before?.begun.tcp, udp: (before?.begun.udp ?? 0) + 1 }]);
      await eventually('the flow to be forgotten', async () => (await trafficOf(machine, one))[0]?.isTracked === false, { withinMs: 10_000 });
    });

    it(`over ${family} that is open and silent is tracked, and no more once it has ended`, async () => {
      const one = served(port, family);
      const name = `silent-${family}`;
      assert.equal(await machine.talker('client').openAndListen(name, 'tcp', ADDRESS.host[family], port), 'target');
      const [first] = await trafficOf(machine, one);
      const [second] = await trafficOf(machine, one);
      assert.deepEqual([first?.isTracked, second], [true, first], 'nothing new has begun, and it is there');
      await machine.talker('client').hangUp(name);
      await machine.talker('target').sayAll('bye');
      await eventually('the connection to have ended', async () => (await trafficOf(machine, one))[0]?.isTracked === false, { withinMs: 10_000 });
    });
  }

  it('is not that of another mapping, of a connection past the public port, or of another port of the host', async () => {
    const [one, other] = [served(FAMILIES.v4, 'v4'), served(FAMILIES.v6, 'v6')];
    const before = await trafficOf(machine, one, other);
    const name = 'past-the-port';
    assert.equal(await machine.talker('host').openAndListen(name, 'tcp', ADDRESS.target.v4, INTERNAL), 'target');
    assert.equal(await machine.talker('client').reaches(ADDRESS.host.v4, 30_009, 300), false);
    assert.deepEqual(await trafficOf(machine, one, other), before);
    await machine.talker('host').hangUp(name);
  });

  it('of the host itself and of the target itself through the public port counts as any other', async () => {
    const one = served(FAMILIES.v4, 'v4');
    const [before] = await trafficOf(machine, one);
    for (const place of ['host', 'target'] as const) assert.ok(await machine.talker(place).reaches(ADDRESS.host.v4, FAMILIES.v4, 5_000), place);
    assert.equal((await trafficOf(machine, one))[0]?.begun.tcp, (before?.begun.tcp ?? 0) + 2);
  });

  it('is not known where no rule serves it: of a mapping that cannot be served, or of another generation', async () => {
    const outside = mapping(30_005, '192.0.2.9', { internalPort: INTERNAL });
    await machine.want(RANGE, outside, served(FAMILIES.v4, 'v4'));
    assert.deepEqual(await trafficOf(machine, outside, served(FAMILIES.v4, 'v4', { generation: 9 })), [undefined, undefined]);
  });
});

/** The watch of an agent whose minutes are stepped. */
class Watched {
  nowMs = 0;
  readonly #path: string;
  #wake: (() => void) | undefined;
  #watch: IdleWatch | undefined;

  constructor(private readonly machine: Machine, directory: string) {
    this.#path = join(directory, 'idle.json');
  }

  async start(): Promise<void> {
    await this.close();
    this.#watch = await IdleWatch.open({
      path: this.#path, bootId: 'boot', intervalMs: MINUTE, traffic: driverOf(this.machine), standing: this.machine.standing, objects: () => this.machine.objects,
      lives: () => undefined, onChange: () => undefined, log: createLogger({ name: 'test', level: 'silent' }), sinceBootMs: () => this.nowMs,
      after: (_, act) => {
        this.#wake = act;
        return () => { this.#wake = undefined; };
      },
    });
    this.#watch.start();
  }

  async pass(minutes: number): Promise<void> {
    for (let minute = 0; minute < minutes; minute++) {
      this.nowMs += MINUTE;
      const wake = this.#wake;
      this.#wake = undefined;
      wake?.();
      await eventually('the look to end', () => this.#wake, { withinMs: 10_000, everyMs: 2 });
    }
  }

  /** In minutes, by id. */
  idle(): Record<string, number> {
    return Object.fromEntries(this.#watch?.idle().map(({ mappingId, idleMs }) => [mappingId, idleMs / MINUTE]) ?? []);
  }

  async close(): Promise<void> {
    await this.#watch?.close();
    this.#wake = undefined;
  }
}

describe('an idle mapping on a real host', () => {
  let machine: Machine;
  let directory: string;
  let watched: Watched;
  const one = served(FAMILIES.v4, 'v4', { protocol: 'tcp' });
  const id = one.mappingId;

  beforeEach(async () => {
    machine = await Machine.start(['host']);
    await forgetSoon(machine);
    directory = mkdtempSync(join(tmpdir(), 'plidle-'));
    watched = new Watched(machine, directory);
    await machine.talker('target').serveQuietly(INTERNAL, 'target', ADDRESS.target.v4);
    await machine.want(RANGE, one);
    assert.ok(await machine.talker('client').reaches(ADDRESS.host.v4, FAMILIES.v4, 5_000));
    await eventually('the connection to have ended', async () => (await trafficOf(machine, one))[0]?.isTracked === false, { withinMs: 10_000 });
    await watched.start();
    await watched.pass(7);
    assert.deepEqual(watched.idle(), { [id]: 6 });
  });
  afterEach(async () => {
    await watched?.close();
    await machine?.close();
    if (directory !== undefined) rmSync(directory, { recursive: true });
  });

  const isServed = async () => (await trafficOf(machine, one))[0];

  it('stays idle over a flush of the nat table, which the agent repairs', async () => {
    await machine.bench.onHost('iptables', ['-t', 'nat', '-F']);
    const { begun } = await eventually('the rule to be back', isServed, { withinMs: 10_000 });
    assert.deepEqual(begun, { tcp: 0 }, 'it has counted one connection before');
    await watched.pass(1);
    assert.deepEqual(watched.idle(), { [id]: 7 });
  });

  it('stays idle when its rule is written anew because of a neighbour', async () => {
    await machine.want(RANGE, one, served(30_003, 'v4'));
    await machine.want(RANGE, one);
    assert.deepEqual((await isServed())?.begun, { tcp: 0 });
    await watched.pass(1);
    assert.deepEqual(watched.idle(), { [id]: 7 });
  });

  it('stays idle over a restart of the agent, and the time in which there was none counts', async () => {
    await watched.close();
    await machine.stopLoop();
    watched.nowMs += 100 * MINUTE;
    await machine.startLoop();
    await machine.outcome('the rules stand', ({ applied }) => applied.revision === 1);
    await watched.start();
    assert.deepEqual(watched.idle(), { [id]: 6 });
    await watched.pass(1);
    assert.deepEqual(watched.idle(), { [id]: 107 });
  });

  it('is idle no more after a connection that came while there was no agent', async () => {
    await watched.close();
    await machine.stopLoop();
    watched.nowMs += 100 * MINUTE;
    assert.ok(await machine.talker('client').reaches(ADDRESS.host.v4, FAMILIES.v4, 5_000));
    await machine.startLoop();
    await machine.outcome('the rules stand', ({ applied }) => applied.revision === 1);
    await watched.start();
    await watched.pass(1);
    assert.deepEqual(watched.idle(), {});
  });

  it('is idle no more after a connection that came behind a flush', async () => {
    await machine.bench.onHost('iptables', ['-t', 'nat', '-F']);
    await eventually('the rule to be back', isServed, { withinMs: 10_000 });
    for (let time = 0; time < 2; time++) assert.ok(await machine.talker('client').reaches(ADDRESS.host.v4, FAMILIES.v4, 5_000));
    await watched.pass(1);
    assert.deepEqual(watched.idle(), {});
  });

  it('is idle no more after a connection that came and went before its rule was written anew', async () => {
    await machine.bench.onHost('sysctl', ['-qw', 'net.netfilter.nf_conntrack_tcp_timeout_time_wait=120']);
    const client = machine.talker('client');
    await client.openAndListen('short', 'tcp', ADDRESS.host.v4, FAMILIES.v4);
    await client.hangUp('short');
    await eventually('the connection to have ended', async () => (await client.look('short')).end === 'closed', { withinMs: 10_000 });
    await machine.want(RANGE, one, served(30_003, 'v4'));
    await machine.want(RANGE, one);
    assert.deepEqual((await isServed())?.begun, { tcp: 0 });
    await watched.pass(1);
    assert.deepEqual(watched.idle(), {});
  });

  it('is not idle while a connection is open, however silent, also over a flush and a restart of the agent', async () => {
    assert.equal(await machine.talker('client').openAndListen('silent', 'tcp', ADDRESS.host.v4, FAMILIES.v4), 'target');
    await watched.pass(20);
    assert.deepEqual(watched.idle(), {});
    await machine.bench.onHost('iptables', ['-t', 'nat', '-F']);
    await eventually('the rule to be back', isServed, { withinMs: 10_000 });
    await machine.stopLoop();
    await machine.startLoop();
    await machine.outcome('the rules stand', ({ applied }) => applied.revision === 1);
    await watched.start();
    await watched.pass(20);
    assert.deepEqual(watched.idle(), {});
    await machine.talker('client').hangUp('silent');
    await machine.talker('target').stopServing();
    await eventually('the connection to have ended', async () => (await isServed())?.isTracked === false, { withinMs: 10_000 });
    await watched.pass(7);
    assert.deepEqual(watched.idle(), { [id]: 6 });
  });
});
