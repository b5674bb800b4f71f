import assert from 'node:assert/strict';
import { agentOf, checkWorldsAfterEach, hostScope, release, shared } from './checked.js';
import { poolSpec, portsOf, reasonOf, want } from './world.js';

const FIRST = 30_000;
const exact = (port: number) => ({ kind: 'exact' as const, port });
const preferred = (port: number) => ({ kind: 'preferred' as const, port });

describe('the wants of one request', () => {
  checkWorldsAfterEach();

  it('are met together: ports of several pools, in the order of the wants', () => {
    const world = shared();
    world.decide({ kind: 'createPool', actor: 'o', pool: poolSpec({ pool: 'rdp', serviceType: 'rdp', ranges: [{ first: 33_000, last: 33_015 }], protocol: 'tcp+udp', defaultInternalPort: 3_389 }), seed: false });
    const rdp = want({ name: 'rdp', source: { kind: 'serviceType', serviceType: 'rdp' } });
    const reply = world.allocate('e', 'a', [rdp, want({ count: 2 })]);
    assert.ok(reply.kind === 'allocated');
    assert.deepEqual(reply.mappings.map(({ name, index, protocol, internalPort }) => [name, index, protocol, internalPort]), [
      ['rdp', 0, 'tcp+udp', 3_389], ['ssh', 0, 'tcp', 22], ['ssh', 1, 'tcp', 23],
    ]);
  });

  it('give TCP and UDP one number, and that number to nobody else (S2)', () => {
    const world = shared({ protocol: 'tcp+udp' });
    const [port] = portsOf(world.allocate('e', 'a', [want()]));
    assert.equal(reasonOf(world.allocate('f', 'a', [want({ protocol: 'tcp', choice: exact(port as number) })])), 'PORT_TAKEN');
    const tcp = portsOf(world.allocate('f', 'a', [want({ protocol: 'tcp' })]));
    assert.equal(reasonOf(world.allocate('g', 'a', [want({ protocol: 'udp', choice: exact(tcp[0] as number) })])), 'PORT_TAKEN', 'a number is never split between environments');
  });

  it('are met or refused as a whole: nothing is left over, not even a lease', () => {
    const world = shared();
    const before = structuredClone(world.book.leases());
    const figures = world.book.poolFigures('ssh');
    const missing = want({ name: 'far', choice: exact(FIRST + 5_000) });
    assert.equal(reasonOf(world.allocate('e', 'a', [want({ count: 3 }), want({ name: 'x', choice: exact(FIRST + 9) }), missing])), 'PORT_NOT_IN_POOL');
    assert.deepEqual(world.book.leases(), before);
    assert.deepEqual(world.book.poolFigures('ssh'), figures);
    assert.equal(world.book.environment('e'), undefined);
    assert.equal(world.tables.requests.size, 0);
  });

  it('do not take from one another what only one of them can use', () => {
    const world = shared({ strategy: 'sequential', ranges: [{ first: FIRST, last: FIRST + 3 }] });
    const reply = world.allocate('e', 'a', [want({ name: 'any' }), want({ name: 'pref', choice: preferred(FIRST + 2) }), want({ name: 'exact', choice: exact(FIRST) })]);
    assert.deepEqual(portsOf(reply), [FIRST + 1, FIRST + 2, FIRST]);
  });

  it('find a run for a contiguous want before single ports break it up', () => {
    const world = shared({ strategy: 'sequential', ranges: [{ first: FIRST, last: FIRST + 3 }] });
    const reply = world.allocate('e', 'a', [want({ name: 'one' }), want({ name: 'run', count: 3, contiguous: true })]);
    assert.deepEqual(portsOf(reply), [FIRST + 3, FIRST, FIRST + 1, FIRST + 2]);
  });

  it('may not ask for one exact port twice', () => {
    const world = shared();
    const reply = world.allocate('e', 'a', [want({ name: 'x', choice: exact(FIRST) }), want({ name: 'y', choice: exact(FIRST) })]);
    assert.ok(reply.kind === 'refused');
    assert.deepEqual([reply.reason, reply.field], ['INVALID_FIELD', 'wants[1].exact_port']);
    portsOf(world.allocate('e', 'a', [want({ name: 'z', choice: exact(FIRST) })]));
    assert.equal(reasonOf(world.allocate('f', 'a', [want({ name: 'x', choice: exact(FIRST + 1) }), want({ name: 'y', choice: exact(FIRST + 1) })])), 'INVALID_FIELD', 'also when the host has it leased already');
  });

  it('get the ports that the environment has, and new ones only for the indexes that are missing', () => {
    const world = shared();
    const first = world.allocate('e', 'a', [want({ count: 3 })]);
    assert.ok(first.kind === 'allocated');
    world.decide({ kind: 'release', actor: 'o', selector: { kind: 'mapping', mappingId: first.mappings[0]?.mappingId as string } });
    const again = world.allocate('e', 'a', [want({ count: 4 })]);
    assert.ok(again.kind === 'allocated');
    assert.deepEqual(again.mappings.map(({ index }) => index), [0, 1, 2, 3]);
    assert.deepEqual(again.mappings.slice(1, 3).map(({ mappingId }) => mappingId), first.mappings.slice(1).map(({ mappingId }) => mappingId));
    assert.deepEqual(again.mappings.map(({ internalPort }) => internalPort), [22, 23, 24, 25]);
    assert.equal(new Set(portsOf(again)).size, 4);
  });

  it('extend a run of the environment where it is', () => {
    const world = shared({ strategy: 'sequential' });
    portsOf(world.allocate('e', 'a', [want({ count: 2, contiguous: true, choice: preferred(FIRST + 8) })]));
    assert.deepEqual(portsOf(world.allocate('e', 'a', [want({ count: 4, contiguous: true })])), [8, 9, 10, 11].map((n) => FIRST + n));
    portsOf(world.allocate('f', 'a', [want({ choice: exact(FIRST + 12) })]));
    const reply = world.allocate('e', 'a', [want({ count: 5, contiguous: true })]);
    assert.ok(reply.kind === 'refused');
    assert.deepEqual([reply.reason, reply.field], ['PORT_TAKEN', 'wants[0].contiguous']);
  });

  it('do not pretend that ports with a gap are a run', () => {
    const world = shared({ strategy: 'sequential' });
    portsOf(world.allocate('e', 'a', [want({ choice: exact(FIRST) })]));
    portsOf(world.allocate('f', 'a', [want({ choice: exact(FIRST + 1) })]));
    portsOf(world.allocate('e', 'a', [want({ count: 2 })]));
    assert.equal(reasonOf(world.allocate('e', 'a', [want({ count: 3, contiguous: true })])), 'NO_CONTIGUOUS_RUN');
  });
});

