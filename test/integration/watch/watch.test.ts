import assert from 'node:assert/strict';
import type { RunChild } from '../../../agent/drivers/child.js';
import { RulesDriver } from '../../../agent/drivers/rules/driver.js';
import { openSpawner, type Spawner } from '../../../agent/drivers/spawner/client.js';
import { OwnWrites } from '../../../agent/drivers/watch/generations.js';
import { MONITOR_COMMAND } from '../../../agent/drivers/watch/monitor.js';
import { noting, RulesWatch } from '../../../agent/drivers/watch/watch.js';
import { ReconcileLoop, type RoundOutcome } from '../../../agent/reconcile/loop.js';
import { systemClock } from '../../../shared/clock.js';
import type { PortObject } from '../../../shared/desired.js';
import { createLogger } from '../../../shared/log.js';
import { parseCidr, type Cidr } from '../../../shared/names.js';
import { inNamespace, processesIn } from '../../support/netns.js';
import { argvOf, signalProcess } from '../../support/processes.js';
import { eventually } from '../../support/wait.js';
import { lease, mapping } from '../reconcile/objects.js';
import { ADDRESS, Bench } from '../rules/bench.js';

const WITHIN = { withinMs: 10_000, everyMs: 5 };
const RANGE = lease({ first: 30_000, last: 30_015 });
/** So no round comes by itself: what is repaired was heard of. */
const NEVER_MS = 3_600_000;
const READY_MS = 300;

