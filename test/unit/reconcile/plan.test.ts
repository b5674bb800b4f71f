import assert from 'node:assert/strict';
import { nextPlan, type HostFacts, type Plan } from '../../../agent/reconcile/plan.js';
import { PersistentMap } from '../../../agent/persistent/map.js';
import { forwardMaker } from '../../../agent/reconcile/forwards.js';
import type { Forward } from '../../../agent/drivers/rules/spec.js';
import type { PortObject } from '../../../shared/desired.js';
import { parseCidr, type Cidr } from '../../../shared/names.js';
import type { PortRange } from '../../../shared/ports.js';
import type { Listener } from '../../../agent/drivers/connections/listeners.js';
import { lease, mapping, release, route, withdrawal } from '../../integration/reconcile/objects.js';

const FACTS: HostFacts = {
  addresses: ['10.0.0.1', 'fd00::1'], roles: ['host', 'gateway'], snat: false,
  targetNetworks: ['10.2.0.0/16', 'fd02::/16', '127.0.0.0/8', '0.0.0.0/0'].map(text => parseCidr(text) as Cidr).slice(0, 3),
};
const RANGE = lease({ first: 30_000, last: 30_009 });

type Given = { facts?: Partial<HostFacts>; listeners?: Listener[]; guarded?: PortRange[] };

function planOf(objects: PortObject[], { facts = {}, listeners = [], guarded = [] }: Given = {}): Plan {
  const host = { ...FACTS, ...facts };
  return nextPlan(undefined, { objects: new Map(objects.map(object => [object.key, object])), facts: host, make: forwardMaker(host), listeners, guarded }).plan;
}

function forwardsOf({ rules: { forwards } }: Plan): Forward[] {
  return [...forwards];
}

function reasons(plan: Plan): string[] {
  return plan.problems.map(({ key, reason }) => `${key} ${reason}`);
}

