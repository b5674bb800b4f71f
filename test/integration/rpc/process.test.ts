import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { packageFile } from '../../../shared/package-files.js';
import { Api, refusalOf, status } from '../../support/api.js';
import { authority, callWith, certificate } from './certificates.js';
import { eventually, within } from '../../support/wait.js';

type Run = { child: ChildProcess; output: () => string; exit: Promise<number | null> };

describe('the coordinator as a process', () => {
  let folder = '';
  const children: ChildProcess[] = [];
  beforeEach(() => { folder = mkdtempSync(path.join(tmpdir(), 'portlease-process-')); });
  afterEach(async () => {
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    rmSync(folder, { recursive: true });
  });

  function start(yaml: string, args: string[] = [], env: Record<string, string> = {}): Run {
    writeFileSync(path.join(folder, 'c.yaml'), yaml);
    const main = packageFile('coordinator/main.ts');
    const child = spawn(process.execPath, ['--import', 'tsx', main, '--config', path.join(folder, 'c.yaml'), ...args], { cwd: packageFile(''), env: { ...process.env, ...env } });
    children.push(child);
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { text += chunk.toString(); });
    return { child, output: () => text, exit: once(child, 'exit').then(([code]) => code as number | null) };
  }

  const good = (more = '') => `
listen: {grpc: "127.0.0.1:0", unix: ${folder}/run/c.sock}
database: {path: ${folder}/db/c.db}
gateways: [{gateway: gw, scope: shared, publicHost: 203.0.113.1, plan: service}]
${more}`;

  const socket = () => `unix:${folder}/run/c.sock`;
  const serving = (run: Run) => eventually('the coordinator to serve', () => {
    if (run.child.exitCode !== null) throw new Error(run.output());
    return run.output().includes('"msg":"serving"');
  }, { withinMs: 20_000, hint: run.output });
  const exitOf = (run: Run) => within('the process to end', run.exit, { withinMs: 20_000, hint: run.output });

  it('exits with 78 and names every key that is wrong', async () => {
    const run = start(good('timing: {suspect: 5s, lost: 4s}\nadmit: everybody\nnoSuchKey: 1'));
    assert.equal(await exitOf(run), 78);
    for (const key of ['timing.suspect', 'timing.lost', 'admit', 'noSuchKey']) assert.match(run.output(), new RegExp(`config: ${key} `));
  });

  it('checks a config without touching anything', async () => {
    assert.equal(await exitOf(start(good(), ['--check'])), 0);
    assert.equal(await exitOf(start(good(), ['--check', '--set', 'listen.grpc=192.0.2.1:7410'])), 78);
    assert.equal(await exitOf(start(good(), ['--check', '--no-such-flag'])), 64);
    assert.equal(existsSync(path.join(folder, 'db')), false);
  });

  it('lets only its own user at the unix socket, and removes it at the end', async () => {
    const run = start(good());
    await serving(run);
    assert.equal(statSync(path.join(folder, 'run')).mode & 0o777, 0o700);
    assert.equal(statSync(path.join(folder, 'run', 'c.sock')).mode & 0o777, 0o600);
    const api = new Api(socket());
    assert.equal(await api.isServing(), true);
    assert.deepEqual((await api.pools()).map(({ pool }) => pool).sort(), ['custom', 'jupyter', 'rdp', 'reserved', 'ssh-linux', 'ssh-windows']);
    api.close();
    run.child.kill('SIGTERM');
    assert.equal(await exitOf(run), 0);
    assert.equal(existsSync(path.join(folder, 'run', 'c.sock')), false);
  });

  it('takes over the socket file of a process that died, and its database', async () => {
    const first = start(good());
    await serving(first);
    first.child.kill('SIGKILL');
    await exitOf(first);
    assert.equal(existsSync(path.join(folder, 'run', 'c.sock')), true);
    const second = start(good());
    await serving(second);
    const api = new Api(socket());
    assert.deepEqual((await api.gateways()).map(({ gateway }) => gateway), ['gw']);
    api.close();
  });

  it('refuses a socket that another process serves, and a database that another one has', async () => {
    const first = start(good());
    await serving(first);
    const second = start(good());
    assert.equal(await exitOf(second), 1);
    assert.match(second.output(), /c\.db/);
    const served = createServer().listen(path.join(folder, 'other.sock'));
    await once(served, 'listening');
    const third = start(good(), ['--set', `listen.unix=${folder}/other.sock`, '--set', `database.path=${folder}/other.db`]);
    assert.equal(await exitOf(third), 1);
    assert.match(third.output(), /another process serves .*other\.sock/);
    served.close();
  });

  it('tells systemd when it serves, feeds the watchdog, and says that it stops', async () => {
    const run = await withNotifications();
    await eventually('to be ready', () => run.told().includes('--ready') || run.told().includes('READY=1'), { withinMs: 20_000, hint: run.output });
    await eventually('the watchdog to be fed', () => run.told().split('WATCHDOG=1').length > 3, { withinMs: 10_000, hint: run.output });
    run.child.kill('SIGTERM');
    assert.equal(await exitOf(run), 0);
    assert.match(run.told(), /STOPPING=1/);
  });

  /** Reads the notify socket as systemd does. */
  async function withNotifications(): Promise<Run & { told: () => string }> {
    const name = path.join(folder, 'notify.sock');
    const reader = spawn('python3', ['-c', 'import socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\ns.bind(sys.argv[1])\nprint("bound",flush=True)\nwhile True: print(s.recv(4096).decode(),flush=True)', name]);
    children.push(reader);
    let told = '';
    reader.stdout.on('data', (chunk: Buffer) => { told += chunk.toString(); });
    await eventually('the notify socket', () => told.includes('bound'), { withinMs: 5000 });
    const run = start(good('timing: {heartbeat: 200ms, deadline: 200ms, suspect: 1s, lost: 3s}'), [], { NOTIFY_SOCKET: name, WATCHDOG_USEC: '900000' });
    return { ...run, told: () => told };
  }

  it('knows callers by their certificate: hosts speak for themselves only, viewers change nothing, others are nobody', async () => {
    const pki = path.join(folder, 'pki');
    mkdirSync(pki);
    authority(pki);
    certificate(pki, 'server', 'URI:portlease://operator/server,IP:127.0.0.1');
    const run = start(good(`tls: {certificate: ${pki}/server.pem, key: ${pki}/server.key, ca: ${pki}/ca.pem}`));
    await serving(run);
    const port = Number(/"port":([0-9]+)/.exec(run.output())?.[1]);
    const as = (name: string, uri: string) => {
      certificate(pki, name, uri);
      return callWith(pki, name, `127.0.0.1:${port}`);
    };
    const viewer = as('viewer', 'URI:portlease://viewer/ann');
    const operator = as('operator', 'URI:portlease://operator/bob');
    const scheduler = as('scheduler', 'URI:portlease://scheduler/slurm');
    const host = as('host', 'URI:portlease://host/h1');
    const nobody = as('nobody', 'URI:https://example.com');
    const creating = { host: 'h1', gateway: 'gw', roles: [1] };
    assert.equal((await viewer.listGateways()).length, 1);
    for (const caller of [viewer, scheduler, host, nobody]) {
      const refused = await refusalOf(caller.createHost(creating));
      assert.deepEqual([refused.code, refused.details.reason], [status.PERMISSION_DENIED, 'IDENTITY_MISMATCH']);
    }
    await operator.createHost(creating);
    assert.deepEqual([await viewer.listTunnels(), await operator.listTunnels()], [[], []]);
    for (const caller of [scheduler, host, nobody]) assert.equal((await refusalOf(caller.listTunnels())).details.reason, 'IDENTITY_MISMATCH');
    for (const caller of [viewer, scheduler, host]) assert.equal((await refusalOf(caller.stopTunnel())).details.reason, 'IDENTITY_MISMATCH');
    assert.equal((await refusalOf(operator.stopTunnel())).details.reason, 'TUNNEL_UNKNOWN');
    assert.equal((await refusalOf(host.heartbeat('h2'))).details.reason, 'IDENTITY_MISMATCH');
    assert.deepEqual(await host.heartbeat('h1'), { staleSession: true, rebuild: false, resolveLeaks: [] });
    assert.equal((await refusalOf(scheduler.heartbeat('h1'))).details.reason, 'IDENTITY_MISMATCH');
    assert.equal((await refusalOf(viewer.allocate())).details.reason, 'IDENTITY_MISMATCH');
    assert.equal((await refusalOf(scheduler.allocate())).details.reason, 'HOST_NOT_READY');
    for (const caller of [viewer, operator, scheduler, host, nobody]) caller.close();
  });
});
