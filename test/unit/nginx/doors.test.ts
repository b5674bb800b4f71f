import assert from 'node:assert/strict';
import { isMisled, isUrgent, leadsOf, NO_DOORS, opened, openPorts, ready, run, want, type Doors } from '../../../agent/drivers/nginx/doors.js';

const A = leadsOf([route('10.0.0.1', 30_000, 30_003)]);
const B = leadsOf([route('10.0.0.2', 30_000, 30_003)]);
const ALL = [{ transport: 'tcp' as const, ports: { first: 30_000, last: 30_003 } }];

function route(v4: string, first: number, last: number, without: number[] = []) {
  return { id: `l-${first}`, ports: { first, last }, transports: ['tcp'] as const, hosts: { v4 }, without: without.map(port => ({ transport: 'tcp' as const, port })) };
}

function served(): Doors {
  return opened(run(want(NO_DOORS, A), A), ALL);
}

describe('ports that the guard lets through', () => {
  it('are those that nginx runs as wanted, once they were cleared', () => {
    const wanted = want(NO_DOORS, A);
    assert.deepEqual(openPorts(opened(wanted, ALL)), [], 'nginx does not listen yet');
    const running = run(wanted, A);
    assert.deepEqual(ready(running), ALL);
    assert.deepEqual(openPorts(running), []);
    assert.deepEqual(openPorts(opened(running, ALL)), ALL);
    assert.deepEqual(ready(opened(running, ALL)), []);
  });

  it('are closed before nginx leads them elsewhere, and only those (S1)', () => {
    const both = leadsOf([route('10.0.0.2', 30_000, 30_001), route('10.0.0.1', 30_002, 30_003)]);
    const doors = want(served(), both);
    assert.deepEqual(openPorts(doors), [{ transport: 'tcp', ports: { first: 30_002, last: 30_003 } }]);
    assert.equal(isUrgent(doors), true);
    assert.equal(isMisled(doors, 'tcp', { first: 30_000, last: 30_000 }), true);
    assert.equal(isMisled(doors, 'tcp', { first: 30_002, last: 30_003 }), false);
    assert.deepEqual(ready(doors), []);
    assert.deepEqual(openPorts(opened(doors, ALL)), openPorts(doors), 'opened while nginx leads to the old host');
    const done = run(doors, both);
    assert.equal(isUrgent(done), false);
    assert.deepEqual(ready(done), [{ transport: 'tcp', ports: { first: 30_000, last: 30_001 } }]);
  });

  it('stay open when another route takes the place of one and leads to the same host, as when a lease is split', () => {
    const split = leadsOf([route('10.0.0.1', 30_000, 30_001), route('10.0.0.1', 30_002, 30_003)]);
    assert.deepEqual(openPorts(want(served(), split)), ALL);
    assert.deepEqual(openPorts(run(want(served(), split), split)), ALL);
    assert.equal(isUrgent(want(served(), split)), false);
  });

  it('are none that nginx does not run any more, as when it is gone (S7)', () => {
    assert.deepEqual(openPorts(run(served(), NO_DOORS.running)), []);
    assert.deepEqual(openPorts(run(served(), B)), []);
  });

  it('are none that somebody else listens on', () => {
    const holes = leadsOf([route('10.0.0.1', 30_000, 30_003, [30_001])]);
    assert.deepEqual(openPorts(want(served(), holes)), [{ transport: 'tcp', ports: { first: 30_000, last: 30_000 } }, { transport: 'tcp', ports: { first: 30_002, last: 30_003 } }]);
  });
});
