import assert from 'node:assert/strict';
import { adopt, begin, nextWakeMs, step } from '../../../agent/tunnels/machine.js';
import { isFlapping } from '../../../agent/tunnels/phases.js';
import { stateOf } from '../../../agent/tunnels/shown.js';
import type { Effect, Event, Settings, Sight, TunnelMachine, Wanted } from '../../../agent/tunnels/words.js';
import { DeterministicRandom } from './random.js';

const SETTINGS: Settings = {
  backoff: { baseMs: 1_000, maxMs: 30_000 }, killAfterMs: 300, patienceMs: 5_000, blockedMs: 1_000, connectMs: 20_000, retakeMs: 15_000, stableMs: 10_000, refusedMs: 30_000, probeFailures: 3,
  flapping: { downs: 3, windowMs: 600_000 },
};
const STATISTICS = { attempts: 0, connections: 0, failures: 0, restarts: 0, probes: 0, probesFailed: 0, probeTimeMs: undefined, restartTimeMs: undefined };
const LEADER = { pid: 7, startTicks: 70 };
const FREE: Sight = { alive: 0, isBusy: false, holder: undefined };
const WHY = { reason: 'CONNECTION_LOST', message: 'gone' };

/** A tunnel with a clock of its own; `random` 0: no jitter. */
class Played {
  state: TunnelMachine;
  nowMs = 0;
  effects: readonly Effect[] = [];

  constructor({ wanted = 'up', probeIntervalMs, startAtMs = 0 }: { wanted?: Wanted; probeIntervalMs?: number | undefined; startAtMs?: number } = {}) {
    this.state = begin({ settings: SETTINGS, wanted, restart: 0, probeIntervalMs, statistics: STATISTICS, startAtMs }, 0);
  }

  on(event: Event): this {
    ({ state: this.state, effects: this.effects } = step(this.state, event, { nowMs: this.nowMs, random: () => 0 }));
    return this;
  }

  /** To the next wake. */
  wake(): this {
    this.nowMs = Math.max(this.nowMs, nextWakeMs(this.state));
    return this.on({ kind: 'tick' });
  }

  looked(sight: Partial<Sight> = {}): this {
    return this.on({ kind: 'looked', turn: this.state.turn, sight: { ...FREE, ...sight } });
  }

  started(): this {
    return this.on({ kind: 'started', turn: this.state.turn, leader: LEADER });
  }

  connected(): this {
    return this.on({ kind: 'connected', turn: this.state.turn, sshPid: 8 });
  }

  failed(): this {
    return this.on({ kind: 'failed', turn: this.state.turn, why: WHY });
  }

  probed(problem?: string): this {
    return this.on({ kind: 'probed', turn: this.state.turn, tookMs: 5, problem });
  }

  want(wanted: Wanted, restart: number, isNew = false): this {
    return this.on({ kind: 'want', wanted, restart, isNew, probeIntervalMs: this.state.probeIntervalMs });
  }

  up(): this {
    return this.wake().looked().started().connected();
  }

  get kinds(): string[] {
    return this.effects.map(({ kind }) => kind);
  }

  get shown(): string {
    return stateOf(this.state.phase);
  }
}