describe('the plan of mappings', () => {
  it('forwards each transport of a mapping to its target', () => {
    const plan = planOf([RANGE, mapping(30_001, '10.2.0.5', { internalPort: 22 })]);
    assert.deepEqual(forwardsOf(plan).map(({ id, transport, ports, to, toPort }) => [id, transport, ports.first, to, toPort]),
      [['m30001', 'tcp', 30_001, '10.2.0.5', 22], ['m30001', 'udp', 30_001, '10.2.0.5', 22]]);
  });

  it('writes IPv6 targets in their one form', () => {
    assert.equal(forwardsOf(planOf([RANGE, mapping(30_001, 'FD02:0:0::0005')]))[0]?.to, 'fd02::5');
  });

  for (const address of ['127.0.0.1', '0.0.0.0', '169.254.169.254', '224.0.0.1', '255.255.255.255', '::1', '::', 'fe80::1', 'ff02::1', '::ffff:10.2.0.5', '10.2.0.5%eth0', 'x', '']) {
    it(`refuses the target ${JSON.stringify(address)} whatever the allow-list says`, () => {
      const everywhere = ['0.0.0.0/0', '::/0'].map(text => parseCidr(text) as Cidr);
      const plan = planOf([RANGE, mapping(30_001, address)], { facts: { targetNetworks: everywhere } });
      assert.deepEqual([reasons(plan), forwardsOf(plan)], [['mapping/m30001 TARGET_NOT_ALLOWED'], []]);
    });
  }

  it('refuses a target outside the allow-list and serves the others', () => {
    const plan = planOf([RANGE, mapping(30_001, '10.3.0.5'), mapping(30_002, '10.2.0.5')]);
    assert.deepEqual(reasons(plan), ['mapping/m30001 TARGET_NOT_ALLOWED']);
    assert.match(plan.problems[0]?.message ?? '', /10\.3\.0\.5 is in none of the networks .*10\.2\.0\.0\/16/);
    assert.deepEqual(forwardsOf(plan).map(({ id }) => id), ['m30002', 'm30002']);
  });

  it('refuses a target for whose family this host has no lease address', () => {
    const plan = planOf([RANGE, mapping(30_001, 'fd02::5')], { facts: { addresses: ['10.0.0.1'] } });
    assert.deepEqual([reasons(plan), forwardsOf(plan)], [['mapping/m30001 NO_ADDRESS_OF_FAMILY'], []]);
  });

  it('refuses a target that is the public port itself, and takes another port of the lease address', () => {
    const targetNetworks = [parseCidr('10.0.0.0/16') as Cidr];
    const plan = planOf([RANGE, mapping(30_001, '10.0.0.1'), mapping(30_002, '10.0.0.1', { internalPort: 22 })], { facts: { targetNetworks } });
    assert.deepEqual([reasons(plan), forwardsOf(plan).map(({ id }) => id)], [['mapping/m30001 NOT_SERVABLE'], ['m30002', 'm30002']]);
  });

  it('serves no port outside the leases of this host, in any of its transports (S7)', () => {
    const plan = planOf([lease({ first: 30_000, last: 30_009 }, 'tcp'), mapping(30_001, '10.2.0.5'), mapping(30_010, '10.2.0.5', { protocol: 'tcp' })]);
    assert.deepEqual(reasons(plan), ['mapping/m30001 NOT_LEASED', 'mapping/m30010 NOT_LEASED']);
    assert.deepEqual(forwardsOf(plan), []);
  });

  it('limits the forwards of a mapping to the networks of their family, and tells the cutter who may be there', () => {
    const limits = { networks: ['198.51.100.0/24', '2001:db8::/32'], maxConnections: 5 };
    const plan = planOf([RANGE, mapping(30_001, '10.2.0.5', { limits }), mapping(30_002, 'fd02::5', { limits })]);
    assert.deepEqual(forwardsOf(plan).map(forward => forward.limits?.networks), [['198.51.100.0/24'], ['198.51.100.0/24'], ['2001:db8::/32'], ['2001:db8::/32']]);
    assert.deepEqual(plan.serving.endpoints('tcp', 30_001)[0]?.clients?.limits, limits);
    assert.equal(plan.serving.endpoints('tcp', 30_001), plan.serving.endpoints('udp', 30_001), 'they are counted together');
    const forAll = planOf([RANGE, mapping(30_001, '10.2.0.5', { limits: { networks: ['0.0.0.0/0'], maxConnections: 0 } })]);
    assert.deepEqual(forwardsOf(forAll).map(forward => forward.limits), [undefined, undefined]);
  });

  it('refuses client networks that it cannot tell apart, or of which nobody can come, rather than to serve everybody or nobody', () => {
    const limited = (networks: string[], more: object = {}) => mapping(30_001, '10.2.0.5', { limits: { networks, maxConnections: 1 }, ...more });
    for (const [object, reason] of [[limited(['10.0.0.0/8'], { clientsHidden: true }), 'CLIENTS_HIDDEN'], [limited(['2001:db8::/32']), 'NO_CLIENT_OF_FAMILY']] as const) {
      const plan = planOf([RANGE, object]);
      assert.deepEqual([reasons(plan), forwardsOf(plan)], [[`mapping/m30001 ${reason}`], []]);
    }
    assert.deepEqual(reasons(planOf([RANGE, limited([], { clientsHidden: true })])), [], 'a number of connections can be limited anywhere');
  });

  it('gives a port that two mappings claim to the later grant', () => {
    const plan = planOf([RANGE, mapping(30_001, '10.2.0.5'), mapping(30_001, '10.2.0.6', { key: 'mapping/m2', mappingId: 'm2', generation: 9 })]);
    assert.deepEqual([reasons(plan), forwardsOf(plan).map(({ to }) => to)], [['mapping/m30001 PORT_CLAIMED_TWICE'], ['10.2.0.6', '10.2.0.6']]);
  });

  it('refuses one bad id and serves the others', () => {
    const plan = planOf([RANGE, mapping(30_001, '10.2.0.5', { mappingId: 'a;b', key: 'mapping/a;b' }), mapping(30_002, '10.2.0.5')]);
    assert.deepEqual([reasons(plan), forwardsOf(plan).length], [['mapping/a;b NOT_SERVABLE'], 2]);
  });

  it('verifies the targets of served mappings only', () => {
    const plan = planOf([RANGE, mapping(30_001, '10.2.0.5', { verify: true, internalPort: 22 }), mapping(30_002, '10.3.0.5', { verify: true }), mapping(30_003, '10.2.0.5', { verify: true, protocol: 'udp' })]);
    assert.deepEqual([...plan.verify.values()].sort((a, b) => (a.mappingId < b.mappingId ? -1 : 1)).map(({ mappingId, transport, address, port }) => [mappingId, transport, address, port]),
      [['m30001', 'tcp', '10.2.0.5', 22], ['m30003', 'udp', '10.2.0.5', 30_003]]);
  });
});

