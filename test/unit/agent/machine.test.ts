import assert from 'node:assert/strict';
import { nextWakeMs, start, step } from '../../../agent/session/machine.js';
import type { Effect, Event, LinkState, Outcome, Settings, StreamEnd, Welcome } from '../../../agent/session/words.js';
import { change, lease, snapshot, version } from './deltas.js';

const SETTINGS: Settings = { reconnect: { baseMs: 1_000, maxMs: 30_000 }, refusedRetryMs: 30_000, connectMs: 10_000, repeatReportMs: 30_000 };
const WELCOME: Welcome = { session: 7, epoch: 2, heartbeatIntervalMs: 5_000, heartbeatDeadlineMs: 3_000 };
const OUTCOME: Outcome = { applied: version(2, 6, 40), problems: [], confirmations: [], verified: [], driftRepairs: 0, occupied: [] };
const SNAPSHOT = snapshot(version(2, 7, 41), [lease('a', 41)]);

/** Drives the machine by hand. `random` 0: each delay is as long as it can be. */
class Driver {
  state: LinkState = start(SETTINGS);
  nowMs = 0;
  random = 0;

  send(...events: Event[]): Effect[] {
    return events.flatMap(event => {
      const { state, effects } = step(this.state, event, { nowMs: this.nowMs, random: () => this.random });
      this.state = state;
      return effects;
    });
  }

  /** Lets time pass up to the next tick that is due. */
  wake(): Effect[] {
    this.nowMs = nextWakeMs(this.state);
    assert.notEqual(this.nowMs, Infinity, 'nothing is due');
    return this.send({ kind: 'tick' });
  }

  get stream(): number {
    return this.state.streams;
  }

  greeted(): this {
    this.wake();
    this.send({ kind: 'opened', stream: this.stream });
    return this;
  }

  welcomed(welcome = WELCOME): this {
    this.greeted();
    this.send({ kind: 'welcome', stream: this.stream, welcome });
    return this;
  }

  established(welcome = WELCOME): this {
    this.welcomed(welcome);
    this.send({ kind: 'welcomeWritten', stream: this.stream, result: 'accepted' });
    return this;
  }

  ended(end: Partial<StreamEnd> = {}): Effect[] {
    return this.send({ kind: 'streamEnded', stream: this.stream, end: { message: 'gone', ...end } });
  }

  beat(answer: Partial<Extract<Event, { kind: 'heartbeatAnswered' }>> = {}): Effect[] {
    const { session, sequence } = this.nextHeartbeat();
    return this.send({ kind: 'heartbeatAnswered', session, sequence, staleSession: false, rebuild: false, ...answer });
  }

  missBeat(): Effect[] {
    const { session, sequence } = this.nextHeartbeat();
    return this.send({ kind: 'heartbeatFailed', session, sequence, message: 'no answer' });
  }

  nextHeartbeat(): Extract<Effect, { kind: 'sendHeartbeat' }> {
    const sent = this.wake().find(effect => effect.kind === 'sendHeartbeat');
    assert.ok(sent?.kind === 'sendHeartbeat', 'no heartbeat was due');
    return sent;
  }
}

function kinds(effects: Effect[]): string[] {
  return effects.map(({ kind }) => kind);
}

function waitMs({ state, nowMs }: Driver): number {
  assert.equal(state.phase.kind, 'waiting');
  return nextWakeMs(state) - nowMs;
}

