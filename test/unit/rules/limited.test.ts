import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ChildFailed } from '../../../agent/drivers/child.js';
import { RulesDriver } from '../../../agent/drivers/rules/driver.js';
import { ownProblem, type Forward, type Limits, type RulesSpec } from '../../../agent/drivers/rules/spec.js';
import { cidrContains, parseCidr, type Cidr } from '../../../shared/names.js';
import type { Transport } from '../../../shared/ports.js';
import { FakeTools } from './fake-tools.js';
import type { KernelModel } from './kernel-model.js';
import { anySpec, forward, spec } from './specs.js';

const limits = (more: Partial<Limits> = {}): Limits => ({ networks: undefined, maxConnections: 0, uncounted: 0, ...more });
const inNetworks = (networks: readonly string[], address: string): boolean => networks.some(network => cidrContains(parseCidr(network) as Cidr, address));

type Packet = { transport: Transport; client: string; port: number };

function fits(rule: string, { transport, client, port }: Packet): boolean {
  const [, first = '1', last = first] = /--dport (\d+):?(\d+)?/.exec(rule) ?? [undefined, '1', '65535'];
  const [, ofTransport = transport] = /-p (\S+)/.exec(rule) ?? [];
  const [, network] = /^-s (\S+)/.exec(rule) ?? [];
  return ofTransport === transport && Number(first) <= port && port <= Number(last) && (network === undefined || inNetworks([network], client));
}

/** What the nat rules do with the first packet of a connection, and how many of them it meets; `room`: of the counting rule that it met. */
function walk(kernel: KernelModel, { transport, client, port }: Packet): { to: string | undefined; met: number; room: number | undefined } {
  const chains = kernel.table('nat');
  let met = 0;
  let room: number | undefined;
  const visit = (chain: string): string | undefined => {
    for (const rule of chains.get(chain) ?? []) {
      met++;
      if (!fits(rule, { transport, client, port })) continue;
      const over = /--connlimit-above (\d+)/.exec(rule)?.[1];
      if (over !== undefined) {
        room = Number(over);
        if (room === 0) return undefined;
        continue;
      }
      const [, how, next] = /-([gj]) (PORTLEASE\S*)$/.exec(rule) ?? [];
      const led = next === undefined ? /"portlease:(\S+):g\d+"/.exec(rule)?.[1] : visit(next);
      // A jump comes back, a goto does not.
      if (how !== 'j' || led !== undefined) return led;
    }
    return undefined;
  };
  return { to: visit('PORTLEASE'), met, room };
}

const nat = (tools: FakeTools, family: 'v4' | 'v6' = 'v4'): Record<string, string[]> =>
  Object.fromEntries([...tools.models[family].table('nat')].filter(([chain]) => chain.startsWith('PORTLEASE-T753') || chain.startsWith('PORTLEASE-U753') || /^PORTLEASE-[a-z]/.test(chain)));

async function applied(wanted: RulesSpec): Promise<FakeTools> {
  const tools = new FakeTools();
  await new RulesDriver({ run: tools.run }).apply(wanted, { observe: true });
  return tools;
}

