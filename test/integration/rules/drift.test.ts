/** What others do to the rules, and that the driver puts it right, on the real kernel. */
import assert from 'node:assert/strict';
import { strayJumps, RulesDriver } from '../../../agent/drivers/rules/driver.js';
import { RulesError } from '../../../agent/drivers/rules/errors.js';
import type { Forward, RulesSpec } from '../../../agent/drivers/rules/spec.js';
import { ADDRESS, Bench } from './bench.js';

const forward = (number: number, more: Partial<Forward> = {}): Forward =>
  ({ id: `m-${number}`, generation: 7, transport: 'tcp', ports: { first: number, last: number }, to: ADDRESS.target.v4, toPort: 8_080, hairpin: true, ...more });

const spec: RulesSpec = {
  addresses: [ADDRESS.host.v4, ADDRESS.host.v6], snat: true,
  leased: [{ transport: 'tcp', ports: { first: 30_000, last: 30_255 } }, { transport: 'udp', ports: { first: 30_100, last: 30_107 } }],
  forwards: [forward(30_001), forward(30_002, { to: ADDRESS.target.v6 }), forward(30_003, { transport: 'udp' }), forward(30_017), forward(35_000),
    forward(30_018, { limits: { networks: ['198.51.100.0/24', '192.0.2.1/32', '10.128.0.0/9'], maxConnections: 5, uncounted: 0 } }),
    ...(['tcp', 'udp'] as const).map(transport => forward(30_101, { transport, to: ADDRESS.target.v6, limits: { networks: ['2001:db8::/32', 'fd00::1/128', '2001:db8:8000::/33'], maxConnections: 1_000_000, uncounted: 0 } }))],
};

/** Rules and sets without what differs from one reading to the next. */
async function picture(bench: Bench): Promise<string> {
  const rules = await Promise.all(['iptables-save', 'ip6tables-save'].map(tool => bench.save(tool)));
  const sets = (await bench.onHost('ipset', ['save'])).stdout.replace(/ (hashsize|bucketsize|initval) \S+/g, '');
  return [...rules, sets].join('').split('\n').filter(line => !line.startsWith('#')).map(line => line.replace(/\[\d+:\d+\]/, '[0:0]')).sort().join('\n');
}

type Harm = readonly [tool: string, ...argv: string[]];
const HARMS: readonly [string, readonly Harm[]][] = [
  ['iptables -F', [['iptables', '-F']]],
  ['iptables -t nat -F', [['iptables', '-t', 'nat', '-F']]],
  ['iptables -t mangle -F', [['iptables', '-t', 'mangle', '-F']]],
  ['everything flushed and all chains deleted', ['filter', 'nat', 'mangle'].flatMap(table => [['iptables', '-t', table, '-F'], ['iptables', '-t', table, '-X']] as const)],
  ['the same for IPv6', ['filter', 'nat', 'mangle'].flatMap(table => [['ip6tables', '-t', table, '-F'], ['ip6tables', '-t', table, '-X']] as const)],
  ['a network less of those that may use a port', [['iptables', '-t', 'nat', '-D', 'PORTLEASE-T7542', '1']]],
  ['everybody let in', [['ip6tables', '-t', 'nat', '-I', 'PORTLEASE-U7595', '-j', 'PORTLEASE-m-30101']]],
  ['a limit that counts no more', [['iptables', '-t', 'nat', '-D', 'PORTLEASE-m-30018', '1']]],
  ['one deleted rule', [['iptables', '-t', 'nat', '-D', 'PORTLEASE-T753', '1']]],
  ['a lost jump', [['iptables', '-t', 'nat', '-D', 'PREROUTING', '-d', ADDRESS.host.v4, '-j', 'PORTLEASE']]],
  ['a lost jump of the guard', [['ip6tables', '-t', 'mangle', '-F', 'INPUT']]],
  ['a jump that stands twice', [['iptables', '-t', 'nat', '-A', 'PREROUTING', '-d', ADDRESS.host.v4, '-j', 'PORTLEASE'], ['iptables', '-I', 'FORWARD', '-j', 'PORTLEASE-FORWARD']]],
  ['a jump for an address that is not ours', [['iptables', '-t', 'nat', '-I', 'OUTPUT', '-d', '192.0.2.77', '-j', 'PORTLEASE']]],
  ['a foreign rule in an own chain', [['iptables', '-t', 'mangle', '-I', 'PORTLEASE-GUARD', '-j', 'ACCEPT']]],
  ['a rule that stands twice', [['iptables', '-t', 'mangle', '-A', 'PORTLEASE-CUT', '-m', 'set', '--match-set', 'portlease-cut4', 'src,src', '-j', 'DROP']]],
  ['a chain of ours that is not wanted', [['iptables', '-t', 'nat', '-N', 'PORTLEASE-TABC'], ['iptables', '-t', 'nat', '-A', 'PORTLEASE-TABC', '-p', 'tcp', '-j', 'RETURN']]],
  ['everything deleted by nft', [['nft', 'flush', 'ruleset']]],
  ['ipset flush', [['ipset', 'flush']]],
  ['one port less and one more in the guard', [['ipset', 'del', 'portlease-guard-tcp', '30005'], ['ipset', 'add', 'portlease-guard-tcp', '31000']]],
  ['a target less', [['ipset', 'del', 'portlease-target4', ADDRESS.target.v4]]],
];

