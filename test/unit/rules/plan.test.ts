import assert from 'node:assert/strict';
import fc from 'fast-check';
import { emptyFamily, parseSave } from '../../../agent/drivers/rules/parse.js';
import { afterwards, planFamily } from '../../../agent/drivers/rules/plan.js';
import { checkedSpec } from '../../../agent/drivers/rules/checked.js';
import { renderFamily, type DesiredFamily, type FamilyContext } from '../../../agent/drivers/rules/render.js';
import { FAMILIES, type RulesSpec } from '../../../agent/drivers/rules/spec.js';
import { TABLES } from '../../../agent/drivers/rules/layout.js';
import { KernelModel } from './kernel-model.js';
import { anySpec, forward, spec } from './specs.js';

const rendered = (wanted: RulesSpec, context: FamilyContext): DesiredFamily => renderFamily(checkedSpec(wanted), context);
const desiredOf = (wanted: RulesSpec, model: KernelModel, family: 'v4' | 'v6' = 'v4'): DesiredFamily =>
  rendered(wanted, { family, hook: parseSave(model.save()).docker ? 'DOCKER-USER' : 'FORWARD' });

function bring(model: KernelModel, wanted: RulesSpec, family: 'v4' | 'v6' = 'v4'): number {
  const { script, changed } = planFamily(desiredOf(wanted, model, family), parseSave(model.save()));
  model.restore(script);
  return changed;
}

function assertReached(model: KernelModel, desired: DesiredFamily): void {
  const observed = parseSave(model.save());
  for (const table of TABLES) {
    const sorted = (chains: ReadonlyMap<string, readonly string[]>): unknown => [...chains].map(([chain, rules]) => [chain, [...rules].sort()]).sort();
    assert.deepEqual(sorted(observed[table].chains), sorted(desired[table].chains), table);
    assert.deepEqual(observed[table].jumps.map(each => `${each.chain} ${each.rule}`).sort(), desired[table].jumps.map(each => `${each.chain} ${each.rule}`).sort());
  }
  assert.equal(planFamily(desired, observed).script, '');
}

const foreign = (model: KernelModel): unknown =>
  Array.from(model.tables, ([table, chains]) => Array.from(chains, ([chain, rules]) => [table, chain, rules.filter(rule => !rule.includes('PORTLEASE'))]).filter(([, chain]) => !(chain as string).startsWith('PORTLEASE')));

type Harm = { kind: 'flushTable' | 'flushChain' | 'deleteRule' | 'doubleRule' | 'insertForeign' | 'intoOwn' | 'dropAll'; at: number };
const anyHarm: fc.Arbitrary<Harm> = fc.record({
  kind: fc.constantFrom<Harm['kind']>('flushTable', 'flushChain', 'deleteRule', 'doubleRule', 'insertForeign', 'intoOwn', 'dropAll'), at: fc.nat(),
});

function doHarm(model: KernelModel, { kind, at }: Harm): void {
  const table = model.table(TABLES[at % 3] as string);
  const chains = [...table.values()];
  const chain = chains[at % chains.length] as string[];
  const place = at % Math.max(chain.length, 1);
  const own = [...table].filter(([name]) => name.startsWith('PORTLEASE'));
  switch (kind) {
    case 'flushTable': for (const each of chains) each.length = 0; break;
    case 'flushChain': chain.length = 0; break;
    case 'deleteRule': chain.splice(place, 1); break;
    case 'doubleRule': if (chain[place] !== undefined) chain.push(chain[place]); break;
    case 'insertForeign': (table.get('OUTPUT') ?? chain).splice(0, 0, `-s 192.0.2.${at % 200}/32 -j ACCEPT`); break;
    case 'intoOwn': own[at % Math.max(own.length, 1)]?.[1].push('-j RETURN'); break;
    case 'dropAll':
      for (const each of chains) each.length = 0;
      for (const [name] of own) table.delete(name);
      break;
    default: throw new Error(kind satisfies never);
  }
}

