import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TunnelProcess } from '../../../agent/leaks/findings.js';
import { endTunnel, tunnelProcess, tunnelProcesses } from '../../../agent/leaks/tunnels.js';
import { LeakWatch } from '../../../agent/leaks/watch.js';
import { createLogger } from '../../../shared/log.js';
import { eventually } from '../../support/wait.js';

const MARK = { PORTLEASE_TUNNEL: 'leak-test' };
const log = createLogger({ name: 'leaks', level: 'silent' });

const noProblem = (error: Error): void => { assert.ifError(error); };

/** Keeps what is to be done later, by its delay. */
class Later {
  readonly waiting: { ms: number; act: () => void }[] = [];
  readonly after = (ms: number, act: () => void): (() => void) => {
    const one = { ms, act };
    this.waiting.push(one);
    return () => { this.waiting.splice(this.waiting.indexOf(one), 1); };
  };
}

describe('processes of tunnels', () => {
  let folder = '';
  const children: ChildProcess[] = [];
  let changes = 0;

  beforeEach(() => { changes = 0; folder = mkdtempSync(path.join(tmpdir(), 'portlease-leaks-')); });
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  });

  /** A real process with the name `program`; `script` is run by a shell of that name. */
  async function run(program: string, env: Record<string, string>, script = 'echo ready; read line'): Promise<number> {
    const file = path.join(folder, program);
    copyFileSync('/bin/bash', file);
    const child = spawn(file, ['-c', script], { env, stdio: ['pipe', 'pipe', 'ignore'] });
    children.push(child);
    await new Promise(resolve => { child.stdout.once('data', resolve); });
    assert.ok(child.pid !== undefined);
    return child.pid;
  }

  async function leaked(...args: Parameters<typeof run>): Promise<TunnelProcess> {
    const found = tunnelProcess(await run(...args));
    assert.ok(found !== undefined);
    return found;
  }

  const ended = (pid: number): boolean => children.some(child => child.pid === pid && (child.exitCode !== null || child.signalCode !== null));
  const signalOf = (pid: number): string | null | undefined => children.find(child => child.pid === pid)?.signalCode;

  function watchOf(policy: 'report' | 'repair', later: Later): LeakWatch {
    return new LeakWatch({
      policy: { sightings: 2, tunnelProcesses: policy }, intervalMs: 60_000, log, addresses: [], conflicts: () => undefined, foreignRules: () => Promise.resolve([]), onChange: () => { changes += 1; }, placed: () => undefined, docker: () => ({ kind: 'unknown', problem: 'none' }),
      tunnels: () => new Set(), after: later.after, processes: async () => (await tunnelProcesses()).filter(({ tunnelId }) => tunnelId === MARK.PORTLEASE_TUNNEL),
    });
  }

  it('are those of ssh with the mark, and no neighbours', async () => {
    const [ours, unmarked, other] = [await run('ssh', MARK), await run('autossh', {}), await run('sshd-like', MARK)];
    const pids = new Set((await tunnelProcesses()).map(({ pid }) => pid));
    assert.deepEqual([ours, unmarked, other].map(pid => pids.has(pid)), [true, false, false]);
  });

  it('are none in another pid namespace, such as of a container', async () => {
    const file = path.join(folder, 'ssh');
    copyFileSync('/bin/bash', file);
    const child = spawn('unshare', ['--pid', '--fork', '--kill-child', file, '-c', 'echo ready; read line'], { env: { ...process.env, ...MARK }, stdio: ['pipe', 'pipe', 'ignore'] });
    children.push(child);
    await new Promise(resolve => { child.stdout.once('data', resolve); });
    const inside = Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8'));
    assert.equal(readFileSync(`/proc/${inside}/comm`, 'utf8'), 'ssh\n');
    assert.match(readFileSync(`/proc/${inside}/environ`, 'utf8'), /PORTLEASE_TUNNEL=leak-test/);
    assert.equal(tunnelProcess(inside), undefined);
  });

  it('are ended after enough sightings where the policy is repair, and neighbours stay', async () => {
    const later = new Later();
    const [{ pid }, neighbour] = [await leaked('ssh', MARK), await run('autossh', {})];
    const watch = watchOf('repair', later);
    await watch.scan();
    assert.equal(later.waiting.length, 0, 'something was done after one sighting');
    await watch.scan();
    await eventually('its end by SIGTERM', () => signalOf(pid) === 'SIGTERM', { withinMs: 10_000 });
    await watch.scan();
    assert.deepEqual([watch.leaks.size, later.waiting.length, ended(neighbour)], [0, 0, false]);
    await watch.close();
  });

  it('are only counted where the policy is report', async () => {
    const later = new Later();
    const { pid } = await leaked('ssh', MARK);
    const watch = watchOf('report', later);
    for (let i = 0; i < 4; i += 1) await watch.scan();
    assert.deepEqual([...watch.leaks.values()].map(({ finding, sightings }) => [finding.kind, sightings]), [['tunnelProcess', 4]]);
    assert.deepEqual([later.waiting.length, tunnelProcess(pid) !== undefined], [0, true]);
    await watch.close();
  });

  it('are ended where an operator says so, also where the policy is report, and looked for every second until they are gone', async () => {
    const later = new Later();
    const [{ pid, startTicks }, neighbour] = [await leaked('ssh', MARK), await run('autossh', {})];
    const watch = watchOf('report', later);
    await watch.scan();
    await watch.scan();
    const id = `tunnelProcess/${pid}/${startTicks}`;
    assert.deepEqual(watch.reports().map(one => [one.id, one.repair, one.isAutomatic]), [[id, 'endProcess', false]]);
    watch.resolve(['tunnelProcess/1/1', 'listener/tcp/1/1']);
    assert.equal(later.waiting.length, 0, 'what was not found is not looked for');
    watch.resolve([id]);
    watch.resolve([id]);
    await eventually('its end by SIGTERM', () => signalOf(pid) === 'SIGTERM', { withinMs: 10_000 });
    await eventually('the next look to wait', () => later.waiting.some(({ ms }) => ms === 1_000), { withinMs: 10_000 });
    const before = changes;
    later.waiting.find(({ ms }) => ms === 1_000)?.act();
    await eventually('it to be over', () => watch.reports().length === 0, { withinMs: 10_000 });
    await eventually('the next scan to wait', () => later.waiting.some(({ ms }) => ms === 60_000), { withinMs: 10_000 });
    assert.deepEqual([changes - before, ended(neighbour)], [1, false]);
    await watch.close();
  });

  it('are killed 5 s later when they do not heed SIGTERM', async () => {
    const later = new Later();
    const found = await leaked('ssh', MARK, "trap '' TERM; echo ready; read line");
    endTunnel(found, later.after, noProblem);
    assert.deepEqual(later.waiting.map(({ ms }) => ms), [5_000]);
    assert.notEqual(tunnelProcess(found.pid), undefined);
    later.waiting[0]?.act();
    await eventually('its end by SIGKILL', () => signalOf(found.pid) === 'SIGKILL', { withinMs: 10_000 });
  });

  it('are left alone when the pid is that of a process which began at another time, or of another tunnel', async () => {
    const later = new Later();
    const found = await leaked('ssh', MARK, "trap 'echo heard' TERM; echo ready; while read line; do :; done");
    endTunnel({ ...found, startTicks: found.startTicks - 1 }, later.after, noProblem);
    endTunnel({ ...found, tunnelId: 'another' }, later.after, noProblem);
    assert.deepEqual([later.waiting.length, ended(found.pid)], [0, false]);
    assert.deepEqual(tunnelProcess(found.pid), found);
  });
});