describe('the state machine of a tunnel', () => {
  it('starts only after a look found nothing in the way', () => {
    const tunnel = new Played({ startAtMs: 500 });
    assert.deepEqual([tunnel.shown, nextWakeMs(tunnel.state)], ['waiting', 500]);
    assert.deepEqual(tunnel.wake().kinds, ['unwatch', 'look']);
    assert.deepEqual([tunnel.looked().kinds, tunnel.shown], [['start'], 'connecting']);
    assert.deepEqual([tunnel.started().kinds, tunnel.shown], [['watch'], 'connecting']);
    assert.deepEqual([tunnel.connected().shown, tunnel.state.statistics.connections, tunnel.state.statistics.attempts], ['up', 1, 0]);
    assert.equal(nextWakeMs(tunnel.state), Infinity);
  });

  it('ends what is there: SIGTERM, SIGKILL after a while, and tells when that does not help', () => {
    const tunnel = new Played().up().want('up', 1);
    assert.deepEqual([tunnel.kinds, tunnel.shown], [['unwatch', 'look'], 'ending']);
    assert.deepEqual(tunnel.looked({ alive: 2 }).effects, [{ kind: 'signal', signal: 'SIGTERM' }]);
    tunnel.wake();
    assert.deepEqual(tunnel.looked({ alive: 2 }).effects, []);
    tunnel.nowMs += 300;
    assert.deepEqual(tunnel.wake().looked({ alive: 1 }).effects, [{ kind: 'signal', signal: 'SIGKILL' }]);
    tunnel.nowMs += 5_000;
    tunnel.wake().looked({ alive: 1 });
    assert.deepEqual([tunnel.shown, tunnel.state.why?.reason, nextWakeMs(tunnel.state) - tunnel.nowMs], ['blocked', 'PROCESS_NOT_ENDED', 1_000]);
    assert.deepEqual(tunnel.wake().looked().kinds, ['start']);
  });

  it('waits for a port that is being freed, is blocked by who has it, and goes on when that is gone', () => {
    const tunnel = new Played().wake().looked({ isBusy: true });
    assert.deepEqual([tunnel.effects, tunnel.shown], [[], 'ending']);
    const holder = { reason: 'LOCAL_PORT_TAKEN', message: 'process 9 (nginx, user www) listens on 127.0.0.1:80' };
    tunnel.wake().looked({ isBusy: true, holder });
    assert.deepEqual([tunnel.effects, tunnel.shown, tunnel.state.why], [[], 'blocked', holder]);
    assert.deepEqual(tunnel.wake().looked({ isBusy: true, holder }).effects, []);
    assert.deepEqual(tunnel.wake().looked().kinds, ['start']);
    const nobody = new Played().wake();
    nobody.nowMs += 5_001;
    assert.equal(nobody.looked({ isBusy: true }).shown, 'blocked');
  });

  it('pauses ever longer after failures, up to a bound, and no more after a stable connection', () => {
    const tunnel = new Played();
    const pauses = Array.from({ length: 7 }, () => {
      tunnel.wake().looked().started().failed().looked();
      assert.equal(tunnel.shown, 'backoff');
      return nextWakeMs(tunnel.state) - tunnel.nowMs;
    });
    assert.deepEqual(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    tunnel.up();
    tunnel.nowMs += 10_000;
    assert.deepEqual([tunnel.failed().looked().kinds, tunnel.state.failures], [['start'], 1]);
  });

  it('is made anew at once when it was lost for the first time, and after a pause when that goes on; that is called flapping', () => {
    const tunnel = new Played().up();
    assert.deepEqual(tunnel.failed().looked().kinds, ['start']);
    tunnel.started().connected();
    assert.deepEqual([tunnel.failed().looked().kinds, tunnel.shown, isFlapping(tunnel.state, tunnel.nowMs)], [['record'], 'backoff', false]);
    tunnel.up().failed();
    assert.equal(isFlapping(tunnel.state, tunnel.nowMs), true);
    assert.equal(isFlapping(tunnel.state, tunnel.nowMs + 600_000), false);
  });

  it('lets autossh connect again by itself, and takes over when that fails', () => {
    const tunnel = new Played().up();
    tunnel.on({ kind: 'disconnected', turn: tunnel.state.turn, why: WHY });
    assert.deepEqual([tunnel.kinds, tunnel.shown, tunnel.state.statistics.failures], [['record'], 'connecting', 1]);
    assert.deepEqual([tunnel.connected().shown, tunnel.state.statistics.restarts, tunnel.state.turn], ['up', 1, 1]);
    tunnel.on({ kind: 'disconnected', turn: tunnel.state.turn, why: WHY });
    assert.deepEqual([tunnel.failed().kinds, tunnel.state.statistics.failures], [['unwatch', 'look'], 2]);
    const late = new Played().up();
    late.on({ kind: 'disconnected', turn: late.state.turn, why: WHY });
    assert.equal(nextWakeMs(late.state), 15_000);
    assert.equal(late.wake().shown, 'ending');
  });

  it('does each order once: restarts whatever it finds, stops, starts, forgets', () => {
    const tunnel = new Played().up();
    assert.deepEqual(tunnel.want('up', 0).effects, []);
    assert.deepEqual(tunnel.want('up', 1).kinds, ['unwatch', 'look']);
    assert.deepEqual([tunnel.want('up', 1).effects, tunnel.state.statistics.restarts], [[], 1]);
    tunnel.nowMs += 250;
    tunnel.looked().started().connected();
    assert.equal(tunnel.state.statistics.restartTimeMs, 250);
    assert.deepEqual(tunnel.want('up', 1, true).kinds, ['unwatch', 'look'], 'another spec');
    assert.deepEqual([tunnel.want('stopped', 1).looked({ isBusy: true }).kinds, tunnel.shown], [['record'], 'stopped']);
    assert.deepEqual(tunnel.want('stopped', 2).kinds, ['record']);
    assert.deepEqual(tunnel.want('up', 2).kinds, ['unwatch', 'look']);
    assert.deepEqual(tunnel.want('removed', 2).looked().kinds, ['forget']);
    assert.deepEqual(tunnel.want('up', 3).effects, [], 'what is gone stays gone');
    const waiting = new Played().wake().looked().started().failed().looked();
    assert.deepEqual([waiting.shown, waiting.want('up', 1).looked().kinds], ['backoff', ['start']]);
  });

  it('is up when the first probe was answered, and made anew when enough in a row were not', () => {
    const tunnel = new Played({ probeIntervalMs: 10_000 }).up();
    assert.deepEqual([tunnel.kinds, tunnel.shown], [['probe'], 'connecting']);
    assert.equal(tunnel.probed().shown, 'up');
    assert.equal(nextWakeMs(tunnel.state) - tunnel.nowMs, 10_000);
    for (const failures of [1, 2]) assert.deepEqual([tunnel.wake().kinds, tunnel.probed('silent').shown, tunnel.state.statistics.probesFailed], [['probe'], 'up', failures]);
    assert.deepEqual([tunnel.wake().probed('silent').kinds, tunnel.state.why?.reason], [['unwatch', 'look'], 'PROBE_FAILED']);
    const never = new Played({ probeIntervalMs: 10_000 }).up();
    for (let i = 0; i < 2; i += 1) never.probed('silent').wake();
    assert.deepEqual([never.probed('silent').shown, never.state.statistics.connections], ['ending', 0]);
  });

  it('takes an earlier connection over without counting it, and makes it anew when it does not answer', () => {
    const tunnel = new Played();
    ({ state: tunnel.state, effects: tunnel.effects } = adopt(tunnel.state, LEADER, 0));
    assert.deepEqual([tunnel.kinds, tunnel.connected().shown, tunnel.state.statistics.connections], [['watch'], 'up', 0]);
    const lost = new Played();
    ({ state: lost.state } = adopt(lost.state, LEADER, 0));
    assert.deepEqual([lost.failed().looked({ alive: 1 }).effects, lost.wake().looked().kinds], [[{ kind: 'signal', signal: 'SIGTERM' }], ['start']]);
  });

  it('asks again later whether the host allows it', () => {
    const tunnel = new Played().wake().looked();
    tunnel.on({ kind: 'refused', turn: tunnel.state.turn, why: { reason: 'SERVER_UNKNOWN', message: 'no' } });
    assert.deepEqual([tunnel.shown, nextWakeMs(tunnel.state)], ['refused', 30_000]);
    assert.deepEqual(tunnel.wake().looked().kinds, ['start']);
  });

  it('ignores what comes of earlier doings', () => {
    const tunnel = new Played().up();
    const { turn } = tunnel.state;
    tunnel.want('up', 1);
    for (const event of [{ kind: 'failed', turn, why: WHY }, { kind: 'connected', turn, sshPid: 1 }, { kind: 'looked', turn, sight: FREE }, { kind: 'probed', turn, tookMs: 1, problem: 'x' }] as const) {
      const before = tunnel.state;
      assert.equal(tunnel.on(event).state, before);
    }
  });

  it('never starts twice without a look in between that found nothing, whatever happens, and always has something that it waits for', () => {
    for (let seed = 1; seed <= 300; seed += 1) playRandomly(new DeterministicRandom(seed));
  });
});

/** The world of one tunnel: what is started lives until it is signalled, dies by itself now and then, and answers late. */
function playRandomly(random: DeterministicRandom): void {
  const tunnel = new Played({ probeIntervalMs: random.below(2) === 0 ? 1_000 : undefined });
  let [alive, looks, starts] = [0, 0, 0];
  const answers: Event[] = [];
  const take = (): void => {
    for (const effect of tunnel.effects) {
      if (effect.kind === 'look') looks += 1;
      if (effect.kind === 'look') answers.push({ kind: 'looked', turn: effect.turn, sight: { ...FREE, alive } });
      if (effect.kind === 'signal' && (effect.signal === 'SIGKILL' || random.below(2) === 0)) alive = 0;
      if (effect.kind === 'probe') answers.push({ kind: 'probed', turn: effect.turn, tookMs: 1, problem: random.below(3) === 0 ? 'silent' : undefined });
      if (effect.kind !== 'start') continue;
      assert.equal(alive, 0, 'started while another one lives');
      assert.ok(looks > starts, 'started without a look');
      starts += 1;
      alive = 1;
      answers.push({ kind: 'started', turn: effect.turn, leader: LEADER });
    }
  };
  const { state: first } = tunnel;
  assert.equal(first.phase.kind, 'waiting');
  for (let i = 0; i < 200; i += 1) {
    const choice = random.below(10);
    const answer = answers[0];
    if (answer !== undefined && choice < 5) tunnel.on(answers.shift()!);
    else if (choice === 5 && tunnel.state.phase.kind === 'connecting') tunnel.connected();
    else if (choice === 6 && alive === 1 && tunnel.state.phase.kind !== 'starting') { alive = 0; tunnel.failed(); }
    else if (choice === 7) tunnel.want(random.below(4) === 0 ? 'stopped' : 'up', random.below(3));
    else if (nextWakeMs(tunnel.state) < Infinity) tunnel.wake();
    else continue;
    take();
    const isIdle = ['stopped', 'up', 'gone'].includes(tunnel.state.phase.kind);
    assert.ok(isIdle || answers.length > 0 || nextWakeMs(tunnel.state) < Infinity, `waits for nothing: ${JSON.stringify(tunnel.state.phase)}`);
  }
}
