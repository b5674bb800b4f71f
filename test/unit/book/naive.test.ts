import assert from 'node:assert/strict';
import fc from 'fast-check';
import { checkInvariants } from './invariants.js';
import type { Strategy, WantSpec } from '../../../coordinator/book/types.js';
import { FakeAgent, poolSpec, sharedWorld, want, World } from './world.js';

const FIRST = 30_000;
const LAST = 30_023;
const QUARANTINE_MS = 1_000;

const port = fc.integer({ min: FIRST - 1, max: LAST + 1 });
const host = fc.constantFrom('a', 'b');
const some = fc.integer({ min: 1, max: 6 });
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('allocate' as const), host, exact: fc.option(port, { nil: undefined }), run: fc.option(some, { nil: undefined }), any: fc.option(some, { nil: undefined }), preferred: fc.option(port, { nil: undefined }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('release' as const), which: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 2_500 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('move' as const), which: fc.nat(), host }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reserve' as const), port }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type Allocation = Extract<Step, { kind: 'allocate' }>;

/** A port space as anybody would write it down: no blocks, no leases, no hosts. */
class NaiveSpace {
  readonly owner = new Map<number, string>();
  readonly restsUntil = new Map<number, number>();
  readonly reserved = new Set<number>();

  isFree(p: number): boolean {
    return p >= FIRST && p <= LAST && !this.owner.has(p) && !this.restsUntil.has(p) && !this.reserved.has(p);
  }

  free(): number[] {
    return Array.from({ length: LAST - FIRST + 1 }, (_, i) => FIRST + i).filter((p) => this.isFree(p));
  }

  /** Whether all of it can be given together. */
  canGive({ exact, run, any, preferred }: Allocation): boolean {
    const left = new Set(this.free());
    if (exact !== undefined && !left.delete(exact)) return false;
    if (run !== undefined && run > 1) {
      const start = [...left].find((first) => Array.from({ length: run }, (_, i) => first + i).every((p) => left.has(p)));
      if (start === undefined) return false;
      for (let p = start; p < start + run; p += 1) left.delete(p);
    }
    return left.size >= (any ?? 0) + (run === 1 ? 1 : 0) + (preferred === undefined ? 0 : 1);
  }

  pass(nowMs: number): void {
    for (const [p, until] of this.restsUntil) if (until <= nowMs) this.restsUntil.delete(p);
  }
}

function wantsOf({ exact, run, any, preferred }: Allocation): WantSpec[] {
  const wants: WantSpec[] = [];
  if (any !== undefined) wants.push(want({ name: 'any', count: any }));
  if (preferred !== undefined) wants.push(want({ name: 'preferred', choice: { kind: 'preferred', port: preferred } }));
  if (run !== undefined) wants.push(want({ name: 'run', count: run, contiguous: true }));
  if (exact !== undefined) wants.push(want({ name: 'exact', choice: { kind: 'exact', port: exact } }));
  return wants;
}

/** Runs one step on both, and compares what they said. */
class Comparison {
  readonly naive = new NaiveSpace();
  private made = 0;

  constructor(private readonly world: World) {}

  run(step_: Step): void {
    switch (step_.kind) {
      case 'allocate': return this.allocate(step_);
      case 'release': return this.release(step_.which);
      case 'move': return this.move(step_.which, step_.host);
      case 'reserve': return this.reserve(step_.port);
      case 'pass':
        this.world.pass(step_.ms);
        this.naive.pass(this.world.nowMs);
        this.world.settle();
        return;
      case 'restart':
        this.world.restart();
        for (const agent of this.world.agents.values()) this.world.hello(agent);
        this.world.settle();
        for (const p of this.naive.restsUntil.keys()) this.naive.restsUntil.set(p, this.world.nowMs + QUARANTINE_MS);
    }
  }

  check(): void {
    checkInvariants(this.world.book.inside);
    const owned = [...this.world.book.inside.spaces.values()].flatMap((space) => [...space.mappingAt]).map(([, { record }]) => record);
    const live = owned.filter(({ state }) => state !== 'quarantined');
    assert.deepEqual(live.map(({ port: p, environment }) => [p, environment]).sort(), [...this.naive.owner].sort());
    assert.deepEqual(owned.filter(({ state }) => state === 'quarantined').map(({ port: p }) => p).sort(), [...this.naive.restsUntil.keys()].sort());
    assert.ok(live.every(({ state }) => state === 'live'));
    assert.equal(this.world.book.poolFigures('ssh')?.free, this.naive.free().length);
  }

