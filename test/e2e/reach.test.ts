import assert from 'node:assert/strict';
import { join } from 'node:path';
import { benchOfEachTest } from '../support/describe.js';
import { ROOT } from '../support/daemons.js';
import { CLIENT, GATEWAY_INNER, GATEWAY_PUBLIC, hostAddress, vmAddress, type Node } from '../support/layout.js';
import { address, Wait } from '../support/requests.js';
import type { DeepPartial, Mapping, Want } from '../../shared/gen/portlease/v1/ports.js';
import { refusalOf } from '../support/api.js';
import type { Bench } from '../support/bench.js';

const WEB_PORT = 8_080;

async function page(bench: Bench, from: Node, url: string): Promise<string> {
  return (await bench.topology.run(from, ['curl', '--silent', '--globoff', '--max-time', '2', url], { accept: [7, 28, 52, 56] })).stdout.trim();
}

async function webPort(bench: Bench, target: string, limits: DeepPartial<Want> = {}): Promise<number> {
  return (await webMapping(bench, target, limits)).publicPort;
}

async function webMapping(bench: Bench, target: string, limits: DeepPartial<Want>): Promise<Mapping> {
  await bench.serve('host-a/env-1', [{ transport: 'tcp', port: WEB_PORT, style: 'http' }]);
  const { mappings: [mapping] } = await bench.api.allocate({
    tenant: 'tenant-1', environment: 'env-1', host: 'host-a', wait: Wait.WAIT_VERIFIED,
    wants: [{ name: 'web', source: { $case: 'pool', value: 'ssh' }, target: address(target), internalPort: WEB_PORT, ...limits }],
  });
  assert.ok(mapping);
  return mapping;
}

describe('an environment behind a gateway', () => {
  const bench = benchOfEachTest();

  it('sees the address of the client, over IPv4', async () => {
    const port = await webPort(bench(), vmAddress('host-a'));
    assert.equal(await page(bench(), 'client', `http://${GATEWAY_PUBLIC[4]}:${port}/`), `host-a/env-1 answers ${CLIENT[4]}`);
  });

  it('and over IPv6, when its target has an IPv6 address', async () => {
    const port = await webPort(bench(), vmAddress('host-a', 0, 6));
    assert.equal(await page(bench(), 'client', `http://[${GATEWAY_PUBLIC[6]}]:${port}/`), `host-a/env-1 answers ${CLIENT[6]}`);
  });

  it('is reached from its own host, from itself, from the other host and from the gateway', async () => {
    const port = await webPort(bench(), vmAddress('host-a'));
    for (const from of ['host-a', 'vm-a', 'host-b'] as const) {
      assert.match(await page(bench(), from, `http://${hostAddress('host-a')}:${port}/`), /^host-a\/env-1 answers /, `from ${from}`);
    }
    assert.match(await page(bench(), 'gateway', `http://${GATEWAY_PUBLIC[4]}:${port}/`), /^host-a\/env-1 answers /, 'from the gateway');
  });
});

describe('an environment behind a gateway whose port is limited', () => {
  const bench = benchOfEachTest();
  const reaches = async (from: Node, port: number, family: 4 | 6 = 4): Promise<boolean> =>
    (await page(bench(), from, `http://${family === 4 ? GATEWAY_PUBLIC[4] : `[${GATEWAY_PUBLIC[6]}]`}:${port}/`)).includes('answers');

  for (const family of [4, 6] as const) {
    it(`is reached over IPv${family} by clients of its networks only, by the networks of today`, async () => {
      const networks = [`${CLIENT[family]}/${family === 4 ? 32 : 128}`];
      const { publicPort, mappingId } = await webMapping(bench(), vmAddress('host-a', 0, family), { clientNetworks: networks });
      assert.deepEqual([await reaches('client', publicPort, family), await reaches('gateway', publicPort, family)], [true, false]);
      await bench().api.updateMapping({ mappingId, clientNetworks: { networks: ['198.51.100.0/24', '2001:db8:ffff::/48'] } });
      assert.equal(await reaches('client', publicPort, family), false);
      await bench().api.updateMapping({ mappingId, clientNetworks: {} });
      assert.deepEqual([await reaches('client', publicPort, family), await reaches('gateway', publicPort, family)], [true, true]);
    });
  }
});

describe('an environment behind a gateway that hides the client', () => {
  const bench = benchOfEachTest({ gateway: { snat: true } });

  it('sees the address of the gateway', async () => {
    const port = await webPort(bench(), vmAddress('host-a'));
    assert.equal(await page(bench(), 'client', `http://${GATEWAY_PUBLIC[4]}:${port}/`), `host-a/env-1 answers ${GATEWAY_INNER[4]}`);
  });

  it('cannot be limited to client networks, and says so', async () => {
    const { details } = await refusalOf(webPort(bench(), vmAddress('host-a'), { clientNetworks: [`${CLIENT[4]}/32`] }));
    assert.deepEqual([details.reason, details.fields[0]?.field], ['CLIENTS_HIDDEN', 'wants[0].client_networks']);
  });
});

describe('hosts that each have their own address', () => {
  const bench = benchOfEachTest({ scope: 'host' });

  it('serve the same port at the same time, each for its own environment', async () => {
    const port = 30_005;
    for (const host of ['host-a', 'host-b'] as const) {
      await bench().serve(`${host}/web`, [{ transport: 'tcp', port: WEB_PORT, style: 'http' }]);
      const { mappings: [mapping] } = await bench().api.allocate({
        tenant: 'tenant-1', environment: `web-of-${host}`, host, wait: Wait.WAIT_LIVE,
        wants: [{ name: 'web', source: { $case: 'pool', value: 'ssh' }, target: address(vmAddress(host)), internalPort: WEB_PORT, choice: { $case: 'exactPort', value: port } }],
      });
      assert.equal(mapping?.space, `edge/${host}`);
      assert.equal(mapping?.publicHost, hostAddress(host));
    }
    for (const host of ['host-a', 'host-b'] as const) assert.equal(await page(bench(), 'client', `http://${hostAddress(host)}:${port}/`), `${host}/web answers ${CLIENT[4]}`);
  });
});

describe('a machine where FORWARD drops and the command line is at hand', () => {
  const bench = benchOfEachTest();

  it('forwards what is mapped and nothing else', async () => {
    await bench().topology.run('host-a', ['iptables', '-P', 'FORWARD', 'DROP']);
    const port = await webPort(bench(), vmAddress('host-a'));
    assert.equal(await page(bench(), 'client', `http://${GATEWAY_PUBLIC[4]}:${port}/`), `host-a/env-1 answers ${CLIENT[4]}`);
    assert.equal(await page(bench(), 'host-b', `http://${vmAddress('host-a')}:${WEB_PORT}/`), '');
  });

  it('shows through the unix socket what the scheduler was given', async () => {
    const port = await webPort(bench(), vmAddress('host-a'));
    const cli = [process.execPath, join(ROOT, 'dist/cli/main.js'), '--server', `unix:${bench().coordinator.socket}`];
    const { stdout } = await bench().topology.run('coordinator', [...cli, 'show', 'env-1']);
    assert.match(stdout, new RegExp(`${GATEWAY_PUBLIC[4]}:${port}\\s+tcp\\s+live\\s+host-a`));
  });
});
