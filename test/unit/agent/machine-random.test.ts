import assert from 'node:assert/strict';
import { applyDelta, applyWelcome, NO_STATE, type AcceptedState } from '../../../agent/state/accepted.js';
import { nextWakeMs, start, step } from '../../../agent/session/machine.js';
import type { Effect, Event, LinkState } from '../../../agent/session/words.js';
import { compareVersions, type Delta } from '../../../shared/desired.js';
import { lease, version } from './deltas.js';

const RUNS = 400;
const STEPS = 250;

/**
 * One agent with a disk that answers late or fails, and a coordinator that answers, hangs, hangs up, restarts and sometimes says
 * what is old or wrong. After every step the promises of machine.ts are checked.
 */
class World {
  nowMs = 0;
  link: LinkState = start({ reconnect: { baseMs: 100, maxMs: 3_000 }, refusedRetryMs: 3_000, connectMs: 1_000, repeatReportMs: 3_000 });
  /** What is on the disk. */
  durable: AcceptedState = NO_STATE;
  served: AcceptedState = NO_STATE;
  readonly writes: Extract<Effect, { kind: 'writeWelcome' | 'writeDeltas' }>[] = [];
  readonly openStreams = new Set<number>();
  readonly heartbeats: Extract<Effect, { kind: 'sendHeartbeat' }>[] = [];
  /** Sessions that the coordinator gave, by stream. */
  readonly sessions = new Map<number, number>();
  /** Newest revision sent, by stream. */
  readonly sent = new Map<number, number>();
  newestSession = 0;
  epoch = 1;
  revision = 0;
  accepted = 0;

  constructor(readonly random: () => number) {}

  send(event: Event): void {
    const { state, effects } = step(this.link, event, { nowMs: this.nowMs, random: this.random });
    this.link = state;
    for (const effect of effects) this.carryOut(effect);
  }

  carryOut(effect: Effect): void {
    switch (effect.kind) {
      case 'openStream':
        assert.equal(this.openStreams.size, 0, 'two streams at a time');
        this.openStreams.add(effect.stream);
        return;
      case 'closeStream':
        this.openStreams.delete(effect.stream);
        return;
      case 'sendHello':
        assert.ok(this.openStreams.has(effect.stream));
        return;
      case 'writeWelcome':
      case 'writeDeltas':
        if (effect.kind === 'writeDeltas') assert.equal(this.sessions.get(effect.stream), this.durable.session, 'accepts before the session is durable');
        this.writes.push(effect);
        return;
      case 'serve':
        this.served = this.durable;
        return;
      case 'sendReport':
        assert.ok(this.openStreams.has(effect.stream));
        assert.equal(effect.report.session, this.durable.session, 'reports for a session that is not durable');
        return;
      case 'sendHeartbeat':
        assert.ok(effect.session <= this.durable.session, 'a heartbeat for a session that is not durable');
        this.heartbeats.push(effect);
        assert.equal(this.heartbeats.filter(({ session }) => session === effect.session).length, 1, 'two heartbeats of a session at a time');
        return;
      case 'rebuildHeartbeatChannel':
      case 'log':
        return;
      default: effect satisfies never;
    }
  }

  chance(share: number): boolean {
    return this.random() < share;
  }

  act(): void {
    const actions = [() => this.tick(), () => this.tick(), () => this.opened(), () => this.welcome(), () => this.desiredState(), () => this.desiredState(),
      () => this.disk(), () => this.disk(), () => this.hangUp(), () => this.answerHeartbeat(), () => this.round(), () => this.restart()];
    if (this.chance(0.5)) this.advance();
    else actions[Math.floor(this.random() * actions.length)]?.();
    assert.ok(compareVersions(this.served.version ?? version(0, 0, 0), this.durable.version ?? version(0, 0, 0)) <= 0);
  }

  /** What a coordinator and a disk that behave would do next. */
  advance(): void {
    switch (this.link.phase.kind) {
      case 'waiting': return this.tick();
      case 'connecting': return this.opened();
      case 'greeting': return this.welcome();
      default: return this.writes.length > 0 ? this.disk() : this.chance(0.5) ? this.desiredState() : this.answerHeartbeat();
    }
  }

  tick(): void {
    const wakeMs = nextWakeMs(this.link);
    this.nowMs = Math.max(this.nowMs, this.chance(0.7) && wakeMs !== Infinity ? wakeMs : this.nowMs + this.random() * 500);
    this.send({ kind: 'tick' });
  }

  get stream(): number {
    return this.chance(0.9) ? this.link.streams : Math.max(1, this.link.streams - 1);
  }

  opened(): void {
    this.send({ kind: 'opened', stream: this.stream });
  }

