import assert from 'node:assert/strict';
import fc from 'fast-check';
import { forwardMaker } from '../../../agent/reconcile/forwards.js';
import { conflictsOf } from '../../../agent/reconcile/conflicts.js';
import { nextPlan, type Plan } from '../../../agent/reconcile/plan.js';
import { conflictSentence } from '../../../shared/conflict-text.js';
import { MAX_CONFLICTS, type PortHolder, type PortObject } from '../../../shared/desired.js';
import type { Listener } from '../../../agent/drivers/connections/listeners.js';
import type { HostFacts } from '../../../agent/reconcile/plan.js';
import { parseCidr, type Cidr } from '../../../shared/names.js';
import { lease, mapping, route } from '../../integration/reconcile/objects.js';

const FACTS: HostFacts = { addresses: ['10.0.0.1'], roles: ['host'], snat: false, targetNetworks: [parseCidr('10.2.0.0/16') as Cidr] };
const HOLDER: PortHolder = { pid: 812, program: 'nginx', command: '/usr/sbin/nginx (+2 arguments)', containerId: '', startedAtMs: 0, proxyFor: '', environment: '' };
const AT: Listener = { transport: 'tcp', address: '0.0.0.0', port: 30_004, uid: 33, user: 'www-data', inode: 7, holder: HOLDER };

function planOf(objects: PortObject[], listeners: Listener[], facts = FACTS): Plan {
  return nextPlan(undefined, { objects: new Map(objects.map((object) => [object.key, object])), facts, make: forwardMaker(facts), listeners, guarded: [] }).plan;
}

const RANGE = { first: 30_000, last: 30_015 };

describe('a mapping on a port that a foreign process listens on', () => {
  it('is a problem that names the process, and its rule stays: it keeps clients from the process (S7)', () => {
    const alone = planOf([lease(RANGE), mapping(30_004, '10.2.0.5')], []);
    const plan = planOf([lease(RANGE), mapping(30_004, '10.2.0.5')], [AT]);
    assert.deepEqual(plan.inConflict, [{ key: 'mapping/m30004', reason: 'PORT_CONFLICT', message: 'nginx (pid 812, user www-data) listens on tcp 0.0.0.0:30004' }]);
    assert.deepEqual([[...plan.rules.forwards], plan.rules.leased, plan.problems], [[...alone.rules.forwards], alone.rules.leased, []]);
    assert.deepEqual(plan.conflicts, [{ transport: 'tcp', port: 30_004, address: '0.0.0.0', uid: 33, user: 'www-data', holder: HOLDER }]);
  });

  it('is no problem of other mappings, nor of the other transport, nor where it listens on loopback or an address that is not leased', () => {
    const objects = [lease(RANGE), mapping(30_004, '10.2.0.5', { protocol: 'tcp' }), mapping(30_005, '10.2.0.5')];
    assert.deepEqual(planOf(objects, [{ ...AT, transport: 'udp' }]).inConflict, []);
    for (const address of ['127.0.0.1', '::1', '10.99.0.1']) {
      const plan = planOf(objects, [{ ...AT, address }]);
      assert.deepEqual([plan.inConflict, plan.conflicts, plan.occupied], [[], [], []]);
    }
    assert.deepEqual(planOf(objects, [{ ...AT, address: '::' }]).inConflict.map(({ key }) => key), ['mapping/m30004']);
  });

  it('is told once for a mapping of both transports', () => {
    const both = [lease(RANGE), mapping(30_004, '10.2.0.5', { protocol: 'tcp+udp' })];
    const plan = planOf(both, [AT, { ...AT, transport: 'udp', inode: 8 }]);
    assert.deepEqual([plan.inConflict.length, plan.conflicts.length], [1, 2]);
  });

  it('is told without a process where none is found', () => {
    const { holder, ...unknown } = AT;
    assert.equal(holder, HOLDER);
    assert.equal(planOf([lease(RANGE), mapping(30_004, '10.2.0.5')], [unknown]).inConflict[0]?.message, 'a process that is not found (user www-data) listens on tcp 0.0.0.0:30004');
  });

  it('blocks no route of a gateway: it is only told', () => {
    const facts = { ...FACTS, roles: ['gateway' as const] };
    const plan = planOf([route(RANGE, ['10.2.0.9'])], [AT], facts);
    assert.deepEqual([plan.inConflict, plan.conflicts.length, plan.occupied.length], [[], 1, 1]);
  });

  it('is the same object as long as nothing has changed, so that a report costs nothing', () => {
    const make = forwardMaker(FACTS);
    const objects = new Map([lease(RANGE), mapping(30_004, '10.2.0.5')].map((object) => [object.key, object]));
    const listeners = [AT];
    const first = nextPlan(undefined, { objects, facts: FACTS, make, listeners, guarded: [] });
    const second = nextPlan(first, { objects, facts: FACTS, make, listeners, guarded: first.plan.reserved });
    assert.equal(second.plan.inConflict, first.plan.inConflict);
    assert.equal(second.plan.conflicts, first.plan.conflicts);
    const third = nextPlan(second, { objects, facts: FACTS, make, listeners: [{ ...AT, holder: { ...HOLDER, pid: 9 } }], guarded: second.plan.reserved });
    assert.match(third.plan.inConflict[0]?.message ?? '', /pid 9/);
  });
});

describe('conflicts', () => {
  it('are in order, one for each place, and at most as many as a report may have', () => {
    const listener = fc.record({ transport: fc.constantFrom('tcp' as const, 'udp' as const), address: fc.constantFrom('0.0.0.0', '::', '10.0.0.1'), port: fc.integer({ min: 1, max: 50 }), inode: fc.nat() });
    fc.assert(fc.property(fc.array(listener), (held) => {
      const places = conflictsOf(held).map(({ transport, port, address }) => `${transport} ${String(port).padStart(5, '0')} ${address}`);
      assert.deepEqual(places, [...new Set(held.map(({ transport, port, address }) => `${transport} ${String(port).padStart(5, '0')} ${address}`))].sort());
    }));
    const many = Array.from({ length: 2_000 }, (_, i): Listener => ({ ...AT, port: 30_000 + i }));
    assert.equal(conflictsOf(many).length, MAX_CONFLICTS);
  });

  it('are told in words', () => {
    const conflict = { transport: 'udp' as const, port: 53, address: '::', uid: 99, user: '', holder: { ...HOLDER, program: 'docker-proxy', containerId: 'ab'.repeat(32), proxyFor: '172.17.0.2:80', environment: '' } };
    assert.equal(conflictSentence(conflict), 'docker-proxy (pid 812, user 99, container abababababab) listens on udp [::]:53 for 172.17.0.2:80');
    assert.equal(conflictSentence({ ...conflict, address: '' }), 'a process that is not known listens on udp port 53');
  });
});
