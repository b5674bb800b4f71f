import assert from 'node:assert/strict';
import { changeForwards, differsInForwards, forwardChanges } from '../../../agent/tunnels/live.js';
import { carriersOf, leaseSpecs, listenedPorts, tunnelProblems } from '../../../agent/tunnels/leases.js';
import type { HeldForward, HeldSpec } from '../../../agent/tunnels/words.js';
import type { DesiredObject } from '../../../shared/desired.js';
import type { Protocol } from '../../../shared/ports.js';
import { tunnelAddress } from '../../../shared/tunnel-address.js';

const KEY = `ssh-ed25519 ${'A'.repeat(68)}`;
const FACTS = { host: 'host-a', server: 'edge', key: KEY, addresses: ['fd00::1', '10.0.0.1'] };
const NONE = new Map<number, string>();
const lease = (leaseId: string, first: number, host = 'host-a'): DesiredObject => ({ kind: 'lease', key: `lease/${leaseId}`, version: 1, leaseId, ports: { first, last: first + 3 }, protocol: 'tcp', generation: 1, host });
const mapping = (port: number, protocol: Protocol = 'tcp', address = '10.1.0.5'): DesiredObject => ({
  kind: 'mapping', key: `mapping/m${port}`, version: 1, mappingId: `m${port}`, environment: 'e', tenant: 't', name: 'ssh', index: 0, protocol, port, target: { kind: 'address', address }, internalPort: 22, generation: 1, verify: false,
});
const objectsOf = (...all: DesiredObject[]) => new Map(all.map((object) => [object.key, object]));
const forward = (port: number): HeldForward => ({ direction: 'reverse', listen: { host: tunnelAddress('host-a', KEY), port }, to: { host: '10.0.0.1', port } });

describe('connections of a host behind NAT', () => {
  const objects = objectsOf(lease('l2', 30_004), lease('l1', 30_000), lease('l3', 30_008), lease('l4', 31_000, 'host-b'), mapping(30_005), mapping(30_001), mapping(30_000), mapping(30_002, 'tcp+udp'), mapping(31_000));

  it('are one for each of its leases with a mapping, with a forward for each of their TCP ports', () => {
    const carriers = carriersOf(objects, 'host-a', NONE);
    const specs = leaseSpecs(objects, FACTS, carriers);
    assert.deepEqual(specs.map(({ tunnel, server, forwards }) => [tunnel, server, forwards]), [['lease-l1', 'edge', [forward(30_000), forward(30_001)]], ['lease-l2', 'edge', [forward(30_005)]]]);
    assert.deepEqual([[...carriers].sort(), listenedPorts(specs[0]?.forwards ?? [])], [[[30_000, 'lease-l1'], [30_001, 'lease-l1'], [30_005, 'lease-l2']], [30_000, 30_001]]);
  });

  it('keep a port as long as it is mapped, whichever lease it is part of', () => {
    const before = carriersOf(objects, 'host-a', new Map([[30_001, 'lease-l0'], [30_006, 'lease-l0']]));
    assert.deepEqual([...before].sort(), [[30_000, 'lease-l1'], [30_001, 'lease-l0'], [30_005, 'lease-l2']]);
    assert.deepEqual(leaseSpecs(objects, FACTS, before).map(({ tunnel, forwards }) => [tunnel, listenedPorts(forwards)]), [['lease-l1', [30_000]], ['lease-l0', [30_001]], ['lease-l2', [30_005]]]);
  });

  it('lead to a lease address of the family of the target, or to what there is', () => {
    const six = objectsOf(lease('l1', 30_000), mapping(30_000, 'tcp', 'fd00:1::5'));
    const to = (addresses: string[]) => leaseSpecs(six, { ...FACTS, addresses }, carriersOf(six, 'host-a', NONE))[0]?.forwards[0]?.to;
    assert.deepEqual([to(['10.0.0.1', 'fd00::1']), to(['10.0.0.1'])], [{ host: 'fd00::1', port: 30_000 }, { host: '10.0.0.1', port: 30_000 }]);
  });

  it('that do not stand are problems of the mappings that they would carry, and so is UDP, which they never do', () => {
    const problems = tunnelProblems(objectsOf(lease('l1', 30_000), mapping(30_000), mapping(30_001), mapping(30_002, 'tcp+udp')), new Set([30_001]), (port) => `not ${port}`);
    assert.deepEqual(problems.map(({ key, reason }) => [key, reason]), [['mapping/m30000', 'TUNNEL_DOWN'], ['mapping/m30002', 'TUNNEL_CARRIES_TCP']]);
  });
});

describe('forwards of a connection that stands', () => {
  const spec = (...ports: number[]): HeldSpec => ({ tunnel: 'lease-l1', host: 'host-a', server: 'edge', forwards: ports.map(forward), engine: undefined, probe: undefined, options: {} });
  const wish = (...ports: number[]) => ({ spec: spec(...ports), restart: 0, wanted: 'up' as const, isFromConfig: true });

  it('change alone when nothing else has changed', () => {
    assert.deepEqual([differsInForwards(wish(1), wish(2)), differsInForwards(wish(1), { ...wish(2), restart: 1 }), differsInForwards(wish(1), { ...wish(2), spec: { ...spec(2), server: 'other' } })], [true, false, false]);
    assert.deepEqual(forwardChanges([forward(1), forward(2)], [forward(2), forward(3)]), { gone: [forward(1)], added: [forward(3)] });
  });

  it('go first and come then, and what it has is told after each step, and one that is refused harms no other', async () => {
    const told: (readonly HeldForward[])[] = [];
    const done: string[] = [];
    const link = {
      addForward: ({ to: { port } }: HeldForward) => port === 4 ? Promise.reject(new Error('refused')) : Promise.resolve(done.push(`+${port}`)),
      cancelForward: ({ to: { port } }: HeldForward) => Promise.resolve(done.push(`-${port}`)),
    };
    const refused = await changeForwards(link, { before: [forward(1), forward(2)], after: [forward(2), forward(3), forward(4), forward(5)], onChange: (forwards) => { told.push(forwards); } });
    assert.deepEqual(refused.map(({ message }) => message), ['refused']);
    assert.deepEqual([done, told.map((forwards) => listenedPorts(forwards))], [['-1', '+3', '+5'], [[2], [2, 3], [2, 3, 5]]]);
  });
});