  welcome(): void {
    const stream = this.stream;
    const isOld = this.chance(0.05);
    const session = isOld ? this.newestSession : ++this.newestSession;
    this.sessions.set(stream, session);
    this.send({ kind: 'welcome', stream, welcome: { session, epoch: this.epoch, heartbeatIntervalMs: 500, heartbeatDeadlineMs: 300 } });
  }

  desiredState(): void {
    const stream = this.stream;
    const last = this.sent.get(stream);
    const base = last === undefined || this.chance(0.1) ? undefined : this.chance(0.95) ? last : last - 1;
    const revision = this.chance(0.95) ? ++this.revision : Math.max(0, this.revision - 3);
    this.sent.set(stream, revision);
    const delta: Delta = { version: version(this.epoch, this.sessions.get(stream) ?? 0, revision), base, upserts: [lease(`l${revision % 7}`, revision)], removals: [] };
    this.send({ kind: 'desiredState', stream, delta });
  }

  disk(): void {
    const write = this.writes.shift();
    if (write === undefined) return;
    const { stream } = write;
    if (this.chance(0.2)) return this.send({ kind: 'diskFailed', stream, message: 'ENOSPC' });
    if (write.kind === 'writeWelcome') {
      const welcomed = applyWelcome(this.durable, write.session, write.epoch);
      if (welcomed.kind === 'accepted') this.durable = welcomed.state;
      return this.send({ kind: 'welcomeWritten', stream, result: welcomed.kind });
    }
    this.send({ kind: 'deltasWritten', stream, result: this.take(write.deltas) });
  }

  take(deltas: readonly Delta[]): 'accepted' | 'older' | 'wrongBase' {
    for (const delta of deltas) {
      const result = applyDelta(this.durable, delta);
      if (result.kind !== 'accepted') return result.kind;
      if (this.durable.version !== undefined) assert.ok(compareVersions(delta.version, this.durable.version) >= 0, 'S4: accepts what is older');
      this.durable = result.state;
      this.accepted++;
    }
    return 'accepted';
  }

  hangUp(): void {
    if (this.chance(0.7)) return;
    const refusal = { reason: 'SECOND_MACHINE', remedy: '', isPermanent: this.chance(0.5) };
    const stream = this.stream;
    this.openStreams.delete(stream);
    this.send({ kind: 'streamEnded', stream, end: { message: 'gone', ...(this.chance(0.3) ? { refusal } : {}), ...(this.chance(0.2) ? { retryAfterMs: 200 } : {}) } });
  }

  answerHeartbeat(): void {
    const heartbeat = this.heartbeats.shift();
    if (heartbeat === undefined) return;
    const { session, sequence } = heartbeat;
    if (this.chance(0.3)) return this.send({ kind: 'heartbeatFailed', session, sequence, message: '' });
    this.send({ kind: 'heartbeatAnswered', session, sequence, staleSession: this.chance(0.05), rebuild: this.chance(0.05) });
  }

  round(): void {
    const applied = this.served.version ?? version(0, 0, 0);
    this.send({ kind: 'roundOutcome', outcome: { applied, problems: [], confirmations: [], verified: [], driftRepairs: 0, occupied: [] } });
  }

  /** Of the coordinator. */
  restart(): void {
    if (this.chance(0.2)) this.epoch++;
  }
}

/** Mulberry32. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe('the session of an agent, whatever happens', () => {
  it(`S4: keeps its promises in ${RUNS} random histories of ${STEPS} events`, () => {
    const first = Number(process.env['PORTLEASE_TEST_SEED'] ?? 1);
    let accepted = 0;
    for (let seed = first; seed < first + RUNS; seed++) {
      const world = new World(seeded(seed));
      try {
        for (let i = 0; i < STEPS; i++) world.act();
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
      }
      accepted += world.accepted;
    }
    assert.ok(accepted > 5 * RUNS, `only ${accepted} desired states were accepted: the histories say too little`);
  });

  it('always comes to a session again once disk and coordinator behave', () => {
    for (let seed = 1; seed <= 100; seed++) {
      const world = new World(seeded(seed));
      for (let i = 0; i < STEPS; i++) world.act();
      world.chance = share => share >= 0.9;
      for (let i = 0; i < 60 && world.link.phase.kind !== 'established'; i++) behave(world);
      assert.equal(world.link.phase.kind, 'established', `seed ${seed}`);
    }
  });
});

function behave(world: World): void {
  while (world.writes.length > 0) world.disk();
  world.heartbeats.length = 0;
  switch (world.link.phase.kind) {
    case 'connecting': return world.send({ kind: 'opened', stream: world.link.streams });
    case 'greeting': return world.welcome();
    default: return world.tick();
  }
}