describe('rules that others change', () => {
  let bench: Bench;
  let driver: RulesDriver;
  let whole: string;

  before(async () => {
    bench = await Bench.start();
    driver = new RulesDriver({ run: bench.onHost });
    await bench.rules('*filter\n-A INPUT -s 192.0.2.5/32 -j DROP\nCOMMIT\n*nat\n-A PREROUTING -d 192.0.2.6/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.80.2.3:80\nCOMMIT\n');
    await driver.apply(spec, { observe: true });
    whole = await picture(bench);
  });
  after(() => bench?.close());

  for (const [what, harms] of HARMS) {
    it(`are put right after ${what}`, async () => {
      const own = (text: string): string => text.split('\n').filter(line => line.toLowerCase().includes('portlease')).join('\n');
      for (const [tool, ...argv] of harms) await bench.onHost(tool, argv);
      const harmed = await picture(bench);
      assert.notEqual(own(harmed), own(whole));
      const { changed, repaired } = await driver.apply(spec, { observe: true });
      assert.ok(repaired >= 1 && repaired === changed, `changed ${changed}, repaired ${repaired}`);
      const healed = await picture(bench);
      assert.equal(own(healed), own(whole));
      const others = (text: string): string[] => text.split('\n').filter(line => line.startsWith('-A') && !line.includes('PORTLEASE'));
      assert.deepEqual(others(healed), others(harmed), 'foreign rules stay as they are');
      assert.deepEqual(await driver.apply(spec, { observe: true }), { changed: 0, repaired: 0 });
    });
  }

  it('are put right after all rules and sets were destroyed', async () => {
    for (const table of ['filter', 'nat', 'mangle']) {
      for (const tool of ['iptables', 'ip6tables']) for (const action of ['-F', '-X']) await bench.onHost(tool, ['-t', table, action]);
    }
    for (const name of (await bench.onHost('ipset', ['list', '-n'])).stdout.split('\n').filter(each => each !== '')) {
      for (let attempt = 0; ; attempt++) {
        try { await bench.onHost('ipset', ['destroy', name]); break; } catch (error) { if (attempt > 50) throw error; }
      }
    }
    await bench.onHost('ipset', ['create', 'portlease-guard-tcp', 'hash:ip']);
    await driver.apply(spec, { observe: true });
    const own = (text: string): string => text.split('\n').filter(line => line.toLowerCase().includes('portlease')).join('\n');
    assert.equal(own(await picture(bench)), own(whole));
  });

  it('are looked at when a change meets something else than what was last applied', async () => {
    await bench.onHost('iptables', ['-t', 'nat', '-F']);
    await bench.onHost('iptables', ['-t', 'nat', '-X']);
    const more = { ...spec, forwards: [...spec.forwards, forward(30_004)] };
    const { changed, repaired } = await driver.apply(more, { observe: false });
    assert.ok(repaired > 10 && changed === repaired + 1, `changed ${changed}, repaired ${repaired}`);
    assert.match(await bench.save(), /--dport 30004 .*--to-destination 10\.80\.2\.2:8080/);
    assert.deepEqual(await driver.apply(spec, { observe: false }), { changed: 1, repaired: 0 });
  });

  it('that a driver of an earlier run left are taken over without touching them', async () => {
    assert.deepEqual(await new RulesDriver({ run: bench.onHost }).apply(spec, { observe: true }), { changed: 0, repaired: 0 });
  });

  it('are the same whether looked for or not', async () => {
    const apart = { ...spec, snat: false, addresses: [ADDRESS.host.v4, ADDRESS.bridge.v4], forwards: [forward(30_001, { generation: 8 }), forward(30_018)] };
    await driver.apply(apart, { observe: false });
    assert.deepEqual(await driver.apply(apart, { observe: true }), { changed: 0, repaired: 0 });
    assert.doesNotMatch(await bench.save('ip6tables-save'), /PORTLEASE/);
    await driver.apply(spec, { observe: false });
    assert.deepEqual(await driver.apply(spec, { observe: true }), { changed: 0, repaired: 0 });
    const own = (text: string): string => text.split('\n').filter(line => line.toLowerCase().includes('portlease')).join('\n');
    assert.equal(own(await picture(bench)), own(whole));
  });

  it('are not guessed when iptables cannot read a table', async () => {
    await bench.onHost('nft', ['add', 'rule', 'ip', 'nat', 'PREROUTING', 'numgen', 'inc', 'mod', '2', '0', 'accept']);
    await assert.rejects(driver.apply(spec, { observe: true }), (error: unknown) => error instanceof RulesError && error.problem === 'tableUnreadable');
    const handle = /numgen.*# handle (\d+)/.exec((await bench.onHost('nft', ['-a', 'list', 'chain', 'ip', 'nat', 'PREROUTING'])).stdout)?.[1];
    await bench.onHost('nft', ['delete', 'rule', 'ip', 'nat', 'PREROUTING', 'handle', handle ?? '']);
    assert.deepEqual(await driver.apply(spec, { observe: true }), { changed: 0, repaired: 0 });
  });

  it('leave jumps of foreign chains to own ones, and say so', async () => {
    await bench.rules('*nat\n:THEIRS - [0:0]\n-A THEIRS -p tcp -j PORTLEASE-T\nCOMMIT\n');
    assert.deepEqual(await driver.apply(spec, { observe: true }), { changed: 0, repaired: 0 });
    assert.deepEqual(strayJumps(await driver.observe()), [{ chain: 'THEIRS', rule: '-p tcp -j PORTLEASE-T' }]);
    await driver.removeAll();
    assert.deepEqual((await bench.save()).split('\n').filter(line => line.includes('PORTLEASE')), [':PORTLEASE-T - [0:0]', '-A THEIRS -p tcp -j PORTLEASE-T']);
    await bench.onHost('iptables', ['-t', 'nat', '-F', 'THEIRS']);
    await driver.removeAll();
    assert.doesNotMatch(await picture(bench), /portlease/i);
  });
});

