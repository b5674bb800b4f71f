import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Forwards } from '../../../agent/drivers/rules/forwards.js';
import { treeChanges } from '../../../agent/drivers/rules/tree.js';
import { PersistentMap } from '../../../agent/persistent/map.js';
import { PortMap } from '../../../agent/persistent/ports.js';
import type { Forward } from '../../../agent/drivers/rules/spec.js';
import { anySpec, forward } from './specs.js';

type Tree = { forwards: PortMap<Forward>; chains: PersistentMap<readonly string[]> };

function growTree(forwards: readonly Forward[], before: Tree = { forwards: PortMap.empty(), chains: PersistentMap.empty() }): Tree {
  const ports = Forwards.of(forwards).of('v4').ports.tcp;
  return { forwards: ports, chains: before.chains.with(treeChanges('tcp', before.forwards, ports)) };
}

const rules = (tree: Tree): string[] => Array.from(tree.chains, ([chain, each]) => each.map(rule => `${chain} ${rule}`)).flat();
const chains = (...forwards: Forward[]): string[] => [...growTree(forwards).chains.keys()].sort();

/** Where a packet to this port is led, and how many rules it meets on the way. */
function walk(tree: Tree, port: number): { to: string | undefined; met: number } {
  let met = 0;
  const visit = (chain: string): string | undefined => {
    for (const rule of tree.chains.get(chain) ?? []) {
      met++;
      const [, first, last] = /--dport (\d+):?(\d+)?/.exec(rule) as unknown as [string, string, string | undefined];
      if (port < Number(first) || port > Number(last ?? first)) continue;
      const next = /-g (\S+)$/.exec(rule)?.[1];
      return next === undefined ? /"portlease:(\S+):g\d+"/.exec(rule)?.[1] : visit(next);
    }
    return undefined;
  };
  return { to: visit('PORTLEASE-T'), met };
}

describe('the dispatch tree', () => {
  it('puts a port into the chain of its block of 16, below those of 256 and 4,096', () => {
    assert.deepEqual(rules(growTree([forward({ port: 0x7531 })])).sort(), [
      'PORTLEASE-T -p tcp -m tcp --dport 28672:32767 -g PORTLEASE-T7',
      'PORTLEASE-T7 -p tcp -m tcp --dport 29952:30207 -g PORTLEASE-T75',
      'PORTLEASE-T75 -p tcp -m tcp --dport 30000:30015 -g PORTLEASE-T753',
      'PORTLEASE-T753 -p tcp -m tcp --dport 30001 -m comment --comment "portlease:m-1:g5" -j DNAT --to-destination 10.0.0.2:80',
    ]);
  });

  it('needs no chain for no forward', () => {
    assert.deepEqual(chains(), []);
  });

  it('puts a range that fills a block into the chain above', () => {
    assert.deepEqual(chains(forward({ ports: { first: 0x7500, last: 0x75ff }, toPort: undefined })), ['PORTLEASE-T', 'PORTLEASE-T7']);
    assert.deepEqual(chains(forward({ ports: { first: 0x7530, last: 0x753f }, toPort: undefined })), ['PORTLEASE-T', 'PORTLEASE-T7', 'PORTLEASE-T75']);
    assert.deepEqual(chains(forward({ ports: { first: 1, last: 65_535 }, toPort: undefined })), ['PORTLEASE-T']);
  });

  it('makes one rule of many whole blocks, and cuts only at the edges', () => {
    const dnat = rules(growTree([forward({ ports: { first: 30_000, last: 30_255 }, toPort: undefined })])).filter(rule => rule.includes('DNAT')).sort();
    assert.deepEqual(dnat.map(rule => rule.split(' -m comment')[0]), [
      'PORTLEASE-T75 -p tcp -m tcp --dport 30000:30207', 'PORTLEASE-T76 -p tcp -m tcp --dport 30208:30255',
    ]);
  });

  it('leads every port to its forward and no other, past at most 64 rules', () => {
    fc.assert(fc.property(anySpec, fc.array(fc.integer({ min: 1, max: 65_535 }), { minLength: 10, maxLength: 10 }), (spec, ports) => {
      const forwards = [...spec.forwards].filter(({ transport, to }) => transport === 'tcp' && to.includes('.')).map(one => ({ ...one, limits: undefined }));
      const tree = growTree(forwards);
      for (const port of [...ports, ...forwards.flatMap(each => [each.ports.first, each.ports.last, Math.max(1, each.ports.first - 1)])]) {
        const owner = forwards.find(each => each.ports.first <= port && port <= each.ports.last);
        const { to, met } = walk(tree, port);
        assert.equal(to, owner?.id, `port ${port}`);
        assert.ok(met <= 64, `port ${port} meets ${met} rules`);
      }
      assert.ok([...tree.chains.values()].every(chain => chain.length >= 1 && chain.length <= 16));
    }), { numRuns: 200 });
  });

  it('grown from an earlier tree is the same as grown anew', () => {
    fc.assert(fc.property(anySpec, anySpec, (a, b) => {
      const [one, two] = [a, b].map(spec => [...spec.forwards].filter(({ transport, to }) => transport === 'tcp' && to.includes('.'))) as [Forward[], Forward[]];
      const both = [...two, ...one.filter(each => !two.some(other => other.ports.first <= each.ports.last && each.ports.first <= other.ports.last))];
      const before = growTree(one);
      const copies = JSON.stringify(rules(before));
      assert.deepEqual(new Map(growTree(both, before).chains), new Map(growTree(both).chains));
      assert.equal(JSON.stringify(rules(before)), copies, 'the earlier tree must stay as it was');
    }), { numRuns: 200 });
  });

  it('takes the leaves that did not change from the earlier tree', () => {
    const forwards = [forward({ port: 30_001 }), forward({ port: 40_001, id: 'm-2' })];
    const before = growTree(forwards);
    const after = growTree([...forwards, forward({ port: 40_002, id: 'm-3' })], before);
    assert.equal(after.chains.get('PORTLEASE-T753'), before.chains.get('PORTLEASE-T753'));
    assert.notDeepEqual(after.chains.get('PORTLEASE-T9c4'), before.chains.get('PORTLEASE-T9c4'));
  });
});
