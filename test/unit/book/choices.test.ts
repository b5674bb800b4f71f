import assert from 'node:assert/strict';
import { checkWorldsAfterEach, hostScope, lose, release, shared } from './checked.js';
import { portsOf, reasonOf, want, type World } from './world.js';

const FIRST = 30_000;
const exact = (port: number) => [want({ choice: { kind: 'exact' as const, port } })];
const preferred = (port: number) => [want({ choice: { kind: 'preferred' as const, port } })];
const leasedTo = (world: World, host: string) => world.book.host(host)?.leasedPorts;

describe('the strategies of a pool', () => {
  checkWorldsAfterEach();
  const all = { ranges: [{ first: FIRST, last: FIRST + 7 }] };

  it('sequential gives the lowest free port', () => {
    const world = shared({ ...all, strategy: 'sequential' });
    assert.deepEqual(portsOf(world.allocate('e', 'a', [want({ count: 3 })])), [FIRST, FIRST + 1, FIRST + 2]);
    world.settle();
    world.decide({ kind: 'release', actor: 'o', selector: { kind: 'port', space: 'gw', protocol: 'tcp', port: FIRST + 1 } });
    world.settle();
    world.pass(1_000);
    assert.deepEqual(portsOf(world.allocate('f', 'a', [want({ count: 2 })])), [FIRST + 1, FIRST + 3]);
  });

  it('random gives any of the free ports that the host has leased', () => {
    const seen = new Set<number>();
    const world = hostScope({ ...all, strategy: 'random' });
    for (let n = 0; n < 8; n += 1) seen.add(portsOf(world.allocate(`e${n}`, 'a', [want()]))[0] as number);
    assert.equal(seen.size, 8);
    assert.notDeepEqual([...seen], [...seen].sort((a, b) => a - b));
  });

  it('leastRecentlyUsed gives what was never used, then what was released longest ago', () => {
    const world = hostScope({ ...all, strategy: 'leastRecentlyUsed' });
    portsOf(world.allocate('e', 'a', [want({ count: 4 })]));
    world.settle();
    for (const n of [3, 0, 2]) {
      world.decide({ kind: 'release', actor: 'o', selector: { kind: 'port', space: 'gw/a', protocol: 'tcp', port: FIRST + n } });
      world.settle();
    }
    world.pass(1_000);
    assert.deepEqual(portsOf(world.allocate('f', 'a', [want({ count: 7 })])), [4, 5, 6, 7, 3, 0, 2].map((n) => FIRST + n));
  });
});