describe('rules beside Docker', () => {
  let bench: Bench;
  before(async () => { bench = await Bench.start(); });
  after(() => bench?.close());

  it('accept from DOCKER-USER once it is there, beside foreign DNAT and a policy of DROP', async () => {
    const driver = new RulesDriver({ run: bench.onHost });
    const asked = { ...spec, snat: false, addresses: [ADDRESS.host.v4], forwards: [forward(30_001)] };
    await bench.listen('target', 'tcp', 8_080);
    await bench.listen('other', 'tcp', 8_081);
    await driver.apply(asked, { observe: true });
    const docker = '*nat\n:DOCKER - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n-A DOCKER -p tcp -m tcp --dport 8099 -j DNAT --to-destination 10.80.2.3:8081\nCOMMIT\n'
      + '*filter\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n-A DOCKER-USER -j RETURN\n-I FORWARD 1 -j DOCKER-USER\n-A FORWARD -d 10.80.2.3/32 -j ACCEPT\n-A FORWARD -s 10.80.2.3/32 -j ACCEPT\nCOMMIT\n';
    await bench.rules(docker);
    const { repaired } = await driver.apply(asked, { observe: true });
    assert.equal(repaired, 2);
    const rules = (await bench.save()).split('\n');
    assert.deepEqual(rules.filter(line => /^-A (DOCKER-USER|FORWARD) /.test(line)), ['-A FORWARD -j DOCKER-USER', '-A FORWARD -d 10.80.2.3/32 -j ACCEPT', '-A FORWARD -s 10.80.2.3/32 -j ACCEPT',
      '-A DOCKER-USER -j PORTLEASE-FORWARD', '-A DOCKER-USER -j RETURN'].toSorted((a, b) => rules.indexOf(a) - rules.indexOf(b)));
    assert.equal(await bench.ask('client', 'tcp', [ADDRESS.host.v4, 30_001]), `target sees ${ADDRESS.client.v4}`);
    assert.equal(await bench.ask('client', 'tcp', [ADDRESS.host.v4, 8_099]), `other sees ${ADDRESS.client.v4}`);
    await bench.onHost('iptables', ['-F']);
    assert.ok(await bench.isSilent('client', 'tcp', [ADDRESS.host.v4, 30_001]));
    await driver.apply(asked, { observe: true });
    assert.equal(await bench.ask('client', 'tcp', [ADDRESS.host.v4, 30_001]), `target sees ${ADDRESS.client.v4}`);
    await driver.removeAll();
    assert.doesNotMatch(await picture(bench), /portlease/i);
    assert.ok(await bench.isSilent('client', 'tcp', [ADDRESS.host.v4, 8_099]), "Docker's own accepts were flushed above");
  });
});
