import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathsIn } from '../../agent/drivers/nginx/paths.js';

const UNITS = ['portlease-agent.service', 'portlease-coordinator.service'];
const unit = (name: string) => readFileSync(new URL(`../../systemd/${name}`, import.meta.url), 'utf8');

/** The unit as it runs on this machine, where node may be elsewhere. */
const local = (text: string) => text.replaceAll('/usr/bin/node', process.execPath);

describe('systemd units', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'portlease-units-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function verify(name: string, text: string): { status: number | null; output: string } {
    const file = path.join(folder, name);
    writeFileSync(file, text);
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', file], { encoding: 'utf8' });
    return { status, output: stdout + stderr };
  }

  for (const name of UNITS) {
    it(`${name} has nothing that systemd-analyze complains about`, () => {
      assert.deepEqual(verify(name, local(unit(name))), { status: 0, output: '' });
    });

    it(`${name} is found wanting when a directive is misspelt`, () => {
      assert.match(verify(name, local(unit(name)).replace('WatchdogSec', 'WatchdogSeconds')).output, /WatchdogSeconds/);
    });

    it(`${name} is watched, comes back after a failure, and not after a bad config`, () => {
      const text = unit(name);
      for (const line of ['Type=notify', 'NotifyAccess=all', 'Restart=on-failure', 'KillMode=control-group', 'Environment=ENVIRONMENT=production', 'RuntimeDirectoryPreserve=yes']) {
        assert.ok(text.split('\n').includes(line), line);
      }
      assert.match(text, /^RestartPreventExitStatus=(\d+ )*78$/m);
      assert.match(text, /^WatchdogSec=\d+$/m);
    });
  }

  it('portlease-nginx.service runs what the agent writes, outlives it, and is not started at boot', () => {
    const text = unit('portlease-nginx.service');
    const { output } = verify('portlease-nginx.service', text);
    assert.equal(output, '');
    const { directory, main, pid, errorLog } = pathsIn('/var/lib/portlease/nginx');
    for (const line of [`ExecStart=/usr/sbin/nginx -p ${directory} -c ${main} -e ${errorLog}`, `PIDFile=${pid}`, 'KillMode=process', 'Restart=no']) assert.ok(text.split('\n').includes(line), line);
    assert.doesNotMatch(text, /PartOf|BindsTo|WantedBy|CAP_NET_ADMIN/);
  });

  it('the agent holds the lock as long as it lives, and a second one is refused with 75', async () => {
    const command = agentCommand(path.join(folder, 'agent.lock'));
    const first = spawn(command[0]!, command.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
    try {
      await once(first.stdout, 'data', { signal: AbortSignal.timeout(10_000) });
      assert.equal(spawnSync(command[0]!, command.slice(1)).status, 75);
    } finally {
      first.kill('SIGKILL');
    }
    await once(first, 'exit');
    assert.equal(spawnSync(command[0]!, [...command.slice(1, -1), 'process.exit(9)']).status, 9);
  });
});

/** ExecStart of the agent with another lock, no waiting, and a program that says hello and stays until its input ends. */
function agentCommand(lock: string): string[] {
  const line = /^ExecStart=(.*)$/m.exec(local(unit('portlease-agent.service')))?.[1] ?? '';
  const words = line.replace('/run/portlease/agent.lock', lock).replace('--wait 15', '--wait 0').split(' ');
  return [...words.slice(0, -1), '-e', 'console.log("here"); process.stdin.resume()'];
}