describe('plans of rules', () => {
  it('bring whatever is there to what is wanted, leave foreign rules alone, and then have nothing more to do', () => {
    fc.assert(fc.property(anySpec, fc.array(anyHarm, { maxLength: 6 }), anySpec, fc.constantFrom(...FAMILIES), (first, harms, second, family) => {
      const model = new KernelModel();
      model.rules('nat', 'PREROUTING').push('-p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.5.5.5:80');
      bring(model, first, family);
      assertReached(model, desiredOf(first, model, family));
      for (const harm of harms) doHarm(model, harm);
      const others = JSON.stringify(foreign(model));
      bring(model, second, family);
      assertReached(model, desiredOf(second, model, family));
      assert.equal(JSON.stringify(foreign(model)), others);
    }), { numRuns: 300 });
  });

  it('made without looking bring what was last applied to what is wanted', () => {
    fc.assert(fc.property(anySpec, anySpec, (first, second) => {
      const model = new KernelModel();
      const one = desiredOf(first, model);
      model.restore(planFamily(one, emptyFamily()).script);
      const two = rendered(second, { family: 'v4', hook: 'FORWARD', before: one });
      model.restore(planFamily(two, afterwards(one, emptyFamily())).script);
      assertReached(model, two);
    }), { numRuns: 200 });
  });

  it('only append when something is added', () => {
    const one = rendered(spec({ forwards: [forward()] }), { family: 'v4', hook: 'FORWARD' });
    const two = rendered(spec({ forwards: [forward({ port: 30_000, id: 'm-0' }), forward()] }), { family: 'v4', hook: 'FORWARD' });
    assert.equal(planFamily(two, afterwards(one, emptyFamily())).script, [
      '*nat', '-A PORTLEASE-T753 -p tcp -m tcp --dport 30000 -m comment --comment "portlease:m-0:g5" -j DNAT --to-destination 10.0.0.2:80', 'COMMIT', '',
    ].join('\n'));
  });

  it('write a chain anew, in the same transaction, when one of its rules has to go', () => {
    const one = rendered(spec({ forwards: [forward(), forward({ port: 30_002, id: 'm-2' })] }), { family: 'v4', hook: 'FORWARD' });
    const two = rendered(spec({ forwards: [forward({ port: 30_002, id: 'm-2' })] }), { family: 'v4', hook: 'FORWARD' });
    assert.deepEqual(planFamily(two, afterwards(one, emptyFamily())).script.split('\n'), ['*nat', ':PORTLEASE-T753 - [0:0]',
      '-A PORTLEASE-T753 -p tcp -m tcp --dport 30002 -m comment --comment "portlease:m-2:g5" -j DNAT --to-destination 10.0.0.2:80', 'COMMIT', '']);
  });

  it('write a chain anew whose order matters, when its rules stand in another one', () => {
    const model = new KernelModel();
    bring(model, spec());
    const right = [...model.rules('mangle', 'PORTLEASE-CUT')];
    assert.match(right[0] ?? '', /SYN -j RETURN$/, 'a SYN passes before anything is dropped');
    assert.equal(right.findIndex(rule => rule.includes('-j DROP')), right.findLastIndex(rule => rule.includes('-j SET')) + 1, 'a flow is renewed before its packet is dropped');
    for (const wrong of [right.toReversed(), [...right.slice(1), ...right.slice(0, 1)], ['-j ACCEPT', ...right], right.slice(1)]) {
      model.table('mangle').set('PORTLEASE-CUT', [...wrong]);
      assert.ok(bring(model, spec()) > 0);
      assert.deepEqual(model.rules('mangle', 'PORTLEASE-CUT'), right);
    }
  });

  it('remove chains that became empty', () => {
    const model = new KernelModel();
    bring(model, spec({ forwards: [forward(), forward({ port: 40_000, id: 'm-2' })] }));
    bring(model, spec({ forwards: [forward()] }));
    assert.deepEqual([...model.table('nat').keys()].filter(name => name.startsWith('PORTLEASE-T')).sort(), ['PORTLEASE-T', 'PORTLEASE-T7', 'PORTLEASE-T75', 'PORTLEASE-T753']);
  });

  it('move the jump to DOCKER-USER once FORWARD leads there, and back when it does no more', () => {
    const model = new KernelModel();
    bring(model, spec());
    model.table('filter').set('DOCKER-USER', ['-j RETURN']);
    assert.equal(bring(model, spec()), 0);
    model.rules('filter', 'FORWARD').unshift('-j DOCKER-USER');
    bring(model, spec());
    assert.deepEqual([model.rules('filter', 'FORWARD'), model.rules('filter', 'DOCKER-USER')], [['-j DOCKER-USER'], ['-j PORTLEASE-FORWARD', '-j RETURN']]);
    model.rules('filter', 'FORWARD').length = 0;
    bring(model, spec());
    assert.deepEqual([model.rules('filter', 'FORWARD'), model.rules('filter', 'DOCKER-USER')], [['-j PORTLEASE-FORWARD'], ['-j RETURN']]);
  });

  it('leave a foreign jump to an own chain, and the chain, and say so', () => {
    const model = new KernelModel();
    bring(model, spec({ forwards: [forward()] }));
    model.table('nat').set('THEIRS', ['-p tcp -j PORTLEASE-T']);
    model.rules('nat', 'PREROUTING').push('-s 192.0.2.9/32 -j PORTLEASE');
    assert.equal(bring(model, spec({ forwards: [forward()] })), 0);
    bring(model, { ...spec(), addresses: [] });
    assert.deepEqual(parseSave(model.save()).nat, {
      chains: new Map([['PORTLEASE', []], ['PORTLEASE-T', []]]), jumps: [],
      strays: [{ chain: 'THEIRS', rule: '-p tcp -j PORTLEASE-T' }, { chain: 'PREROUTING', rule: '-s 192.0.2.9/32 -j PORTLEASE' }],
    });
    assert.equal(bring(model, { ...spec(), addresses: [] }), 0);
  });
});