describe('an exact port', () => {
  checkWorldsAfterEach();

  it('is given when it is free: unleased, on the host, or idle on another host that answers', () => {
    const world = shared();
    assert.deepEqual(portsOf(world.allocate('e', 'a', exact(FIRST + 20))), [FIRST + 20]);
    portsOf(world.allocate('f', 'b', [want()]));
    const idle = world.book.leases().find(({ record }) => record.host === 'b')?.record.last as number;
    assert.deepEqual(portsOf(world.allocate('g', 'b', exact(idle - 1))), [idle - 1]);
    assert.deepEqual(portsOf(world.allocate('h', 'a', exact(idle))), [idle]);
  });

  it('is taken back from a lost host that does not use it', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    const idle = world.book.leases()[0]?.record.last as number;
    lose(world, 'a');
    assert.deepEqual(portsOf(world.allocate('f', 'b', exact(idle))), [idle]);
  });

  it('that another tenant has is refused without saying who has it; the same tenant and operators are told', () => {
    const world = shared();
    portsOf(world.allocate('secret', 'a', exact(FIRST)));
    const asks = [['scheduler:s', 't2', undefined], ['scheduler:s', 't1', 'secret'], ['operator:local', 't2', 'secret']] as const;
    for (const [actor, tenant, told] of asks) {
      const reply = world.allocate('f', 'a', exact(FIRST), { actor, tenant });
      assert.ok(reply.kind === 'refused' && reply.reason === 'PORT_TAKEN');
      assert.equal(reply.metadata?.['environment'], told);
      assert.equal(told === undefined && JSON.stringify(reply).includes('secret'), false);
      assert.equal(reply.field, 'wants[0].exact_port');
    }
  });

  it('that is held says until when', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', exact(FIRST)));
    world.settle();
    lose(world, 'a');
    const reply = world.allocate('f', 'b', exact(FIRST));
    assert.ok(reply.kind === 'refused');
    const until = world.book.environment('e')?.mappings[0]?.untilMs as number;
    assert.ok(reply.message.includes(new Date(until).toISOString()));
    assert.equal(reply.metadata?.['state'], 'held');
  });

  it('that is reserved or outside of the pool is refused as such', () => {
    const world = shared({ reserved: [{ first: FIRST + 5, last: FIRST + 6 }] });
    assert.equal(reasonOf(world.allocate('e', 'a', exact(FIRST + 5))), 'PORT_RESERVED');
    assert.equal(reasonOf(world.allocate('e', 'a', exact(FIRST + 32))), 'PORT_NOT_IN_POOL');
    assert.equal(world.book.poolFigures('ssh')?.reserved, 2);
  });

  it('with a count takes that port and those after it', () => {
    const world = shared();
    assert.deepEqual(portsOf(world.allocate('e', 'a', [want({ count: 3, choice: { kind: 'exact', port: FIRST + 9 } })])), [FIRST + 9, FIRST + 10, FIRST + 11]);
    assert.equal(reasonOf(world.allocate('f', 'a', [want({ count: 3, choice: { kind: 'exact', port: FIRST + 7 } })])), 'PORT_TAKEN');
    assert.equal(portsOf(world.allocate('f', 'a', exact(FIRST + 7))).length, 1, 'nothing of the refused request is left');
  });

  it('may be the same on two hosts of scope host (A6)', () => {
    const world = hostScope();
    assert.deepEqual(portsOf(world.allocate('e', 'a', exact(FIRST))), portsOf(world.allocate('f', 'b', exact(FIRST))));
  });
});

describe('a preferred port', () => {
  checkWorldsAfterEach();

  it('is given when it is free, and another one when it is taken, reserved or outside', () => {
    const world = shared({ reserved: [{ first: FIRST + 5, last: FIRST + 5 }] });
    assert.deepEqual(portsOf(world.allocate('e', 'a', preferred(FIRST + 20))), [FIRST + 20]);
    for (const [n, port] of [FIRST + 20, FIRST + 5, FIRST + 99].entries()) {
      const [got] = portsOf(world.allocate(`f${n}`, 'a', preferred(port))) as [number];
      assert.notEqual(got, port);
    }
  });

  it('falls back port by port', () => {
    const world = shared();
    portsOf(world.allocate('e', 'b', exact(FIRST + 11)));
    const [one, two, three] = portsOf(world.allocate('f', 'a', [want({ count: 3, choice: { kind: 'preferred', port: FIRST + 10 } })]));
    assert.deepEqual([one, three], [FIRST + 10, FIRST + 12]);
    assert.notEqual(two, FIRST + 11);
  });
});

