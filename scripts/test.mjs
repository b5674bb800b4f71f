// `npm test`: from a fresh clone to the last line "N passed, N failed, N skipped". Needs root for namespaces and rules.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const BIN = path.join(ROOT, 'node_modules/.bin');
const MINUTE_MS = 60_000;
const GRACE_MS = 10_000;

const LINT = [
  ['buf lint', 'buf', 'lint'],
  ['buf format', 'buf', 'format', '--diff', '--exit-code'],
  ['eslint', 'eslint', '.'],
  ['dependency rules', 'depcruise', '--config', '.dependency-cruiser.cjs', 'agent', 'coordinator', 'cli', 'shared'],
];
/** A group that hangs is ended after its minutes, and counts as failed. */
const GROUPS = [['unit', 8], ['simulation', 15], ['integration', 25], ['e2e', 20]];

const total = { passed: 0, failed: 0, skipped: 0 };
/** The signal that told this script to end. */
let stopped;

process.chdir(ROOT);
await main();
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;

async function main() {
  if (process.getuid() !== 0) {
    console.error(`test: the tests make network namespaces and rules: root is needed. Run:\n\n  sudo env PATH="$PATH" npm --prefix ${ROOT} test\n`);
    process.exit(2);
  }
  if (!await stage('apt packages', process.execPath, ['scripts/install.mjs', '--containers', '--comparisons'])) return;
  if (!modulesAreCurrent() && !await stage('npm ci', 'npm', ['ci', '--no-audit', '--no-fund'])) return;
  if (!await stage('build', 'npm', ['run', '--silent', 'build'])) return;
  for (const [name, tool, ...args] of LINT) await stage(name, path.join(BIN, tool), args.filter((arg) => !isAbsentFolder(arg)));
  for (const [group, minutes] of GROUPS) await mocha(group, minutes * MINUTE_MS);
}

/** True when node_modules is as new as the lock file. */
function modulesAreCurrent() {
  const installed = path.join(ROOT, 'node_modules/.package-lock.json');
  return existsSync(installed) && statSync(installed).mtimeMs >= statSync(path.join(ROOT, 'package-lock.json')).mtimeMs;
}

function isAbsentFolder(arg) {
  return ['agent', 'coordinator', 'cli', 'shared'].includes(arg) && !existsSync(arg);
}

async function mocha(group, deadlineMs) {
  if (!hasTests(path.join('test', group))) return;
  const folder = mkdtempSync(path.join(tmpdir(), 'portlease-test-'));
  try {
    const file = path.join(folder, 'counts.json');
    const args = ['--reporter', 'scripts/counting-reporter.cjs', '--reporter-option', `file=${file}`, `test/${group}/**/*.test.ts`];
    const failedBefore = total.failed;
    const ok = await stage(`${group} tests`, path.join(BIN, 'mocha'), args, deadlineMs);
    if (!existsSync(file)) return;
    const { passed, failed, skipped } = JSON.parse(readFileSync(file, 'utf8'));
    total.passed += passed;
    total.failed = failedBefore + Math.max(failed, ok ? 0 : 1);
    total.skipped += skipped;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function hasTests(folder) {
  return existsSync(folder) && readdirSync(folder, { recursive: true }).some((name) => name.endsWith('.test.ts'));
}

/** Runs one command and prints its seconds. A failure counts as one failed test, so that the last line cannot look good. */
async function stage(name, file, args, deadlineMs = 10 * MINUTE_MS) {
  if (stopped) return false;
  console.log(`\n== ${name}`);
  const start = performance.now();
  const outcome = await run(file, args, deadlineMs);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const ok = outcome === 'status 0';
  console.log(`== ${name}: ${ok ? 'ok' : `FAILED (${outcome})`}, ${seconds} s`);
  if (!ok) total.failed += 1;
  return ok;
}

/** Each command has a process group of its own, so that nothing of it outlives its deadline or a Ctrl-C. */
function run(file, args, deadlineMs) {
  return new Promise((resolve) => {
    const child = spawn(file, args, { stdio: ['ignore', 'inherit', 'inherit'], detached: true });
    const signalGroup = (signal) => {
      try {
        process.kill(-child.pid, signal);
      } catch (error) {
        if (error.code !== 'ESRCH') throw error;
      }
    };
    const stop = (signal) => {
      signalGroup(signal);
      process.exitCode = 1;
      stopped = signal;
    };
    const timers = [setTimeout(signalGroup, deadlineMs, 'SIGTERM'), setTimeout(signalGroup, deadlineMs + GRACE_MS, 'SIGKILL')];
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, stop);
    const end = (outcome) => {
      timers.forEach(clearTimeout);
      for (const signal of ['SIGINT', 'SIGTERM']) process.off(signal, stop);
      resolve(stopped ? `ended by ${stopped}` : outcome);
    };
    child.once('error', (error) => end(error.message));
    child.once('exit', (code, signal) => end(signal === null ? `status ${code}` : `ended by ${signal}`));
  });
}