describe('the session of an agent', () => {
  it('opens a stream at once, says hello when it stands, and writes the welcome before anything else', () => {
    const driver = new Driver();
    assert.deepEqual(driver.wake(), [{ kind: 'openStream', stream: 1 }]);
    assert.equal(driver.nowMs, 0);
    assert.deepEqual(driver.send({ kind: 'opened', stream: 1 }), [{ kind: 'sendHello', stream: 1, withState: false }]);
    assert.deepEqual(driver.send({ kind: 'welcome', stream: 1, welcome: WELCOME }), [{ kind: 'writeWelcome', stream: 1, session: 7, epoch: 2 }]);
    assert.deepEqual(driver.send({ kind: 'desiredState', stream: 1, delta: SNAPSHOT }, { kind: 'roundOutcome', outcome: OUTCOME }), []);
    assert.equal(nextWakeMs(driver.state), Infinity, 'no heartbeat before the number of the session is durable');
    assert.deepEqual(kinds(driver.send({ kind: 'welcomeWritten', stream: 1, result: 'accepted' })), ['log', 'sendReport', 'writeDeltas']);
    assert.deepEqual(driver.send({ kind: 'deltasWritten', stream: 1, result: 'accepted' }), [{ kind: 'serve' }]);
  });

  it('writes what came during a write together', () => {
    const driver = new Driver().established();
    const deltas = [SNAPSHOT, change(version(2, 7, 42), 41, []), change(version(2, 7, 43), 42, [])] as const;
    const events = deltas.map(delta => ({ kind: 'desiredState', stream: 1, delta }) as const);
    assert.deepEqual(driver.send(...events), [{ kind: 'writeDeltas', stream: 1, deltas: [deltas[0]] }]);
    const written: Event = { kind: 'deltasWritten', stream: 1, result: 'accepted' };
    assert.deepEqual(driver.send(written), [{ kind: 'serve' }, { kind: 'writeDeltas', stream: 1, deltas: [deltas[1], deltas[2]] }]);
    assert.deepEqual(driver.send(written), [{ kind: 'serve' }]);
  });

  for (const result of ['older', 'wrongBase'] as const) {
    it(`opens a new session when a desired state is refused: ${result}`, () => {
      const driver = new Driver().established();
      driver.send({ kind: 'desiredState', stream: 1, delta: SNAPSHOT });
      assert.deepEqual(kinds(driver.send({ kind: 'deltasWritten', stream: 1, result })), ['serve', 'closeStream', 'log']);
      assert.deepEqual(driver.wake().filter(({ kind }) => kind === 'openStream'), []);
      driver.nowMs = 1_000;
      assert.deepEqual(kinds(driver.send({ kind: 'tick' })), ['openStream']);
    });
  }

  it('serves what became durable after its stream was lost', () => {
    const driver = new Driver().established();
    driver.send({ kind: 'desiredState', stream: 1, delta: SNAPSHOT });
    driver.ended();
    assert.deepEqual(driver.send({ kind: 'deltasWritten', stream: 1, result: 'accepted' }), [{ kind: 'serve' }]);
  });

  it('ignores what comes from an earlier stream', () => {
    const driver = new Driver().established();
    driver.ended();
    driver.nowMs = 1_000;
    driver.send({ kind: 'tick' });
    const late: Event[] = [
      { kind: 'opened', stream: 1 }, { kind: 'welcome', stream: 1, welcome: WELCOME }, { kind: 'desiredState', stream: 1, delta: SNAPSHOT },
      { kind: 'streamEnded', stream: 1, end: { message: 'gone' } }, { kind: 'welcomeWritten', stream: 1, result: 'accepted' },
      { kind: 'diskFailed', stream: 1, message: 'full' },
    ];
    const before = driver.state;
    assert.deepEqual(driver.send(...late), []);
    assert.deepEqual(driver.state, before);
  });

  it('gives up a stream that sends a second welcome', () => {
    const driver = new Driver().established();
    assert.deepEqual(kinds(driver.send({ kind: 'welcome', stream: 1, welcome: WELCOME })), ['closeStream', 'log']);
  });

  it('gives up a stream that sends desired state before the welcome', () => {
    const driver = new Driver().greeted();
    assert.deepEqual(kinds(driver.send({ kind: 'desiredState', stream: 1, delta: SNAPSHOT })), ['closeStream', 'log']);
  });

  it('does nothing after close', () => {
    const driver = new Driver().established();
    assert.deepEqual(driver.send({ kind: 'close' }), [{ kind: 'closeStream', stream: 1 }]);
    assert.deepEqual(driver.send({ kind: 'tick' }, { kind: 'roundOutcome', outcome: OUTCOME }), []);
    assert.equal(nextWakeMs(driver.state), Infinity);
  });
});

