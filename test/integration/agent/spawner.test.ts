import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { argvOf, signalProcess } from '../../support/processes.js';
import { run } from '../../support/run.js';
import { eventually } from '../../support/wait.js';

const PROGRAM = fileURLToPath(new URL('./stalled-child.ts', import.meta.url));
const DEADLINE_MS = 4_000;

describe("the writer's lock, when an agent is killed that has a spawner", function () {
  this.timeout(60_000);
  const folder = mkdtempSync(join(tmpdir(), 'portlease-stalled-'));
  const agents: ChildProcess[] = [];
  after(() => {
    for (const agent of agents) agent.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  });

  async function killedWhileStalled(name: string, before: (spawner: number) => void): Promise<{ lock: string; spawner: number; child: number; sinceMs: number }> {
    const lock = join(folder, name);
    const agent = spawn(process.execPath, ['--import', 'tsx', PROGRAM, lock, String(DEADLINE_MS)], { stdio: ['ignore', 'pipe', 'inherit'] });
    agents.push(agent);
    const ended = once(agent, 'exit');
    const [said] = await once(agent.stdout, 'data') as [Buffer];
    const spawner = Number(said.toString());
    const child = Number(readFileSync(`${lock}.pid`, 'utf8'));
    before(spawner);
    const sinceMs = performance.now();
    agent.kill('SIGKILL');
    await ended;
    return { lock, spawner, child, sinceMs };
  }

  const isAlive = (pid: number): boolean => (argvOf(pid)?.length ?? 0) > 0;

  for (const [how, before] of [
    ['runs', () => undefined],
    ['is stopped', (spawner: number) => signalProcess(spawner, 'SIGSTOP')],
  ] as const) {
    it(`is held until the deadline of the child, and free then, when the spawner ${how} (S7)`, async () => {
      const { lock, spawner, child, sinceMs } = await killedWhileStalled(how.replace(' ', '-'), before);
      await eventually('the spawner to end', () => !isAlive(spawner), { withinMs: 2_000, everyMs: 5 });
      assert.equal(isAlive(child), true);
      await assert.rejects(run(['flock', '-n', lock, 'true']));
      await run(['flock', '-w', '10', lock, 'true'], { timeoutMs: 15_000 });
      assert.equal(isAlive(child), false);
      assert.ok(performance.now() - sinceMs < DEADLINE_MS + 2_000);
    });
  }

  it('is held until the deadline of the child, and free then, when the spawner was killed before (S7)', async () => {
    const { lock, child } = await killedWhileStalled('killed', spawner => signalProcess(spawner, 'SIGKILL'));
    assert.equal(isAlive(child), true);
    await assert.rejects(run(['flock', '-n', lock, 'true']));
    await run(['flock', '-w', '10', lock, 'true'], { timeoutMs: 15_000 });
    assert.equal(isAlive(child), false);
  });
});
