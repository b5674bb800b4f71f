import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../support/run.js';
import { Bench } from '../support/bench.js';
import { GATEWAY_INNER, GATEWAY_PUBLIC, hostAddress, vmAddress } from '../support/layout.js';
import { ROOT } from '../support/root.js';
import { address, ENVIRONMENT_LISTENERS, goOn, MappingState, moveTo, portsOf, reachedOnAll, Wait, want } from '../support/requests.js';
import { Sshd } from '../support/sshd.js';
import { neverReached, neverInterrupted, neverReconnected, nobodyReached, oneHostAtATime } from '../support/timeline.js';
import { eventually } from '../support/wait.js';
import { tunnelAddress } from '../../shared/tunnel-address.js';
import type { Mapping } from '../../shared/gen/portlease/v1/ports.js';

const POOLS = [{ pool: 'ssh', serviceType: 'ssh', ranges: ['30000-30063'], protocol: 'tcp' as const, defaultInternalPort: 22 }];

describe('hosts behind NAT', function () {
  this.timeout(120_000);
  let bench: Bench;
  let sshd: Sshd;

  beforeEach(async () => {
    bench = await Bench.bare({ gateway: { routes: 'nginx' }, pools: POOLS });
    const gateway = bench.agent('gateway').machine;
    const keys = `${process.execPath} ${join(ROOT, 'dist/agent/sshd/keys.js')} /run/portlease/host-keys.sock %t %k`;
    sshd = await Sshd.up(gateway, {
      address: GATEWAY_INNER[4], config: [`AuthorizedKeysCommand ${keys}`, 'AuthorizedKeysCommandUser root', 'AllowTcpForwarding remote', 'GatewayPorts clientspecified', 'AuthorizedKeysFile none'],
    });
    for (const host of ['host-a', 'host-b'] as const) {
      const folder = bench.agent(host).machine.directory;
      await run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', join(folder, 'key')]);
      bench.configure(host, { tunnels: { gateway: 'edge', servers: { edge: { ...sshd.server(), keyFile: join(folder, 'key') } }, backoff: { min: '200ms', max: '1s' } } });
      // As behind NAT: nobody outside can open a connection to the host.
      await bench.topology.run(host, ['iptables', '-t', 'mangle', '-A', 'PREROUTING', '-i', 'lan0', '-m', 'conntrack', '--ctstate', 'NEW', '-j', 'DROP']);
    }
    await bench.startAll();
  });
  afterEach(async function () { await bench.close({ failed: this.currentTest?.state === 'failed' }); });

  const allocate = async (environment: string, host: 'host-a' | 'host-b', names = ['ssh']): Promise<Mapping[]> =>
    (await bench.api.allocate({ tenant: 'tenant-1', environment, host, wait: Wait.WAIT_LIVE, wants: names.map((name) => ({ ...want('ssh', vmAddress(host)), name })) }, 30_000)).mappings;
  const addressOf = (host: 'host-a' | 'host-b'): string => tunnelAddress(host, readFileSync(join(bench.agent(host).machine.directory, 'key.pub'), 'utf8').trim());
  const sessions = async (): Promise<string[]> => (await bench.agent('gateway').machine.run(['ss', '-Hltnp'])).stdout.split('\n').filter((line) => line.includes('sshd') && !line.includes(`:${sshd.port}`));

  it('are reached through their own connections, a port that is added disturbs nobody, and a lost agent neither (S13)', async () => {
    await bench.serve('host-a/env-1', ENVIRONMENT_LISTENERS, { pushEveryMs: 100 });
    const first = await allocate('env-1', 'host-a');
    const probe = await bench.probe(...portsOf(first));
    await reachedOnAll(probe, first, 'host-a/env-1');
    const fromMs = Date.now();
    const added = await allocate('env-2', 'host-a', ['one', 'two']);
    const other = await bench.probe(...portsOf(added));
    await reachedOnAll(other, added, 'host-a/env-1');
    await bench.agent('host-a').restart('SIGKILL');
    await bench.agent('gateway').restart('SIGKILL');
    await bench.untilAlive('host-a', 'gateway');
    await goOn(probe, 1_500);
    neverInterrupted(probe.timeline, { afterMs: fromMs });
    neverReconnected(probe.timeline, { afterMs: fromMs });
    assert.ok((await sessions()).every((line) => line.includes(addressOf('host-a'))), 'they listen on loopback only');
  });

  it('move to another one with their number, and what the former one still listens for leads nobody (S1, S8, S12)', async () => {
    for (const host of ['host-a', 'host-b'] as const) await bench.serve(`${host}/env-1`, ENVIRONMENT_LISTENERS, { pushEveryMs: 100 });
    const mappings = await allocate('env-1', 'host-a');
    const probe = await bench.probe(...portsOf(mappings));
    await reachedOnAll(probe, mappings, 'host-a/env-1');
    await bench.topology.switch.cut({ node: 'host-a', direction: 'both', peer: 'coordinator' });
    await bench.untilLost('host-a');
    await bench.api.move({ ...moveTo('host-b'), targets: [{ name: 'ssh', target: address(vmAddress('host-b')) }] }, 30_000);
    const movedAtMs = Date.now();
    await reachedOnAll(probe, mappings, 'host-b/env-1');
    await goOn(probe, 1_000);
    neverReached(probe.timeline, 'host-a/', { afterMs: movedAtMs });
    oneHostAtATime(probe.timeline);
    assert.deepEqual((await sessions()).filter((line) => line.includes(addressOf('host-a'))), []);
  });

  it('reach nobody once they are released', async () => {
    await bench.serve('host-a/env-1', ENVIRONMENT_LISTENERS, { pushEveryMs: 100 });
    const mappings = await allocate('env-1', 'host-a');
    const probe = await bench.probe(...portsOf(mappings));
    await reachedOnAll(probe, mappings, 'host-a/env-1');
    await bench.api.release({ selector: { $case: 'environment', value: 'env-1' }, wait: Wait.WAIT_LIVE });
    const releasedAtMs = Date.now();
    await goOn(probe, 1_500);
    nobodyReached(probe.timeline, { afterMs: releasedAtMs });
  });

  it('are refused by sshd itself when they ask for a port of somebody else, or without a lease', async () => {
    const [mapping] = await allocate('env-1', 'host-a');
    const port = mapping?.publicPort ?? 0;
    const ask = async (host: 'host-a' | 'host-b', listen: string): Promise<string> => {
      const machine = bench.agent(host).machine;
      const argv = ['timeout', '10', 'ssh', '-F', '/dev/null', '-N', '-T', '-i', join(machine.directory, 'key'), '-p', `${sshd.port}`, '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null',
        '-o', 'ExitOnForwardFailure=yes', '-R', `${listen}:127.0.0.1:22`, `root@${sshd.address}`];
      return (await machine.run(argv, { accept: [1, 124, 255], timeoutMs: 20_000 })).stderr;
    };
    assert.match(await ask('host-b', `${addressOf('host-a')}:${port}`), /Permission denied/, 'a host without a lease may not even log in');
    const [other] = await allocate('env-2', 'host-b');
    assert.match(await ask('host-b', `${addressOf('host-a')}:${port}`), /remote port forwarding failed/);
    assert.match(await ask('host-a', `0.0.0.0:${port}`), /remote port forwarding failed/);
    assert.match(await ask('host-a', `${addressOf('host-a')}:${other?.publicPort ?? 0}`), /remote port forwarding failed/);
  });

  it('come back by themselves after a silent cut: the gateway takes the listeners of the old connection over', async () => {
    await bench.serve('host-a/env-1', ENVIRONMENT_LISTENERS);
    const mappings = await allocate('env-1', 'host-a');
    const probe = await bench.probe(...portsOf(mappings));
    await reachedOnAll(probe, mappings, 'host-a/env-1', ['new']);
    const { stdout } = await bench.agent('gateway').machine.run(['ss', '-Htn', 'state', 'established', 'sport', '=', `:${sshd.port}`]);
    const oldPorts = stdout.split('\n').flatMap((line) => new RegExp(`${hostAddress('host-a').replaceAll('.', '\\.')}:(\\d+)`).exec(line)?.[1] ?? []);
    assert.ok(oldPorts.length > 0, stdout);
    await bench.topology.switch.cut({ node: 'host-a', direction: 'both', peer: 'gateway' });
    await eventually('the host to see that it is cut off', async () => (await bench.api.environment('env-1')).mappings[0]?.state === MappingState.MAPPING_STATE_BLOCKED, { withinMs: 30_000 });
    // The NAT in between has forgotten the old connection: nothing of it arrives any more, and the gateway does not hear of its end.
    for (const port of oldPorts) await bench.topology.run('gateway', ['iptables', '-t', 'raw', '-A', 'PREROUTING', '-p', 'tcp', '--sport', port, '-j', 'DROP']);
    await bench.topology.switch.restore();
    const restoredAtMs = Date.now();
    await probe.until('host-a again', ({ who, sentAtMs }) => who === 'host-a/env-1' && sentAtMs > restoredAtMs, { withinMs: 20_000 });
    await eventually('it to be live again', async () => (await bench.api.environment('env-1')).mappings[0]?.state === MappingState.MAPPING_STATE_LIVE, { withinMs: 10_000 });
    await bench.agent('gateway').process.line(/a session of a host that has come again is ended: its peer is silent/);
    assert.doesNotMatch(sshd.process.tail(500), /in use/i);
  });

  it('on addresses of the gateway are nobody\'s but theirs', () => {
    assert.notEqual(addressOf('host-a'), addressOf('host-b'));
    assert.match(addressOf('host-a'), /^127\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\./);
    assert.ok(GATEWAY_PUBLIC[4] !== hostAddress('host-a'));
  });
});
