import assert from 'node:assert/strict';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TunnelReport, TunnelSpec } from '../../../shared/tunnel.js';
import { eventually } from '../../support/wait.js';
import { SERVER, specOf, TunnelBench, wish } from './bench.js';

describe('a tunnel that is not up', () => {
  let bench: TunnelBench;
  before(async () => {
    bench = await TunnelBench.up();
    writeFileSync(join(bench.directory, 'open'), readFileSync(join(bench.directory, 'user')));
    chmodSync(join(bench.directory, 'open'), 0o644);
    const servers = {
      edge: bench.server(), 'other-key': bench.server({ hostKeys: [bench.publicKey('other')] }), 'other-user': bench.server({ keyFile: join(bench.directory, 'other') }),
      'rsa-only': bench.server({ hostKeys: [`ssh-rsa ${'A'.repeat(64)}`] }), 'no-sshd': bench.server({ port: 2_223 }), 'no-route': bench.server({ address: '198.51.100.1' }),
      'no-name': bench.server({ address: 'nowhere.invalid' }), silent: bench.server({ address: '10.79.0.77' }), 'open-key': bench.server({ keyFile: join(bench.directory, 'open') }),
      'no-key': bench.server({ keyFile: join(bench.directory, 'none') }),
    };
    bench.serve('server', 9_050, 'taken');
    await eventually('who has the port on the server', async () => await bench.askFrom('server', 9_050) === 'taken', { withinMs: 10_000 });
    bench.start({ config: bench.config({ servers, forwards: { listen: ['127.0.0.0/8', '10.79.0.0/24'], to: ['127.0.0.0/8'] }, backoff: { min: '20s', max: '30s' } }) });
  });
  after(() => bench.down());
  afterEach(() => bench.desire());

  async function downOf(spec: TunnelSpec): Promise<TunnelReport> {
    await bench.desire(wish(spec));
    return bench.until(spec.tunnel, 'is given up', ({ state }) => state === 'backoff' || state === 'refused' || state === 'blocked');
  }

  const ROWS: readonly (readonly [string, string, string, RegExp])[] = [
    ['other-key', 'backoff', 'HOST_KEY_MISMATCH', /IDENTIFICATION HAS CHANGED|has changed/],
    ['rsa-only', 'backoff', 'HOST_KEY_UNKNOWN', /host key/],
    ['other-user', 'backoff', 'AUTHENTICATION_REFUSED', /^root@10\.79\.0\.2: Permission denied \(publickey/],
    ['no-sshd', 'backoff', 'CONNECTION_REFUSED', /port 2223: Connection refused/],
    ['no-route', 'backoff', 'NETWORK_UNREACHABLE', /unreachable/],
    ['no-name', 'backoff', 'NAME_NOT_RESOLVED', /nowhere\.invalid/],
    ['silent', 'backoff', 'NETWORK_UNREACHABLE', /No route to host/],
    ['open-key', 'refused', 'KEY_UNREADABLE', /has mode 0644, so others may use it: chmod 0600 it$/],
    ['no-key', 'refused', 'KEY_UNREADABLE', /cannot be read: ENOENT/],
    ['nobody', 'refused', 'SERVER_UNKNOWN', /tunnels\.servers has no "nobody"/],
  ];
  for (const [server, state, reason, message] of ROWS) {
    for (const engine of state === 'refused' || server === 'silent' ? ['ssh'] as const : ['ssh', 'autossh'] as const) {
      it(`says ${reason} of server ${server} (${engine})`, async () => {
        const report = await downOf(specOf(server, { server, local: 9_001, engine, options: { ConnectTimeout: '5' } }));
        assert.deepEqual([report.state, report.reason], [state, reason], JSON.stringify(report));
        assert.match(report.message, message);
        if (state === 'backoff') await bench.until(server, 'shows its log', ({ logTail }) => logTail.length > 0);
      });
    }
  }

  it('says REVERSE_PORT_REFUSED when the server does not listen for it', async () => {
    const { reason, message, statistics: { connections } } = await downOf(specOf('remote', { local: 9_001, reverse: 9_050, engine: 'ssh' }));
    assert.equal(connections, 0, 'it was called up without its forward');
    assert.deepEqual([reason, message], ['REVERSE_PORT_REFUSED', 'Error: remote port forwarding failed for listen port 9050']);
  });

  it('says LOCAL_BIND_REFUSED when the address is none of the host', async () => {
    const { reason } = await downOf({ ...specOf('local', { engine: 'ssh' }), forwards: [{ direction: 'local', listen: { host: '10.79.0.9', port: 9_001 }, to: { host: '127.0.0.1', port: 1 } }] });
    assert.equal(reason, 'LOCAL_BIND_REFUSED');
  });

  it('says what the host does not allow', async () => {
    const allowed = specOf('x', { local: 9_001 });
    const to = { host: '127.0.0.1', port: 80 };
    const rows: [Partial<TunnelSpec>, string][] = [
      [{ options: { ProxyCommand: 'id' } }, 'OPTION_NOT_ALLOWED'], [{ options: { Compression: '-oProxyCommand=id' } }, 'OPTION_NOT_ALLOWED'], [{ options: { Ciphers: 'aes256-ctr' } }, 'OPTION_NOT_ALLOWED'],
      [{ forwards: [{ direction: 'local', listen: { host: '0.0.0.0', port: 9_001 }, to }] }, 'FORWARD_NOT_ALLOWED'], [{ forwards: [{ direction: 'local', listen: { host: '127.0.0.1', port: 80 }, to }] }, 'FORWARD_NOT_ALLOWED'],
      [{ forwards: [{ direction: 'reverse', listen: { host: '127.0.0.1', port: 9_001 }, to: { host: SERVER, port: 22 } }] }, 'FORWARD_NOT_ALLOWED'], [{ forwards: [] }, 'FORWARD_NOT_ALLOWED'],
    ];
    for (const [index, [change, reason]] of rows.entries()) {
      const report = await downOf({ ...allowed, ...change, tunnel: `refused-${index}` });
      assert.deepEqual([report.state, report.reason], ['refused', reason], JSON.stringify(report));
      await bench.desire();
    }
    assert.deepEqual(await bench.processes(), []);
  });
});
