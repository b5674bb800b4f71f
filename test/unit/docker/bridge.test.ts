import assert from 'node:assert/strict';
import fc from 'fast-check';
import { changedTable, parseTable, wholeTable, type Ports } from '../../../agent/drivers/bridge/table.js';

const address = fc.constantFrom('172.17.0.2', '172.17.0.3', '10.0.0.9', 'fd99::2', 'fd99::3');
const ports: fc.Arbitrary<Ports> = fc.array(fc.tuple(address, fc.constantFrom(undefined, 'veth1', 'veth2'))).map((entries) => new Map(entries));

/** What the lines make of sets of "bound ADDRESS" and "place ADDRESS PORT"; fails where nft would: on what is there already, or is not. */
function carriedOut(script: string, before: ReadonlySet<string>): Set<string> {
  const after = new Set(before);
  for (const [, verb, set, element] of script.matchAll(/^(add|delete) element bridge portlease (bound|place)[46] \{ (.*) \}$/gm)) {
    const key = `${set} ${element}`;
    assert.equal(after.has(key), verb === 'delete', key);
    if (verb === 'delete') after.delete(key);
    else after.add(key);
  }
  return after;
}

const contentOf = (all: Ports): Set<string> => new Set([...all].flatMap(([one, port]) => [`bound ${one}`, ...(port === undefined ? [] : [`place ${one} . "${port}"`])]));

describe('the table of the bridge guard', () => {
  it('is led from one content to another without a line too many', () => {
    fc.assert(fc.property(ports, ports, (before, after) => {
      assert.deepEqual(carriedOut(changedTable(before, after), contentOf(before)), contentOf(after));
    }));
  });

  it('is made as a whole with the same content, whatever was there', () => {
    fc.assert(fc.property(ports, (all) => {
      const script = wholeTable(all, 27);
      assert.ok(script.includes('meta mark & 0x8000000 == 0 accept') && script.includes('flush set bridge portlease place6'));
      assert.deepEqual(carriedOut(script, new Set()), contentOf(all));
    }));
  });

  it('is not taken for one of ours when rules or sets are missing', () => {
    const set = (name: string, elem: unknown[] = []) => ({ set: { name, elem } });
    const rules = [{ rule: { expr: [] } }, { rule: { expr: [] } }, { rule: { expr: [] } }];
    const sets = [set('bound4', ['172.17.0.2']), set('bound6'), set('place4', [{ concat: ['172.17.0.2', 'veth1'] }]), set('place6')];
    assert.deepEqual(parseTable(JSON.stringify({ nftables: [...sets, ...rules] })), new Map([['172.17.0.2', 'veth1']]));
    assert.equal(parseTable(JSON.stringify({ nftables: [...sets, ...rules.slice(1)] })), undefined);
    assert.equal(parseTable(JSON.stringify({ nftables: [...sets.slice(1), ...rules] })), undefined);
    assert.equal(parseTable('{}'), undefined);
  });
});
