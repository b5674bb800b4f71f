import assert from 'node:assert/strict';
import { lease, mapping, release, route, withdrawal } from '../../integration/reconcile/objects.js';
import { LoopBench } from './bench.js';

const RANGE = lease({ first: 30_000, last: 30_009 });
const ONE = mapping(30_001, '10.2.0.5', { internalPort: 22, protocol: 'tcp' });
const TWO = mapping(30_002, '10.2.0.6', { internalPort: 22, protocol: 'tcp' });

function ids({ specs }: LoopBench): string[] {
  return Array.from(specs.at(-1)?.spec.forwards ?? [], ({ id }) => id);
}

describe('the reconcile loop', () => {
  let bench: LoopBench;
  beforeEach(() => { bench = new LoopBench(); });
  afterEach(() => bench.close());

  it('does nothing before it is told what is wanted', async () => {
    await bench.pass(10_000);
    assert.deepEqual([bench.specs.length, bench.outcomes.length], [0, 0]);
    assert.equal(bench.loop.lastRoundAtMs, 10_000);
  });

  it('looks at the kernel in its first round, trusts itself after that, and looks again every interval', async () => {
    bench.want(RANGE);
    await bench.settle();
    bench.want(RANGE, ONE);
    await bench.settle();
    assert.deepEqual(bench.specs.map(({ observe }) => observe), [true, false]);
    await bench.pass(4_000);
    assert.deepEqual(bench.specs.map(({ observe }) => observe), [true, false, true, true]);
  });

  it('looks every interval also when changes never end', async () => {
    for (let round = 0; round < 40; round++) {
      bench.want(RANGE, mapping(30_001, '10.2.0.5', { generation: round }));
      await bench.pass(100);
    }
    assert.ok(bench.specs.filter(({ observe }) => observe).length >= 2);
  });

  it('reads listeners and reserves ports before it guards, says what it did right after the rules, and cuts last', async () => {
    bench.want(RANGE, ONE);
    await bench.settle();
    bench.order.length = 0;
    bench.want(mapping(30_009, '10.2.0.9'), { ...RANGE, version: 2 }, ONE);
    await bench.settle();
    assert.deepEqual(bench.order, ['listeners', 'rules', 'outcome', 'cut']);
    assert.deepEqual(bench.last.applied, { epoch: 1, session: 1, revision: 2 });
  });

  it('does not call its first state applied before every connection that leads elsewhere has ended: what it was before is not known (S1, S12)', async () => {
    bench.holdCuts = true;
    bench.want(RANGE, ONE);
    await bench.settle();
    assert.deepEqual(bench.order, ['listeners', 'reserve', 'rules', 'cut']);
    assert.equal(bench.outcomes.length, 0);
    bench.heldCuts[0]?.finish(undefined);
    await bench.settle();
    assert.deepEqual(bench.last.applied, { epoch: 1, session: 1, revision: 1 });
  });

  it('lets changes that come during a round share the next one', async () => {
    bench.holdRules = true;
    bench.want(RANGE);
    await bench.settle();
    for (const objects of [[ONE], [TWO], [ONE, TWO]]) bench.want(RANGE, ...objects);
    bench.holdRules = false;
    bench.heldRules[0]?.finish();
    await bench.settle();
    assert.equal(bench.specs.length, 2);
    assert.deepEqual(ids(bench), ['m30001', 'm30002']);
    assert.equal(bench.overlapping, 1);
  });

  it('confirms a release only after its cut, and serves a new mapping meanwhile', async () => {
    bench.want(RANGE, ONE);
    await bench.settle();
    bench.holdCuts = true;
    bench.want(RANGE, release(ONE));
    await bench.settle();
    assert.deepEqual([ids(bench), bench.last.applied.revision, bench.last.confirmations], [[], 2, []]);
    bench.want(RANGE, release(ONE), TWO);
    await bench.settle();
    assert.deepEqual([ids(bench), bench.last.applied.revision, bench.last.confirmations], [['m30002'], 3, []]);
    bench.heldCuts[0]?.finish(undefined);
    await bench.settle();
    assert.deepEqual(bench.last.confirmations, [{ key: 'release/m30001', generation: 2, ports: { first: 30_001, last: 30_001 }, protocol: 'tcp' }]);
  });

  it('reports what the driver does not serve as a problem of that mapping, until a round serves it', async () => {
    bench.unserved = ['m30001'];
    bench.want(RANGE, ONE, TWO);
    await bench.settle();
    assert.deepEqual([bench.last.applied.revision, bench.last.problems], [1, [{ key: 'mapping/m30001', reason: 'PORT_OCCUPIED', message: 'sshd has it' }]]);
    bench.unserved = [];
    await bench.pass(2_000);
    assert.deepEqual(bench.last.problems, []);
  });

  it('says of a container whose bridge port was not found yet that its address is not settled, until it is found', async () => {
    const at = { kind: 'at', address: '10.2.0.9', containerId: 'c1', endpointId: 'e1' } as const;
    bench.bridgeProblems.set('10.2.0.9', 'the bridge port of container c1 was not found: it does not run');
    bench.want(RANGE, { ...ONE, target: at }, TWO);
    await bench.settle();
    assert.deepEqual(bench.last.problems, [{ key: 'mapping/m30001', reason: 'CONTAINER_ADDRESS_UNSETTLED', message: 'the bridge port of container c1 was not found: it does not run' }]);
    bench.bridgeProblems.clear();
    await bench.pass(2_000);
    assert.deepEqual(bench.last.problems, []);
  });

  it('repeats a confirmation for as long as the object is wanted, and cuts once only', async () => {
    bench.want(RANGE, release(ONE));
    await bench.settle();
    const cuts = bench.cuts.length;
    bench.want(RANGE, release(ONE), TWO);
    await bench.pass(6_000);
    assert.equal(bench.last.confirmations.length, 1);
    assert.deepEqual(bench.cuts.slice(cuts).flatMap(one => one.cuts.map(({ ports }) => ports.first)), [30_002]);
    bench.want(RANGE, TWO);
    await bench.settle();
    assert.deepEqual(bench.last.confirmations, []);
  });

  it('cuts a fenced route again when its generation is another one', async () => {
    const fenced = (generation: number): ReturnType<typeof route> => route({ first: 31_000, last: 31_001 }, ['10.2.0.5'], { generation, version: generation, fence: true });
    bench.want(fenced(3));
    await bench.settle();
    bench.holdCuts = true;
    bench.want(fenced(4));
    await bench.settle();
    assert.deepEqual(bench.last.confirmations, []);
    bench.heldCuts[0]?.finish(undefined);
    await bench.settle();
    assert.deepEqual(bench.last.confirmations.map(({ generation }) => generation), [4]);
  });

  it('cuts where a withdrawn route led, although the withdrawal does not say it', async () => {
    const led = route({ first: 31_000, last: 31_001 }, ['10.2.0.5'], { protocol: 'tcp' });
    bench.want(led);
    await bench.settle();
    bench.want(withdrawal({ ...led, generation: 5 }, 7_000));
    await bench.settle();
    const cut = bench.cuts.at(-1)?.cuts.find(({ dropMs }) => dropMs === 7_000);
    assert.deepEqual(cut, { transport: 'tcp', ports: led.ports, from: [{ address: '10.2.0.5', port: undefined }], dropMs: 7_000 });
  });

  it('spares connections to a target that is about to be served, while the rules change', async () => {
    bench.holdCuts = true;
    bench.want(RANGE, ONE);
    await bench.settle();
    const standing = bench.cuts[0]?.standing;
    assert.deepEqual(standing?.endpoints('tcp', 30_001), [{ address: '10.2.0.5', port: 22 }]);
    bench.holdRules = true;
    bench.want(RANGE, { ...ONE, target: { kind: 'address', address: '10.2.0.9' }, version: 3 });
    await bench.settle();
    assert.deepEqual(standing.endpoints('tcp', 30_001).map(({ address }) => address), ['10.2.0.9', '10.2.0.5']);
    bench.heldRules[0]?.finish();
    await bench.settle();
    assert.deepEqual(standing.endpoints('tcp', 30_001).map(({ address }) => address), ['10.2.0.9']);
    bench.heldCuts[0]?.finish(undefined);
  });

  it('looks over all guarded ports in its first round, and after one that failed', async () => {
    bench.want(RANGE);
    await bench.settle();
    assert.deepEqual(bench.cuts[0]?.cuts.map(({ transport, ports }) => [transport, ports]), [['tcp', RANGE.ports], ['udp', RANGE.ports]]);
    bench.want(RANGE, ONE);
    await bench.settle();
    assert.deepEqual(bench.cuts[1]?.cuts.map(({ ports }) => ports.first), [30_001]);
    bench.rulesError = new Error('no');
    bench.want(RANGE);
    await bench.settle();
    bench.rulesError = undefined;
    await bench.pass(100);
    assert.ok(bench.cuts[2]?.cuts.some(({ ports }) => ports.last === RANGE.ports.last));
    assert.ok(bench.cuts[2]?.cuts.some(({ from }) => from[0]?.address === '10.2.0.5'));
  });
});

