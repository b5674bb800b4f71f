import assert from 'node:assert/strict';
import { Troubles } from '../../../agent/drivers/nginx/troubles.js';
import type { ProxiedRoute } from '../../../agent/drivers/nginx/route.js';

const ONE: ProxiedRoute = { key: 'route/l-1', id: 'l-1', ports: { first: 30_000, last: 30_003 }, transports: ['tcp'], hosts: { v4: '10.0.0.1' }, isFenced: false };
const OTHER: ProxiedRoute = { ...ONE, key: 'route/l-2', id: 'l-2', ports: { first: 30_004, last: 30_007 } };
const FINE = { occupied: [], missingAddresses: [], isOpen: true };
const CLOSED = { ...FINE, isOpen: false };
const bind = (port: number) => ({ binds: [{ address: '203.0.113.1', port, problem: '98: Address already in use' }], files: [], problem: 'still could not bind()' });

describe('what keeps routes from being served', () => {
  it('is a port that nginx could not listen on: of its route only, and for half a minute', () => {
    const troubles = new Troubles();
    assert.equal(troubles.blame(bind(30_005), [ONE, OTHER], 0), true);
    assert.deepEqual(troubles.takenOf(ONE), []);
    assert.deepEqual(troubles.takenOf(OTHER).map(({ transport, port }) => ({ transport, port })), [{ transport: 'tcp', port: 30_005 }]);
    assert.equal(troubles.problemOf(ONE, FINE), undefined);
    assert.equal(troubles.problemOf(OTHER, FINE)?.reason, 'PORT_CONFLICT');
    assert.equal(troubles.blame(bind(30_005), [ONE, OTHER], 1), false, 'left out already');
    const { version } = troubles;
    troubles.expire(29_999);
    assert.equal(troubles.version, version);
    troubles.expire(30_000);
    assert.notEqual(troubles.version, version);
    assert.equal(troubles.problemOf(OTHER, FINE), undefined);
  });

  it('is a file that nginx refuses, until other routes are wanted', () => {
    const troubles = new Troubles();
    assert.equal(troubles.blame({ binds: [], files: ['route-l-2.conf'], problem: 'no' }, [ONE, OTHER], 0), true);
    assert.equal(troubles.isRefused(OTHER), true);
    assert.equal(troubles.isRefused(ONE), false);
    assert.deepEqual(troubles.problemOf(OTHER, CLOSED), { reason: 'ROUTE_REFUSED', message: 'nginx does not take this route: no' });
    troubles.forgiveFiles();
    assert.equal(troubles.isRefused(OTHER), false);
  });

  it('is nginx as a whole, for routes that it does not serve; the same is tried again after a while, and something else at once', () => {
    const troubles = new Troubles();
    const wanted = {};
    assert.equal(troubles.blame({ binds: [], files: [], problem: 'broken' }, [ONE], 0), false);
    assert.equal(troubles.fail('broken', wanted, 0), true);
    assert.equal(troubles.fail('broken', wanted, 0), false);
    assert.equal(troubles.problemOf(ONE, FINE), undefined);
    assert.equal(troubles.problemOf(ONE, CLOSED)?.reason, 'NGINX_FAILED');
    assert.equal(troubles.mustWait(wanted, 4_999), true);
    assert.equal(troubles.mustWait({}, 4_999), false);
    assert.equal(troubles.mustWait(wanted, 5_000), false);
    assert.equal(troubles.succeed(), true);
    assert.equal(troubles.problemOf(ONE, CLOSED), undefined);
  });

  it('is a foreign process, an address that is not there, an earlier worker that is stopped', () => {
    const troubles = new Troubles();
    assert.match(troubles.problemOf(ONE, { ...FINE, occupied: [{ transport: 'tcp', port: 30_002 }] })?.message ?? '', /listens on tcp port 30002/);
    assert.equal(troubles.problemOf(ONE, { ...FINE, occupied: [{ transport: 'udp', port: 30_002 }] }), undefined);
    assert.equal(troubles.problemOf(ONE, { ...FINE, missingAddresses: ['203.0.113.9'] })?.reason, 'ADDRESS_MISSING');
    troubles.hold([{ transport: 'tcp', address: '203.0.113.1', port: 30_001, pid: 77 }]);
    assert.match(troubles.problemOf(ONE, CLOSED)?.message ?? '', /^process 77, an earlier worker of nginx, still listens on tcp port 30001/);
    assert.equal(troubles.problemOf(ONE, FINE), undefined);
  });

  it('is a port that an earlier worker listens on, which is left out until it is free', () => {
    const troubles = new Troubles();
    troubles.keep([{ transport: 'tcp', address: '203.0.113.1', port: 30_001, pid: 77 }]);
    const { version } = troubles;
    troubles.keep([{ transport: 'tcp', address: '203.0.113.1', port: 30_001, pid: 78 }]);
    assert.deepEqual([troubles.version, troubles.isKeeping, troubles.takenOf(ONE).map(({ port }) => port), troubles.takenOf(OTHER)], [version, true, [30_001], []]);
    assert.equal(troubles.problemOf(ONE, CLOSED)?.reason, 'CONNECTIONS_REMAIN');
    troubles.keep([]);
    assert.deepEqual([troubles.isKeeping, troubles.takenOf(ONE)], [false, []]);
    assert.notEqual(troubles.version, version);
  });
});