describe('what a host has leased', () => {
  checkWorldsAfterEach();
  const large = { ranges: [{ first: 32_768, last: 32_768 + 1_023 }], strategy: 'sequential' as const };

  it('is small first and doubles as the host needs more (B1)', () => {
    const world = shared(large);
    const sizes: number[] = [];
    for (let n = 0; n < 70; n += 1) {
      portsOf(world.allocate(`e${n}`, 'a', [want()]));
      if (leasedTo(world, 'a') !== sizes.at(-1)) sizes.push(leasedTo(world, 'a') as number);
    }
    assert.deepEqual(sizes, [4, 8, 16, 32, 64, 128]);
  });

  it('grows by single ports when the pool is scarce', () => {
    const world = shared({ ranges: [{ first: 32_768, last: 32_768 + 63 }], strategy: 'sequential' });
    portsOf(world.allocate('e', 'a', [want({ count: 57 })]));
    const before = leasedTo(world, 'a') as number;
    portsOf(world.allocate('f', 'b', [want()]));
    assert.ok(before <= 64 && (leasedTo(world, 'b') as number) === 1);
  });

  it('is called back when it has been idle for a while, and the pool has its largest block again', () => {
    const world = shared(large);
    const { blocks } = world.book.inside.pools.get('ssh')?.spaces.get('gw') as { blocks: { largest: number; size: number } };
    assert.equal(blocks.largest, 1_024);
    for (let n = 0; n < 20; n += 1) portsOf(world.allocate(`e${n}`, n % 2 === 0 ? 'a' : 'b', [want({ count: 3 })]));
    world.settle();
    for (let n = 0; n < 20; n += 1) release(world, `e${n}`);
    world.settle();
    world.pass(1_000);
    assert.ok((leasedTo(world, 'a') as number) > 0, 'not at once');
    world.pass(4_000);
    world.settle();
    assert.deepEqual([leasedTo(world, 'a'), leasedTo(world, 'b'), blocks.size, blocks.largest], [0, 0, 1_024, 1_024]);
  });

  it('in scope host is the whole pool at once, as one lease per range, and kept', () => {
    const world = hostScope({ ranges: [{ first: FIRST, last: FIRST + 9 }, { first: FIRST + 20, last: FIRST + 29 }] });
    portsOf(world.allocate('e', 'a', [want()]));
    assert.deepEqual(world.book.leases().map(({ record }) => [record.first, record.last]), [[FIRST, FIRST + 9], [FIRST + 20, FIRST + 29]]);
    release(world, 'e');
    world.settle();
    world.pass(10_000);
    assert.equal(leasedTo(world, 'a'), 20);
    const full = world.allocate('f', 'a', [want({ count: 21 })]);
    assert.ok(full.kind === 'refused' && full.reason === 'POOL_EXHAUSTED');
    assert.equal(full.metadata?.['host'], 'a');
  });
});

describe('a pool', () => {
  checkWorldsAfterEach();

  it('never refuses while a port is free on a host that answers: the last port of all goes to whoever asks', () => {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST + 31 }] });
    portsOf(world.allocate('e', 'a', [want({ count: 17 })]));
    portsOf(world.allocate('f', 'b', [want({ count: 3 })]));
    assert.equal(portsOf(world.allocate('g', 'b', [want({ count: 12 })])).length, 12);
    const full = world.allocate('h', 'a', [want()]);
    assert.ok(full.kind === 'refused' && full.reason === 'POOL_EXHAUSTED');
    assert.deepEqual([full.metadata?.['free'], full.metadata?.['allocated'], full.metadata?.['other_host_helps']], ['0', '32', 'false']);
    world.decide({ kind: 'release', actor: 'o', selector: { kind: 'environment', environment: 'f' } });
    world.settle();
    world.pass(1_000);
    assert.equal(portsOf(world.allocate('h', 'a', [want({ count: 3 })])).length, 3);
  });

  it('gives nothing new to a host before it has applied what was taken from it (S1)', () => {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST + 3 }] });
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    const command = world.allocateCommand('f', 'b', [want({ count: 3 })]);
    while (world.decide(command).kind === 'waiting') for (const host of ['gw-1', 'b']) world.report(world.agents.get(host) as never);
    release(world, 'f');
    world.settle();
    world.pass(1_000);
    const back = world.allocateCommand('g', 'a', [want()]);
    const first = world.decide(back);
    assert.equal(first.kind, 'waiting');
    assert.equal(portsOf(world.allocate('g', 'a', [want()])).length, 1);
  });

  it('counts total, reserved, leased, allocated, held, quarantined and free ports, and usage over what is not reserved (A5)', () => {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST + 19 }], reserved: [{ first: FIRST, last: FIRST + 3 }] });
    portsOf(world.allocate('e', 'a', [want({ count: 4 })]));
    portsOf(world.allocate('f', 'b', [want({ count: 2 })]));
    portsOf(world.allocate('g', 'b', [want({ count: 2 })]));
    world.settle();
    release(world, 'g');
    world.settle();
    lose(world, 'a');
    const figures = world.book.poolFigures('ssh');
    assert.deepEqual({ ...figures, leased: 0, quarantined: 0 }, { total: 20, reserved: 4, leased: 0, allocated: 2, held: 4, quarantined: 0, free: 10, usagePercent: 37.5, draining: 0 });
    assert.equal(figures?.leased, (leasedTo(world, 'a') as number) + (leasedTo(world, 'b') as number));
    assert.equal(world.book.poolFigures('none'), undefined);
  });
});