  private allocate(allocation: Allocation): void {
    const wants = wantsOf(allocation);
    if (wants.length === 0) return;
    this.made += 1;
    const environment = `e${this.made}`;
    const possible = this.naive.canGive(allocation);
    const shown = this.world.allocate(environment, allocation.host, wants, { dryRun: true });
    const reply = this.world.allocate(environment, allocation.host, wants);
    assert.equal(reply.kind, possible ? 'allocated' : 'refused', JSON.stringify(reply));
    if (possible && wants.length === 1) assert.equal(shown.kind, 'allocated', 'a dry run says the same');
    if (!possible) assert.equal(shown.kind, 'refused', 'a dry run says the same');
    this.world.settle();
    if (reply.kind !== 'allocated') return;
    for (const mapping of reply.mappings) {
      assert.ok(this.naive.isFree(mapping.port), `port ${mapping.port} was free`);
      this.naive.owner.set(mapping.port, environment);
    }
    const of = (name: string): number[] => reply.mappings.filter((mapping) => mapping.name === name).map((mapping) => mapping.port);
    if (allocation.exact !== undefined) assert.deepEqual(of('exact'), [allocation.exact]);
    for (const [i, p] of of('run').entries()) assert.equal(p, (of('run')[0] as number) + i);
  }

  private release(which: number): void {
    const environment = this.pick(which);
    if (environment === undefined) return;
    this.world.decide({ kind: 'release', actor: 'o', selector: { kind: 'environment', environment } });
    this.world.settle();
    for (const [p, owner] of this.naive.owner) {
      if (owner !== environment) continue;
      this.naive.owner.delete(p);
      this.naive.restsUntil.set(p, this.world.nowMs + QUARANTINE_MS);
    }
  }

  private move(which: number, to: string): void {
    const environment = this.pick(which);
    if (environment === undefined) return;
    const command = { kind: 'move' as const, actor: 'o', environment, host: to, targets: [], verify: false };
    for (let reply = this.world.decide(command); reply.kind !== 'moved'; reply = this.world.decide(command)) {
      assert.equal(reply.kind, 'waiting');
      this.world.settle();
    }
    this.world.settle();
  }

  private reserve(p: number): void {
    const { reserved } = this.naive;
    const changed = reserved.has(p) ? [...reserved].filter((other) => other !== p) : [...reserved, p];
    const reply = this.world.decide({ kind: 'updatePool', actor: 'o', pool: 'ssh', change: { reserved: changed.map((each) => ({ first: each, last: each })) }, drain: false });
    this.world.settle();
    const possible = p >= FIRST && p <= LAST && !this.naive.owner.has(p);
    assert.equal(reply.kind, possible ? 'pool' : 'refused');
    if (possible && !reserved.delete(p)) reserved.add(p);
  }

  private pick(which: number): string | undefined {
    const environments = [...new Set(this.naive.owner.values())];
    return environments[which % Math.max(1, environments.length)];
  }
}

function compare(world: World, steps: readonly Step[]): void {
  world.settle();
  const comparison = new Comparison(world);
  for (const each of steps) {
    comparison.run(each);
    comparison.check();
  }
}

const strategy = fc.constantFrom<Strategy>('sequential', 'random', 'leastRecentlyUsed');
const ranges = [{ first: FIRST, last: LAST }];

describe('the book, against a naive port space', () => {
  it('gives in a shared space whatever can be given, to any host that answers, and nothing else (S2, S12)', () => {
    fc.assert(fc.property(strategy, fc.array(step, { maxLength: 40 }), (by, steps) => compare(sharedWorld({ strategy: by, ranges }), steps)), { numRuns: 120 });
  });

  it('gives in scope host whatever the host has (S2, S12)', () => {
    const onOneHost = fc.array(step.filter(({ kind }) => kind !== 'move'), { maxLength: 40 }).map((steps) => steps.map((each) => (each.kind === 'allocate' ? { ...each, host: 'a' as const } : each)));
    fc.assert(fc.property(strategy, onOneHost, (by, steps) => {
      const world = new World('host');
      world.addAgent(new FakeAgent('a', ['host'], '10.77.0.11'));
      world.decide({ kind: 'createPool', actor: 'o', pool: poolSpec({ strategy: by, ranges }), seed: false });
      compare(world, steps);
    }), { numRuns: 60 });
  });
});
