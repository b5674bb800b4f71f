import assert from 'node:assert/strict';
import { lease, mapping, release, route } from '../../integration/reconcile/objects.js';
import { LoopBench } from './bench.js';

const RANGE = lease({ first: 30_000, last: 30_009 });
const ONE = mapping(30_001, '10.2.0.5', { internalPort: 22, protocol: 'tcp' });
const TWO = mapping(30_002, '10.2.0.6', { internalPort: 22, protocol: 'tcp' });

describe('a port that was taken from this host without a release', () => {
  let bench: LoopBench;
  beforeEach(() => { bench = new LoopBench(); });
  afterEach(() => bench.close());

  const applied = (): number => bench.last.applied.revision;
  /** Lets go of the cuts that are held; they succeed. */
  const letGo = async (): Promise<void> => {
    for (const held of bench.heldCuts.splice(0)) held.finish(undefined);
    await bench.settle();
  };

  it('counts as gone only once its connections ended: until then the state before is the one that is applied (S12)', async () => {
    bench.want(RANGE, ONE);
    await bench.settle();
    bench.holdCuts = true;
    bench.want(RANGE);
    await bench.settle();
    assert.equal(applied(), 1);
    bench.want(RANGE, TWO);
    await bench.settle();
    assert.equal(applied(), 1, 'nor is a later state');
    await letGo();
    await letGo();
    assert.equal(applied(), 3);
  });

  it('does so also when ending them fails at first', async () => {
    bench.want(RANGE, ONE);
    await bench.settle();
    bench.holdCuts = true;
    bench.want();
    await bench.settle();
    bench.heldCuts.splice(0)[0]?.fail(new Error('no conntrack'));
    await bench.settle();
    assert.equal(applied(), 1);
    bench.holdCuts = false;
    await bench.pass(200);
    assert.equal(applied(), 2);
  });

  it('does so when its route led elsewhere, too', async () => {
    const ports = { first: 30_000, last: 30_003 };
    bench.want(route(ports, ['10.0.0.7']));
    await bench.settle();
    bench.holdCuts = true;
    bench.want(route(ports, ['10.0.0.8']));
    await bench.settle();
    assert.equal(applied(), 1);
    await letGo();
    assert.equal(applied(), 2);
  });

  it('makes nobody wait where a release says what ends, or nothing does', async () => {
    bench.want(RANGE, ONE);
    await bench.settle();
    bench.holdCuts = true;
    bench.want(RANGE, release(ONE), TWO);
    await bench.settle();
    assert.equal(applied(), 2);
    assert.deepEqual(bench.last.confirmations, []);
  });
});
