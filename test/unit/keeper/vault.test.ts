import assert from 'node:assert/strict';
import { CredentialVault } from '../../../coordinator/keeper/vault.js';
import type { EnvironmentReport } from '../../../shared/container.js';

const credentials = [{ name: 'ssh', variables: ['SSH_PASSWORD'], value: 'x'.repeat(32) }];
const report = (of: Partial<EnvironmentReport> = {}): EnvironmentReport => (
  { environment: 'e', generation: 5, state: 'started', step: 'run', reason: '', message: '', percent: 0, containerId: '', rotation: 0, credentials, ...of });
const KEY = { environment: 'e', host: 'a', generation: 5, rotation: 0 };

describe('the vault of credentials', () => {
  it('gives them out once, and only those that are asked for', () => {
    const vault = new CredentialVault();
    vault.hear('a', [report()]);
    for (const other of [{ environment: 'f' }, { host: 'b' }, { generation: 6 }, { rotation: 1 }]) assert.equal(vault.take({ ...KEY, ...other }), undefined);
    assert.deepEqual(vault.take(KEY), credentials);
    assert.equal(vault.take(KEY), undefined);
  });

  it('forgets what was rotated, and what its host does not tell any more', () => {
    const vault = new CredentialVault();
    vault.hear('a', [report(), report({ rotation: 1 })]);
    assert.equal(vault.take(KEY), undefined);
    vault.hear('b', [report({ credentials: [] })]);
    vault.hear('a', [report({ credentials: [], state: 'removed' })]);
    assert.equal(vault.take({ ...KEY, rotation: 1 }), undefined);
  });

  it('tells who waits for them, until they do no more', () => {
    const vault = new CredentialVault();
    let calls = 0;
    const stop = vault.watch('e', () => { calls += 1; });
    vault.hear('a', [report(), report({ environment: 'f' })]);
    stop();
    vault.hear('a', [report()]);
    assert.equal(calls, 1);
  });
});
