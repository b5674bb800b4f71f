import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChildFailed, type RunChild } from '../../../agent/drivers/child.js';
import { EXIT, StartRefused } from '../../../agent/exit.js';
import { requireLock, requireTools } from '../../../agent/preflight.js';
import { packageVersion } from '../../../shared/package-files.js';

/** A machine on which these programs are not installed. */
function without(...missing: string[]): RunChild {
  return (file, argv) => {
    if (!missing.includes(file)) return Promise.resolve({ stdout: '', stderr: '' });
    return Promise.reject(new ChildFailed(file, argv, { exitCode: 127, signal: null, stderr: '', timedOut: false }));
  };
}

describe('before the agent touches anything', () => {
  it('names each missing tool, what is lost without it, and its package', async () => {
    await assert.rejects(requireTools(without('ipset', 'conntrack'), ['10.0.0.1']), (error: Error) => {
      assert.ok(error instanceof StartRefused);
      assert.equal(error.exitCode, EXIT.tools);
      assert.match(error.message, /^ipset: not installed; .*guard/m);
      assert.match(error.message, /^conntrack: not installed; .*release/m);
      assert.match(error.message, /apt-get install ipset conntrack$/m);
      return true;
    });
  });

  it('does without the tools of a family that has no lease address, and says so', async () => {
    const names = async (run: RunChild, addresses: string[]): Promise<string[]> => (await requireTools(run, addresses)).map(({ name }) => name);
    assert.deepEqual(await names(without('ip6tables-save', 'ip6tables-restore'), ['10.0.0.1']), ['ip6tables-save', 'ip6tables-restore']);
    assert.deepEqual(await names(without('iptables-save'), ['fd00::1']), ['iptables-save']);
    await assert.rejects(requireTools(without('ip6tables-save'), ['10.0.0.1', 'fd00::1']), StartRefused);
    await assert.rejects(requireTools(without('iptables-save'), ['10.0.0.1']), StartRefused);
  });

  it('wants the lock, and gives a command line that can be copied', () => {
    const dir = mkdtempSync(join(tmpdir(), 'portlease-lock-'));
    try {
      const path = join(dir, 'run', "it's", 'agent.lock');
      assert.throws(() => requireLock(path, ['/usr/bin/node', 'main.js', '--set', 'a=b c']), (error: Error) => {
        assert.ok(error instanceof StartRefused && error.exitCode === EXIT.lock);
        assert.ok(error.message.includes(`75 '${dir}/run/it'\\''s/agent.lock' /usr/bin/node main.js --set 'a=b c'`), error.message);
        return true;
      });
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it('finds its version from wherever it lies in the package', () => {
    assert.match(packageVersion(import.meta.dirname), /^\d+\.\d+\.\d+/);
    assert.throws(() => packageVersion('/'), /no package.json of portlease/);
  });
});