describe('a loop in trouble', () => {
  let bench: LoopBench;
  beforeEach(() => { bench = new LoopBench(); });
  afterEach(() => bench.close());

  it('leaves what it applied where it was, logs once, and tries again ever more slowly', async () => {
    bench.want(RANGE);
    await bench.settle();
    bench.rulesError = new Error('iptables-restore: exit status 4');
    bench.want(RANGE, ONE);
    await bench.pass(1_000);
    assert.equal(bench.last.applied.revision, 1);
    assert.deepEqual(bench.specs.length, 2 + 3, 'after 100, 200 and 400 ms');
    assert.equal(bench.logged.filter(line => line.includes('could not be brought')).length, 1);
    bench.rulesError = undefined;
    await bench.pass(5_000);
    assert.equal(bench.last.applied.revision, 2);
    assert.ok(bench.logged.some(line => line.includes('again')));
  });

  it('confirms nothing of a release while its rules cannot be removed', async () => {
    bench.want(RANGE, ONE);
    await bench.settle();
    const cuts = bench.cuts.length;
    bench.rulesError = new Error('no');
    bench.want(RANGE, release(ONE));
    await bench.pass(20_000);
    assert.deepEqual([bench.last.confirmations, bench.cuts.length], [[], cuts]);
  });

  it('says why a release is not confirmed when connections cannot be ended, and goes on trying', async () => {
    bench.want(RANGE, ONE);
    await bench.settle();
    bench.holdCuts = true;
    bench.want(RANGE, release(ONE));
    await bench.settle();
    bench.heldCuts[0]?.fail(new Error('conntrack: exit status 1'));
    await bench.settle();
    assert.deepEqual(bench.last.problems, [{ key: 'release/m30001', reason: 'CONNECTIONS_REMAIN', message: 'conntrack: exit status 1' }]);
    await bench.pass(100);
    bench.heldCuts[1]?.finish({ ended: [], remaining: [...bench.cuts.at(-1)?.cuts ?? []] });
    await bench.settle();
    assert.match(bench.last.problems[0]?.message ?? '', /still there/);
    await bench.pass(200);
    bench.heldCuts[2]?.finish(undefined);
    await bench.settle();
    assert.deepEqual([bench.last.problems, bench.last.confirmations.length], [[], 1]);
  });

  it('confirms a release whose connections ended although those of another one remain', async () => {
    bench.want(RANGE, ONE, TWO);
    await bench.settle();
    bench.holdCuts = true;
    bench.want(RANGE, release(ONE), release(TWO));
    await bench.settle();
    const stubborn = bench.cuts.at(-1)?.cuts.filter(({ ports }) => ports.first === 30_002) ?? [];
    bench.heldCuts[0]?.finish({ ended: [], remaining: stubborn });
    await bench.settle();
    assert.deepEqual(bench.last.confirmations.map(({ key }) => key), ['release/m30001']);
    bench.heldCuts[1]?.finish(undefined);
  });

  it('serves although the kernel takes no reserved ports, and says so once', async () => {
    bench.reserveError = new Error('EROFS');
    bench.want(RANGE, ONE);
    await bench.pass(10_000);
    assert.equal(bench.last.applied.revision, 1);
    assert.equal(bench.logged.filter(line => line.includes('ip_local_reserved_ports')).length, 1);
  });

  it('counts what it repaired', async () => {
    bench.want(RANGE);
    await bench.settle();
    bench.repaired = 3;
    await bench.pass(2_000);
    assert.equal(bench.last.driftRepairs, 3);
  });

  it('says nothing twice', async () => {
    bench.want(RANGE, ONE);
    await bench.pass(20_000);
    assert.equal(bench.outcomes.length, 1);
  });

  it('starts a full round at once when it is poked', async () => {
    bench.want(RANGE);
    await bench.settle();
    bench.loop.poke();
    await bench.settle();
    assert.deepEqual(bench.specs.map(({ observe }) => observe), [true, true]);
  });

  it('stops when it is closed, after what runs', async () => {
    bench.holdRules = true;
    bench.want(RANGE);
    await bench.settle();
    let isClosed = false;
    const closing = bench.loop.close().then(() => { isClosed = true; });
    await bench.settle();
    assert.equal(isClosed, false);
    bench.heldRules[0]?.finish();
    await closing;
    bench.want(RANGE, ONE);
    await bench.pass(10_000);
    assert.deepEqual([bench.specs.length, bench.outcomes.length], [1, 0]);
  });
});