describe('a dry run', () => {
  checkWorldsAfterEach();

  it('shows what would be given and changes nothing', () => {
    const world = shared();
    portsOf(world.allocate('f', 'a', [want({ count: 3 })]));
    const before = { sequence: world.book.sequence, leases: structuredClone(world.book.leases()), figures: world.book.poolFigures('ssh'), audits: world.tables.audits.length, events: world.tables.events.length };
    const wants = [want({ count: 6 }), want({ name: 'x', choice: exact(FIRST + 20) }), want({ name: 'run', count: 4, contiguous: true })];
    const shown = world.allocate('e', 'a', wants, { dryRun: true });
    assert.equal(portsOf(shown).length, 11);
    assert.ok(shown.kind === 'allocated' && shown.mappings.every(({ mappingId, reason }) => mappingId === '' && reason === 'DRY_RUN'));
    assert.deepEqual({ sequence: world.book.sequence, leases: world.book.leases(), figures: world.book.poolFigures('ssh'), audits: world.tables.audits.length, events: world.tables.events.length }, before);
    assert.equal(world.book.environment('e'), undefined);
    assert.deepEqual(portsOf(world.allocate('e', 'a', wants)), portsOf(shown));
  });

  it('counts what would be called back from another host: any, exact and contiguous', () => {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST + 3 }], strategy: 'sequential' });
    portsOf(world.allocate('f', 'b', [want({ count: 4 })]));
    release(world, 'f');
    world.settle();
    world.nowMs += 1_000;
    world.decide({ kind: 'tick' });
    assert.equal(world.book.leases().every(({ record }) => record.host === 'b'), true);
    const { sequence } = world.book;
    assert.equal(portsOf(world.allocate('e', 'a', [want({ count: 4 })], { dryRun: true })).length, 4);
    assert.deepEqual(portsOf(world.allocate('e', 'a', [want({ choice: exact(FIRST + 2) })], { dryRun: true })), [FIRST + 2]);
    assert.deepEqual(portsOf(world.allocate('e', 'a', [want({ count: 3, contiguous: true })], { dryRun: true })), [FIRST, FIRST + 1, FIRST + 2]);
    assert.equal(reasonOf(world.allocate('e', 'a', [want({ count: 5 })], { dryRun: true })), 'POOL_EXHAUSTED');
    assert.equal(world.book.sequence, sequence);
  });

  it('counts no port twice when a run of it would have to be called back', () => {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST + 7 }], strategy: 'sequential' });
    portsOf(world.allocate('x', 'b', [want({ choice: exact(FIRST + 1) }), want({ name: 'run', count: 2, contiguous: true, choice: preferred(FIRST + 2) })]));
    world.decide({ kind: 'release', actor: 'o', selector: { kind: 'port', space: 'gw', protocol: 'tcp', port: FIRST + 3 } });
    world.settle();
    world.nowMs += 1_000;
    world.decide({ kind: 'tick' });
    const wants = (count: number) => [want({ name: 'run', count: 5, contiguous: true }), want({ count })];
    assert.equal(reasonOf(world.allocate('e', 'a', wants(2), { dryRun: true })), 'POOL_EXHAUSTED');
    assert.equal(new Set(portsOf(world.allocate('e', 'a', wants(1), { dryRun: true }))).size, 6);
    assert.equal(portsOf(world.allocate('e', 'a', wants(1))).length, 6);
  });

  it('refuses what would be refused, and leaves no audit record of it', () => {
    const world = hostScope();
    const audits = world.tables.audits.length;
    assert.equal(reasonOf(world.allocate('e', 'a', [want({ choice: exact(FIRST + 40) })], { dryRun: true })), 'PORT_NOT_IN_POOL');
    assert.equal(world.tables.audits.length, audits);
    assert.equal(agentOf(world, 'a').objects.size, 0);
  });
});

