import assert from 'node:assert/strict';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChildFailed, childRunner, type RunChild } from '../../../agent/drivers/child.js';
import { openSpawner, type Spawner, type SpawnerOptions } from '../../../agent/drivers/spawner/client.js';
import { argvOf, isRunning } from '../../support/processes.js';
import { eventually, within } from '../../support/wait.js';

const failure = async (promise: Promise<unknown>): Promise<ChildFailed> => {
  const error = await promise.then(() => assert.fail('it should have failed'), (reason: unknown) => reason);
  assert.ok(error instanceof ChildFailed, String(error));
  return error;
};

/** False from when its memory is gone: it holds nothing any more, though nobody may have waited for it yet. */
const isAlive = (pid: number): boolean => (argvOf(pid)?.length ?? 0) > 0;

let open: Spawner[] = [];
const spawner = (options: Partial<SpawnerOptions> = {}): Spawner => {
  const opened = openSpawner({ lockFd: undefined, ...options });
  open.push(opened);
  return opened;
};
const closeAll = async (): Promise<void> => {
  for (const one of open) await one.close();
  open = [];
};

describe('children that the spawner starts', function () {
  this.timeout(30_000);
  afterEach(closeAll);

  it('get their stdin, arguments and environment as from the agent itself, and so do its answers come', async () => {
    const direct = childRunner({ lockFd: undefined });
    const run = spawner();
    const calls: Parameters<RunChild>[] = [
      ['cat', [], { stdin: 'grüße\n' }], ['printf', ['%s|', '$(id)', 'a b', '-n', ';', '\ud83d\ude00']], ['env', []],
      ['ls', ['/no/such/path']], ['portlease-no-such-program', []], ['sleep', ['30'], { deadlineMs: 100 }], ['sh', ['-c', 'echo out; echo err >&2; kill -9 $$']],
      ['echo', ['x'.repeat(200_000)]],
    ];
    const told = (one: RunChild, call: Parameters<RunChild>): Promise<unknown> => one(...call).catch((error: unknown) => {
      assert.ok(error instanceof ChildFailed, String(error));
      const { message, file, argv, exitCode, signal, stderr, timedOut, missing } = error;
      return { message, file, argv, exitCode, signal, stderr, timedOut, missing };
    });
    for (const call of calls) assert.deepEqual(await told(run, call), await told(direct, call));
    await direct.close();
  });

  it('get 2 MB of stdin, and give as much back', async () => {
    const stdin = 'ä'.repeat(1_000_000);
    assert.equal((await spawner()('cat', [], { stdin })).stdout, stdin);
  });

  it('may end without having read their stdin', async () => {
    await spawner()('true', [], { stdin: 'x'.repeat(10_000_000) });
  });

  it('are ended when they write more than is allowed', async () => {
    const run = spawner({ maxOutputBytes: 100_000 });
    assert.match((await failure(run('cat', ['/dev/zero']))).message, /wrote more than 100000 bytes/);
    await run('true', []);
  });

  it('are not started with NUL in an argument', async () => {
    assert.match((await failure(spawner()('echo', ['a\0b']))).message, /contains NUL/);
  });

  it('run side by side, and each gets its own answer', async () => {
    const run = spawner();
    const numbers = Array.from({ length: 100 }, (_, i) => String(i));
    const slow = run('sleep', ['0.5']);
    const answers = await Promise.all(numbers.map(number => run('cat', [], { stdin: number })));
    assert.deepEqual(answers.map(({ stdout }) => stdout), numbers);
    await slow;
  });

  it('are started by one process, which is this one\'s child', async () => {
    const run = spawner();
    const { stdout } = await run('sh', ['-c', 'ps -o ppid= -p $PPID']);
    assert.equal(Number(stdout), run.pid());
    assert.match(readFileSync(`/proc/${run.pid()}/status`, 'utf8'), new RegExp(`^PPid:\\s*${process.pid}$`, 'm'));
  });

  it('are waited for by close(), which then ends the spawner and takes no more', async () => {
    const run = spawner();
    let ended = false;
    const child = run('sleep', ['0.2']).then(() => { ended = true; });
    const pid = run.pid();
    assert.ok(pid);
    await run.close();
    assert.equal(ended, true);
    assert.equal(isRunning(pid), false);
    await child;
    assert.match((await failure(run('true', []))).message, /closed/);
  });

  it('are started although SIGTERM and SIGINT reached the whole process group', async () => {
    const run = spawner();
    await run('true', []);
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.kill(run.pid()!, signal);
    const pid = run.pid();
    await run('true', []);
    assert.equal(run.pid(), pid);
  });
});

