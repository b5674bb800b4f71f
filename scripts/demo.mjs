// `npm run demo`: sets up what is missing, builds, and runs the story in scripts/demo/. Uses nothing that has to be installed first.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const USAGE = `usage: npm run demo [-- --keep]
  --keep   leaves everything running at the end, until Ctrl-C, and prints commands to play with
`;
const EXIT_USAGE = 2;
const OLDEST_NODE = 20;
/** What the build is made of. */
const SOURCES = ['proto', 'shared', 'coordinator', 'agent', 'cli', 'package.json', 'tsconfig.json'];

let child;
/** A signal that came before there was a child to tell. */
let stopped;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    stopped = signal;
    child?.kill(signal);
  });
}
process.chdir(ROOT);
process.exitCode = await main(process.argv.slice(2));

async function main(args) {
  if (args.includes('--help')) return say(USAGE, 0);
  const unknown = args.filter((arg) => arg !== '--keep');
  if (unknown.length > 0) return say(`demo: no such option: ${unknown.join(' ')}\n${USAGE}`, EXIT_USAGE);
  if (process.platform !== 'linux') return say('demo: it makes network namespaces and iptables rules: Linux is needed. Nothing was changed.\n', EXIT_USAGE);
  if (Number(process.versions.node.split('.')[0]) < OLDEST_NODE) return say(`demo: Node ${OLDEST_NODE} or newer is needed, this is ${process.versions.node}. Nothing was changed.\n`, EXIT_USAGE);
  if (process.getuid() !== 0) return say(`demo: it makes network namespaces and iptables rules in them: root is needed. Nothing was changed. Run:\n\n  sudo env "PATH=$PATH" npm --prefix ${quoted(ROOT)} run demo${args.length > 0 ? ` -- ${args.join(' ')}` : ''}\n\n`, EXIT_USAGE);
  return await prepare() ?? await run(process.execPath, '--import', 'tsx', 'scripts/demo/main.ts', ...args);
}

/** Status of the first thing that failed; undefined when all is there. */
async function prepare() {
  const status = await run(process.execPath, 'scripts/install.mjs');
  if (status !== 0) return status;
  if (!modulesAreCurrent()) {
    console.log('demo: npm ci (a minute or two: sqlite3 is compiled)');
    const installed = await run('npm', 'ci', '--no-audit', '--no-fund', '--loglevel=error');
    if (installed !== 0) return installed;
  }
  if (isBuilt()) return undefined;
  console.log('demo: npm run build');
  const built = await run('npm', 'run', '--silent', 'build');
  return built === 0 ? undefined : built;
}

function modulesAreCurrent() {
  const installed = path.join(ROOT, 'node_modules/.package-lock.json');
  return existsSync(installed) && statSync(installed).mtimeMs >= statSync(path.join(ROOT, 'package-lock.json')).mtimeMs;
}

/** True when dist/ is newer than all that it is made of. The descriptors are written last. */
function isBuilt() {
  const last = path.join(ROOT, 'dist/descriptors.binpb');
  return existsSync(last) && existsSync('dist/agent/main.js') && SOURCES.every((source) => newestMs(source) <= statSync(last).mtimeMs);
}

function newestMs(file) {
  const stat = statSync(file);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(0, ...readdirSync(file).map((name) => newestMs(path.join(file, name))));
}

function run(file, ...args) {
  if (stopped) return 130;
  return new Promise((resolve) => {
    child = spawn(file, args, { stdio: 'inherit' });
    child.on('error', (error) => resolve(say(`demo: ${file} could not be started: ${error.message}\n`, 1)));
    child.on('exit', (code, signal) => resolve(stopped ? 130 : code ?? say(`demo: ${file} was ended by ${signal}\n`, 1)));
  });
}

function say(text, status) {
  (status === 0 ? process.stdout : process.stderr).write(text);
  return status;
}

/** For people to paste into a shell. */
function quoted(text) {
  return /^[A-Za-z0-9_./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