describe('contiguous ports', () => {
  checkWorldsAfterEach();
  const small = { ranges: [{ first: FIRST, last: FIRST + 15 }], strategy: 'sequential' as const };

  it('are found across the blocks of the pool, aligned or not', () => {
    const world = shared(small);
    portsOf(world.allocate('x', 'b', [want({ choice: exact(FIRST) })]));
    portsOf(world.allocate('y', 'b', [want({ choice: exact(FIRST + 15) })]));
    assert.deepEqual(portsOf(world.allocate('e', 'a', [want({ count: 14, contiguous: true })])), Array.from({ length: 14 }, (_, i) => FIRST + 1 + i));
    assert.equal(world.book.leases().filter(({ record }) => record.host === 'a').length, 1, 'as one lease');
  });

  it('are found across what the host has leased and what nobody has', () => {
    const world = shared(small);
    portsOf(world.allocate('x', 'a', [want()]));
    assert.ok(world.book.leases().some(({ record }) => record.host === 'a' && record.last === FIRST + 3));
    assert.deepEqual(portsOf(world.allocate('e', 'a', [want({ count: 15, contiguous: true })])), Array.from({ length: 15 }, (_, i) => FIRST + 1 + i));
  });

  it('are called back from hosts that have them idle, but no more of them than the run needs', () => {
    const world = shared(small);
    portsOf(world.allocate('x', 'b', [want({ choice: exact(FIRST) }), want({ name: 'run', count: 15, contiguous: true })]));
    world.decide({ kind: 'release', actor: 'o', selector: { kind: 'port', space: 'gw', protocol: 'tcp', port: FIRST } });
    for (let port = FIRST + 4; port < FIRST + 12; port += 1) world.decide({ kind: 'release', actor: 'o', selector: { kind: 'port', space: 'gw', protocol: 'tcp', port } });
    world.settle();
    world.nowMs += 1_000;
    world.decide({ kind: 'tick' });
    assert.deepEqual(portsOf(world.allocate('e', 'a', [want({ count: 6, contiguous: true })])), [4, 5, 6, 7, 8, 9].map((n) => FIRST + n));
    assert.equal(reasonOf(world.allocate('f', 'a', [want({ count: 3, contiguous: true })])), 'NO_CONTIGUOUS_RUN');
    assert.equal(world.book.host('b')?.leasedPorts, 10);
  });

  it('stand where they are preferred, or else anywhere', () => {
    const world = shared(small);
    assert.deepEqual(portsOf(world.allocate('e', 'a', [want({ count: 3, contiguous: true, choice: preferred(FIRST + 9) })])), [9, 10, 11].map((n) => FIRST + n));
    const elsewhere = portsOf(world.allocate('f', 'a', [want({ count: 3, contiguous: true, choice: preferred(FIRST + 10) })]));
    assert.equal(elsewhere[2], (elsewhere[0] as number) + 2);
  });

  it('are refused as NO_CONTIGUOUS_RUN while single ports are free', () => {
    const world = shared(small);
    portsOf(world.allocate('x', 'b', Array.from({ length: 8 }, (_, i) => want({ name: `p${i}`, choice: exact(FIRST + 2 * i) }))));
    assert.equal(reasonOf(world.allocate('e', 'a', [want({ count: 2, contiguous: true })])), 'NO_CONTIGUOUS_RUN');
    assert.equal(portsOf(world.allocate('e', 'a', [want({ count: 2 })])).length, 2);
  });
});