describe('reconnecting', () => {
  it('waits 1 s, then twice as long each time, up to 30 s', () => {
    const driver = new Driver();
    const waits = Array.from({ length: 7 }, () => {
      driver.wake();
      driver.ended();
      return waitMs(driver);
    });
    assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  });

  it('is spread by chance over half of the delay', () => {
    const driver = new Driver();
    driver.random = 0.999_999;
    driver.wake();
    driver.ended();
    assert.equal(waitMs(driver), 500);
  });

  it('begins with 1 s again once something was accepted', () => {
    const driver = new Driver();
    for (let i = 0; i < 4; i++) {
      driver.wake();
      driver.ended();
    }
    driver.established();
    driver.send({ kind: 'desiredState', stream: driver.stream, delta: SNAPSHOT }, { kind: 'deltasWritten', stream: driver.stream, result: 'accepted' });
    driver.ended();
    assert.equal(nextWakeMs({ ...driver.state, heart: undefined }) - driver.nowMs, 1_000);
  });

  it('bounds the connection and the answer to the hello', () => {
    const driver = new Driver();
    driver.wake();
    assert.deepEqual(kinds(driver.wake()), ['closeStream', 'log']);
    assert.equal(driver.nowMs, 10_000);
    driver.wake();
    driver.send({ kind: 'opened', stream: 2 });
    const sentAtMs = driver.nowMs;
    assert.deepEqual(kinds(driver.wake()), ['closeStream', 'log']);
    assert.equal(driver.nowMs - sentAtMs, 10_000);
  });

  it('waits as long as RetryInfo says, and spreads that as well', () => {
    const driver = new Driver();
    driver.wake();
    driver.ended({ retryAfterMs: 20_000 });
    assert.equal(waitMs(driver), 20_000);
    driver.wake();
    driver.random = 0.5;
    driver.ended({ retryAfterMs: 20_000 });
    assert.equal(waitMs(driver), 25_000);
  });

  it('comes when the coordinator says, however often it was not there before, and no sooner than after a first attempt', () => {
    const driver = new Driver();
    for (let attempt = 0; attempt < 4; attempt += 1) {
      driver.wake();
      driver.ended({});
    }
    assert.equal(waitMs(driver), 8_000);
    driver.wake();
    driver.ended({ retryAfterMs: 2_000 });
    assert.equal(waitMs(driver), 2_000);
    driver.wake();
    driver.ended({ retryAfterMs: 1 });
    assert.equal(waitMs(driver), 1_000);
    driver.wake();
    driver.ended({});
    assert.equal(waitMs(driver), 16_000, 'it waits longer again when nobody answers');
  });

  const REFUSAL = { reason: 'SECOND_MACHINE', remedy: 'portlease hosts replace', isPermanent: true };

  it('asks slowly when only people can help, and says the remedy once', () => {
    const driver = new Driver().greeted();
    const first = driver.ended({ refusal: REFUSAL });
    assert.equal(waitMs(driver), 30_000);
    const [log] = first.filter(effect => effect.kind === 'log');
    assert.ok(log?.kind === 'log' && log.level === 'error' && log.fields['remedy'] === REFUSAL.remedy);
    driver.greeted();
    assert.deepEqual(kinds(driver.ended({ refusal: REFUSAL })), ['closeStream']);
    driver.welcomed();
    assert.deepEqual(kinds(driver.ended({ refusal: REFUSAL })), ['closeStream', 'log'], 'a welcome in between makes it news');
  });

  it('reconnects as usual after a refusal that passes by itself', () => {
    const driver = new Driver().greeted();
    driver.ended({ refusal: { ...REFUSAL, reason: 'RATE_LIMITED', isPermanent: false } });
    assert.equal(waitMs(driver), 1_000);
  });

  it('S4: takes a session number that was used before for an old copy of the database, and asks slowly', () => {
    const driver = new Driver().welcomed();
    const effects = driver.send({ kind: 'welcomeWritten', stream: 1, result: 'older' });
    assert.deepEqual(kinds(effects), ['closeStream', 'log']);
    assert.equal(waitMs(driver), 30_000);
    assert.equal(driver.state.heart, undefined);
  });
});

