import assert from 'node:assert/strict';
import { Refused } from '../../../coordinator/keeper/refused.js';
import { Admission } from '../../../coordinator/rpc/admission.js';

describe('admission of hellos', () => {
  it('lets so many in at once, and the others in order as places become free', async () => {
    const admission = new Admission({ active: 2, waiting: 10, waitMs: 1000 }, () => 0);
    const entered: number[] = [];
    const places = [1, 2, 3, 4].map((n) => admission.enter().then((leave) => { entered.push(n); return leave; }));
    await Promise.all(places.slice(0, 2));
    assert.deepEqual(entered, [1, 2]);
    const leave = await places[0];
    leave?.();
    leave?.();
    await places[2];
    await new Promise((resolve) => { setImmediate(resolve); });
    assert.deepEqual(entered, [1, 2, 3], 'a place that is given back twice lets one in');
    (await places[1])?.();
    await places[3];
    assert.deepEqual(entered, [1, 2, 3, 4]);
  });

  it('sends away who waits too long or finds the queue full, each for another time', async () => {
    let chance = 0;
    const admission = new Admission({ active: 1, waiting: 1, waitMs: 10 }, () => (chance += 0.25));
    await admission.enter();
    const [late, full] = await Promise.allSettled([admission.enter(), admission.enter()]);
    const delays = [late, full].map((outcome) => {
      assert.ok(outcome.status === 'rejected' && outcome.reason instanceof Refused);
      assert.equal(outcome.reason.refusal.reason, 'RATE_LIMITED');
      return outcome.reason.refusal.retryAfterMs;
    });
    assert.notEqual(delays[0], delays[1]);
  });
});