describe('the plan of routes', () => {
  const PORTS = { first: 31_000, last: 31_063 };

  it('forwards the range to one address of each family and keeps the port', () => {
    const plan = planOf([route(PORTS, ['10.2.0.5', '10.2.0.6', 'fd02::5'], { protocol: 'tcp' })]);
    assert.deepEqual(forwardsOf(plan).map(({ to, toPort, ports }) => [to, toPort, ports]), [['10.2.0.5', undefined, PORTS], ['fd02::5', undefined, PORTS]]);
  });

  it('leaves out a family that the gateway does not serve', () => {
    const plan = planOf([route(PORTS, ['10.2.0.5', 'fd02::5'], { protocol: 'tcp' })], { facts: { addresses: ['10.0.0.1'] } });
    assert.deepEqual([forwardsOf(plan).map(({ to }) => to), plan.problems], [['10.2.0.5'], []]);
  });

  it('confirms no fence for a route that it cannot serve', () => {
    const plan = planOf([route(PORTS, ['fd02::5'], { fence: true })], { facts: { addresses: ['10.0.0.1'] } });
    assert.deepEqual([reasons(plan), plan.ends.size], [['route/l31000 NO_ADDRESS_OF_FAMILY'], 0]);
  });

  it('needs no rule for a route to this machine itself, where the mapping serves', () => {
    const plan = planOf([RANGE, route(RANGE.ports, ['10.0.0.1']), mapping(30_001, '10.2.0.5', { protocol: 'tcp' })]);
    assert.deepEqual([plan.problems, forwardsOf(plan).map(({ id }) => id)], [[], ['m30001']]);
  });

  it('does nothing for a role that this agent does not have', () => {
    const plan = planOf([RANGE, route(PORTS, ['10.2.0.5'])], { facts: { roles: ['host'] } });
    assert.deepEqual([reasons(plan), forwardsOf(plan)], [['route/l31000 ROLE_MISSING'], []]);
  });
});

describe('what has to be confirmed', () => {
  it('is every release, withdrawal and fenced route, by generation, ports and protocol', () => {
    const gone = release(mapping(30_001, '10.2.0.5', { internalPort: 22, generation: 4, protocol: 'tcp' }), 1_500);
    const taken = withdrawal(route({ first: 31_000, last: 31_063 }, [], { generation: 5, protocol: 'udp' }));
    const fenced = route({ first: 32_000, last: 32_001 }, ['10.2.0.5'], { generation: 6, fence: true });
    const plan = planOf([RANGE, gone, taken, fenced, route({ first: 33_000, last: 33_001 }, ['10.2.0.5'])]);
    const ends = ['release/m30001', 'withdrawal/l31000', 'route/l32000'].map(key => plan.ends.get(key));
    assert.equal(plan.ends.size, ends.length);
    assert.deepEqual(ends.map(end => end?.confirmation), [
      { key: 'release/m30001', generation: 4, ports: { first: 30_001, last: 30_001 }, protocol: 'tcp' },
      { key: 'withdrawal/l31000', generation: 5, ports: { first: 31_000, last: 31_063 }, protocol: 'udp' },
      { key: 'route/l32000', generation: 6, ports: { first: 32_000, last: 32_001 }, protocol: 'tcp+udp' },
    ]);
    assert.deepEqual(ends[0]?.cuts, [{ transport: 'tcp', ports: { first: 30_001, last: 30_001 }, from: [{ address: '10.2.0.5', port: 22 }], dropMs: 1_500 }]);
    assert.deepEqual(ends[2]?.cuts.map(({ transport }) => transport), ['tcp', 'udp']);
  });
});

describe('the guard', () => {
  const foreign: Listener = { transport: 'tcp', address: '0.0.0.0', port: 30_004 };

  it('holds all leased, routed, withdrawn and released ports', () => {
    const plan = planOf([lease({ first: 30_000, last: 30_001 }, 'tcp'), route({ first: 31_000, last: 31_001 }, ['10.2.0.5'], { protocol: 'tcp' }),
      withdrawal(route({ first: 32_000, last: 32_001 }, [], { protocol: 'udp' })), release(mapping(33_000, '10.2.0.5', { protocol: 'tcp' }))]);
    assert.deepEqual(plan.rules.leased, [
      { transport: 'tcp', ports: { first: 30_000, last: 30_001 } }, { transport: 'tcp', ports: { first: 31_000, last: 31_001 } },
      { transport: 'tcp', ports: { first: 33_000, last: 33_000 } }, { transport: 'udp', ports: { first: 32_000, last: 32_001 } },
    ]);
    assert.deepEqual(plan.reserved, [30_000, 31_000, 32_000].map(first => ({ first, last: first + 1 })).concat({ first: 33_000, last: 33_000 }));
  });

  it('leaves a port to the process that listened on it before, and reports it', () => {
    const plan = planOf([RANGE], { listeners: [foreign, { ...foreign, address: '::' }] });
    assert.deepEqual(plan.occupied, [{ transport: 'tcp', port: 30_004 }]);
    assert.deepEqual(plan.rules.leased, [
      { transport: 'tcp', ports: { first: 30_000, last: 30_003 } }, { transport: 'tcp', ports: { first: 30_005, last: 30_009 } },
      { transport: 'udp', ports: { first: 30_000, last: 30_009 } },
    ]);
    assert.deepEqual(plan.reserved, [{ first: 30_000, last: 30_003 }, { first: 30_005, last: 30_009 }]);
  });

  it('stays on a port that was guarded before the process came, and on a mapped one', () => {
    for (const plan of [planOf([RANGE], { listeners: [foreign], guarded: [RANGE.ports] }), planOf([RANGE, mapping(30_004, '10.2.0.5')], { listeners: [foreign] })]) {
      assert.deepEqual(plan.rules.leased.map(({ ports }) => ports), [RANGE.ports, RANGE.ports]);
      assert.deepEqual(plan.occupied, [{ transport: 'tcp', port: 30_004 }]);
    }
  });

  it('does not mind listeners on other addresses or ports', () => {
    const plan = planOf([RANGE], { listeners: [{ ...foreign, address: '127.0.0.1' }, { ...foreign, port: 30_010 }] });
    assert.deepEqual(plan.occupied, []);
  });
});