describe('rules of a limited mapping', () => {
  it('let networks on one by one, count what is let on for both transports together, and lead it to the target', async () => {
    const limited = limits({ networks: ['198.51.100.0/24', '192.0.2.1/32'], maxConnections: 5 });
    const tools = await applied(spec({ forwards: [forward({ limits: limited }), forward({ transport: 'udp', limits: limited })] }));
    assert.deepEqual(nat(tools), {
      'PORTLEASE-T753': ['-p tcp -m tcp --dport 30001 -g PORTLEASE-T7531'],
      'PORTLEASE-U753': ['-p udp -m udp --dport 30001 -g PORTLEASE-U7531'],
      'PORTLEASE-T7531': ['-s 198.51.100.0/24 -g PORTLEASE-m-1', '-s 192.0.2.1/32 -g PORTLEASE-m-1'],
      'PORTLEASE-U7531': ['-s 198.51.100.0/24 -g PORTLEASE-m-1', '-s 192.0.2.1/32 -g PORTLEASE-m-1'],
      'PORTLEASE-m-1': [
        '-m connlimit --connlimit-above 5 --connlimit-mask 0 --connlimit-saddr -j RETURN',
        '-p tcp -m comment --comment "portlease:m-1:g5" -j DNAT --to-destination 10.0.0.2:80',
        '-p udp -m comment --comment "portlease:m-1:g5" -j DNAT --to-destination 10.0.0.2:80',
      ],
    });
  });

  it('lead exactly the clients of its networks there, past no more than 16 rules a level', async () => {
    const clients = ['198.51.100.7', '10.9.9.9', '192.0.2.1', '203.0.113.5'];
    await fc.assert(fc.asyncProperty(anySpec, fc.constantFrom(...clients), async (wanted, client) => {
      fc.pre(wanted.addresses.some(address => address.includes('.')));
      const tools = await applied(wanted);
      const forwards = [...wanted.forwards].filter(({ to }) => to.includes('.'));
      for (const { ports, transport } of forwards) {
        const owner = forwards.find(each => each.transport === transport && each.ports.first <= ports.first && ports.first <= each.ports.last) as Forward;
        const isWelcome = owner.limits?.networks === undefined || inNetworks(owner.limits.networks, client);
        const room = owner.limits === undefined || owner.limits.maxConnections === 0 ? undefined : Math.max(0, owner.limits.maxConnections - owner.limits.uncounted);
        const found = walk(tools.models.v4, { transport, client, port: ports.first });
        assert.deepEqual([found.to, isWelcome ? found.room : undefined], [isWelcome && room !== 0 ? owner.id : undefined, isWelcome ? room : undefined]);
        assert.ok(found.met <= 2 + 6 * 16, `${found.met} rules`);
      }
    }), { numRuns: 60 });
  });

  it('change in its own chains alone when its networks change: what is counted stays counted', async () => {
    const tools = new FakeTools();
    const driver = new RulesDriver({ run: tools.run });
    const at = (networks: string[]): RulesSpec => spec({ forwards: [forward({ limits: limits({ networks, maxConnections: 5 }) }), forward({ port: 30_002, id: 'm-2' })] });
    await driver.apply(at(['10.0.0.0/8', '192.0.2.1/32']), { observe: true });
    tools.takeWrites();
    await driver.apply(at(['10.0.0.0/8', '198.51.100.0/24']), { observe: false });
    assert.deepEqual(tools.takeWrites().map(({ stdin }) => stdin),
      ['*nat\n:PORTLEASE-T7531 - [0:0]\n-A PORTLEASE-T7531 -s 10.0.0.0/8 -g PORTLEASE-m-1\n-A PORTLEASE-T7531 -s 198.51.100.0/24 -g PORTLEASE-m-1\nCOMMIT\n']);
  });

  it('go with it, and come and go with its limits', async () => {
    const tools = new FakeTools();
    const driver = new RulesDriver({ run: tools.run });
    const none = spec({ forwards: [forward()] });
    const some = spec({ forwards: [forward({ limits: limits({ networks: ['10.0.0.0/8'], maxConnections: 2 }) })] });
    for (const [wanted, expected] of [[some, 3], [none, 1], [some, 3], [spec(), 0]] as const) {
      await driver.apply(wanted, { observe: false });
      assert.equal(Object.keys(nat(tools)).length, expected);
      assert.deepEqual(await driver.apply(wanted, { observe: true }), { changed: 0, repaired: 0 });
    }
  });

  it('are put back in their order: who is counted is counted before anything is led on', async () => {
    const tools = new FakeTools();
    const driver = new RulesDriver({ run: tools.run });
    const wanted = spec({ forwards: [forward({ limits: limits({ maxConnections: 2 }) })] });
    await driver.apply(wanted, { observe: true });
    const right = nat(tools)['PORTLEASE-m-1'] ?? [];
    for (const wrong of [right.toReversed(), right.slice(1), right.slice(0, 1), ['-j ACCEPT', ...right]]) {
      tools.models.v4.table('nat').set('PORTLEASE-m-1', [...wrong]);
      assert.ok((await driver.apply(wanted, { observe: true })).repaired > 0);
      assert.deepEqual(nat(tools)['PORTLEASE-m-1'], right);
    }
  });

  it('are not made of what is none', () => {
    const problem = (more: Partial<Limits>, of: Partial<Forward> = {}): string | undefined => ownProblem(forward({ limits: limits(more), ...of }));
    assert.equal(problem({ networks: ['10.0.0.0/8'], maxConnections: 3 }), undefined);
    for (const network of ['10.0.0.1/8', '10.0.0.1', '0.0.0.0/0', '2001:db8::/32', '10.0.0.0/8 -j ACCEPT', '']) assert.match(problem({ networks: [network] }) ?? '', /is not a network/);
    assert.match(problem({ maxConnections: -1 }) ?? '', /number of connections/);
    assert.match(problem({ maxConnections: 1 }, { ports: { first: 1, last: 2 }, toPort: undefined }) ?? '', /a range cannot be limited/);
  });
});

