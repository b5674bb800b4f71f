import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT } from '../../../cli/exit.js';
import { portlease } from './world.js';

describe('portlease plan check', () => {
  it('says of both plans whether they suffice, and exits with 1 when one does not', async () => {
    const { exitCode, out, err } = await portlease(['plan', 'check', '--hosts', '300', '--envs-per-host', '8']);
    assert.equal(exitCode, EXIT.refused);
    assert.match(out, /^service +ssh-linux +short +1000 +2400 +2400 +40 +1440 +3$/m);
    assert.match(out, /^service +reserved +enough +0 +0 +0 +0 +0 +-$/m);
    assert.match(out, /^domain +ssh +enough +3884 +2400 +2400 +40 +0 +12$/m);
    assert.match(err, /^next: plan service is 1440 ports of ssh-linux short .* at most 3 environments a host$/m);
    assert.match(err, /^next: plan domain suffices for 300 hosts with 8 environments each$/m);
  });

  it('exits with 0 when the plan suffices, and tells scripts the same', async () => {
    const { exitCode, out } = await portlease(['plan', 'check', '--hosts=300', '--envs-per-host=8', '--plan=domain', '--json']);
    assert.equal(exitCode, EXIT.ok);
    const { plans } = JSON.parse(out) as { plans: { plan: string; suffices: boolean; pools: { pool: string; verdict: string }[] }[] };
    assert.deepEqual([plans[0]?.plan, plans[0]?.suffices, plans[0]?.pools.map(({ verdict }) => verdict)], ['domain', true, ['enough', 'enough', 'enough', 'enough']]);
  });

  it('takes what environments really use: pools that are not named count for none', async () => {
    const { exitCode, out } = await portlease(['plan', 'check', '--hosts=100', '--envs-per-host=8', '--plan=service', '--ports=ssh-linux=1', '--ports=jupyter=1']);
    assert.equal(exitCode, EXIT.ok, out);
    assert.match(out, /^service +rdp +enough +1000 +0 /m);
  });

  it('reads a plan of your own', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'portlease-plan-'));
    try {
      const path = join(folder, 'plan.yaml');
      writeFileSync(path, 'pools:\n  - {pool: web, ranges: [20000-20009, 21000], protocol: tcp, quarantine: 30m, serviceType: web}\n');
      assert.equal((await portlease(['plan', 'check', '--hosts=1', '--envs-per-host=7', '--plan', path])).exitCode, EXIT.ok);
      assert.equal((await portlease(['plan', 'check', '--hosts=1', '--envs-per-host=8', '--plan', path])).exitCode, EXIT.refused);
      for (const bad of ['pools: []', 'pools: [a]', 'pools: [{pool: web}]', 'pools: [{pool: web, ranges: [5-1]}]', '- a', 'pools: [{pool: Web, ranges: [1]}]', 'pools: [{pool: web, ranges: [1], x: 1}]']) {
        writeFileSync(path, bad);
        const { exitCode, err } = await portlease(['plan', 'check', '--hosts=1', '--envs-per-host=8', '--plan', path]);
        assert.equal(exitCode, EXIT.usage, `${bad}: ${err}`);
        assert.match(err, /--plan/);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
