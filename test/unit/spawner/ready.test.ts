import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChildFailed, childRunner, SEARCH_PATH, type ChildOptions, type RunChild } from '../../../agent/drivers/child.js';
import { openSpawner, type Command, type Spawner, type SpawnerOptions } from '../../../agent/drivers/spawner/client.js';
import { ReadyChildren } from '../../../agent/drivers/spawner/ready.js';
import { allProcesses, argvOf, isRunning } from '../../support/processes.js';
import { eventually, within } from '../../support/wait.js';

const WITHIN = { withinMs: 5_000, everyMs: 1 };
/** Prints its process id, its stdin, and a last line once that has ended; one process. */
const ECHO: Command = { file: 'sh', argv: ['-c', 'echo $$; while read -r line || [ -n "$line" ]; do echo "$line"; done; echo .'] };
/** Does not end by itself once it had a line; without one it does. */
const HANGS: Command = { file: 'sh', argv: ['-c', 'if read line; then exec sleep 30; fi'] };
const ANSWERS: Command = { file: 'env', argv: [] };

const isAlive = (pid: number): boolean => (argvOf(pid)?.length ?? 0) > 0;
const parentOf = (pid: number): number | undefined => {
  try {
    return Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  } catch {
    return undefined;
  }
};
const childrenOf = (pid: number | undefined): number[] => pid === undefined ? [] : allProcesses().filter(one => parentOf(one) === pid && isAlive(one));
/** It has closed its descriptors, which comes after its memory is gone. */
const hasEnded = (pid: number): boolean => {
  try {
    return /^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return true;
  }
};
const failure = async (promise: Promise<unknown>): Promise<ChildFailed> => {
  const error = await promise.then(() => assert.fail('it should have failed'), (reason: unknown) => reason);
  assert.ok(error instanceof ChildFailed, String(error));
  return error;
};

