import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { ChildFailed, childRunner } from '../../agent/drivers/child.js';

const failure = async (promise: Promise<unknown>): Promise<ChildFailed> => {
  const error = await promise.then(() => assert.fail('it should have failed'), (reason: unknown) => reason);
  assert.ok(error instanceof ChildFailed, String(error));
  return error;
};

describe('children of the agent', () => {
  const run = childRunner({ lockFd: undefined });
  after(() => run.close());

  it('gives stdin to the child and its output back', async () => {
    assert.deepEqual(await run('cat', [], { stdin: 'grüße\n' }), { stdout: 'grüße\n', stderr: '' });
  });

  it('takes arguments as they are, without a shell', async () => {
    assert.equal((await run('printf', ['%s|', '$(id)', 'a b', '-n', ';'])).stdout, '$(id)|a b|-n|;|');
  });

  it('tells exit status and stderr of a child that fails', async () => {
    const error = await failure(run('ls', ['/no/such/path']));
    assert.equal(error.exitCode, 2);
    assert.match(error.message, /ls \/no\/such\/path: exit status 2: .*No such file or directory/);
  });

  it('says that a program is missing', async () => {
    assert.equal((await failure(run('portlease-no-such-program', []))).missing, true);
  });

  it('ends a child at its deadline', async () => {
    const error = await failure(run('sleep', ['30'], { deadlineMs: 100 }));
    assert.equal(error.timedOut, true);
    assert.match(error.message, /sleep 30: ended at its deadline/);
  });

  it('tells the deadline from another end also when this process was busy then', async () => {
    for (let round = 0; round < 5; round++) {
      const ended = failure(run('sleep', ['30'], { deadlineMs: 100 }));
      await pause(60);
      const busyUntilMs = performance.now() + 100;
      while (performance.now() < busyUntilMs);
      assert.equal((await ended).timedOut, true);
    }
    assert.equal((await failure(run('sh', ['-c', 'kill -9 $$']))).timedOut, false);
  });

  it('survives a child that does not read its input', async () => {
    await run('true', [], { stdin: 'x'.repeat(10_000_000) });
  });

  it('ends a child that writes more than is allowed', async () => {
    const bounded = childRunner({ lockFd: undefined, maxOutputBytes: 100_000 });
    assert.match((await failure(bounded('cat', ['/dev/zero']))).message, /wrote more than 100000 bytes/);
    await bounded.close();
  });

  it('refuses NUL in an argument', async () => {
    assert.match((await failure(run('echo', ['a\0b']))).message, /contains NUL/);
  });

  it('waits for its children when it is closed, and takes no more', async () => {
    const closing = childRunner({ lockFd: undefined });
    let ended = false;
    const child = closing('sleep', ['0.2']).then(() => { ended = true; });
    await closing.close();
    assert.equal(ended, true);
    await child;
    assert.match((await failure(closing('true', []))).message, /closed/);
  });
});

describe("the writer's lock", () => {
  const folder = mkdtempSync(join(tmpdir(), 'portlease-child-'));
  after(() => rmSync(folder, { recursive: true }));

  it('is held by every child', async () => {
    const file = join(folder, 'lock');
    const lockFd = openSync(file, 'w');
    const locked = childRunner({ lockFd });
    await locked('flock', ['-n', '3']);
    const child = locked('sleep', ['0.3']);
    closeSync(lockFd);
    const other = childRunner({ lockFd: undefined });
    await failure(other('flock', ['-n', file, 'true']));
    await child;
    await other('flock', ['-n', file, 'true']);
    await Promise.all([locked.close(), other.close()]);
  });

  it('is free at the deadline of a child whose agent was killed', async () => {
    const file = join(folder, 'orphan');
    const program = `
      import { openSync } from 'node:fs';
      import { childRunner } from ${JSON.stringify(new URL('../../agent/drivers/child.ts', import.meta.url).href)};
      const run = childRunner({ lockFd: openSync(${JSON.stringify(file)}, 'w') });
      await run('flock', ['-n', '3']);
      run('sh', ['-c', 'echo $$ > ${file}.pid; exec sleep 30'], { deadlineMs: 1_500 }).catch(() => undefined);
    `;
    const agent = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], { stdio: 'inherit' });
    const ended = new Promise(resolve => { agent.on('close', resolve); });
    while (!existsSync(`${file}.pid`) || readFileSync(`${file}.pid`, 'utf8') === '') await new Promise(setImmediate);
    agent.kill('SIGKILL');
    await ended;
    const run = childRunner({ lockFd: undefined });
    await failure(run('flock', ['-n', file, 'true']));
    await run('flock', ['-w', '5', file, 'true']);
    await run.close();
  });
});
