import assert from 'node:assert/strict';
import { portsOfBinds, readRefusal } from '../../../agent/drivers/nginx/errors.js';

describe('what nginx says when it refuses a config', () => {
  it('names the addresses that it cannot listen on', () => {
    const text = [
      '2026/11/20 23:00:00 [crit] 12#12: *7 connect() to 10.0.0.1:30001 failed (13: Permission denied), client: 198.51.100.2',
      '2026/11/20 23:00:00 [emerg] 12#12: bind() to 203.0.113.1:30005 failed (98: Address already in use)',
      '2026/11/20 23:00:00 [emerg] 12#12: bind() to [2001:db8::1]:30006 failed (99: Cannot assign requested address)',
      '2026/11/20 23:00:01 [emerg] 12#12: bind() to 203.0.113.1:30005 failed (98: Address already in use)',
      '2026/11/20 23:00:02 [emerg] 12#12: still could not bind()',
    ].join('\n');
    assert.deepEqual(readRefusal(text), {
      binds: [{ address: '203.0.113.1', port: 30_005, problem: '98: Address already in use' }, { address: '2001:db8::1', port: 30_006, problem: '99: Cannot assign requested address' }],
      files: [], problem: 'still could not bind()',
    });
  });

  it('names the file of the route that it does not like', () => {
    const text = 'nginx: [emerg] invalid port in "203.0.113.1:0" of the "listen" directive in /var/lib/portlease/nginx/routes/route-l-7.conf:3\nnginx: configuration file /x/nginx.conf test failed\n';
    assert.deepEqual(readRefusal(text), { binds: [], files: ['route-l-7.conf'], problem: 'invalid port in "203.0.113.1:0" of the "listen" directive in /var/lib/portlease/nginx/routes/route-l-7.conf:3' });
  });

  it('says nothing of lines about single connections', () => {
    assert.equal(readRefusal('2026/11/20 23:00:00 [crit] 12#12: *7 connect() failed\n'), undefined);
    assert.equal(readRefusal(''), undefined);
  });

  it('is about every transport of the route, for nginx does not tell which socket it was', () => {
    const places = portsOfBinds([{ address: '203.0.113.1', port: 5, problem: 'x' }, { address: '::1', port: 5, problem: 'x' }], () => ['tcp', 'udp']);
    assert.deepEqual(places.map(({ transport, port }) => `${transport} ${port}`), ['tcp 5', 'udp 5']);
  });
});