describe('heartbeats', () => {
  it('begin once the session is durable, and count up from 1', () => {
    const driver = new Driver().established();
    assert.deepEqual(driver.wake(), [{ kind: 'sendHeartbeat', session: 7, sequence: 1, deadlineMs: 3_000 }]);
    assert.equal(driver.nowMs, 0);
    assert.equal(nextWakeMs(driver.state), Infinity, 'one at a time');
    driver.send({ kind: 'heartbeatAnswered', session: 7, sequence: 1, staleSession: false, rebuild: false });
    assert.equal(driver.nextHeartbeat().sequence, 2);
  });

  it('come every interval, 10 % more or less', () => {
    const driver = new Driver().established();
    driver.beat();
    assert.equal(nextWakeMs(driver.state), 4_500);
    driver.random = 0.999_999_999;
    driver.beat();
    assert.equal(Math.round(nextWakeMs(driver.state) - driver.nowMs), 5_500);
  });

  it('give up stream and connection after three without an answer', () => {
    const driver = new Driver().established();
    assert.deepEqual(driver.missBeat(), []);
    assert.deepEqual(driver.missBeat(), []);
    assert.deepEqual(kinds(driver.missBeat()), ['rebuildHeartbeatChannel', 'closeStream', 'log']);
  });

  it('count only what is missed in a row', () => {
    const driver = new Driver().established();
    for (let i = 0; i < 5; i++) {
      driver.missBeat();
      driver.missBeat();
      assert.deepEqual(driver.beat(), []);
    }
  });

  it('go on while the stream is opened anew, and rebuild their connection every third time', () => {
    const driver = new Driver().established();
    driver.beat();
    driver.ended();
    const seen: string[] = [];
    while (driver.nowMs < 40_000) {
      for (const effect of driver.wake()) {
        seen.push(effect.kind);
        if (effect.kind !== 'sendHeartbeat') continue;
        seen.push(...kinds(driver.send({ kind: 'heartbeatFailed', session: 7, sequence: effect.sequence, message: '' })));
      }
    }
    assert.ok(seen.filter(kind => kind === 'sendHeartbeat').length >= 8, seen.join());
    assert.equal(seen.filter(kind => kind === 'rebuildHeartbeatChannel').length, Math.floor(seen.filter(kind => kind === 'sendHeartbeat').length / 3));
  });

  it('open a new session and stop when the coordinator calls theirs stale', () => {
    const driver = new Driver().established();
    assert.deepEqual(kinds(driver.beat({ staleSession: true })), ['closeStream', 'log']);
    assert.equal(driver.state.heart, undefined);
  });

  it('open a new session when the coordinator asks for it', () => {
    const driver = new Driver().established();
    assert.deepEqual(kinds(driver.beat({ rebuild: true })), ['closeStream', 'log']);
  });

  it('leave the session alone while the disk is what the accepted state waits for', () => {
    const driver = new Driver().established();
    driver.send({ kind: 'desiredState', stream: 1, delta: SNAPSHOT }, { kind: 'diskFailed', stream: 1, message: 'full' });
    assert.deepEqual(driver.beat({ rebuild: true }), []);
  });

  it('of an earlier session, answered late, say nothing about the new one', () => {
    const driver = new Driver().established();
    const late = driver.nextHeartbeat();
    driver.ended();
    driver.established({ ...WELCOME, session: 8 });
    const answer: Event = { kind: 'heartbeatAnswered', session: 7, sequence: late.sequence, staleSession: true, rebuild: true };
    assert.deepEqual(driver.send(answer), []);
    assert.equal(driver.nextHeartbeat().session, 8);
  });
});

