import assert from 'node:assert/strict';
import { hasRoomToListen, MIN_FILES, parseFileLimit, refusalOf, type Limits } from '../../../agent/drivers/userspace/budget.js';

const LIMITS: Limits = { maxConnections: 100, maxPerMapping: 10, files: 20_000 };
const refusal = (over: Partial<Limits>, use: { listeners?: number; connections?: number; ofMapping?: number }) =>
  refusalOf({ ...LIMITS, ...over }, { listeners: 1, connections: 0, ofMapping: 0, ...use });

describe('how many connections a forwarder takes', () => {
  it('is limited overall and for each mapping, and the refusal names the key', () => {
    assert.equal(refusal({}, { connections: 99, ofMapping: 9 }), undefined);
    assert.match(refusal({}, { connections: 100 }) ?? '', /userspace\.maxConnections = 100/);
    assert.match(refusal({}, { connections: 10, ofMapping: 10 }) ?? '', /userspace\.maxConnectionsPerMapping = 10/);
  });

  it('leaves descriptors for the agent itself, and counts two for each connection and one for each listener', () => {
    const most = (listeners: number): number => {
      let connections = 0;
      while (refusal({ files: 200, maxConnections: 1_000 }, { listeners, connections }) === undefined) connections++;
      return connections;
    };
    assert.ok(200 - 2 * most(10) - 10 >= 90, `${most(10)} connections beside 10 listeners`);
    assert.equal(most(10) - most(30), 10);
    assert.match(refusal({ files: MIN_FILES }, { connections: 60 }) ?? '', /ulimit -n/);
  });

  it('leaves room for something at the least that it starts with', () => {
    assert.equal(refusal({ files: MIN_FILES }, {}), undefined);
    assert.equal(hasRoomToListen({ ...LIMITS, files: MIN_FILES }, { listeners: 1, connections: 1 }), true);
    assert.equal(hasRoomToListen({ ...LIMITS, files: MIN_FILES }, { listeners: 64, connections: 0 }), false);
  });
});

describe('the limit of open files', () => {
  const text = (soft: string): string => `Limit                     Soft Limit           Hard Limit           Units     \nMax open files            ${soft}                 4096                 files     \n`;

  it('is the soft one', () => {
    assert.equal(parseFileLimit(text('1024')), 1_024);
    assert.equal(parseFileLimit(text('unlimited')), Infinity);
  });

  it('is not guessed when the kernel does not tell it', () => {
    assert.throws(() => parseFileLimit('Max processes 1 1'), /Max open files/);
  });
});