it('makes the forwards of 10,000 mappings, and after a change of one of them only its own', () => {
  const objects = new Map<string, PortObject>([['lease/l', lease({ first: 20_000, last: 40_000 })]]);
  for (let index = 0; index < 10_000; index++) objects.set(`mapping/m${index}`, mapping(20_000 + index, `10.2.${index >> 8}.${index & 255}`, { generation: index }));
  const counted = { made: 0 };
  const makeOne = forwardMaker(FACTS);
  const make: typeof makeOne = object => {
    counted.made++;
    return makeOne(object);
  };
  const all = PersistentMap.of(objects);
  const first = nextPlan(undefined, { objects: all, facts: FACTS, make, listeners: [], guarded: [] });
  assert.equal([...first.plan.rules.forwards].length, 20_000);
  counted.made = 0;
  nextPlan(first, { objects: all.with([['mapping/m7', mapping(20_007, '10.2.0.9', { generation: 20_000 })]]), facts: FACTS, make, listeners: [], guarded: [] });
  assert.ok(counted.made < 100, `${counted.made} forwards were made`);
});

describe('the plan of routes that nginx serves', () => {
  const NGINX = { facts: { routes: 'nginx' } } as const;
  const PORTS = { first: 30_000, last: 30_015 };
  const WEB = { pool: 'web', tls: 'terminate', timeoutMs: 0 } as const;

  it('has no forward, and names the first address of the host of each family', () => {
    const plan = planOf([route(PORTS, ['10.1.0.2', 'fd01::2'])], NGINX);
    assert.deepEqual(forwardsOf(plan), []);
    assert.deepEqual([...plan.routes.values()], [{ key: 'route/l30000', id: 'l30000', ports: PORTS, transports: ['tcp', 'udp'], hosts: { v4: '10.1.0.2', v6: 'fd01::2' }, isFenced: false }]);
    assert.deepEqual(plan.rules.leased.map(({ transport, ports }) => [transport, ports]), [['tcp', PORTS], ['udp', PORTS]]);
  });

  it('leads another way when the host is another one, so that connections end, and the same way when a lease is split', () => {
    const endpoints = (...objects: PortObject[]) => planOf(objects, NGINX).serving.endpoints('tcp', 30_009);
    const before = endpoints(route(PORTS, ['10.1.0.2']));
    assert.deepEqual(before, [{ address: '10.0.0.1', port: undefined, through: '10.1.0.2' }]);
    assert.notDeepEqual(endpoints(route(PORTS, ['10.1.0.3'])), before);
    assert.deepEqual(endpoints(route({ first: 30_008, last: 30_015 }, ['10.1.0.2'])), before);
  });

  it('has TLS end there, for TCP; the kernel cannot, and says so', () => {
    const tcp = route(PORTS, ['10.1.0.2'], { protocol: 'tcp', connections: WEB });
    assert.deepEqual(planOf([tcp], NGINX).routes.get('route/l30000')?.connections, WEB);
    assert.deepEqual(reasons(planOf([tcp])), ['route/l30000 TLS_NOT_SERVED']);
    assert.deepEqual(reasons(planOf([route(PORTS, ['10.1.0.2'], { connections: WEB })], NGINX)), ['route/l30000 TLS_NOT_SERVED']);
    assert.deepEqual(reasons(planOf([{ ...tcp, connections: { ...WEB, tls: 'passthrough' } }])), []);
  });
});
