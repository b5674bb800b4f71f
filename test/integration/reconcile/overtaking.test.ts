import assert from 'node:assert/strict';
import { eventually } from '../../support/wait.js';
import { ADDRESS } from '../rules/bench.js';
import { Machine } from './machine.js';
import { lease, mapping } from './objects.js';

const RANGE = lease({ first: 30_000, last: 30_015 });
const at = (port: number): ReturnType<typeof mapping> => mapping(port, ADDRESS.target.v4, { internalPort: 8_000, protocol: 'tcp' });

/** Holds back what `iptables-save` said until it is let go. */
class Hold {
  #release: (() => void) | undefined;
  looks = 0;

  readonly after = (file: string): Promise<void> => {
    if (file !== 'iptables-save') return Promise.resolve();
    this.looks++;
    return new Promise(resolve => { this.#release = resolve; });
  };

  async isLooking(): Promise<void> {
    await eventually('a full round looks', () => this.#release !== undefined, { withinMs: 10_000 });
  }

  release(): void {
    this.#release?.();
    this.#release = undefined;
  }
}

describe('a change while a full round looks at the real kernel', () => {
  let machine: Machine;
  let hold: Hold;
  beforeEach(async () => {
    machine = await Machine.start(['host']);
    hold = new Hold();
    await machine.talker('target').serve('tcp', 8_000, 'target', ADDRESS.target.v4);
    await machine.want(RANGE, at(30_001));
  });
  afterEach(async () => {
    machine.afterChild = () => Promise.resolve();
    hold.release();
    await machine.close();
  });

  it('serves at once, and is not taken for drift by the look that it made outdated', async () => {
    machine.afterChild = hold.after;
    await hold.isLooking();
    const before = hold.looks;
    await machine.want(RANGE, at(30_001), at(30_002));
    assert.equal(await machine.talker('client').open('new', 'tcp', ADDRESS.host.v4, 30_002), 'target');
    assert.equal(hold.looks, before, 'the look that was under way has not ended');
    hold.release();
    await eventually('it looks again', () => hold.looks > before, { withinMs: 10_000 });
    machine.afterChild = () => Promise.resolve();
    hold.release();
    await machine.want(RANGE, at(30_002));
    await eventually('the port is closed again', () => machine.bench.isSilent('client', 'tcp', [ADDRESS.host.v4, 30_001]), { withinMs: 10_000 });
    assert.equal(machine.outcomes.at(-1)?.outcome.driftRepairs, 0);
  });

  it('does not hide what somebody else destroyed meanwhile, however many changes come', async () => {
    machine.afterChild = hold.after;
    await hold.isLooking();
    machine.afterChild = () => Promise.resolve();
    await machine.bench.onHost('ipset', ['flush', 'portlease-guard-tcp']);
    await machine.want(RANGE, at(30_001), at(30_002));
    hold.release();
    for (let number = 0; machine.outcomes.at(-1)?.outcome.driftRepairs === 0; number++) {
      assert.ok(number < 2_000, 'the set is repaired under a stream of changes');
      await machine.want(RANGE, at(30_001), at(30_003 + number % 10));
    }
    assert.ok((await machine.bench.onHost('ipset', ['save', 'portlease-guard-tcp'])).stdout.includes('30015'));
  });
});
