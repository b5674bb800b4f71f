import assert from 'node:assert/strict';
import fc from 'fast-check';
import { clientsOf } from '../../../agent/drivers/connections/clients.js';
import type { Endpoint } from '../../../agent/drivers/connections/connections.js';
import { changes, lostPlaces, merge, Serving, type Served } from '../../../agent/reconcile/serving.js';
import { PortSet } from '../../../agent/reconcile/portset.js';

const A: Endpoint[] = [{ address: '10.2.0.5', port: 22 }];
const B: Endpoint[] = [{ address: '10.2.0.6', port: 22 }];
const served = (first: number, last: number, endpoints: Endpoint[]): Served => ({ transport: 'tcp', ports: { first, last }, endpoints });

describe('what must be cut when the serving changes', () => {
  it('is nothing when every port leads where it led', () => {
    assert.deepEqual(changes(Serving.of([served(30_000, 30_009, A)]), Serving.of([served(30_000, 30_004, [...A]), served(30_005, 30_009, [...A])]), 1), []);
  });

  it('is a port that leads elsewhere, with where it led', () => {
    assert.deepEqual(changes(Serving.of([served(30_000, 30_009, A)]), Serving.of([served(30_000, 30_009, B)]), 7),
      [{ transport: 'tcp', ports: { first: 30_000, last: 30_009 }, from: A, dropMs: 7 }]);
  });

  it('is a port that leads nowhere any more, and one that leads somewhere for the first time', () => {
    assert.deepEqual(changes(Serving.of([served(30_000, 30_001, A)]), Serving.of([served(30_001, 30_002, A)]), 7), [
      { transport: 'tcp', ports: { first: 30_000, last: 30_000 }, from: A, dropMs: 7 },
      { transport: 'tcp', ports: { first: 30_002, last: 30_002 }, from: [], dropMs: 7 },
    ]);
  });

  it('does not drop the packets of an address that is still served when a family is added', () => {
    const both = [...A, { address: 'fd02::5', port: 22 }];
    assert.deepEqual(changes(Serving.of([served(1, 1, A)]), Serving.of([served(1, 1, both)]), 7)[0]?.from, []);
  });
});

describe('places that are for some clients only', () => {
  const forClients = (network: string, maxConnections = 0): Endpoint[] => [{ address: '10.2.0.5', port: 22, clients: clientsOf({ networks: [network], maxConnections }, 4) }];
  const cutsOf = (before: Endpoint[], after: Endpoint[]): unknown => changes(Serving.of([served(1, 1, before)]), Serving.of([served(1, 1, after)]), 7);

  it('are gone through when who may be there changes, and nothing of the target itself is dropped', () => {
    const expected = [{ transport: 'tcp', ports: { first: 1, last: 1 }, from: [], dropMs: 7, isForClients: true }];
    for (const after of [forClients('10.1.0.0/16'), forClients('10.0.0.0/8', 1), A]) assert.deepEqual(cutsOf(forClients('10.0.0.0/8'), after), expected);
    assert.deepEqual(cutsOf(A, forClients('10.0.0.0/8')), expected);
  });

  it('are left alone while that is the same', () => {
    assert.deepEqual(cutsOf(forClients('10.0.0.0/8', 2), forClients('10.0.0.0/8', 2)), []);
  });
});

const place = fc.constantFrom<Endpoint[]>(A, B, [...A, ...B], [{ address: '10.2.0.5', port: 23 }]);
const serving = fc.array(fc.record({ transport: fc.constantFrom('tcp' as const, 'udp' as const), at: fc.nat(40), size: fc.nat(5), endpoints: place }))
  .map(list => list.map(({ transport, at, size, endpoints }) => ({ transport, ports: { first: 30_000 + at, last: 30_000 + at + size }, endpoints })));
const text = (endpoints: readonly Endpoint[]): string => endpoints.map(({ address, port }) => `${address} ${port}`).sort().join();

describe('for any two servings', () => {
  it('a port is cut exactly when the places that it leads to differ, and the lost ones are named', () => {
    fc.assert(fc.property(serving, serving, (a, b) => {
      const [before, after] = [Serving.of(a), Serving.of(b)];
      const cuts = changes(before, after, 1);
      for (const transport of ['tcp', 'udp'] as const) {
        for (let port = 30_000; port < 30_050; port++) {
          const [old, fresh] = [before.endpoints(transport, port), after.endpoints(transport, port)];
          const cut = cuts.filter(one => one.transport === transport && one.ports.first <= port && port <= one.ports.last);
          assert.equal(cut.length, text(old) === text(fresh) ? 0 : 1);
          const lost = old.filter(one => !text(fresh).includes(text([one])));
          if (cut[0] !== undefined) assert.equal(text(cut[0].from), text(lost));
          assert.equal(text(lostPlaces(before, after, { transport, ports: { first: port, last: port } })), text(lost));
        }
      }
    }));
  });

  it('their merge leads wherever one of them leads', () => {
    fc.assert(fc.property(serving, serving, (a, b) => {
      const [one, two] = [Serving.of(a), Serving.of(b)];
      const both = merge(one, two);
      for (const transport of ['tcp', 'udp'] as const) {
        for (let port = 29_999; port < 30_050; port++) {
          const all = new Set([...one.endpoints(transport, port), ...two.endpoints(transport, port)].map(place => text([place])));
          assert.equal(text(both.endpoints(transport, port)), [...all].sort().join());
        }
      }
    }));
  });
});

describe('a set of ports', () => {
  it('gives its ranges in order, up to the last port there is', () => {
    const set = new PortSet();
    set.add('tcp', { first: 65_530, last: 65_535 });
    set.add('tcp', { first: 1, last: 2 });
    set.add('udp', { first: 9, last: 9 });
    set.delete('tcp', 65_533);
    assert.deepEqual(set.ranges('tcp'), [{ first: 1, last: 2 }, { first: 65_530, last: 65_532 }, { first: 65_534, last: 65_535 }]);
    assert.deepEqual([set.has('udp', 9), set.has('tcp', 9)], [true, false]);
  });
});
