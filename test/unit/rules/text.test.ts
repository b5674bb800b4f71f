import assert from 'node:assert/strict';
import { sameRule, wordsOf } from '../../../agent/drivers/rules/text.js';

const SAME: readonly [string, string, string][] = [
  ['a mask that says nothing', '-d 10.1.1.1/32 -j X', '-d 10.1.1.1 -j X'],
  ['a mask of IPv6 that says nothing', '-d fd00::1/128 -j X', '-d fd00::1 -j X'],
  ['modules that their options name', '-p tcp -m tcp --dport 80 -j X', '-p tcp --dport 80 -j X'],
  ['the order of matches', '-p tcp -m comment --comment "a:b" -m tcp --dport 80 -j X', '-p tcp -m tcp --dport 80 -m comment --comment "a:b" -j X'],
  ['quotes', '-m comment --comment abc -j X', '-m comment --comment "abc" -j X'],
  ['protocol numbers', '-m conntrack --ctproto 6 -j X', '-m conntrack --ctproto tcp -j X'],
  ['the order of states', '-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j X', '-m conntrack ! --ctstate DNAT,ESTABLISHED,RELATED -j X'],
  ['what connlimit counts by when nothing is said', '-m connlimit --connlimit-above 5 --connlimit-mask 0 --connlimit-saddr -j X', '-m connlimit --connlimit-above 5 --connlimit-mask 0 -j X'],
  ['a mask of a client that says nothing', '-s 10.1.1.1/32 -g X', '-s 10.1.1.1 -g X'],
  ['a range of one port', '-p udp -m udp --dport 80:80 -j X', '-p udp -m udp --dport 80 -j X'],
];

const DIFFERENT: readonly [string, string, string][] = [
  ['a negation', '-m conntrack ! --ctstate NEW -j X', '-m conntrack --ctstate NEW -j X'],
  ['a mask that says something', '-d 10.1.1.0/24 -j X', '-d 10.1.1.0 -j X'],
  ['jump and goto', '-p tcp -j X', '-p tcp -g X'],
  ['another match', '-p tcp -m socket -j X', '-p tcp -j X'],
  ['the generation in the comment', '-m comment --comment "portlease:m:g1" -j X', '-m comment --comment "portlease:m:g2" -j X'],
  ['how many connections there may be', '-m connlimit --connlimit-above 5 --connlimit-mask 0 -j X', '-m connlimit --connlimit-above 4 --connlimit-mask 0 -j X'],
  ['the network of clients', '-s 10.0.0.0/8 -g X', '-s 10.0.0.0/9 -g X'],
  ['direction of a set match', '-m set --match-set a src -j X', '-m set --match-set a dst -j X'],
];

describe('equality of rules', () => {
  for (const [what, a, b] of SAME) it(`does not mind ${what}`, () => assert.equal(sameRule(a, b), true));
  for (const [what, a, b] of DIFFERENT) it(`minds ${what}`, () => assert.equal(sameRule(a, b), false));

  it('reads quotes and backslashes as iptables-save writes them', () => {
    assert.deepEqual(wordsOf('-m comment --comment "a \\"b\\" -j c\\\\" -j X'), ['-m', 'comment', '--comment', 'a "b" -j c\\', '-j', 'X']);
  });
});
