import assert from 'node:assert/strict';
import { portlease } from './world.js';

async function candidates(...words: string[]): Promise<string[]> {
  const { exitCode, out } = await portlease(['__complete', '--', ...words]);
  assert.equal(exitCode, 0);
  return out.split('\n').filter((line) => line !== '');
}

describe('completion', () => {
  it('offers commands, and commands of commands', async () => {
    assert.deepEqual(await candidates('re'), ['release']);
    assert.deepEqual(await candidates('pools', ''), ['show', 'create', 'update', 'delete']);
    assert.deepEqual(await candidates('hosts', 're'), ['replace', 'reclaim']);
    assert.deepEqual(await candidates('hosts', 'co'), ['cordon']);
    assert.deepEqual(await candidates('tunnels', 're'), ['restart', 'remove']);
    assert.ok((await candidates('')).includes('status'));
  });

  it('offers the flags of the command and those of every command', async () => {
    assert.deepEqual(await candidates('pools', 'create', 'ssh', '--pro'), ['--protocol']);
    assert.ok((await candidates('list', '--')).includes('--json'));
    assert.deepEqual(await candidates('show', '--tenant'), []);
  });

  it('offers the values of a flag', async () => {
    assert.deepEqual(await candidates('pools', 'create', '--protocol', ''), ['tcp', 'udp', 'tcp+udp']);
    assert.deepEqual(await candidates('allocate', 'env-1', '--wait', ''), ['recorded', 'live', 'verified']);
    assert.deepEqual(await candidates('release', 'env-1', '--wait', 're'), ['recorded', 'released']);
    assert.deepEqual(await candidates('tunnels', 'create', '--engine', ''), ['autossh', 'ssh']);
    assert.deepEqual(await candidates('allocate', '--host', ''), []);
  });

  it('goes on after the value of a flag, whatever that value is', async () => {
    assert.deepEqual(await candidates('--server', 'pools', 'host'), ['hosts']);
    assert.deepEqual(await candidates('pools', '--gateway', 'create', 'de'), ['delete']);
  });

  it('offers the shells', async () => {
    assert.deepEqual(await candidates('completion', ''), ['bash', 'zsh', 'fish']);
  });

  it('survives words that mean nothing', async () => {
    assert.deepEqual(await candidates('nonsense', '--what', '$(id)', 'a\0b'), []);
    assert.deepEqual((await portlease(['__complete'])).exitCode, 0);
  });

  for (const shell of ['bash', 'zsh', 'fish']) {
    it(`has a script for ${shell} that asks for candidates`, async () => {
      const { exitCode, out } = await portlease(['completion', shell]);
      assert.equal(exitCode, 0);
      assert.match(out, /portlease __complete -- /);
    });
  }
});
