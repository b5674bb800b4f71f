import assert from 'node:assert/strict';
import { writeFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConnectionsDriver, type Cut, type Standing } from '../../../agent/drivers/connections/connections.js';
import { readListeners } from '../../../agent/drivers/connections/listeners.js';
import { missingTools } from '../../../agent/drivers/settings/tools.js';
import { createLogger } from '../../../shared/log.js';
import { eventually } from '../../support/wait.js';
import { run } from '../../support/run.js';
import { ADDRESS, Bench } from '../rules/bench.js';
import { Talker } from './talker.js';

const NOWHERE: Standing = { endpoints: () => [], isTarget: () => false };
const log = createLogger({ name: 'test', level: 'silent' });

describe('the connections driver, on a real kernel', () => {
  let bench: Bench;
  let talkers: Talker[];
  beforeEach(async () => {
    bench = await Bench.start();
    talkers = [];
    for (const [set, type] of [['cut', 'hash:ip,port'], ['wide', 'hash:ip,port'], ['flow', 'hash:ip,port,ip']]) {
      for (const [number, family] of [['4', 'inet'], ['6', 'inet6']]) await bench.onHost('ipset', ['create', `portlease-${set}${number}`, type as string, 'family', family as string, 'timeout', '60']);
    }
  });
  afterEach(async () => {
    await Promise.all(talkers.map(talker => talker.close()));
    await bench.close();
  });

  const talk = (place: 'client' | 'host' | 'target'): Talker => {
    const talker = new Talker(bench.namespace(place));
    talkers.push(talker);
    return talker;
  };
  const driver = (): ConnectionsDriver => new ConnectionsDriver({ run: bench.onHost, addresses: [ADDRESS.host.v4], isLocal: address => address === ADDRESS.bridge.v4, log });
  const cutOf = (first: number, last = first): Cut => ({ transport: 'tcp', ports: { first, last }, from: [], dropMs: 60_000 });
  const members = async (set: string): Promise<string[]> =>
    Array.from((await bench.onHost('ipset', ['save', set])).stdout.matchAll(/^add \S+ (\S+)/gm), ([, member]) => member as string);
  const entries = async (...filter: string[]): Promise<number> =>
    (await bench.onHost('conntrack', ['-L', '-p', 'tcp', ...filter])).stdout.split('\n').filter(line => line !== '').length;

  it('ends many connections of a target at once, and leaves those of foreign rules to another target alone', async () => {
    const [client, target] = [talk('client'), talk('target')];
    await target.serve('tcp', 8_000, 'target', ADDRESS.target.v4);
    const lead = (port: number): string => `-A PREROUTING -d ${ADDRESS.host.v4}/32 -p tcp --dport ${port} -j DNAT --to-destination ${ADDRESS.target.v4}:8000`;
    const ports = Array.from({ length: 12 }, (_, at) => 30_000 + at);
    await bench.rules(`*nat\n${[...ports, 443].map(lead).join('\n')}\nCOMMIT\n`);
    for (const port of ports) await client.open(`c${port}`, 'tcp', ADDRESS.host.v4, port);
    assert.deepEqual((await driver().cut([cutOf(30_000, 30_011)], NOWHERE)).remaining, []);
    assert.equal(await entries('--orig-dst', ADDRESS.host.v4), 0);

    for (const port of [...ports, 443]) await client.open(`d${port}`, 'tcp', ADDRESS.host.v4, port);
    assert.deepEqual((await driver().cut([cutOf(30_000, 30_011)], NOWHERE)).remaining, []);
    assert.equal(await entries('--orig-dst', ADDRESS.host.v4), 1);
    await client.hearsMore('d443');
  });

  it('deletes entries that wait for nothing any more', async () => {
    const file = join(await mkdtemp(join(tmpdir(), 'plentry-')), 'entries');
    const entry = (state: string, port: number): string => `-I -p tcp -s 192.0.2.7 -d ${ADDRESS.host.v4} --sport ${port} --dport 30000 --state ${state} -t 60\n`;
    await writeFile(file, ['SYN_SENT', 'TIME_WAIT', 'CLOSE', 'FIN_WAIT'].map((state, at) => entry(state, 4_000 + at)).join(''));
    await bench.onHost('iptables', ['-A', 'INPUT', '-m', 'conntrack', '--ctstate', 'INVALID']);
    await bench.onHost('conntrack', ['-R', file]);
    await rm(join(file, '..'), { recursive: true });
    assert.equal(await entries(), 4);
    assert.deepEqual((await driver().cut([cutOf(30_000)], NOWHERE)).remaining, []);
    assert.equal(await entries(), 0);
  });

  it('closes the socket of a server on this host, and neither its listener nor its other connections', async () => {
    const [client, host] = [talk('client'), talk('host')];
    await host.serve('tcp', 8_000, 'host', ADDRESS.bridge.v4);
    await bench.rules(`*nat\n-A PREROUTING -d ${ADDRESS.host.v4}/32 -p tcp --dport 30000 -j DNAT --to-destination ${ADDRESS.bridge.v4}:8000\nCOMMIT\n`);
    await client.open('mapped', 'tcp', ADDRESS.host.v4, 30_000);
    await client.open('direct', 'tcp', ADDRESS.bridge.v4, 8_000);
    await driver().cut([cutOf(30_000)], NOWHERE);
    await eventually('the client is told', async () => (await client.look('mapped')).end === 'ECONNRESET', { withinMs: 10_000 });
    await client.hearsMore('direct');
    await client.open('again', 'tcp', ADDRESS.bridge.v4, 8_000);
  });

  it('fails when the set of dropped sources is not there, and confirms nothing', async () => {
    const [client, target] = [talk('client'), talk('target')];
    await target.serve('tcp', 8_000, 'target', ADDRESS.target.v4);
    await bench.rules(`*nat\n-A PREROUTING -d ${ADDRESS.host.v4}/32 -p tcp --dport 30000 -j DNAT --to-destination ${ADDRESS.target.v4}:8000\nCOMMIT\n`);
    await client.open('one', 'tcp', ADDRESS.host.v4, 30_000);
    await bench.onHost('ipset', ['destroy', 'portlease-cut4']);
    await assert.rejects(driver().cut([cutOf(30_000)], NOWHERE), /ipset/);
    await client.hearsMore('one');
  });

  it('keeps servers from everybody when the set of ended connections is full, ends them all the same, and needs room for no connection that it knows', async () => {
    const [client, target] = [talk('client'), talk('target')];
    for (const port of [8_000, 8_001]) await target.serve('tcp', port, 'target', ADDRESS.target.v4);
    const lead = (port: number, to: number): string => `-A PREROUTING -d ${ADDRESS.host.v4}/32 -p tcp --dport ${port} -j DNAT --to-destination ${ADDRESS.target.v4}:${to}`;
    await bench.rules(`*nat\n${lead(30_000, 8_000)}\n${lead(30_001, 8_001)}\nCOMMIT\n`);
    await bench.onHost('ipset', ['destroy', 'portlease-flow4']);
    await bench.onHost('ipset', ['create', 'portlease-flow4', 'hash:ip,port,ip', 'timeout', '60', 'maxelem', '1']);
    for (const [name, port] of [['one', 30_000], ['two', 30_001], ['three', 30_000]] as const) {
      await client.open(name, 'tcp', ADDRESS.host.v4, port);
      assert.deepEqual((await driver().cut([cutOf(port)], NOWHERE)).remaining, []);
      assert.equal(await entries('--orig-dst', ADDRESS.host.v4), 0);
    }
    const [first, second] = [8_000, 8_001].map(port => `${ADDRESS.target.v4},tcp:${port}`);
    assert.deepEqual(await members('portlease-flow4'), [`${first},${ADDRESS.client.v4}`]);
    assert.deepEqual(await members('portlease-wide4'), [second]);
  });

  it('confirms nothing when there is no room at all', async () => {
    const [client, target] = [talk('client'), talk('target')];
    await target.serve('tcp', 8_000, 'target', ADDRESS.target.v4);
    await bench.rules(`*nat\n-A PREROUTING -d ${ADDRESS.host.v4}/32 -p tcp --dport 30000 -j DNAT --to-destination ${ADDRESS.target.v4}:8000\nCOMMIT\n`);
    for (const [set, type, other] of [['flow4', 'hash:ip,port,ip', '192.0.2.1,tcp:1,192.0.2.2'], ['wide4', 'hash:ip,port', '192.0.2.1,tcp:1']] as const) {
      await bench.onHost('ipset', ['destroy', `portlease-${set}`]);
      await bench.onHost('ipset', ['create', `portlease-${set}`, type, 'timeout', '60', 'maxelem', '1']);
      await bench.onHost('ipset', ['add', `portlease-${set}`, other]);
    }
    await client.open('one', 'tcp', ADDRESS.host.v4, 30_000);
    await assert.rejects(driver().cut([cutOf(30_000)], NOWHERE), /Hash is full/);
    assert.equal(await entries('--orig-dst', ADDRESS.host.v4), 1);
  });

  it('drops a whole range of a former host, and lets it go when the time is over', async () => {
    await driver().cut([{ ...cutOf(30_000, 30_255), from: [{ address: '10.80.2.9', port: undefined }], dropMs: 1_000 }], NOWHERE);
    assert.equal((await members('portlease-cut4')).length, 256);
    await eventually('the set is empty again', async () => (await members('portlease-cut4')).length === 0, { withinMs: 10_000 });
  });

  it('finds the tools of this machine, and the listeners of the namespace', async () => {
    assert.deepEqual(await missingTools(bench.onHost), []);
    const host = talk('host');
    await host.serve('tcp', 30_001, 'host', ADDRESS.host.v4);
    await host.serve('udp', 30_002, 'host', '::');
    assert.deepEqual((await readListeners(`/proc/${host.pid}/net`)).map(({ transport, address, port }) => `${transport} ${address} ${port}`),
      [`tcp ${ADDRESS.host.v4} 30001`, 'udp :: 30002']);
  });

  it("keeps others' reserved ports, in the kernel of a namespace", async () => {
    const directory = await mkdtemp(join(tmpdir(), 'plreserve-'));
    const inside = (program: string): Promise<{ stdout: string }> => run(['nsenter', `--net=/run/netns/${bench.namespace('host')}`, process.execPath,
      '--import', 'tsx', '--input-type=module', '-e', program], { timeoutMs: 20_000 });
    const module = join(import.meta.dirname, '../../../agent/drivers/settings/reserved.ts');
    const program = (ports: string): string => `import { ReservedPorts } from '${module}';
      const ports = await ReservedPorts.open({ statePath: '${directory}/ours', bootId: 'b' }); await ports.set(${ports});`;
    const kernel = async (): Promise<string> => (await bench.onHost('cat', ['/proc/sys/net/ipv4/ip_local_reserved_ports'])).stdout.trim();
    const many = JSON.stringify(Array.from({ length: 2_000 }, (_, at) => ({ first: 20_000 + at * 10, last: 20_001 + at * 10 })));
    await bench.onHost('sysctl', ['-qw', 'net.ipv4.ip_local_reserved_ports=8080']);
    await inside(program(many));
    const text = await kernel();
    assert.equal(text.split(',').length, 2_001, 'also a list that is longer than a page');
    assert.match(await readFile(join(directory, 'ours'), 'utf8'), /20000-20001/);
    await inside(program('[]'));
    assert.equal(await kernel(), '8080');
    await rm(directory, { recursive: true });
  });
});
