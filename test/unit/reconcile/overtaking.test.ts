import assert from 'node:assert/strict';
import { lease, mapping } from '../../integration/reconcile/objects.js';
import { LoopBench } from './bench.js';

const RANGE = lease({ first: 30_000, last: 30_009 });
const ONE = mapping(30_001, '10.2.0.5', { internalPort: 22, protocol: 'tcp' });
const TWO = mapping(30_002, '10.2.0.6', { internalPort: 22, protocol: 'tcp' });
const THREE = mapping(30_003, '10.2.0.6', { internalPort: 22, protocol: 'tcp' });

describe('a change that comes while a full round looks at the kernel', () => {
  let bench: LoopBench;
  beforeEach(async () => {
    bench = new LoopBench();
    bench.want(RANGE);
    await bench.settle();
    bench.holdLooks = true;
    bench.loop.poke();
    await bench.settle();
    bench.specs.length = 0;
  });
  afterEach(() => bench.close());

  const rounds = (): string[] => bench.specs.map(({ spec, observe }) => `${observe ? 'full' : 'change'} ${Array.from(spec.forwards, ({ id }) => id).join(' ')}`);
  const finishLook = async (): Promise<void> => {
    bench.heldLooks.shift()?.finish();
    await bench.settle();
  };

  it('is made at once, and the look that it made outdated begins again', async () => {
    bench.want(RANGE, ONE);
    await bench.settle();
    assert.deepEqual([rounds(), bench.last.applied.revision, bench.looks], [['change m30001'], 2, 2]);
    bench.repaired = 5;
    await finishLook();
    assert.deepEqual([rounds().length, bench.looks], [1, 3], 'what it saw counts for nothing');
    await finishLook();
    assert.deepEqual([rounds(), bench.last.driftRepairs], [['change m30001', 'full m30001'], 5]);
    assert.equal(bench.overlapping, 1);
  });

  it('leaves the look as it is when no rule had to be changed', async () => {
    bench.want(RANGE);
    await bench.settle();
    assert.equal(bench.last.applied.revision, 2);
    await finishLook();
    assert.deepEqual([rounds(), bench.looks], [['change ', 'full '], 2]);
  });

  it('is waited for when the look has ended meanwhile: there are never two rounds at once', async () => {
    bench.holdRules = true;
    bench.want(RANGE, ONE);
    await bench.settle();
    await finishLook();
    assert.deepEqual([rounds(), bench.looks], [['change m30001'], 2]);
    bench.want(RANGE, ONE, TWO);
    bench.holdRules = false;
    bench.heldRules.shift()?.finish();
    await bench.settle();
    assert.deepEqual([rounds(), bench.looks], [['change m30001', 'change m30001 m30002'], 3], 'the next look may be overtaken, too');
    await finishLook();
    await finishLook();
    assert.deepEqual(rounds().at(-1), 'full m30001 m30002');
    assert.equal(bench.overlapping, 1);
  });

  it('is made by the full round itself when the look ends at the same time', async () => {
    bench.heldLooks.shift()?.finish();
    await Promise.resolve();
    bench.want(RANGE, ONE);
    bench.holdLooks = false;
    await bench.settle();
    assert.equal(rounds().filter(round => round.endsWith(' m30001')).length > 0, true);
    assert.equal(rounds().at(-1), 'full m30001');
    assert.equal(bench.last.applied.revision, 2);
  });

  it('overtakes so many looks only: a stream of changes does not keep the loop from repairing', async () => {
    for (let number = 0; number < 10; number++) {
      bench.want(RANGE, mapping(30_001, '10.2.0.5', { generation: 10 + number }));
      await bench.settle();
      await finishLook();
      if (rounds().some(round => round.startsWith('full'))) break;
    }
    assert.deepEqual(rounds().map(round => round.split(' ')[0]), ['change', 'change', 'change', 'full']);
    assert.deepEqual(Array.from(bench.specs.at(-1)?.spec.forwards ?? [], ({ generation }) => generation), [13, 13], 'the change that had to wait is in it');
  });

  it('shares one round with those that come in the same turn', async () => {
    bench.want(RANGE, ONE);
    bench.want(RANGE, ONE, TWO);
    bench.want(RANGE, ONE, TWO, THREE);
    await bench.settle();
    assert.deepEqual(rounds(), ['change m30001 m30002 m30003']);
  });

  it('lets no other one overtake once it has failed, and all is looked at again', async () => {
    bench.rulesError = new Error('no');
    bench.want(RANGE, ONE);
    await bench.settle();
    bench.rulesError = undefined;
    bench.want(RANGE, ONE, TWO);
    await bench.settle();
    assert.deepEqual(rounds(), ['change m30001']);
    bench.holdLooks = false;
    await finishLook();
    assert.deepEqual(rounds(), ['change m30001', 'full m30001 m30002']);
    assert.deepEqual([bench.last.applied.revision, bench.overlapping], [3, 1]);
    assert.ok(bench.cuts.at(-1)?.cuts.some(({ ports }) => ports.last === RANGE.ports.last), 'all guarded ports are swept');
  });

  it('is not lost when the look fails, and is made by the retry', async () => {
    bench.lookError = new Error('iptables-save: exit status 1');
    bench.heldLooks.shift()?.finish();
    await Promise.resolve();
    bench.want(RANGE, ONE);
    await bench.settle();
    const before = rounds();
    assert.ok(before.every(round => round.startsWith('change')), before.join());
    bench.lookError = undefined;
    bench.holdLooks = false;
    await bench.pass(1_000);
    assert.equal(rounds().at(-1), 'full m30001');
    assert.equal(bench.last.applied.revision, 2);
    assert.equal(bench.logged.filter(line => line.includes('could not be brought')).length, 1);
  });

  it('is not made after the loop was closed', async () => {
    const closing = bench.loop.close();
    bench.want(RANGE, ONE);
    await bench.settle();
    await finishLook();
    await closing;
    assert.deepEqual(rounds(), []);
  });

  it('comes with another call for a full round, which then follows', async () => {
    bench.loop.poke();
    bench.want(RANGE, ONE);
    bench.holdLooks = false;
    await bench.settle();
    await finishLook();
    await bench.settle();
    assert.deepEqual(rounds(), ['change m30001', 'full m30001', 'full m30001']);
  });
});

describe('the first round', () => {
  it('is overtaken by nothing: what the kernel holds is not known yet', async () => {
    const bench = new LoopBench();
    bench.holdLooks = true;
    bench.want(RANGE, ONE);
    await bench.settle();
    bench.want(RANGE, ONE, TWO);
    await bench.settle();
    assert.deepEqual(bench.specs, []);
    bench.heldLooks.shift()?.finish();
    await bench.settle();
    assert.deepEqual([bench.specs.length, bench.last.applied.revision], [1, 2], 'it takes the newest state');
    await bench.close();
  });
});