describe('a rule that counts connections', () => {
  const wanted = (maxConnections: number, more: Partial<Forward> = {}): RulesSpec => spec({ forwards: [forward({ limits: limits({ maxConnections }), ...more }), forward({ port: 30_002, id: 'm-2' })] });
  const numberOf = (tools: FakeTools): string | undefined => /--connlimit-above (\d+)/.exec(nat(tools)['PORTLEASE-m-1']?.[0] ?? '')?.[1];

  function driverWith(tools: FakeTools, connections: Set<string>): { driver: RulesDriver; asked: () => number } {
    let asked = 0;
    const count = (forwards: readonly Forward[]) => {
      asked++;
      return Promise.resolve(new Map(forwards.map(({ id }) => [id, new Set(connections)])));
    };
    return { driver: new RulesDriver({ run: tools.run, count }), asked: () => asked };
  }

  it('of a mapping that comes begins at nothing, without a look at what is connected', async () => {
    const tools = new FakeTools();
    const { driver, asked } = driverWith(tools, new Set(['a']));
    await driver.apply(spec(), { observe: true });
    await driver.apply(wanted(5), { observe: false });
    assert.deepEqual([numberOf(tools), asked()], ['5', 0]);
  });

  it('has what is connected taken off when its number changes, and when a mapping without a limit gets one', async () => {
    const tools = new FakeTools();
    const connections = new Set<string>();
    const { driver } = driverWith(tools, connections);
    await driver.apply(wanted(0, { limits: undefined }), { observe: true });
    connections.add('a').add('b');
    await driver.apply(wanted(5), { observe: false });
    assert.equal(numberOf(tools), '3');
    connections.add('c');
    await driver.apply(wanted(2), { observe: false });
    assert.equal(numberOf(tools), '0', 'with three connected there is no room for another');
  });

  it('has it taken off when somebody flushed it, and when it is written by an agent that has just started', async () => {
    const tools = new FakeTools();
    const connections = new Set<string>();
    const { driver } = driverWith(tools, connections);
    await driver.apply(wanted(5), { observe: true });
    connections.add('a');
    for (const chain of tools.models.v4.table('nat').values()) chain.length = 0;
    assert.ok((await driver.apply(wanted(5), { observe: true })).repaired > 0);
    assert.equal(numberOf(tools), '4');
    const { driver: next } = driverWith(tools, connections);
    await next.apply(wanted(5), { observe: true });
    assert.equal(numberOf(tools), '4');
  });

  it('is left as it is by an agent that has just started, when it has counted all', async () => {
    const tools = new FakeTools();
    const connections = new Set<string>();
    await driverWith(tools, connections).driver.apply(wanted(5), { observe: true });
    connections.add('a');
    const { driver, asked } = driverWith(tools, connections);
    assert.deepEqual(await driver.apply(wanted(5), { observe: true }), { changed: 0, repaired: 0 });
    assert.deepEqual([numberOf(tools), asked()], ['5', 0]);
  });

  it('is written anew, and that is no drift, when one that it had not counted has ended; and then everybody is uncounted', async () => {
    const tools = new FakeTools();
    const connections = new Set<string>();
    const { driver, asked } = driverWith(tools, connections);
    await driver.apply(wanted(9), { observe: true });
    connections.add('a').add('b');
    const now = wanted(5);
    await driver.apply(now, { observe: false });
    connections.add('c');
    assert.deepEqual(await driver.apply(now, { observe: true }), { changed: 0, repaired: 0 });
    assert.equal(numberOf(tools), '3');
    connections.delete('a');
    assert.equal((await driver.apply(now, { observe: true })).repaired, 0);
    assert.equal(numberOf(tools), '3', 'b and c are there, c is not counted any more');
    connections.clear();
    await driver.apply(now, { observe: true });
    assert.equal(numberOf(tools), '5');
    const before = asked();
    await driver.apply(now, { observe: true });
    assert.equal(asked(), before, 'once all is counted nobody looks at connections');
  });

  it('never lets more be connected than the limit says, however limits, connections and drift come', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('limit' as const), to: fc.integer({ min: 1, max: 5 }) }), fc.record({ kind: fc.constant('open' as const) }),
      fc.record({ kind: fc.constant('close' as const), at: fc.nat() }), fc.record({ kind: fc.constant('flush' as const) }),
      fc.record({ kind: fc.constant('round' as const) }), fc.record({ kind: fc.constant('restart' as const) }));
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), async steps => {
      const tools = new FakeTools();
      const connections = new Set<string>();
      // What the kernel has: the rule as it was last written, and the connections that came past it since.
      let rule: { text: string; writes: number; counted: Set<string> } = { text: '', writes: 0, counted: new Set() };
      let writes = 0;
      tools.after = ({ file, stdin }) => { if (file === 'iptables-restore' && stdin.includes('-A PORTLEASE-m-1 ')) writes++; return Promise.resolve(); };
      let { driver } = driverWith(tools, connections);
      let limit = 3;
      let next = 0;
      await driver.apply(wanted(limit), { observe: true });
      const ruleNow = (): typeof rule => {
        const text = numberOf(tools) ?? 'gone';
        if (text !== rule.text || writes !== rule.writes) rule = { text, writes, counted: new Set() };
        return rule;
      };
      for (const one of steps) {
        const { text, counted } = ruleNow();
        for (const gone of [...counted].filter(each => !connections.has(each))) counted.delete(gone);
        switch (one.kind) {
          case 'limit': {
            const above = Math.max(0, connections.size - one.to);
            limit = one.to;
            await driver.apply(wanted(limit), { observe: false });
            // What is beyond the limit is ended right after.
            for (const gone of [...connections].slice(connections.size - above)) connections.delete(gone);
            break;
          }
          case 'open':
            if (text !== 'gone' && counted.size < Number(text)) { connections.add(`c${++next}`); counted.add(`c${next}`); }
            break;
          case 'close': connections.delete([...connections][one.at % Math.max(1, connections.size)] ?? ''); break;
          case 'flush': for (const chain of tools.models.v4.table('nat').values()) chain.length = 0; break;
          case 'round': await driver.apply(wanted(limit), { observe: true }); break;
          case 'restart': ({ driver } = driverWith(tools, connections)); await driver.apply(wanted(limit), { observe: true }); break;
        }
        assert.ok(connections.size <= limit, `${connections.size} of ${limit}`);
      }
      connections.clear();
      await driver.apply(wanted(limit), { observe: true });
      assert.equal(numberOf(tools), String(limit), 'with nobody connected there is room for all again');
    }), { numRuns: 200 });
  });
});

