import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { change, lease, mapping, snapshot, version } from '../../unit/agent/deltas.js';
import { processesIn } from '../../support/netns.js';
import { argvOf, isRunning, signalProcess } from '../../support/processes.js';
import { eventually } from '../../support/wait.js';
import { TestCoordinator } from './coordinator.js';

const MAIN = fileURLToPath(new URL('../../../agent/main.ts', import.meta.url));
const ADDRESS = '10.99.0.1';
const RULE = /-A PORTLEASE\S* .*--to-destination 10\.1\.2\.3:22/;

describe('the agent as a program, in a network namespace of its own', function () {
  this.timeout(180_000);
  const namespace = `pl-agent-${process.pid}`;
  let dir = '';
  let coordinator: TestCoordinator;
  let agents: Program[] = [];

  class Program {
    readonly process: ChildProcess;
    readonly ended: Promise<[number | null, string | null]>;
    output = '';

    constructor(argv: readonly string[], { isLocked = true } = {}) {
      const flock = isLocked ? ['flock', '--no-fork', '--nonblock', '--conflict-exit-code', '75', join(dir, 'agent.lock')] : [];
      this.process = spawn('ip', ['netns', 'exec', namespace, ...flock, process.execPath, '--import', 'tsx', MAIN, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
      this.ended = once(this.process, 'close') as Promise<[number | null, string | null]>;
      const collect = (chunk: Buffer): void => { this.output += chunk.toString(); coordinator.seen.changed(); };
      this.process.stdout?.on('data', collect);
      this.process.stderr?.on('data', collect);
      agents.push(this);
    }

    async end(signal: NodeJS.Signals): Promise<number | null> {
      this.process.kill(signal);
      return (await this.ended)[0];
    }
  }

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'portlease-agent-'));
    coordinator = new TestCoordinator();
    await coordinator.listen(`unix:${join(dir, 'coordinator.sock')}`);
    coordinator.onHello = (call, { lastSession }) => {
      coordinator.welcome(call, lastSession + 1);
      const at = version(1, lastSession + 1, 10);
      coordinator.desire(call, snapshot(at, [lease('l1', 9), mapping('m1', 10, 30_001)]));
    };
    await writeFile(join(dir, 'agent.yaml'), [
      'host: host-a', 'gateway: gw', `coordinator: unix:${join(dir, 'coordinator.sock')}`, `addresses: [${ADDRESS}]`,
      `paths: { state: ${join(dir, 'state')}, run: ${dir} }`, 'timing: { reconcileInterval: 200ms, reconnectMin: 50ms, reconnectMax: 200ms, connect: 10s }',
    ].join('\n'));
    ip('netns', 'add', namespace);
    ip('-n', namespace, 'link', 'set', 'lo', 'up');
    ip('-n', namespace, 'addr', 'add', `${ADDRESS}/32`, 'dev', 'lo');
  });
  afterEach(async () => {
    for (const agent of agents) await agent.end('SIGKILL');
    agents = [];
    coordinator.stop();
    ip('netns', 'del', namespace);
    await rm(dir, { recursive: true, force: true });
  });

  function ip(...argv: string[]): string {
    return execFileSync('ip', argv, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  }

  function natRules(): string {
    return ip('netns', 'exec', namespace, 'iptables-save', '-t', 'nat');
  }

  const config = (): string[] => ['--config', join(dir, 'agent.yaml')];

  async function applied(revision: number): Promise<void> {
    await coordinator.seen.until(() => `a report of revision ${revision}; the agent said:\n${agents.at(-1)?.output ?? ""}`,
      () => coordinator.reports.some(report => report.applied?.revision === revision), 60_000);
  }

  it('serves what the coordinator wants, says so, and leaves the rules when it is stopped', async () => {
    const agent = new Program(config());
    await applied(10);
    assert.match(natRules(), RULE);
    coordinator.desire(coordinator.lastCall, change(version(1, 1, 11), 10, [mapping('m2', 11, 30_002)]));
    await applied(11);
    assert.match(natRules(), /--dport 30002 .*--to-destination 10\.1\.2\.3:22/);
    assert.deepEqual(coordinator.reports.at(-1)?.problems, []);
    assert.equal(await agent.end('SIGTERM'), 0);
    assert.match(natRules(), RULE);
    assert.deepEqual(agent.output.split('\n').filter(line => /"level":"(error|fatal)"/.test(line)), []);
  });

  it('S13: brings everything back after a reboot while the coordinator is away', async () => {
    const agent = new Program(config());
    await applied(10);
    await agent.end('SIGKILL');
    coordinator.stop();
    ip('netns', 'del', namespace);
    ip('netns', 'add', namespace);
    ip('-n', namespace, 'addr', 'add', `${ADDRESS}/32`, 'dev', 'lo');
    assert.doesNotMatch(natRules(), RULE);
    const rebooted = new Program([...config(), '--set', `paths.bootId=${await otherBootId()}`]);
    await coordinator.seen.until('to miss the coordinator', () => rebooted.output.includes('no session with the coordinator'), 60_000);
    await watchRules();
    coordinator = new TestCoordinator();
    await coordinator.listen(`unix:${join(dir, 'coordinator.sock')}`);
    await coordinator.seen.until('a hello', () => coordinator.hellos.length > 0, 60_000);
    assert.deepEqual([coordinator.hellos[0]?.bootId, coordinator.hellos[0]?.lastSession, coordinator.hellos[0]?.accepted?.revision], ['other-boot', 1, 10]);
  });

  async function otherBootId(): Promise<string> {
    await writeFile(join(dir, 'boot_id'), 'other-boot\n');
    return join(dir, 'boot_id');
  }

  /** Until the mapping is there; each look is a process of some milliseconds. */
  async function watchRules(): Promise<void> {
    for (let look = 0; look < 500; look++) {
      if (RULE.test(natRules())) return;
      await new Promise(setImmediate);
    }
    assert.match(natRules(), RULE);
  }

  it('does not touch a rule that is right when it starts again after SIGKILL', async () => {
    const agent = new Program(config());
    await applied(10);
    await agent.end('SIGKILL');
    const before = ip('netns', 'exec', namespace, 'nft', '-a', 'list', 'table', 'ip', 'nat');
    coordinator.reports.length = 0;
    new Program(config());
    await applied(10);
    assert.equal(ip('netns', 'exec', namespace, 'nft', '-a', 'list', 'table', 'ip', 'nat'), before, 'handles of the rules tell');
  });

  it('has a monitor that hears of a flush at once, comes back when it is killed, holds no lock and ends with the agent', async () => {
    const monitors = (): number[] => processesIn(namespace).filter(pid => argvOf(pid)?.join(' ') === 'nft monitor');
    const agent = new Program([...config(), '--set', 'timing.reconcileInterval=60s']);
    await applied(10);
    const [killed] = monitors();
    assert.ok(killed);
    signalProcess(killed, 'SIGKILL');
    const monitor = await eventually('another monitor', () => monitors().find(pid => pid !== killed), { withinMs: 10_000 });
    const open = readdirSync(`/proc/${monitor}/fd`).map(fd => readlinkSync(`/proc/${monitor}/fd/${fd}`));
    assert.deepEqual(open.filter(path => path.startsWith(dir)), []);
    await eventually('the mapping to be back', () => {
      ip('netns', 'exec', namespace, 'iptables', '-t', 'nat', '-F');
      return eventually('the rule', () => RULE.test(natRules()), { withinMs: 1_000 });
    }, { withinMs: 10_000 });
    await agent.end('SIGKILL');
    await eventually('the end of the monitor', () => !isRunning(monitor), { withinMs: 5_000 });
  });

  it('refuses to be the second writer, or one without a lock, and says how to start it', async () => {
    new Program(config());
    await applied(10);
    assert.deepEqual(await new Program(config()).ended, [75, null]);
    const unlocked = new Program(config(), { isLocked: false });
    assert.deepEqual(await unlocked.ended, [75, null]);
    assert.match(unlocked.output, /flock --no-fork --nonblock --conflict-exit-code 75 \S+agent\.lock \S*node --import tsx \S+main\.ts/);
  });

  it('refuses a damaged state, changes nothing, and says what to do', async () => {
    const agent = new Program(config());
    await applied(10);
    await agent.end('SIGTERM');
    const before = natRules();
    await writeFile(join(dir, 'state', 'agent.state'), 'garbage\n');
    const refused = new Program(config());
    assert.deepEqual(await refused.ended, [65, null]);
    assert.match(refused.output, /portlease hosts replace host-a/);
    assert.equal(natRules().replaceAll(/\[\d+:\d+\]|^#.*$/gm, ''), before.replaceAll(/\[\d+:\d+\]|^#.*$/gm, ''));
  });

  it('exits with 78 when the config is wrong, and names each key', async () => {
    const checked = new Program([...config(), '--check', '--set', 'host=UPPER', '--set', 'timing.connect=5']);
    assert.deepEqual(await checked.ended, [78, null]);
    assert.match(checked.output, /host \(flag\)/);
    assert.match(checked.output, /timing\.connect \(flag\)/);
    assert.deepEqual(await new Program([...config(), '--check']).ended, [0, null]);
    assert.deepEqual(await new Program([...config(), '--set', 'paths.bootId=/nonexistent']).ended, [78, null]);
    assert.deepEqual(await new Program(['--wrong']).ended, [64, null]);
  });
});
