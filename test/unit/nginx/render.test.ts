import assert from 'node:assert/strict';
import { pathsIn } from '../../../agent/drivers/nginx/paths.js';
import { listenersOf, renderMain, renderRoutes, type ServedRoute } from '../../../agent/drivers/nginx/render.js';
import { isPlainPath, isPlainUser, type NginxSettings } from '../../../agent/drivers/nginx/settings.js';

const SETTINGS: NginxSettings = {
  program: '/usr/sbin/nginx', unit: undefined, module: undefined, directory: '/var/lib/portlease/nginx', user: 'www-data', workers: 2, connections: 100, connectMs: 5_000, shutdownMs: undefined, reloadMs: 1_000, certificates: '/etc/portlease/certificates', accessLogBytes: 1_024,
};

function route(over: Partial<ServedRoute> = {}): ServedRoute {
  return { id: 'l-1', ports: { first: 30_000, last: 30_015 }, transports: ['tcp'], hosts: { v4: '10.0.0.1' }, without: [], ...over };
}

function textOf(one: ServedRoute, addresses: string[] = ['203.0.113.1', '2001:db8::1']): string {
  return renderRoutes([one], addresses).get(`route-${one.id}.conf`) ?? '';
}

describe('the config of nginx', () => {
  it('has a file a route, which listens on the whole range, on lease addresses of the family of the host only, and keeps the port', () => {
    const text = textOf(route());
    assert.match(text, /^ {2}listen 203\.0\.113\.1:30000-30015 so_keepalive=on;$/m);
    assert.match(text, /^ {2}proxy_pass 10\.0\.0\.1:\$server_port;$/m);
    assert.doesNotMatch(text, /2001|0\.0\.0\.0|udp/);
  });

  it('has a server for each family and transport, UDP by sockets of each worker, and no limit for quiet TCP connections', () => {
    const text = textOf(route({ transports: ['tcp', 'udp'], hosts: { v4: '10.0.0.1', v6: 'fd00::1' } }));
    assert.equal(text.match(/^server \{$/gm)?.length, 4);
    assert.match(text, /listen \[2001:db8::1\]:30000-30015 udp reuseport;/);
    assert.match(text, /proxy_pass \[fd00::1\]:\$server_port;\n {2}proxy_timeout 3650d;/);
  });

  it('leaves ports out that cannot be listened on, of their transport', () => {
    const text = textOf(route({ transports: ['tcp', 'udp'], without: [{ transport: 'tcp', port: 30_003 }] }));
    assert.match(text, /:30000-30002 so_keepalive=on;\n.*:30004-30015 so_keepalive=on;/);
    assert.match(text, /:30000-30015 udp reuseport;/);
    assert.doesNotMatch(textOf(route({ ports: { first: 1, last: 1 }, without: [{ transport: 'tcp', port: 1 }] })), /server/);
  });

  it('takes nothing but ids of leases, ports and addresses', () => {
    for (const id of ['../x', 'a b', 'a;b', 'A', '', 'x'.repeat(19), 'a\nb']) assert.throws(() => textOf(route({ id })), RangeError);
    for (const v4 of ['10.0.0.1;', 'host', 'fe80::1%eth0', '']) assert.throws(() => textOf(route({ hosts: { v4 } })), RangeError);
    assert.throws(() => textOf(route(), ['203.0.113.1 so_keepalive']), RangeError);
    for (const ports of [{ first: 0, last: 1 }, { first: 5, last: 4 }, { first: 1, last: 65_536 }]) assert.throws(() => textOf(route({ ports })), RangeError);
    const main = (over: Partial<NginxSettings>, directory = SETTINGS.directory) => renderMain({ serial: 1, settings: { ...SETTINGS, ...over }, paths: pathsIn(directory), listeners: 1 });
    for (const bad of ['/a b', '/a;b', 'relative', '/a\n', "/a'", '/$x', '/a{']) {
      assert.equal(isPlainPath(bad), false);
      assert.throws(() => main({}, bad), RangeError);
      assert.throws(() => main({ module: bad }), RangeError);
    }
    for (const bad of ['root;', '', 'a b', '-x', 'www data']) {
      assert.equal(isPlainUser(bad), false);
      assert.throws(() => main({ user: bad }), RangeError);
    }
  });

  it('has room for all listeners beside the connections, and names its mark', () => {
    const routes = [route({ transports: ['tcp', 'udp'], hosts: { v4: '10.0.0.1', v6: 'fd00::1' }, without: [{ transport: 'tcp', port: 30_001 }] })];
    const listeners = listenersOf(routes, ['203.0.113.1', '203.0.113.2', '2001:db8::1']);
    assert.equal(listeners, 3 * 15 + 3 * 16);
    const text = renderMain({ serial: 17, settings: SETTINGS, paths: pathsIn('/n'), listeners });
    assert.match(text, new RegExp(`worker_connections ${2 * 100 + listeners + 64};`));
    assert.match(text, /error_log \/n\/marks\/17 emerg;/);
    assert.match(text, /include \/n\/routes\/route-\*\.conf;/);
    assert.doesNotMatch(text, /worker_shutdown_timeout|load_module/);
    assert.match(text, /access_log \/n\/logs\/access\.log portlease/);
    assert.match(renderMain({ serial: 17, settings: { ...SETTINGS, accessLogBytes: 0 }, paths: pathsIn('/n'), listeners }), /access_log off;/);
  });
});