describe('what the loop knows of listeners', () => {
  const foreign = { transport: 'tcp' as const, address: '0.0.0.0', port: 30_004 };
  const guards = (bench: LoopBench): boolean => bench.specs.at(-1)?.spec.leased.some(({ transport, ports }) => transport === 'tcp' && ports.first <= 30_004 && ports.last >= 30_004) ?? false;

  it('guards the port of a foreign process once that is gone, and then for good', async () => {
    const bench = new LoopBench();
    bench.listeners = [foreign];
    bench.want(RANGE);
    await bench.settle();
    assert.deepEqual([guards(bench), bench.last.occupied], [false, [{ transport: 'tcp', port: 30_004 }]]);
    bench.listeners = [];
    await bench.pass(2_000);
    assert.deepEqual([guards(bench), bench.last.occupied], [true, []]);
    bench.listeners = [foreign];
    await bench.pass(2_000);
    assert.deepEqual([guards(bench), bench.last.occupied.length], [true, 1]);
    await bench.close();
  });

  it('keeps the guard over a restart of the agent', async () => {
    const bench = new LoopBench(['host'], [RANGE.ports]);
    bench.listeners = [foreign];
    bench.want(RANGE);
    await bench.settle();
    assert.equal(guards(bench), true);
    await bench.close();
  });
});
