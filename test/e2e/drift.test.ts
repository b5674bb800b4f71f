import assert from 'node:assert/strict';
import { benchOfEachTest } from '../support/describe.js';
import { goOn, reachedOnAll, servedEnvironment } from '../support/requests.js';
import { FOREIGN_COMMENT } from '../support/topology.js';
import { neverInterrupted, neverReached, neverReconnected } from '../support/timeline.js';
import { eventually } from '../support/wait.js';

/** A round every 0.5 s on this bench, and some time for the round itself on a busy machine. */
const HEAL_MS = 5_000;

const FAULTS: { name: string; argv: string[] }[] = [
  { name: 'iptables -t nat -F', argv: ['iptables', '-t', 'nat', '-F'] },
  { name: 'iptables -t mangle -F', argv: ['iptables', '-t', 'mangle', '-F'] },
  { name: 'iptables -F', argv: ['iptables', '-F'] },
  { name: 'iptables -t nat -F PREROUTING', argv: ['iptables', '-t', 'nat', '-F', 'PREROUTING'] },
  { name: 'ip6tables -t nat -F', argv: ['ip6tables', '-t', 'nat', '-F'] },
  { name: 'ipset flush', argv: ['ipset', 'flush'] },
];

describe('rules and sets that somebody changes', () => {
  const bench = benchOfEachTest();

  /** All that portlease has in the kernel of a machine; what others have is left out. */
  async function owned(node: 'host-a' | 'gateway'): Promise<string[]> {
    const rules = [...await bench().rules(node), ...await bench().rules(node, undefined, 6)].filter((rule) => rule.includes('PORTLEASE'));
    const sets = (await bench().topology.run(node, ['ipset', 'save'])).stdout.split('\n').filter((line) => line.includes('portlease') && !/timeout/.test(line));
    return [...rules, ...sets.sort()];
  }

  async function healed(node: 'host-a' | 'gateway', before: string[]): Promise<void> {
    await eventually(`${node} to be as before`, async () => {
      assert.deepEqual(await owned(node), before);
      return true;
    }, { withinMs: HEAL_MS, hint: () => bench().logs() });
  }

  for (const node of ['host-a', 'gateway'] as const) {
    it(`are back within a round on ${node}, whatever it was; open connections go on, and the repair is counted (S7)`, async () => {
      const { mappings, probe } = await servedEnvironment(bench(), 'host-a');
      const before = await owned(node);
      let repairs = (await bench().api.host(node))?.driftRepairs ?? 0;
      for (const { name, argv } of FAULTS) {
        const fromMs = Date.now();
        await bench().topology.run(node, argv);
        await healed(node, before);
        await reachedOnAll(probe, mappings, 'host-a/env-1');
        neverReconnected(probe.timeline, { afterMs: fromMs });
        const counted = await eventually(`${name} to be counted`, async () => {
          const now = (await bench().api.host(node))?.driftRepairs ?? 0;
          return now > repairs && now;
        }, { withinMs: HEAL_MS });
        repairs = counted;
      }
    });
  }

  it('are put right one by one: a single deleted rule comes back, others beside it are not touched', async () => {
    const { mappings, probe } = await servedEnvironment(bench(), 'host-a');
    const before = await owned('host-a');
    const port = mappings[0]?.publicPort ?? 0;
    const [rule] = await bench().leadsOf('host-a', port);
    assert.ok(rule);
    await bench().topology.run('host-a', ['iptables-restore', '--noflush'], { input: `*nat\n${rule.replace(/^-A/, '-D')}\nCOMMIT\n` });
    assert.deepEqual(await bench().leadsOf('host-a', port), []);
    await healed('host-a', before);
    await reachedOnAll(probe, mappings, 'host-a/env-1');
  });

  it('and are somebody else\'s stay as they are, also when they stand between portlease\'s own (S7)', async () => {
    const foreign = ['-p', 'tcp', '--dport', '9', '-m', 'comment', '--comment', FOREIGN_COMMENT, '-j', 'ACCEPT'];
    for (const [table, chain] of [['nat', 'PREROUTING'], ['nat', 'OUTPUT'], ['mangle', 'INPUT'], ['mangle', 'PREROUTING'], ['filter', 'FORWARD']] as const) {
      await bench().topology.run('host-a', ['iptables', '-t', table, '-A', chain, ...foreign]);
    }
    await bench().topology.run('host-a', ['ipset', 'create', 'somebody-else', 'hash:ip']);
    await bench().topology.run('host-a', ['ipset', 'add', 'somebody-else', '198.51.100.9']);
    await bench().topology.run('host-a', ['sysctl', '-qw', 'net.ipv4.ip_local_reserved_ports=12345']);
    const theirs = async () => (await bench().rules('host-a')).filter((rule) => rule.includes(FOREIGN_COMMENT));
    const before = await theirs();
    const { probe } = await servedEnvironment(bench(), 'host-a');
    await bench().untilNewSession('host-a', () => bench().agent('host-a').restart('SIGTERM'));
    await bench().api.release({ selector: { $case: 'environment', value: 'env-1' } });
    await goOn(probe, 600);
    assert.deepEqual(await theirs(), before);
    assert.match((await bench().topology.run('host-a', ['ipset', 'list', 'somebody-else'])).stdout, /198\.51\.100\.9/);
    assert.match((await bench().topology.run('host-a', ['sysctl', '-n', 'net.ipv4.ip_local_reserved_ports'])).stdout, /\b12345\b/);
  });

  it('never open a leased port to a local listener, not even while the nat table is empty (S7)', async () => {
    const { mappings, probe } = await servedEnvironment(bench(), 'host-a');
    const ports = mappings.map(({ publicPort }) => publicPort);
    await bench().serve('host-a/listener', ports.flatMap((port) => [{ transport: 'tcp', port } as const, { transport: 'udp', port } as const]), { node: 'host-a', pushEveryMs: 100 });
    const fromMs = Date.now();
    for (let round = 0; round < 5; round++) {
      await bench().topology.run('host-a', ['iptables', '-t', 'nat', '-F']);
      await eventually('the rules to be back', async () => (await bench().leadsOf('host-a', ports[0] ?? 0)).length > 0, { withinMs: HEAL_MS });
    }
    await reachedOnAll(probe, mappings, 'host-a/env-1');
    neverReached(probe.timeline, 'host-a/listener');
    neverReconnected(probe.timeline, { afterMs: fromMs });
    neverInterrupted(probe.timeline, { afterMs: fromMs, kind: 'kept' });
  });
});
