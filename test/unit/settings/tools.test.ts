import assert from 'node:assert/strict';
import { ChildFailed, type RunChild } from '../../../agent/drivers/child.js';
import { describeMissing, missingTools } from '../../../agent/drivers/settings/tools.js';

function without(...absent: string[]): RunChild {
  return (file, argv) => absent.includes(file)
    ? Promise.reject(new ChildFailed(file, argv, { exitCode: 127, signal: null, stderr: '', timedOut: false }))
    : Promise.resolve({ stdout: '', stderr: '' });
}

describe('the check of tools', () => {
  it('finds nothing missing where all are there', async () => {
    assert.deepEqual(await missingTools(without()), []);
  });

  it('names each missing one, its Debian package and what is lost, and how to get them', async () => {
    const missing = await missingTools(without('conntrack', 'ip6tables-restore', 'ip6tables-save'));
    assert.deepEqual(missing.map(({ name, debianPackage, problem }) => [name, debianPackage, problem]),
      [['ip6tables-save', 'iptables', 'not installed'], ['ip6tables-restore', 'iptables', 'not installed'], ['conntrack', 'conntrack', 'not installed']]);
    const text = describeMissing(missing);
    assert.match(text, /^conntrack: not installed; without it is lost: ending connections/m);
    assert.match(text, /^Install: apt-get install iptables conntrack$/m);
  });

  it('names one that is there and does not work, with what it said', async () => {
    const failure = new ChildFailed('ipset', ['list', '-n'], { exitCode: 1, signal: null, stderr: 'Kernel error received: Operation not permitted', timedOut: false });
    const missing = await missingTools((file) => file === 'ipset' ? Promise.reject(failure) : Promise.resolve({ stdout: '', stderr: '' }));
    assert.deepEqual(missing.map(({ name }) => name), ['ipset']);
    assert.match(missing[0]?.problem ?? '', /not permitted/);
  });
});
