import assert from 'node:assert/strict';
import { ChildFailed } from '../../../agent/drivers/child.js';
import { readFailure, RulesError, type RulesProblem } from '../../../agent/drivers/rules/errors.js';

/** As iptables 1.8.9 and ipset 7.17 say it. */
const SAID: readonly [string, string, RulesProblem, RegExp][] = [
  ['iptables-restore', "iptables-restore v1.8.9 (nf_tables): Set portlease-cut4 doesn't exist.\n\nError occurred at line: 2\n", 'setMissing', /the ipset portlease-cut4 does not exist/],
  ['iptables-restore', 'iptables-restore: line 2 failed: No chain/target/match by that name.\n', 'chainMissing', /not as they were last seen/],
  ['iptables-restore', "iptables-restore v1.8.9 (nf_tables): Chain 'PORTLEASE-T7' does not exist\nError occurred at line: 3\n", 'chainMissing', /PORTLEASE-T7/],
  ['iptables-restore', 'iptables-restore: line 2 failed: Bad rule (does a matching rule exist in that chain?).\n', 'chainMissing', /Bad rule/],
  ['iptables-restore', 'iptables-restore v1.8.9 (nf_tables): \nline 2: CHAIN_DEL failed (Device or resource busy): chain PORTLEASE-SNAT\n', 'chainMissing', /busy/],
  ['iptables-restore', "iptables-restore v1.8.9 (nf_tables): Can't open socket to ipset.\n", 'notPermitted', /iptables-restore is not permitted: the agent needs root/],
  ['iptables-save', 'iptables-save v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)\n', 'notPermitted', /needs root/],
  ['ipset', 'ipset v7.17: Kernel error received: Operation not permitted\n', 'notPermitted', /ipset is not permitted/],
  ['ipset', 'ipset v7.17: Error in line 5: Kernel error received: set type not supported\n', 'moduleMissing', /set type not supported/],
  ['ipset', 'ipset v7.17: Error in line 1: The set with the given name does not exist\n', 'setMissing', /does not exist/],
  ['ipset', 'ipset v7.17: Error in line 1: Set cannot be created: set with the same name already exists\n', 'setOfOtherType', /another type/],
  ['ipset', 'ipset v7.17: Error in line 1: Set cannot be destroyed: it is in use by a kernel component\n', 'setInUse', /not portlease's/],
  ['ipset', 'something new\n', 'rejected', /ipset restore: exit status 1: something new/],
];

describe('what the tools say', () => {
  const child = (file: string, fields: { stderr?: string; exitCode?: number; timedOut?: boolean }): ChildFailed =>
    new ChildFailed(file, ['restore'], { exitCode: 1, signal: null, stderr: '', timedOut: false, ...fields });
  const read = (error: unknown, file: string): RulesError => {
    const result = readFailure(error, file);
    assert.ok(result instanceof RulesError);
    return result;
  };

  for (const [file, stderr, problem, message] of SAID) {
    it(`is read: ${stderr.trim().split('\n').filter(line => !line.startsWith('Error')).join(' ')}`, () => {
      const error = read(child(file, { stderr }), file);
      assert.equal(error.problem, problem);
      assert.match(error.message, message);
    });
  }

  it('is told apart from a missing program, a deadline and an error of our own', () => {
    assert.equal(read(child('timeout', { exitCode: 127 }), 'ipset').message, 'ipset is not installed');
    assert.equal(read(child('ipset', { timedOut: true }), 'ipset').problem, 'timedOut');
    const own = new TypeError('ours');
    assert.equal(readFailure(own, 'ipset'), own);
  });
});