describe('changes of netfilter tables that somebody else makes', function () {
  this.timeout(60_000);
  let bench: Bench;
  let spawner: Spawner;
  let loop: ReconcileLoop;
  let watch: RulesWatch;
  let heard = 0;
  let looks = 0;
  let looksWhenHeard = 0;
  let revision = 0;
  let outcome: RoundOutcome | undefined;

  beforeEach(async () => {
    [heard, looks, looksWhenHeard, revision, outcome] = [0, 0, 0, 0, undefined];
    bench = await Bench.start();
    const [own, clock, log] = [new OwnWrites(), systemClock(), createLogger({ name: 'test', level: 'silent' })];
    const inside = (file: string, argv: readonly string[]): string[] => inNamespace(bench.namespace('host'), [file, ...argv]).slice(1);
    const keepReady = ['iptables-restore', 'ip6tables-restore'].map(file => ({ file: 'nsenter', argv: inside(file, ['--noflush', '--wait']) }));
    spawner = openSpawner({ lockFd: undefined, keepReady, readyMs: READY_MS });
    const run: RunChild = (file, argv, options) => spawner('nsenter', inside(file, argv), options);
    const driver = new RulesDriver({ run: noting(run, { own, clock }) });
    loop = new ReconcileLoop({
      drivers: {
        rules: {
          look: spec => driver.look(spec), isCurrent: sighting => driver.isCurrent(sighting),
          apply: (spec, how) => { if (how.observe !== false) looks++; return driver.apply(spec, how); },
        },
        connections: { cut: () => Promise.resolve({ ended: [], remaining: [] }) },
        reservedPorts: { ours: [], set: () => Promise.resolve(true) },
        listeners: () => Promise.resolve([]),
      },
      facts: { addresses: [ADDRESS.host.v4, ADDRESS.host.v6], roles: ['host'], snat: false, targetNetworks: [parseCidr('10.80.0.0/16') as Cidr] },
      intervalMs: NEVER_MS, clock, log, onOutcome: it => { outcome = it; },
    });
    watch = new RulesWatch({
      own, clock, log, random: () => 0, onChange: () => { heard++; looksWhenHeard = looks; loop.poke(); }, roundTookMs: () => loop.lastFullRoundMs,
      command: ['nsenter', `--net=/run/netns/${bench.namespace('host')}`, ...MONITOR_COMMAND],
    });
    await listening();
    await want(mapping(30_001, ADDRESS.target.v4));
    await settled();
  });
  afterEach(async () => {
    await watch.close();
    await loop.close();
    await spawner.close();
    await bench.close();
  });

  async function want(...objects: PortObject[]): Promise<void> {
    revision++;
    loop.setDesired({ epoch: 1, session: 1, revision }, new Map([RANGE, ...objects].map(object => [object.key, object])));
    await eventually('the rules stand', () => outcome?.applied.revision === revision, { ...WITHIN, hint: () => JSON.stringify(outcome) });
  }

  /** Changes of a chain of somebody else's, until one is heard. */
  async function listening(): Promise<void> {
    const before = heard;
    await eventually('a change is heard', async () => {
      await foreignChange();
      return eventually('this one', () => heard > before, { ...WITHIN, withinMs: 500 });
    }, WITHIN);
  }

  /** All that came before was heard, since this change, the last one, is; returns how many calls that were. */
  async function settled(): Promise<number> {
    const before = heard;
    await foreignChange();
    await eventually('the last change is heard', () => heard > before, WITHIN);
    await eventually('a round after it', () => looks > looksWhenHeard, WITHIN);
    return heard - before;
  }

  let chains = 0;
  async function foreignChange(): Promise<void> {
    await bench.rules(`*filter\n:SOMEBODY-${++chains} - [0:0]\nCOMMIT\n`);
  }

  async function ownRules(): Promise<string[]> {
    return [...(await bench.save()).split('\n'), ...(await bench.save('ip6tables-save')).split('\n')].filter(line => line.startsWith('-A') && line.includes('PORTLEASE'));
  }

  async function healed(before: string[]): Promise<void> {
    await eventually('the rules are back', async () => { assert.deepEqual(await ownRules(), before); return true; }, WITHIN);
  }

  for (const [tool, ...argv] of [['iptables', '-t', 'nat', '-F'], ['iptables', '-t', 'mangle', '-F'], ['iptables', '-F'], ['ip6tables', '-t', 'mangle', '-F']] as const) {
    it(`are repaired without waiting for a round: ${[tool, ...argv].join(' ')}`, async () => {
      const before = await ownRules();
      await bench.onHost(tool, argv);
      await healed(before);
    });
  }

  it('are repaired rule by rule', async () => {
    const before = await ownRules();
    const rule = before.find(line => line.includes('--to-destination'));
    assert.ok(rule);
    await bench.rules(`*nat\n${rule.replace(/^-A/, '-D')}\nCOMMIT\n`);
    await healed(before);
  });

  it('cause one round when nothing is to be repaired, and no other follows from it', async () => {
    const [before, repairs, looked] = [await ownRules(), outcome?.driftRepairs, looks];
    await bench.onHost('iptables', ['-A', 'INPUT', '-p', 'tcp', '--dport', '9', '-j', 'ACCEPT']);
    await eventually('a round', () => looks === looked + 1, WITHIN);
    assert.equal(await settled(), 1);
    assert.equal(looks, looked + 2);
    assert.deepEqual(await ownRules(), before);
    assert.equal(outcome?.driftRepairs, repairs);
  });

  it('are told from own ones, which cause no round', async () => {
    const [hears, looked] = [heard, looks];
    for (let port = 30_002; port < 30_012; port++) await want(mapping(30_001, ADDRESS.target.v4), mapping(port, ADDRESS.target.v4));
    assert.equal(await settled(), 1);
    assert.deepEqual([heard, looks], [hears + 1, looked + 1]);
  });

  it('are told from the end of a child that was kept ready and not needed', async () => {
    const isReady = (pid: number): boolean => argvOf(pid)?.join(' ') === 'iptables-restore --noflush --wait';
    const ready = (): number | undefined => processesIn(bench.namespace('host')).find(isReady);
    const former = await eventually('a ready child', ready, WITHIN);
    const hears = heard;
    await eventually('its end', () => !isReady(former), WITHIN);
    assert.equal(await settled(), 1);
    assert.equal(heard, hears + 1);
  });

  it('are heard again after the monitor was killed', async () => {
    const monitors = (): number[] => processesIn(bench.namespace('host')).filter(pid => argvOf(pid)?.join(' ') === 'nft monitor');
    const [first] = monitors();
    assert.ok(first);
    signalProcess(first, 'SIGKILL');
    await eventually('another monitor', () => monitors().some(pid => pid !== first), WITHIN);
    await listening();
    const before = await ownRules();
    await bench.onHost('iptables', ['-t', 'nat', '-F']);
    await healed(before);
  });
});