describe('where connections cannot be counted', () => {
  const failing = (tools: FakeTools): { isBroken: boolean } => {
    const state = { isBroken: true };
    tools.before = ({ file, argv, stdin }) => (state.isBroken && file === 'iptables-restore' && stdin.includes('connlimit')
      ? Promise.reject(new ChildFailed(file, argv, { exitCode: 2, signal: null, stderr: "iptables-restore v1.8.9 (nf_tables): Couldn't load match `connlimit':No such file or directory", timedOut: false }))
      : Promise.resolve());
    return state;
  };
  const wanted = spec({ forwards: [forward({ limits: limits({ networks: ['10.0.0.0/8'], maxConnections: 2 }) }), forward({ port: 30_002, id: 'm-2', limits: limits({ networks: ['10.0.0.0/8'] }) }), forward({ port: 30_003, id: 'm-3' })] });

  it('a mapping with such a limit is not served, and told so; others are, also those for some networks only', async () => {
    const tools = new FakeTools();
    failing(tools);
    const { unserved } = await new RulesDriver({ run: tools.run }).apply(wanted, { observe: true });
    assert.deepEqual(unserved?.map(({ id, reason }) => [id, reason]), [['m-1', 'LIMIT_NOT_SERVED']]);
    assert.match(unserved?.[0]?.message ?? '', /lack connlimit/);
    const lead = (port: number): string | undefined => walk(tools.models.v4, { transport: 'tcp', client: '10.1.1.1', port }).to;
    assert.deepEqual([lead(30_001), lead(30_002), lead(30_003)], [undefined, 'm-2', 'm-3']);
  });

  it('it is tried again with each full round, and served once it works', async () => {
    const tools = new FakeTools();
    const state = failing(tools);
    const driver = new RulesDriver({ run: tools.run });
    await driver.apply(wanted, { observe: true });
    state.isBroken = false;
    assert.equal((await driver.apply(wanted, { observe: false })).unserved?.length, 1);
    assert.deepEqual(await driver.apply(wanted, { observe: true }), { changed: 6, repaired: 0 });
    assert.equal(walk(tools.models.v4, { transport: 'tcp', client: '10.1.1.1', port: 30_001 }).to, 'm-1');
    tools.takeWrites();
    await driver.apply(wanted, { observe: true });
    assert.deepEqual(tools.takeWrites(), [], 'that it works is not asked again');
  });
});
