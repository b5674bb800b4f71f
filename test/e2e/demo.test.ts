import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../support/daemons.js';
import { eventually } from '../support/wait.js';

/** The demo without its set-up: what it is made of is there when tests run. */
const STORY = ['--import', 'tsx', join(ROOT, 'scripts/demo/main.ts')];

type Running = { output: () => string; pid: number; signal: (signal: NodeJS.Signals) => void; ended: Promise<number | null> };

function start(argv: string[], options: { uid?: number; gid?: number } = {}): Running {
  const child = spawn(process.execPath, argv, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], ...options });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (part: string) => (text += part));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { output: () => text, pid: child.pid ?? 0, signal: (signal) => child.kill(signal), ended };
}

const namespacesOf = (pid: number) => readdirSync('/run/netns').filter((name) => name.startsWith(`plbench-${pid}-`));

describe('the demo', () => {
  it('proves every step, in plain text where there is no terminal, and leaves nothing behind', async () => {
    const demo = start(STORY);
    assert.equal(await demo.ended, 0, demo.output());
    assert.match(demo.output(), /All 11 steps were proven/);
    assert.doesNotMatch(demo.output(), /\u001b/);
    assert.deepEqual(namespacesOf(demo.pid), []);
  });

  it('removes everything on Ctrl-C, in the middle of a step', async () => {
    const demo = start(STORY);
    await eventually('the second step', () => demo.output().includes(' 2. '), { withinMs: 30_000, hint: demo.output });
    assert.ok(namespacesOf(demo.pid).length > 0);
    demo.signal('SIGINT');
    assert.equal(await demo.ended, 130);
    assert.deepEqual(namespacesOf(demo.pid), []);
  });

  it('kept running says what can be tried and how it is ended', async () => {
    const demo = start([...STORY, '--keep']);
    await eventually('the commands', () => demo.output().includes('End it with'), { withinMs: 50_000, hint: demo.output });
    assert.match(demo.output(), new RegExp(`kill ${demo.pid}$`, 'm'));
    demo.signal('SIGTERM');
    assert.equal(await demo.ended, 0);
    assert.deepEqual(namespacesOf(demo.pid), []);
  });

  it('without root prints the command to run instead, changes nothing and exits with 2', async () => {
    const demo = start([join(ROOT, 'scripts/demo.mjs'), '--keep'], { uid: 65_534, gid: 65_534 });
    assert.equal(await demo.ended, 2);
    assert.match(demo.output(), new RegExp(`^ {2}sudo env "PATH=\\$PATH" npm --prefix \\S+ run demo -- --keep$`, 'm'));
  });

  it('refuses an option that it does not know', async () => {
    const demo = start([join(ROOT, 'scripts/demo.mjs'), '--kep']);
    assert.equal(await demo.ended, 2);
    assert.match(demo.output(), /no such option: --kep/);
  });
});
