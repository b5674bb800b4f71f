import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Machine } from '../../support/machine.js';
import { CLIENT, hostAddress, type Node } from '../../support/layout.js';
import { processesIn } from '../../support/netns.js';
import { neverInterrupted, neverReached, reachedOnly } from '../../support/timeline.js';
import { Topology, FOREIGN_COMMENT } from '../../support/topology.js';
import { Probe, startService, type Watched } from '../../support/traffic.js';
import { eventually, within } from '../../support/wait.js';

describe('the network of the test bench', () => {
  let topology: Topology;
  let directory: string;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'portlease-bench-'));
    topology = await Topology.up();
  });

  afterEach(() => {
    topology.down();
    rmSync(directory, { recursive: true });
  });

  const both = (address: string, port: number): Watched[] => [{ address, port, transport: 'tcp' }, { address, port, transport: 'udp' }];

  it('carries TCP and UDP over IPv4 and IPv6 from its first millisecond, until a cable is cut, and again afterwards', async () => {
    const listen = [{ transport: 'tcp', port: 7 }, { transport: 'udp', port: 7 }] as const;
    const service = await startService(topology.namespace('host-a'), { who: 'host-a/echo', listen: [...listen], pushEveryMs: 50 }, join(directory, 'service.log'));
    const probe = await Probe.start(topology.namespace('client'));
    probe.watch(...both(hostAddress('host-a'), 7), ...both(hostAddress('host-a', 6), 7));
    for (const kind of ['new', 'kept'] as const) await probe.until(`a ${kind} connection`, (record) => record.kind === kind && record.who === 'host-a/echo');
    reachedOnly(probe.timeline, 'host-a/');
    neverInterrupted(probe.timeline);

    await topology.switch.cut({ node: 'host-a', direction: 'out' });
    const cutAtMs = Date.now();
    await probe.until('silence', (record) => record.outcome === 'timeout');
    neverReached(probe.timeline, 'host-a/', { afterMs: cutAtMs });
    assert.throws(() => neverReached(probe.timeline, 'host-a/'), /times host-a\/ was reached/);
    assert.throws(() => neverInterrupted(probe.timeline), /attempts failed/);

    await topology.switch.restore('host-a');
    await probe.until('the service again', (record) => record.outcome === 'reached');
    await probe.close();
    await service.stop();
  });

  it('cuts off one machine from another and leaves it the rest', async () => {
    await topology.switch.cut({ node: 'host-a', direction: 'both', peer: 'coordinator' });
    assert.equal(await answers('coordinator', hostAddress('host-a')), false);
    assert.equal(await answers('gateway', hostAddress('host-a')), true);
    assert.equal(await answers('coordinator', hostAddress('host-b')), true);
    await topology.switch.restore();
    await eventually('an answer after the repair', () => answers('coordinator', hostAddress('host-a')), { withinMs: 3_000 });
  });

  it('shows the client as it is to the hosts', async () => {
    const { stdout } = await topology.run('host-b', ['ip', 'route', 'get', CLIENT[4]]);
    assert.match(stdout, /via 10\.77\.0\.1 dev lan0/);
  });

  it('reboots a machine: processes, rules, sets and /run go, files stay, the boot id is another', async () => {
    const machine = await Machine.start(topology, 'host-a', join(directory, 'host-a'));
    const bootId = machine.bootId;
    assert.equal((await machine.run(['cat', '/proc/sys/kernel/random/boot_id'])).stdout.trim(), bootId);
    const sleeper = machine.start('sleeper', ['sleep', 'infinity']);
    await eventually('the sleeper to run', () => machine.processes().length === 1, { withinMs: 2_000 });
    await machine.run(['ipset', 'create', 'some', 'hash:ip']);
    await machine.run(['iptables', '-t', 'nat', '-N', 'SOME']);
    await machine.run(['touch', '/run/some', join(machine.directory, 'some')]);

    await machine.reboot();
    assert.equal((await sleeper.ended).signal, 'SIGKILL');
    assert.notEqual(machine.bootId, bootId);
    const { stdout } = await machine.run(['iptables-save']);
    assert.doesNotMatch(stdout, /SOME/);
    assert.match(stdout, new RegExp(FOREIGN_COMMENT));
    assert.equal((await machine.run(['ipset', 'list', '-name'])).stdout, '');
    assert.equal(existsSync(machine.outside('/run/some')), false);
    assert.equal(existsSync(join(machine.directory, 'some')), true);
    assert.equal(existsSync('/run/some'), false);
  });

  it('is removed with all that runs in it', async () => {
    const machine = await Machine.start(topology, 'host-a', join(directory, 'host-a'));
    const sleeper = machine.start('sleeper', ['sleep', 'infinity']);
    await eventually('the sleeper to run', () => machine.processes().length === 1, { withinMs: 2_000 });
    topology.down();
    assert.equal((await sleeper.ended).signal, 'SIGKILL');
    assert.equal(existsSync(`/run/netns/${topology.namespace('host-a')}`), false);
  });

  it('is removed by the next one when its process was killed', async () => {
    const made = spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'leave-behind.ts')], { stdio: ['ignore', 'pipe', 'inherit'] });
    let left = '';
    try {
      const said = new Promise<string>((resolve) => made.stdout.once('data', (text: Buffer) => { resolve(text.toString().trim()); }));
      const namespace = await within('the name of its namespace', said, { withinMs: 10_000 });
      await eventually('its process to run', () => processesIn(namespace).length === 1, { withinMs: 2_000 });
      left = namespace;
    } finally {
      made.kill('SIGKILL');
      await new Promise((resolve) => made.once('exit', resolve));
    }
    const next = await Topology.up();
    next.down();
    await eventually('the namespace to be gone', () => !existsSync(`/run/netns/${left}`), { withinMs: 2_000 });
  });

  /** Whether a connection comes to an end, which is here that it is refused. */
  async function answers(from: Node, address: string): Promise<boolean> {
    const refused = 7;
    const timedOut = 28;
    const { code } = await topology.run(from, ['curl', '--silent', '--max-time', '0.4', `http://${address}:9/`], { accept: [refused, timedOut] });
    return code === refused;
  }
});
