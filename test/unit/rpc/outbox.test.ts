import assert from 'node:assert/strict';
import type { Delta, DesiredObject } from '../../../coordinator/book/types.js';
import { Outbox } from '../../../coordinator/rpc/outbox.js';

const lease = (id: string, version: number): DesiredObject =>
  ({ kind: 'lease', key: `lease/${id}`, version, leaseId: id, ports: { first: 1, last: 1 }, protocol: 'tcp', generation: version, host: 'host-a' });
const change = (base: number, revision: number, upserts: DesiredObject[], removals: string[] = []): Delta =>
  ({ version: { epoch: 1, session: 1, revision }, base, upserts, removals });
const turn = () => new Promise((resolve) => { setImmediate(resolve); });

describe('outbox of a session', () => {
  const sent: Delta[] = [];
  let written: (() => void)[] = [];
  let outbox: Outbox;
  beforeEach(() => {
    sent.length = 0;
    written = [];
    outbox = new Outbox((delta, done) => { sent.push(delta); written.push(done); });
  });

  it('sends what comes in one turn as one change, from the first base to the last revision', async () => {
    outbox.push(change(1, 2, [lease('a', 2)]), 0);
    outbox.push(change(2, 3, [lease('b', 3)], ['lease/old']), 0);
    await turn();
    assert.deepEqual(sent, [change(1, 3, [lease('a', 2), lease('b', 3)], ['lease/old'])]);
  });

  it('keeps only the newest word on each key while a message is on its way', async () => {
    outbox.push(change(1, 2, [lease('a', 2)]), 0);
    await turn();
    outbox.push(change(2, 3, [lease('b', 3)]), 0);
    outbox.push(change(3, 4, [lease('b', 4)], ['lease/a']), 0);
    outbox.push(change(4, 5, [lease('a', 5)], ['lease/b']), 0);
    assert.equal(sent.length, 1);
    written[0]?.();
    assert.deepEqual(sent[1], change(2, 5, [lease('a', 5)], ['lease/b']));
  });

  it('merges changes into a snapshot that was not sent yet, without removals', async () => {
    outbox.push({ version: { epoch: 1, session: 1, revision: 1 }, base: undefined, upserts: [lease('a', 1), lease('b', 1)], removals: [] }, 0);
    outbox.push(change(1, 2, [lease('c', 2)], ['lease/a']), 0);
    await turn();
    assert.deepEqual(sent, [{ version: { epoch: 1, session: 1, revision: 2 }, base: undefined, upserts: [lease('b', 1), lease('c', 2)], removals: [] }]);
  });

  it('says how long a message has been stuck', async () => {
    assert.equal(outbox.push(change(1, 2, []), 1000), 0);
    await turn();
    assert.equal(outbox.push(change(2, 3, []), 31_500), 30_500);
  });
});