describe('what iptables-save says', () => {
  it('is not guessed when the tool could not read a table', () => {
    assert.throws(() => parseSave("# Table `nat' is incompatible, use 'nft' tool.\n"), /cannot read the table nat/);
    assert.doesNotThrow(() => parseSave("# Table `raw' is incompatible, use 'nft' tool.\n"));
  });

  it('is read in well under 50 ms at 10,000 rules', () => {
    const model = new KernelModel();
    bring(model, spec({ forwards: Array.from({ length: 10_000 }, (_, i) => forward({ port: 20_000 + i, id: `m-${i}` })) }));
    const text = model.save();
    const times = Array.from({ length: 7 }, () => { const start = performance.now(); parseSave(text); return performance.now() - start; });
    assert.ok(Math.min(...times) < 50, times.join(' '));
  });
});

describe('the guard beside a proxy', () => {
  const guardOf = (proxied: RulesSpec['proxied']): readonly string[] | undefined => rendered(spec({ proxied }), { family: 'v4', hook: 'FORWARD' }).mangle.chains.get('PORTLEASE-GUARD');

  it('lets clients in where the proxy serves, and nowhere else (S7)', () => {
    assert.deepEqual(guardOf([]), guardOf([{ transport: 'tcp', ports: { first: 30_000, last: 30_001 } }]));
    assert.deepEqual(guardOf([]), ['tcp', 'udp'].map(transport => `-p ${transport} -m set --match-set portlease-guard-${transport} dst -m set ! --match-set portlease-proxied-${transport} dst -j DROP`));
  });

  it('asks no such set where there is no proxy', () => {
    assert.deepEqual(guardOf(undefined), ['tcp', 'udp'].map(transport => `-p ${transport} -m set --match-set portlease-guard-${transport} dst -j DROP`));
  });

  it('is another one as soon as there is a proxy', () => {
    const before = rendered(spec(), { family: 'v4', hook: 'FORWARD' });
    assert.match(rendered(spec({ proxied: [] }), { family: 'v4', hook: 'FORWARD', before }).mangle.chains.get('PORTLEASE-GUARD')?.join() ?? '', /proxied/);
  });
});
