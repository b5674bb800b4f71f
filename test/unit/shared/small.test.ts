import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { nextDelayMs } from '../../../shared/backoff.js';
import { systemClock } from '../../../shared/clock.js';
import { StateDigest } from '../../../shared/digest.js';
import { createLogger } from '../../../shared/log.js';

describe('clock', () => {
  it('starts at the wall clock and does not follow it when it is set back', () => {
    const clock = systemClock();
    const wall = Date.now;
    const before = clock.nowMs();
    assert.ok(Math.abs(before - wall()) < 1000);
    try {
      Date.now = () => 0;
      assert.ok(clock.nowMs() >= before);
    } finally {
      Date.now = wall;
    }
  });
});

describe('backoff', () => {
  it('doubles from the base to the maximum and stays there', () => {
    const delays = [0, 1, 2, 3, 4, 5, 6, 2000].map((attempt) => nextDelayMs({ attempt, random: () => 0 }));
    assert.deepEqual(delays, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  });

  it('is shortened by chance, by the share that jitter names at most', () => {
    assert.equal(nextDelayMs({ attempt: 0, jitter: 0.5, random: () => 0.5 }), 750);
    assert.equal(nextDelayMs({ attempt: 9, baseMs: 10, maxMs: 100, jitter: 0.2, random: () => 0.9999999 }), 80);
  });
});

describe('digest', () => {
  const first8 = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 16);

  it('is the first 8 bytes of SHA-256 for a single object and zero for none', () => {
    const digest = new StateDigest();
    assert.equal(digest.hex(), '0000000000000000');
    digest.add('mapping/m1', 7);
    assert.equal(digest.hex(), first8('mapping/m1@7'));
    digest.remove('mapping/m1', 7);
    assert.equal(digest.hex(), '0000000000000000');
  });

  it('does not depend on the order and tells versions apart', () => {
    const [a, b, c] = [new StateDigest(), new StateDigest(), new StateDigest()];
    for (const [key, version] of [['lease/a', 1], ['route/b', 2]] as const) a.add(key, version);
    for (const [key, version] of [['route/b', 2], ['lease/a', 1]] as const) b.add(key, version);
    for (const [key, version] of [['route/b', 3], ['lease/a', 1]] as const) c.add(key, version);
    assert.equal(a.hex(), b.hex());
    assert.notEqual(a.hex(), c.hex());
  });
});

describe('log', () => {
  function logged(fields: object): Record<string, unknown> {
    const lines: string[] = [];
    const log = createLogger({ name: 'test', level: 'info', destination: { write: (line) => void lines.push(line) } });
    log.debug('below the level');
    log.info(fields, 'happened');
    assert.equal(lines.length, 1);
    return JSON.parse(lines[0] ?? '') as Record<string, unknown>;
  }

  it('writes one JSON object a line with name, level and time', () => {
    const line = logged({ leaseId: 'l1' });
    assert.deepEqual([line['name'], line['level'], line['leaseId'], line['msg']], ['test', 'info', 'l1', 'happened']);
    assert.match(String(line['time']), /^\d{4}-\d\d-\d\dT/);
  });

  it('never writes a credential, at any of three levels', () => {
    const text = JSON.stringify(logged({ password: 'p-secret', tls: { key: 'k-secret' }, a: { b: { token: 't-secret' } } }));
    assert.doesNotMatch(text, /secret"/);
  });

  it('shows the keys of desired objects', () => {
    assert.equal(logged({ key: 'mapping/m1' })['key'], 'mapping/m1');
  });
});
