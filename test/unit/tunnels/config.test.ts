import assert from 'node:assert/strict';
import { z } from 'zod';
import { specsOf, tunnelsConfig } from '../../../agent/tunnels/config.js';

const KEY = `ssh-ed25519 ${'A'.repeat(64)}`;
const SERVER = { address: 'gw.example', user: 'tunnel', keyFile: '/etc/portlease/key', hostKeys: [KEY] };
const TUNNEL = { tunnel: 'web', server: 'edge', forwards: [{ direction: 'local', listen: '8080', to: 'db.example:5432' }, { direction: 'reverse', listen: '[::1]:9000', to: '10.0.0.1:22' }] };

function problemOf(config: unknown): string | undefined {
  const parsed = tunnelsConfig.safeParse(config);
  return parsed.success ? undefined : parsed.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`).join('; ');
}

describe('the config of tunnels', () => {
  it('has defaults that pin host keys and open nothing', () => {
    const config = z.parse(tunnelsConfig, {});
    assert.deepEqual([config.engine, config.servers, config.list, config.forwards.minPort], ['autossh', {}, [], 1_024]);
    assert.ok(!config.forwards.to.some(({ text }) => text.startsWith('127.') || text.endsWith('/0')));
  });

  it('reads tunnels as the coordinator would send them', () => {
    const config = z.parse(tunnelsConfig, { servers: { edge: SERVER }, list: [{ ...TUNNEL, probe: { forward: 1, banner: 'SSH-2.0-', interval: '2s' } }] });
    assert.deepEqual(specsOf(config, 'host-a'), [{
      tunnel: 'web', host: 'host-a', server: 'edge', engine: undefined, options: {}, probe: { forward: 1, banner: 'SSH-2.0-', intervalMs: 2_000, timeoutMs: 5_000 },
      forwards: [
        { direction: 'local', listen: { host: '127.0.0.1', port: 8_080 }, to: { host: 'db.example', port: 5_432 } }, { direction: 'reverse', listen: { host: '::1', port: 9_000 }, to: { host: '10.0.0.1', port: 22 } },
      ],
    }]);
    assert.equal(config.servers['edge']?.port, 22);
  });

  it('refuses what is not understood, and names it', () => {
    const server = (change: object) => ({ servers: { edge: { ...SERVER, ...change } } });
    const tunnel = (change: object) => ({ servers: { edge: SERVER }, list: [{ ...TUNNEL, ...change }] });
    const forward = (change: object) => tunnel({ forwards: [{ ...TUNNEL.forwards[0], ...change }] });
    const rows: [unknown, RegExp][] = [
      [server({ hostKeys: [] }), /^servers\.edge\.hostKeys is empty/], [server({ hostKeys: ['* ssh-ed25519 AAAA'] }), /hostKeys\.0 is not a host key/], [server({ hostKeys: [`${KEY}\n* ${KEY}`] }), /hostKeys\.0/],
      [server({ address: '-oProxyCommand=id' }), /^servers\.edge\.address/], [server({ user: '-l' }), /user/], [server({ user: 'a b' }), /user/], [server({ keyFile: 'key' }), /keyFile/], [server({ port: 0 }), /port/], [server({ proxy: 'x' }), /proxy|Unrecognized/],
      [{ servers: { 'a/b': SERVER } }, /a\/b/], [tunnel({ tunnel: 'A' }), /^list\.0\.tunnel/], [tunnel({ server: 'none' }), /^list\.0\.server is no server/], [tunnel({ forwards: [] }), /forwards is empty/],
      [tunnel({ options: { ProxyCommand: 'id' } }), /options : option "ProxyCommand" is not allowed/], [tunnel({ probe: { forward: 2 } }), /probe\.forward is no forward/], [tunnel({ engine: 'mosh' }), /engine/],
      [forward({ listen: '0' }), /forwards\.0\.listen/], [forward({ listen: 'a b:1' }), /listen/], [forward({ listen: '::1:80' }), /listen/], [forward({ to: '-x:1' }), /to/], [forward({ to: 'a:65536' }), /to/], [forward({ direction: 'dynamic' }), /direction/],
      [{ servers: { edge: SERVER }, list: [TUNNEL, TUNNEL] }, /^list names a tunnel twice/],
    ];
    for (const [config, problem] of rows) assert.match(problemOf(config) ?? 'none', problem, JSON.stringify(config));
    assert.equal(problemOf(tunnel({})), undefined);
  });
});
