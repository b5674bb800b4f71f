import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { RulesDriver } from '../../../agent/drivers/rules/driver.js';
import { ReconcileLoop, type RoundOutcome } from '../../../agent/reconcile/loop.js';
import type { PortObject } from '../../../shared/desired.js';
import { createLogger } from '../../../shared/log.js';
import { parseCidr, type Cidr } from '../../../shared/names.js';
import { lease, mapping } from '../../integration/reconcile/objects.js';
import { FakeTools } from '../rules/fake-tools.js';

const RANGE = lease({ first: 30_000, last: 30_063 });

/** The loop and the driver over models of the tools; each child begins and ends when the scheduler says so. */
class Orders {
  readonly tools = new FakeTools();
  readonly loop: ReconcileLoop;
  outcome: RoundOutcome | undefined;
  restores = 0;
  atOnce = 0;
  #revision = 0;

  constructor(readonly scheduler: fc.Scheduler) {
    this.tools.before = async ({ file }) => {
      if (file.endsWith('-restore')) this.atOnce = Math.max(this.atOnce, ++this.restores);
      await scheduler.schedule(Promise.resolve(), `${file} begins`);
    };
    this.tools.after = async ({ file }) => {
      await scheduler.schedule(Promise.resolve(), `${file} ends`);
      if (file.endsWith('-restore')) this.restores--;
    };
    this.loop = new ReconcileLoop({
      drivers: {
        rules: new RulesDriver({ run: this.tools.run }), connections: { cut: cuts => Promise.resolve({ ended: [...cuts], remaining: [] }) },
        reservedPorts: { ours: [], set: () => Promise.resolve(true) }, listeners: () => Promise.resolve([]),
      },
      facts: { addresses: ['10.0.0.1'], roles: ['host'], snat: false, targetNetworks: [parseCidr('10.2.0.0/16') as Cidr] },
      clock: { nowMs: () => 0 }, log: createLogger({ name: 'test', level: 'silent' }), after: () => () => undefined, onOutcome: outcome => { this.outcome = outcome; },
    });
  }

  want(ports: readonly number[]): void {
    const objects: PortObject[] = [RANGE, ...ports.map(port => mapping(port, '10.2.0.5', { protocol: 'tcp', generation: this.#revision + 2, key: `mapping/${port}` }))];
    this.loop.setDesired({ epoch: 1, session: 1, revision: ++this.#revision }, new Map(objects.map(object => [object.key, object])));
  }

  /** Lets `steps` children begin or end. */
  async go(steps = Infinity): Promise<void> {
    for (let step = 0; step < steps; step++) {
      for (let turns = 0; turns < 3; turns++) await turn();
      if (this.scheduler.count() === 0) return;
      await this.scheduler.waitNext(1);
    }
  }

  ports(): number[] {
    return [...this.tools.models.v4.table('nat').values()].flat().flatMap(rule => (rule.includes('-j DNAT') ? [Number(/--dport (\d+)/.exec(rule)?.[1])] : [])).sort((a, b) => a - b);
  }
}

const anyPorts = fc.uniqueArray(fc.integer({ min: 30_000, max: 30_040 }), { maxLength: 6 });
const anyAction = fc.oneof({ weight: 4, arbitrary: anyPorts.map(ports => ({ kind: 'want' as const, ports })) }, fc.constant({ kind: 'poke' as const }));
const anySteps = fc.array(fc.record({ action: anyAction, then: fc.nat(8) }), { minLength: 1, maxLength: 10 });

describe('in whatever order children begin and end', () => {
  it('the kernel gets the last state, by one restore at a time, and nothing of the loop\'s own counts as drift', async () => {
    await fc.assert(fc.asyncProperty(fc.scheduler(), anySteps, async (scheduler, steps) => {
      const orders = new Orders(scheduler);
      let wanted: number[] = [];
      orders.want(wanted);
      for (const { action, then } of steps) {
        if (action.kind === 'poke') orders.loop.poke();
        else orders.want(wanted = action.ports);
        await orders.go(then);
      }
      await orders.go();
      assert.deepEqual(orders.ports(), [...wanted].sort((a, b) => a - b));
      assert.equal(orders.outcome?.driftRepairs, 0);
      assert.equal(orders.atOnce, 1);
      await orders.loop.close();
    }), { numRuns: 150 });
  });

  it('what somebody else destroys is repaired by the next full round, and counted', async () => {
    await fc.assert(fc.asyncProperty(fc.scheduler(), anySteps, anySteps, async (scheduler, first, second) => {
      const orders = new Orders(scheduler);
      orders.want([30_050]);
      await orders.go();
      let wanted = [30_050];
      for (const [index, steps] of [first, second].entries()) {
        for (const { action, then } of steps) {
          if (action.kind === 'poke') orders.loop.poke();
          else orders.want(wanted = [30_050, ...action.ports]);
          await orders.go(then);
        }
        if (index > 0) break;
        for (const rules of orders.tools.models.v4.table('nat').values()) rules.length = 0;
      }
      await orders.go();
      orders.loop.poke();
      await orders.go();
      assert.deepEqual(orders.ports(), [...wanted].sort((a, b) => a - b));
      assert.ok((orders.outcome?.driftRepairs ?? 0) > 0);
      await orders.loop.close();
    }), { numRuns: 150 });
  });
});