describe('a disk that refuses', () => {
  const failed: Event = { kind: 'diskFailed', stream: 1, message: 'ENOSPC' };

  it('is asked again with the same and what came since, while heartbeats go on', () => {
    const driver = new Driver().established();
    driver.send({ kind: 'desiredState', stream: 1, delta: SNAPSHOT });
    assert.deepEqual(kinds(driver.send(failed)), ['log']);
    const next = change(version(2, 7, 42), 41, []);
    assert.deepEqual(driver.send({ kind: 'desiredState', stream: 1, delta: next }), []);
    driver.beat();
    assert.deepEqual(driver.wake(), [{ kind: 'writeDeltas', stream: 1, deltas: [SNAPSHOT, next] }]);
    assert.deepEqual(driver.send({ kind: 'deltasWritten', stream: 1, result: 'accepted' }), [{ kind: 'serve' }]);
  });

  it('is asked again for the welcome, and nothing is said or accepted before', () => {
    const driver = new Driver().welcomed();
    driver.send(failed, { kind: 'desiredState', stream: 1, delta: SNAPSHOT });
    assert.deepEqual(driver.wake(), [{ kind: 'writeWelcome', stream: 1, session: 7, epoch: 2 }]);
    assert.deepEqual(kinds(driver.send({ kind: 'welcomeWritten', stream: 1, result: 'accepted' })), ['log', 'writeDeltas']);
  });

  it('is asked less and less often', () => {
    const driver = new Driver().welcomed();
    const waits = Array.from({ length: 7 }, () => {
      driver.send(failed);
      const wait = nextWakeMs(driver.state) - driver.nowMs;
      driver.wake();
      return wait;
    });
    assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  });

  it('makes the agent give up a stream with too many changes', () => {
    const driver = new Driver().established();
    const one: Event = { kind: 'desiredState', stream: 1, delta: SNAPSHOT };
    driver.send(one, failed);
    assert.deepEqual(driver.send(...Array.from({ length: 4_095 }, () => one)), []);
    assert.deepEqual(kinds(driver.send(one)), ['closeStream', 'log']);
  });
});

describe('reports', () => {
  const round = (outcome: Outcome): Event => ({ kind: 'roundOutcome', outcome });

  it('wait for a session, and only the last outcome is kept', () => {
    const driver = new Driver();
    assert.deepEqual(driver.send(round(OUTCOME), round({ ...OUTCOME, driftRepairs: 2 })), []);
    driver.welcomed();
    const effects = driver.send({ kind: 'welcomeWritten', stream: 1, result: 'accepted' });
    assert.deepEqual(effects[1], { kind: 'sendReport', stream: 1, report: { session: 7, ...OUTCOME, driftRepairs: 2 } });
  });

  it('are sent when there is news, and again every 30 s, lest the coordinator lost one', () => {
    const driver = new Driver().established();
    driver.state = { ...driver.state, heart: undefined };
    assert.deepEqual(kinds(driver.send(round(OUTCOME), round({ ...OUTCOME, verified: ['m1'] }))), ['sendReport', 'sendReport']);
    const [again] = driver.wake();
    assert.equal(driver.nowMs, 30_000);
    assert.ok(again?.kind === 'sendReport' && again.report.verified.includes('m1'));
    assert.deepEqual(driver.send({ kind: 'tick' }), []);
  });

  it('are told again to a new session', () => {
    const driver = new Driver().established();
    driver.send(round(OUTCOME));
    driver.ended();
    driver.state = { ...driver.state, heart: undefined };
    driver.welcomed({ ...WELCOME, session: 8 });
    const effects = driver.send({ kind: 'welcomeWritten', stream: 2, result: 'accepted' });
    assert.deepEqual(effects[1], { kind: 'sendReport', stream: 2, report: { session: 8, ...OUTCOME } });
  });
});