describe('a spawner that fails', function () {
  this.timeout(30_000);
  afterEach(closeAll);
  const folder = mkdtempSync(join(tmpdir(), 'portlease-spawner-'));
  after(() => rmSync(folder, { recursive: true }));
  const direct = childRunner({ lockFd: undefined });
  after(() => direct.close());

  it('is followed by another one at the next call', async () => {
    const run = spawner();
    await run('true', []);
    const former = run.pid();
    process.kill(former!, 'SIGKILL');
    await eventually('its end', () => run.pid() === undefined, { withinMs: 5_000, everyMs: 1 });
    assert.equal((await run('echo', ['again'])).stdout, 'again\n');
    assert.notEqual(run.pid(), former);
  });

  it('fails the calls that it left, but only when their children are gone, and nothing is started before that', async () => {
    const run = spawner();
    const pidFile = join(folder, 'left.pid');
    const left = failure(run('sh', ['-c', `echo $$ > ${pidFile}; exec sleep 30`], { deadlineMs: 1_500 }));
    const orphan = await eventually('the child', () => existsSync(pidFile) && Number(readFileSync(pidFile, 'utf8')), { withinMs: 5_000, everyMs: 1 });
    const former = run.pid()!;
    process.kill(former, 'SIGKILL');
    await eventually('its end', () => !isRunning(former), { withinMs: 1_000, everyMs: 1 });
    const next = run('sh', ['-c', `grep -q . /proc/${orphan}/cmdline || echo gone`]);
    assert.equal(isRunning(orphan), true);
    assert.match((await left).message, /the spawner of children failed: it ended \(SIGKILL\)/);
    assert.equal(isAlive(orphan), false);
    assert.equal((await next).stdout, 'gone\n');
  });

  it('that is stopped is killed after deadline and margin, and the next call works', async () => {
    const run = spawner({ marginMs: 300 });
    await run('true', []);
    const former = run.pid()!;
    process.kill(former, 'SIGSTOP');
    const error = await within('the call to fail', failure(run('touch', [join(folder, 'never')], { deadlineMs: 200 })), { withinMs: 3_000 });
    assert.match(error.message, /touch .*never: the spawner of children failed: no answer within 500 ms/);
    assert.equal(isRunning(former), false);
    await run('true', []);
    assert.equal(existsSync(join(folder, 'never')), false);
  });

  it('that is stopped is closed all the same', async () => {
    const run = spawner({ closeMs: 200 });
    await run('true', []);
    const pid = run.pid()!;
    process.kill(pid, 'SIGSTOP');
    await within('close()', run.close(), { withinMs: 3_000 });
    assert.equal(isRunning(pid), false);
  });

  it('that cannot be started says why, at every call', async () => {
    const run = spawner({ lockFd: 9_999 });
    for (let call = 0; call < 2; call++) assert.match((await failure(run('true', []))).message, /true: .*spawn.*EBADF/);
  });

  it('and its children hold the writer\'s lock, and nothing else of this process but its leash', async () => {
    const file = join(folder, 'lock');
    const lockFd = openSync(file, 'w');
    const run = spawner({ lockFd });
    await run('flock', ['-n', '3']);
    closeSync(lockFd);
    await failure(direct('flock', ['-n', file, 'true']));
    const unlocked = spawner();
    const descriptors = async (one: RunChild): Promise<string[]> => (await one('sh', ['-c', 'ls /proc/$$/fd'])).stdout.split('\n').filter(Boolean).sort();
    assert.deepEqual(await descriptors(run), [...await descriptors(direct), '3', '4'].sort());
    assert.deepEqual(await descriptors(unlocked), [...await descriptors(direct), '4'].sort());
    await run.close();
    await direct('flock', ['-n', file, 'true']);
  });
});
