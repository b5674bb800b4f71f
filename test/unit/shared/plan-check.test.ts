import assert from 'node:assert/strict';
import fc from 'fast-check';
import { checkPlan, leasedFor, type Fleet, type PlanPool, type Verdict } from '../../../shared/plan-check.js';
import { sharedWorld, want } from '../book/world.js';

const HOUR = 3_600_000;
const pool = (ports: number, over: Partial<PlanPool> = {}): PlanPool => ({ pool: 'ssh', ranges: [{ first: 10_000, last: 9_999 + ports }], reserved: [], quarantineMs: 60_000, ...over });
const fleet = (over: Partial<Fleet> = {}): Fleet => ({ hosts: 300, envsPerHost: 8, portsPerEnv: new Map([['ssh', 1]]), lifetimeMs: HOUR, scope: 'shared', ...over });

describe('the check of a port plan', () => {
  const cases: [what: string, pool: PlanPool, fleet: Fleet, verdict: Verdict, missing: number][] = [
    ['a share of the domain plan', pool(3_884), fleet(), 'enough', 0],
    ['a thousand ports for 2,400 environments', pool(1_000), fleet(), 'short', 2_400 + 40 - 1_000],
    ['just enough, resting ports and all', pool(2_440), fleet(), 'enough', 0],
    ['one port less than that', pool(2_439), fleet(), 'short', 1],
    ['blocks of 16 for 9 ports each do not fit, single ports do', pool(3_000), fleet({ envsPerHost: 9 }), 'tight', 0],
    ['a quarantine as long as a life doubles the need', pool(4_799, { quarantineMs: HOUR }), fleet(), 'short', 1],
    ['no quarantine needs nothing for it', pool(2_400, { quarantineMs: 0 }), fleet(), 'enough', 0],
    ['reserved ports do not count', pool(2_440, { reserved: [{ first: 10_000, last: 10_009 }] }), fleet(), 'short', 10],
    ['two ports an environment', pool(4_800, { quarantineMs: 0 }), fleet({ portsPerEnv: new Map([['ssh', 2]]) }), 'enough', 0],
    ['a pool that nobody uses', pool(1), fleet({ portsPerEnv: new Map() }), 'enough', 0],
    ['a port space for each host', pool(9), fleet({ scope: 'host' }), 'enough', 0],
    ['a port space for each host, too small', pool(8), fleet({ scope: 'host' }), 'short', 1],
    ['one host', pool(4), fleet({ hosts: 1, envsPerHost: 3 }), 'tight', 0],
  ];
  for (const [what, ports, size, verdict, missing] of cases) {
    it(`says ${verdict}: ${what}`, () => {
      const [check] = checkPlan([ports], size);
      assert.deepEqual([check?.verdict, check?.missing], [verdict, missing], JSON.stringify(check));
    });
  }

  it('counts what a host leases as the book grows it: 4, 8, 16 …, then 1,024 more at a time', () => {
    assert.deepEqual([0, 1, 4, 5, 8, 9, 16, 17, 1_024, 1_025, 2_049, 3_073].map(leasedFor), [0, 4, 4, 8, 8, 16, 16, 32, 1_024, 2_048, 3_072, 4_096]);
  });

  it('counts them as the book really does', () => {
    const world = sharedWorld({ ranges: [{ first: 20_000, last: 28_191 }] });
    world.settle();
    for (let used = 1; used <= 70; used += 1) {
      world.allocate(`e-${used}`, 'a', [want()]);
      assert.equal(world.book.poolFigures('ssh')?.leased, leasedFor(used), `${used} ports in use`);
    }
  });

  it('says enough or tight exactly for as many environments a host as it says that fit', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 50_000 }), fc.integer({ min: 1, max: 500 }), fc.integer({ min: 0, max: 120_000 }), (ports, hosts, quarantineMs) => {
      const [check] = checkPlan([pool(ports, { quarantineMs })], fleet({ hosts, envsPerHost: 1 }));
      const fits = check?.envsPerHost ?? 0;
      const verdictOf = (envsPerHost: number): Verdict | undefined => checkPlan([pool(ports, { quarantineMs })], fleet({ hosts, envsPerHost }))[0]?.verdict;
      if (fits > 0) assert.notEqual(verdictOf(fits), 'short');
      assert.equal(verdictOf(fits + 1), 'short');
    }));
  });
});
