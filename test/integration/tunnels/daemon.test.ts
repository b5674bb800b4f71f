import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inNamespace } from '../../support/netns.js';
import { parentOf, signalProcess } from '../../support/processes.js';
import { ROOT } from '../../support/root.js';
import { eventually } from '../../support/wait.js';
import { TunnelBench } from './bench.js';

describe('the daemon of the agent with tunnels in its config', () => {
  let bench: TunnelBench;
  let daemon: ChildProcess | undefined;
  let starts = 0;
  before(async () => { bench = await TunnelBench.up(); });
  after(async () => {
    daemon?.kill('SIGKILL');
    await bench.down();
  });

  /** As the unit starts it. */
  function launch(): void {
    const { directory } = bench;
    const path = join(directory, 'agent.yaml');
    const list = [{ tunnel: 'own', server: 'edge', forwards: [{ direction: 'local', listen: '9001', to: '7000' }, { direction: 'reverse', listen: '9002', to: '7000' }] }];
    writeFileSync(path, JSON.stringify({
      host: 'host-t', gateway: 'gw', coordinator: '127.0.0.1:9', addresses: ['10.79.0.1'], docker: { enabled: false }, tunnels: bench.config({ list }),
      paths: { state: join(directory, 'agent'), run: join(directory, 'run') }, timing: { leakInterval: '200ms' }, leaks: { tunnelProcesses: 'repair', sightings: 2 },
    }));
    const argv = ['flock', '--no-fork', '--conflict-exit-code', '75', '--wait', '10', join(directory, 'agent.lock'), process.execPath, join(ROOT, 'dist/agent/main.js'), '--config', path, '--set', `paths.lock=${directory}/agent.lock`];
    const [file = '', ...args] = inNamespace(bench.namespace('host'), argv);
    daemon = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const out = createWriteStream(join(directory, 'agent.log'), { flags: 'a' });
    daemon.stdout?.pipe(out, { end: false });
    daemon.stderr?.pipe(out, { end: false });
  }

  async function start(): Promise<void> {
    launch();
    const [log, wanted] = [join(bench.directory, 'agent.log'), ++starts];
    await eventually('the tunnel', () => readFileSync(log, 'utf8').split('"state":"up"').length > wanted, { withinMs: 20_000, hint: () => readFileSync(log, 'utf8') });
    assert.equal(await bench.askFrom('host', 9_001), 'server');
  }

  async function end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const ended = once(daemon!, 'exit');
    signalProcess(daemon!.pid!, signal);
    await ended;
  }

  it('starts them without a coordinator, and no end or start of it interrupts them', async () => {
    await start();
    const [ssh, autossh, sessions] = [await bench.pidOf('ssh'), await bench.pidOf('autossh'), bench.sessions()];
    assert.equal(parentOf(ssh), autossh);
    const [, , group, session] = readFileSync(`/proc/${autossh}/stat`, 'latin1').split(') ')[1]!.split(' ').map(Number);
    assert.deepEqual([group, session], [autossh, autossh], 'it is in a group of the agent, and ends with that');
    const files = readdirSync(`/proc/${autossh}/fd`).map(fd => readlinkSync(`/proc/${autossh}/fd/${fd}`));
    assert.ok(!files.some(file => file.endsWith('agent.lock')), `a tunnel holds the writer's lock: ${files.join(' ')}`);
    for (const signal of ['SIGKILL', 'SIGTERM', 'SIGKILL'] as const) {
      await end(signal);
      assert.equal(await bench.askFrom('server', 9_002), 'host', `not there while there is no agent, after ${signal}`);
      await start();
    }
    assert.deepEqual([await bench.pidOf('ssh'), bench.sessions()], [ssh, sessions]);
  });

  it('goes on without tunnels when their file cannot be used, says so, and ends nothing', async () => {
    await end('SIGKILL');
    const pids = [await bench.pidOf('ssh'), await bench.pidOf('autossh')];
    const file = join(bench.directory, 'agent/tunnels.json');
    renameSync(file, `${file}.kept`);
    mkdirSync(file);
    launch();
    const log = (): string => readFileSync(join(bench.directory, 'agent.log'), 'utf8');
    await eventually('the error', () => /no tunnels: their files cannot be used/.test(log()), { withinMs: 20_000, hint: log });
    await eventually('looks for leaks that fail', () => /processes of tunnels could not be looked for/.test(log()), { withinMs: 20_000, hint: log });
    assert.deepEqual([await bench.pidOf('ssh'), await bench.pidOf('autossh')], pids);
    await end('SIGKILL');
    rmdirSync(file);
    renameSync(`${file}.kept`, file);
    await start();
    assert.deepEqual([await bench.pidOf('ssh'), await bench.pidOf('autossh')], pids);
  });

  it('ends a process with the mark of a tunnel of this host that there is not, where leaks are repaired', async () => {
    const [file = '', ...args] = inNamespace(bench.namespace('host'), ['ssh', '-F', '/dev/null', '-N', '-p', '2222', '-i', `${bench.directory}/user`, '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', 'root@10.79.0.2']);
    const leak = spawn(file, args, { stdio: 'ignore', env: { PATH: process.env['PATH'], PORTLEASE_TUNNEL: 'host-t.none' } });
    const other = spawn(file, args, { stdio: 'ignore', env: { PATH: process.env['PATH'], PORTLEASE_TUNNEL: 'host-u.none' } });
    await once(leak, 'exit');
    assert.deepEqual([other.exitCode, other.signalCode], [null, null], 'a process of another host was ended');
    assert.ok(await bench.pidOf('autossh') > 0);
    other.kill('SIGKILL');
  });
});
