import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Listener } from '../../../agent/drivers/connections/listeners.js';
import { PersistentMap } from '../../../agent/persistent/map.js';
import { forwardMaker } from '../../../agent/reconcile/forwards.js';
import { nextPlan, type HostFacts, type Planned } from '../../../agent/reconcile/plan.js';
import type { PortObject, Role } from '../../../shared/desired.js';
import { parseCidr, type Cidr } from '../../../shared/names.js';
import type { Protocol } from '../../../shared/ports.js';
import { lease, mapping, release, route, withdrawal } from '../../integration/reconcile/objects.js';
import { naivePicture, pictureOf } from './naive-plan.js';

const TARGETS = ['10.2.0.5', '10.2.0.6', 'fd02::5', '10.3.0.1', '10.0.0.1'];
const FIRST = 30_240;
const anyPort = fc.integer({ min: FIRST, max: FIRST + 40 });
const anyProtocol = fc.constantFrom<Protocol>('tcp', 'udp', 'tcp+udp');
const anyTarget = fc.constantFrom(...TARGETS);
const anyRange = fc.record({ first: anyPort, size: fc.constantFrom(1, 2, 16, 20) }).map(({ first, size }) => ({ first, last: first + size - 1 }));
const generation = fc.integer({ min: 1, max: 5 });

/** Few keys and few ports: objects get in each other's way. */
const anyObject: fc.Arbitrary<PortObject> = fc.oneof(
  fc.record({ ports: anyRange, protocol: anyProtocol, generation, guardOccupied: fc.boolean(), id: fc.nat(2) })
    .map(({ ports, protocol, generation: number, guardOccupied, id }) => ({ ...lease(ports, protocol, number), key: `lease/l${id}`, guardOccupied })),
  fc.record({ port: anyPort, protocol: anyProtocol, generation, to: anyTarget, id: fc.nat(9), verify: fc.boolean(), internalPort: fc.option(fc.constant(22), { nil: undefined }) })
    .map(({ port, protocol, generation: number, to, id, verify, internalPort }) => mapping(port, to, { protocol, generation: number, verify, mappingId: `m${id}`, key: `mapping/m${id}`, internalPort: internalPort ?? port })),
  fc.record({ port: anyPort, protocol: anyProtocol, to: anyTarget, id: fc.nat(2) }).map(({ port, protocol, to, id }) => ({ ...release(mapping(port, to, { protocol })), key: `release/m${id}` })),
  fc.record({ ports: anyRange, protocol: anyProtocol, generation, to: fc.subarray(TARGETS, { minLength: 1 }), id: fc.nat(2), fence: fc.boolean() })
    .map(({ ports, protocol, generation: number, to, id, fence }) => route(ports, to, { protocol, generation: number, fence, key: `route/l${id}`, leaseId: `l${id}` })),
  fc.record({ ports: anyRange, protocol: anyProtocol, id: fc.nat(2) }).map(({ ports, protocol, id }) => ({ ...withdrawal(route(ports, [], { protocol })), key: `withdrawal/l${id}` })),
);
const anyListener: fc.Arbitrary<Listener> = fc.record({ transport: fc.constantFrom('tcp' as const, 'udp' as const), port: anyPort, address: fc.constantFrom('0.0.0.0', '::', '10.0.0.1', '127.0.0.1') });
/** Objects to come, keys to go, and what listens now when that is read again. */
const anyStep = fc.record({ come: fc.array(anyObject, { maxLength: 4 }), gone: fc.array(fc.nat(), { maxLength: 3 }), listeners: fc.option(fc.array(anyListener, { maxLength: 4 }), { nil: undefined, freq: 3 }) });
const anyRoles = fc.constantFrom<Role[]>(['host', 'gateway'], ['host'], ['gateway']);

describe('the plan of a change', () => {
  it('is the same as the plan made from nothing, after any number of changes', () => {
    fc.assert(fc.property(anyRoles, fc.array(anyStep, { minLength: 1, maxLength: 12 }), (roles, steps) => {
      const facts: HostFacts = { addresses: ['10.0.0.1', 'fd00::1'], roles, snat: false, targetNetworks: ['10.2.0.0/16', '10.0.0.0/16', 'fd02::/16'].map(each => parseCidr(each) as Cidr) };
      const make = forwardMaker(facts);
      let objects = PersistentMap.empty<PortObject>();
      let listeners: Listener[] = [];
      let planned: Planned | undefined;
      for (const { come, gone, listeners: heard } of steps) {
        const keys = [...objects.keys()].sort();
        objects = objects.with([...gone.map(index => [keys[index % keys.length] ?? '', undefined] as const), ...come.map(object => [object.key, object] as const)]);
        listeners = heard ?? listeners;
        const input = { objects, facts, make, listeners, guarded: planned?.plan.reserved ?? [] };
        const expected = naivePicture(input);
        const before = planned && JSON.stringify(pictureOf(planned.plan));
        const next = nextPlan(planned, input);
        assert.deepEqual(pictureOf(next.plan), expected);
        assert.deepEqual(pictureOf(nextPlan(undefined, input).plan), expected);
        if (planned !== undefined) assert.equal(JSON.stringify(pictureOf(planned.plan)), before, 'the earlier plan stays as it was');
        planned = next;
      }
    }), { numRuns: 300 });
  });

  it('has the same parts as before where nothing has changed', () => {
    const facts: HostFacts = { addresses: ['10.0.0.1'], roles: ['host'], snat: false, targetNetworks: [parseCidr('10.2.0.0/16') as Cidr] };
    const input = { facts, make: forwardMaker(facts), listeners: [], guarded: [] };
    const one = mapping(30_001, '10.2.0.5', { verify: true });
    const objects = PersistentMap.of<PortObject>([lease({ first: 30_000, last: 30_009 }), one].map(object => [object.key, object]));
    const before = nextPlan(undefined, { ...input, objects });
    const after = nextPlan(before, { ...input, objects: objects.with([['release/m30009', release(mapping(30_009, '10.2.0.5'))]]) });
    const parts = ({ plan: { rules, reserved, serving, problems, occupied, conflicts, verify } }: Planned): unknown[] => [rules, reserved, serving, problems, occupied, conflicts, verify];
    for (const [index, part] of parts(after).entries()) assert.equal(part, parts(before)[index], `part ${index}`);
    assert.deepEqual([...after.plan.ends.keys()], ['release/m30009']);
  });
});
