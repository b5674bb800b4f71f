import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { processesIn } from '../../support/netns.js';
import { argvOf, signalProcess } from '../../support/processes.js';
import { eventually } from '../../support/wait.js';
import { SERVICE_PORT, specOf, TunnelBench, wish } from './bench.js';

const PROBE = { forward: 0, banner: 'server', intervalMs: 1_000, timeoutMs: 1_000 };

describe('a tunnel that is looked after', () => {
  let bench: TunnelBench;
  beforeEach(async () => { bench = await TunnelBench.up(); });
  afterEach(() => bench.down());

  const service = (): number => {
    const found = processesIn(bench.namespace('server')).find(pid => argvOf(pid)?.at(-1) === 'server');
    assert.ok(found !== undefined);
    return found;
  };

  it('is up when the probe through it was answered, made anew when it is not, and called flapping when that goes on', async () => {
    bench.start({ config: bench.config({ probeFailures: 2, flapping: { downs: 2, window: '10m' } }) });
    await bench.desire(wish(specOf('probed', { local: 9_001, probe: PROBE })));
    const up = await bench.until('probed', 'is up and probed', ({ state, statistics }) => state === 'up' && statistics.probes >= 2);
    assert.deepEqual([up.statistics.probesFailed, up.isFlapping, typeof up.statistics.probeTimeMs, typeof up.statistics.probeAgeMs], [0, false, 'number', 'number']);
    for (const downs of [1, 2]) {
      signalProcess(service(), 'SIGKILL');
      const down = await bench.until('probed', 'is not up', ({ state }) => state !== 'up');
      assert.deepEqual([down.reason, down.isFlapping], ['PROBE_FAILED', downs === 2], JSON.stringify(down));
      bench.serve('server', SERVICE_PORT, 'server');
      await bench.untilUp('probed');
    }
  });

  it('is not up while the probe gets another banner', async () => {
    bench.start();
    await bench.desire(wish(specOf('wrong', { local: 9_001, probe: { ...PROBE, banner: 'SSH-2.0-' } })));
    const { message } = await bench.until('wrong', 'is given up', ({ statistics }) => statistics.failures > 0);
    assert.match(message, /it began with "server\\n" instead of "SSH-2\.0-"$/);
  });

  it('has a log that is cut off while its process goes on writing', async () => {
    bench.start({ config: bench.config({ logs: { maxKiB: 4, keep: 2 } }) });
    const spec = { ...specOf('talkative', { local: 9_001, engine: 'ssh' as const }), forwards: [{ direction: 'local' as const, listen: { host: '127.0.0.1', port: 9_001 }, to: { host: '127.0.0.1', port: 1 } }] };
    await bench.desire(wish(spec));
    const { pid } = await bench.untilUp('talkative');
    const folder = join(bench.directory, 'state/tunnels');
    const logs = (): string[] => readdirSync(folder).filter(name => name.startsWith('talkative.log')).sort();
    await eventually('two logs that were cut off', async () => {
      await Promise.all(Array.from({ length: 20 }, () => bench.ask(9_001).catch(() => undefined)));
      return logs().length === 3;
    }, { withinMs: 40_000 });
    assert.deepEqual(logs(), ['talkative.log', 'talkative.log.1', 'talkative.log.2']);
    assert.equal((await bench.untilUp('talkative')).pid, pid);
    await bench.ask(9_001).catch(() => undefined);
    await eventually('a line at the beginning of the new log', () => /^channel \d+: open failed/.test(readFileSync(join(folder, 'talkative.log'), 'utf8')), { withinMs: 10_000 });
    assert.ok(statSync(join(folder, 'talkative.log')).blocks * 512 < 1_000_000);
    for (let i = 0; i < 12; i++) await bench.ask(9_001).catch(() => undefined);
    await bench.until('talkative', 'shows its log', ({ logTail }) => logTail.length === 10 && logTail.every(line => line.length <= 200));
  });

  it('of the config is there without a coordinator, restarted and stopped by it, and never removed', async () => {
    const list = [{ tunnel: 'own', server: 'edge', forwards: [{ direction: 'local', listen: '9001', to: '7000' }], options: { Ciphers: 'aes256-ctr' } }];
    bench.start({ config: bench.config({ list }) });
    const first = await bench.untilUp('own');
    assert.deepEqual([first.isFromConfig, await bench.ask(9_001)], [true, 'server']);
    const order = { ...wish(first.spec, 1), isOfConfig: true };
    await bench.desire(wish({ ...first.spec, options: { Compression: 'yes' } }, 7, true));
    assert.deepEqual([(await bench.untilUp('own')).pid, (await bench.untilUp('own')).restart], [first.pid, 0], 'one of the same name is not kept');
    await bench.desire(order, { ...order, spec: { ...first.spec, tunnel: 'none' } });
    assert.equal(await bench.report('none'), undefined);
    const second = await bench.until('own', 'is up anew', ({ state, pid }) => state === 'up' && pid !== first.pid);
    await bench.kill();
    bench.start({ config: bench.config({ list }), desired: [order] });
    assert.equal((await bench.untilUp('own')).pid, second.pid);
    await bench.desire({ ...order, isStopped: true });
    await bench.until('own', 'is stopped', ({ state }) => state === 'stopped');
    await bench.stop();
    bench.start({ config: bench.config({ list }), desired: [{ ...order, isStopped: true }] });
    await bench.until('own', 'is stopped still', ({ state }) => state === 'stopped');
    assert.deepEqual(await bench.processes(), []);
    await bench.desire();
    await bench.untilUp('own');
  });

  it('spreads its start with others, and leaves those of another agent on the machine alone', async () => {
    const specs = Array.from({ length: 6 }, (_, i) => specOf(`t-${i}`, { local: 9_001 + i, engine: 'ssh' }));
    bench.start({ desired: specs.map(spec => wish(spec)) });
    for (const { tunnel } of specs) await bench.untilUp(tunnel);
    const pids = (await bench.processes()).map(({ pid }) => pid).sort();
    const { agent } = bench;
    bench.start({ host: 'host-u', desired: [], directory: bench.otherDirectory() });
    assert.deepEqual(await bench.tell('reports'), []);
    await bench.stop();
    bench.agent = agent;
    assert.deepEqual((await bench.processes()).map(({ pid }) => pid).sort(), pids);
  });
});
