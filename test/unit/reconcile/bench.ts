/** A loop whose drivers are steered by the test, with a clock that it steps. */
import { setImmediate as turn } from 'node:timers/promises';
import type { Cut, CutResult, Standing } from '../../../agent/drivers/connections/connections.js';
import type { Listener } from '../../../agent/drivers/connections/listeners.js';
import type { Applied, Sighting } from '../../../agent/drivers/rules/driver.js';
import { emptyFamily } from '../../../agent/drivers/rules/parse.js';
import type { RulesSpec } from '../../../agent/drivers/rules/spec.js';
import type { ReconcileObject } from '../../../agent/reconcile/objects.js';
import { ReconcileLoop, type RoundOutcome } from '../../../agent/reconcile/loop.js';
import type { ProxiedRoutes } from '../../../agent/reconcile/rounds.js';
import type { After } from '../../../shared/timers.js';
import type { Role } from '../../../shared/desired.js';
import { createLogger } from '../../../shared/log.js';
import { parseCidr, type Cidr } from '../../../shared/names.js';
import type { PortRange } from '../../../shared/ports.js';

type Timer = { atMs: number; act: () => void };

/** A call of a driver that the test lets succeed or fail. */
type Held<T> = { finish: (value: T) => void; fail: (error: Error) => void };

export class LoopBench {
  nowMs = 0;
  readonly order: string[] = [];
  readonly outcomes: RoundOutcome[] = [];
  readonly specs: { spec: RulesSpec; observe: boolean }[] = [];
  readonly cuts: { cuts: readonly Cut[]; standing: Standing }[] = [];
  readonly logged: string[] = [];
  readonly reserved: (readonly PortRange[])[] = [];
  listeners: Listener[] = [];
  reachable = new Set<string>();
  /** True: calls wait for the test. */
  holdRules = false;
  holdCuts = false;
  rulesError: Error | undefined;
  reserveError: Error | undefined;
  repaired = 0;
  lookError: Error | undefined;
  holdLooks = false;
  /** Ids of forwards that the driver does not serve. */
  unserved: string[] = [];
  /** Why containers get nothing, by address. */
  readonly bridgeProblems = new Map<string, string>();
  readonly heldRules: Held<void>[] = [];
  readonly heldLooks: Held<void>[] = [];
  looks = 0;
  readonly heldCuts: Held<CutResult | undefined>[] = [];
  readonly loop: ReconcileLoop;
  #timers: Timer[] = [];
  #revision = 0;
  #inRound = 0;
  #writes = 0;
  #written: RulesSpec | undefined;
  overlapping = 0;

  /** `routes`: a proxy that serves them. */
  constructor(roles: Role[] = ['host', 'gateway'], guarded: PortRange[] = [], routes?: ProxiedRoutes) {
    const destination = { write: (line: string) => { this.logged.push((JSON.parse(line) as { msg: string }).msg); } };
    const after: After = (delayMs, act) => {
      const timer = { atMs: this.nowMs + delayMs, act };
      this.#timers.push(timer);
      return () => { this.#timers = this.#timers.filter(one => one !== timer); };
    };
    this.loop = new ReconcileLoop({
      drivers: {
        rules: {
          look: () => this.#look(), isCurrent: sighting => sighting.writes === this.#writes,
          apply: (spec, { observe }) => this.#apply(spec, observe !== false),
        },
        bridges: { hold: () => Promise.resolve(0), admit: () => Promise.resolve(), problems: () => this.bridgeProblems },
        connections: { cut: (cuts, standing) => this.#cut(cuts, standing) },
        ...(routes === undefined ? {} : { routes }),
        reservedPorts: { ours: guarded, set: ports => this.#reserve(ports) },
        listeners: () => { this.order.push('listeners'); return Promise.resolve(this.listeners); },
        reaches: (address, port) => Promise.resolve(this.reachable.has(`${address}:${port}`)),
      },
      facts: { addresses: ['10.0.0.1'], roles, snat: false, routes: routes === undefined ? 'kernel' : 'nginx', targetNetworks: [parseCidr('10.2.0.0/16') as Cidr] },
      clock: { nowMs: () => this.nowMs },
      log: createLogger({ name: 'test', level: 'info', destination }),
      onOutcome: outcome => { this.order.push('outcome'); this.outcomes.push(outcome); },
      after, random: () => 0,
    });
  }

  want(...objects: ReconcileObject[]): void {
    this.loop.setDesired({ epoch: 1, session: 1, revision: ++this.#revision }, new Map(objects.map(object => [object.key, object])));
  }

  /** Lets everything run that waits for nobody. */
  async settle(): Promise<void> {
    for (let turns = 0; turns < 20; turns++) await turn();
  }

  /** Steps the clock; timers run in their order. */
  async pass(ms: number): Promise<void> {
    const endMs = this.nowMs + ms;
    for (;;) {
      await this.settle();
      const next = this.#timers.filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter(one => one !== next);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.act();
    }
    this.nowMs = endMs;
    await this.settle();
  }

  /** Lets go of all calls that are held, and closes the loop. */
  async close(): Promise<void> {
    this.holdRules = this.holdCuts = this.holdLooks = false;
    for (const held of this.heldLooks) held.finish();
    for (const held of this.heldRules) held.finish();
    for (const held of this.heldCuts) held.finish(undefined);
    await this.loop.close();
  }

  get last(): RoundOutcome {
    const outcome = this.outcomes.at(-1);
    if (outcome === undefined) throw new Error('no outcome yet');
    return outcome;
  }

  async #look(): Promise<Sighting> {
    this.looks++;
    const writes = this.#writes;
    if (this.holdLooks) await new Promise<void>((finish, fail) => { this.heldLooks.push({ finish, fail }); });
    if (this.lookError !== undefined) throw this.lookError;
    return { writes, families: ['v4', 'v6'], state: { v4: emptyFamily(), v6: emptyFamily(), sets: new Map() } };
  }

  async #apply(spec: RulesSpec, observe: boolean): Promise<Applied> {
    this.overlapping = Math.max(this.overlapping, ++this.#inRound);
    this.order.push('rules');
    this.specs.push({ spec, observe });
    if (spec !== this.#written) this.#writes++;
    this.#written = spec;
    try {
      if (this.holdRules) await new Promise<void>((finish, fail) => { this.heldRules.push({ finish, fail }); });
      if (this.rulesError !== undefined) throw this.rulesError;
    } finally {
      this.#inRound--;
    }
    const repaired = observe ? this.repaired : 0;
    this.repaired = 0;
    return { changed: 0, repaired, unserved: this.unserved.map(id => ({ id, reason: 'PORT_OCCUPIED', message: 'sshd has it' })) };
  }

  async #cut(cuts: readonly Cut[], standing: Standing): Promise<CutResult> {
    this.order.push('cut');
    this.cuts.push({ cuts, standing });
    const result = this.holdCuts ? await new Promise<CutResult | undefined>((finish, fail) => { this.heldCuts.push({ finish, fail }); }) : undefined;
    return result ?? { ended: [...cuts], remaining: [] };
  }

  async #reserve(ports: readonly PortRange[]): Promise<boolean> {
    this.order.push('reserve');
    if (this.reserveError !== undefined) throw this.reserveError;
    this.reserved.push(ports);
    return Promise.resolve(true);
  }
}