describe('children that the spawner keeps ready', function () {
  this.timeout(30_000);
  const folder = mkdtempSync(join(tmpdir(), 'portlease-ready-'));
  after(() => rmSync(folder, { recursive: true }));
  const opened: Spawner[] = [];
  afterEach(async () => {
    for (const one of opened.splice(0)) await one.close();
  });

  const spawner = (options: Partial<SpawnerOptions> = {}): Spawner => {
    const one = openSpawner({ lockFd: undefined, keepReady: [ECHO, HANGS, ANSWERS], ...options });
    opened.push(one);
    return one;
  };
  const ask = (run: RunChild, { file, argv }: Command, options: ChildOptions = {}): ReturnType<RunChild> => run(file, argv, options);
  const pidIn = ({ stdout }: { stdout: string }): number => Number(stdout.split('\n')[0]);

  const guardsOf = (run: Spawner): number[] => childrenOf(run.pid()).filter(pid => argvOf(pid)?.[0] === 'timeout');

  /** Of timeout(1), and of the program under it; the only ones, after calls of one command. */
  async function readyOf(run: Spawner): Promise<{ guard: number; pid: number }> {
    return eventually('a ready child', () => {
      const guards = guardsOf(run);
      const [pid, ...others] = guards.flatMap(childrenOf).filter(one => argvOf(one)?.[0] !== 'timeout');
      assert.ok(guards.length <= 1 && others.length === 0);
      return pid !== undefined && { guard: guards[0]!, pid };
    }, WITHIN);
  }

  it('serve the next call, one after the other', async () => {
    const run = spawner();
    await run('true', []);
    assert.deepEqual(guardsOf(run), []);
    await ask(run, ECHO);
    for (let call = 0; call < 5; call++) {
      const { pid } = await readyOf(run);
      assert.deepEqual(await ask(run, ECHO, { stdin: `${call}\n` }), { stdout: `${pid}\n${call}\n.\n`, stderr: '' });
      assert.equal(isAlive(pid), false);
    }
  });

  it('are kept of the commands that were named only', async () => {
    const run = spawner();
    await ask(run, { file: ECHO.file, argv: ['-c', 'true'] });
    await ask(run, { file: ECHO.file, argv: [...ECHO.argv, 'more'] });
    await run('true', []);
    assert.deepEqual(guardsOf(run), []);
  });

  it('give the same output, errors and environment as any other', async () => {
    const direct = childRunner({ lockFd: undefined });
    const told = (one: RunChild, command: Command): Promise<unknown> => ask(one, command, { stdin: 'ä\n' }).catch((error: unknown) => {
      assert.ok(error instanceof ChildFailed, String(error));
      const { message, file, argv, exitCode, signal, stderr, timedOut, missing } = error;
      return { message, file, argv, exitCode, signal, stderr, timedOut, missing };
    });
    const commands: Command[] = [ANSWERS, { file: 'portlease-no-such-program', argv: [] }, { file: 'sh', argv: ['-c', 'cat; cat >&2; echo err >&2; exit 3'] }, { file: 'sh', argv: ['-c', 'cat; kill -9 $$'] }];
    const ready = spawner({ keepReady: commands });
    for (const command of commands) {
      const expected = await told(direct, command);
      for (let call = 0; call < 3; call++) assert.deepEqual(await told(ready, command), expected);
    }
    await direct.close();
  });

  it('do not serve a call with another deadline', async () => {
    const run = spawner();
    await ask(run, ECHO);
    const { pid } = await readyOf(run);
    assert.notEqual(pidIn(await ask(run, ECHO, { deadlineMs: 5_000 })), pid);
  });

  it('do not serve a call with more input than is written in one piece', async () => {
    const run = spawner();
    await ask(run, ECHO);
    const { pid } = await readyOf(run);
    const { stdout } = await ask(run, ECHO, { stdin: 'x'.repeat(64 * 1024 + 1) });
    assert.equal(stdout.length, `${pidIn({ stdout })}\n\n.\n`.length + 64 * 1024 + 1);
    assert.notEqual(pidIn({ stdout }), pid);
    assert.equal(pidIn(await ask(run, ECHO, { stdin: 'x'.repeat(64 * 1024) })), pid);
  });

  it('serve one of many calls at the same time, and each gets its own answer', async () => {
    const run = spawner();
    await ask(run, ECHO);
    const { pid } = await readyOf(run);
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => ask(run, ECHO, { stdin: `${i}` })));
    answers.forEach(({ stdout }, i) => assert.match(stdout, new RegExp(`^\\d+\\n${i}\\n\\.\\n$`)));
    assert.equal(answers.filter(answer => pidIn(answer) === pid).length, 1);
    await readyOf(run);
  });

  it('have the deadline of the call, from when it was made, and not that of their start', async () => {
    const run = spawner();
    await ask(run, HANGS, { deadlineMs: 700 });
    const { guard, pid } = await readyOf(run);
    const startMs = performance.now();
    await eventually('some age', () => performance.now() - startMs > 1_000, WITHIN);
    assert.equal(isAlive(pid), true);
    const askedMs = performance.now();
    const error = await failure(ask(run, HANGS, { stdin: '\n', deadlineMs: 700 }));
    const tookMs = performance.now() - askedMs;
    assert.deepEqual([error.timedOut, error.message], [true, 'sh -c if read line; then exec sleep 30; fi: ended at its deadline']);
    assert.ok(tookMs >= 690 && tookMs < 1_500, `${tookMs}`);
    assert.deepEqual([guard, pid].filter(isAlive), []);
  });

  it('are replaced when they are old, one at a time', async () => {
    const run = spawner({ readyMs: 250 });
    await ask(run, ECHO);
    const seen = new Set<number>();
    for (let i = 0; i < 3; i++) {
      const { pid } = await eventually('another one', async () => { const it = await readyOf(run); return !seen.has(it.pid) && it; }, WITHIN);
      for (const former of seen) await eventually('the end of the former', () => !isAlive(former), WITHIN);
      seen.add(pid);
    }
    const { pid } = await readyOf(run);
    assert.match((await ask(run, ECHO, { stdin: 'in' })).stdout, /^\d+\nin\n\.\n$/);
    assert.equal(isAlive(pid), false);
  });

  it('do not serve a call when they are too old and their replacement is late', async () => {
    const leashFd = openSync('/dev/null', 'r');
    let nowMs = 1_000;
    const children = new ReadyChildren({ lockFd: undefined, leashFd, nowMs: () => nowMs });
    const task = { ...ECHO, deadlineMs: 5_000, maxOutputBytes: 1_000, path: SEARCH_PATH, readyMs: 10_000 };
    const next = async (atMs: number): Promise<number> => {
      nowMs = atMs;
      return pidIn({ stdout: (await children.run(task, Buffer.from(''))).stdout.toString() });
    };
    const readyPid = (): Promise<number> => eventually('a ready child', () => childrenOf(process.pid).flatMap(childrenOf).find(pid => argvOf(pid)?.join(' ') === [ECHO.file, ...ECHO.argv].join(' ')), WITHIN);
    children.prepare(task);
    const first = await readyPid();
    assert.equal(await next(11_000), first);
    children.prepare(task);
    const second = await readyPid();
    assert.notEqual(await next(21_001), second);
    assert.equal(isAlive(second), true);
    children.close();
    await eventually('its end', () => !isAlive(second), WITHIN);
    closeSync(leashFd);
  });

  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    it(`are bypassed when they are gone by themselves, and there is one again after the next call: ${signal}`, async () => {
      const run = spawner();
      await ask(run, ECHO);
      const { guard, pid } = await readyOf(run);
      process.kill(pid, signal);
      await eventually('its end', () => hasEnded(guard), WITHIN);
      assert.match((await ask(run, ECHO, { stdin: 'in' })).stdout, /^\d+\nin\n\.\n$/);
      const next = await readyOf(run);
      assert.equal(pidIn(await ask(run, ECHO)), next.pid);
    });
  }

  it('fail no call when they ended just before it came, and the spawner does not know it yet', async () => {
    const run = spawner();
    for (let round = 0; round < 10; round++) {
      await ask(run, ECHO);
      const { guard, pid } = await readyOf(run);
      process.kill(run.pid()!, 'SIGSTOP');
      process.kill(pid, 'SIGKILL');
      await eventually('its end', () => hasEnded(guard), WITHIN);
      const answer = ask(run, ECHO, { stdin: 'in' });
      process.kill(run.pid()!, 'SIGCONT');
      assert.match((await answer).stdout, /^\d+\nin\n\.\n$/);
    }
  });

  it('fail the call that they serve when they are killed then', async () => {
    const run = spawner();
    await ask(run, HANGS);
    const { pid } = await readyOf(run);
    const call = failure(ask(run, HANGS, { stdin: '\n' }));
    await eventually('the input to be read', () => argvOf(pid)?.[0] === 'sleep', WITHIN);
    process.kill(pid, 'SIGKILL');
    assert.match((await call).message, /ended by SIGKILL/);
  });

  it('end without input when the spawner is killed, and let go of the lock', async () => {
    const file = join(folder, 'lock');
    const lockFd = openSync(file, 'w');
    const [direct, run] = [childRunner({ lockFd: undefined }), spawner({ lockFd, keepReady: [HANGS] })];
    await run('flock', ['-n', '3']);
    closeSync(lockFd);
    await ask(run, HANGS);
    const { guard, pid } = await readyOf(run);
    await failure(direct('flock', ['-n', file, 'true']));
    process.kill(run.pid()!, 'SIGKILL');
    await direct('flock', ['-w', '3', file, 'true']);
    assert.deepEqual([guard, pid].filter(isAlive), []);
    await direct.close();
  });

  it('are ended by timeout(1) when they do not end by themselves and the spawner is gone', async () => {
    const deaf: Command = { file: 'sh', argv: ['-c', 'read line; exec sleep 30'] };
    const run = spawner({ readyMs: 500, keepReady: [deaf] });
    await failure(ask(run, deaf, { deadlineMs: 200 }));
    const startMs = performance.now();
    const { guard, pid } = await readyOf(run);
    process.kill(run.pid()!, 'SIGKILL');
    await eventually('the end of its input to be read', () => argvOf(pid)?.[0] === 'sleep', WITHIN);
    await eventually('their end', () => ![guard, pid].some(isAlive), WITHIN);
    const tookMs = performance.now() - startMs;
    assert.ok(tookMs > 1_500 && tookMs < 500 + 200 + 1_000 + 500, `${tookMs}`);
  });

  it('are ended by close(), also when one is stopped', async () => {
    const run = spawner({ keepReady: [HANGS] });
    await ask(run, HANGS);
    const { guard, pid } = await readyOf(run);
    process.kill(pid, 'SIGSTOP');
    await within('close()', run.close(), { withinMs: 900 });
    assert.deepEqual([guard, pid].filter(isAlive), []);
    assert.equal(run.pid() !== undefined && isRunning(run.pid()!), false);
  });
});
