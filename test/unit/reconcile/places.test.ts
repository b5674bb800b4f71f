import assert from 'node:assert/strict';
import type { DesiredObject } from '../../../shared/desired.js';
import { parseTargetText } from '../../../shared/target.js';
import { Containers, type Container } from '../../../agent/drivers/docker/containers.js';
import type { DockerView } from '../../../agent/drivers/docker/watch.js';
import { nextPlaced, type Placed } from '../../../agent/reconcile/places.js';
import { tunnelSpec } from '../../support/tunnels.js';
import { PersistentMap } from '../../../agent/persistent/map.js';

const FACTS = { addresses: ['192.0.2.1'], hostPorts: new Map<string, string>() };
const NETWORKS = new Map([
  ['n-bridge', { driver: 'bridge', isInternal: false }], ['n-inner', { driver: 'bridge', isInternal: true }],
  ['n-six', { driver: 'bridge', isInternal: false }], ['n-mac', { driver: 'macvlan', isInternal: false }],
]);
const ID = 'abcdef0123456789'.repeat(4);

function container(over: Partial<Container> = {}): Container {
  return {
    id: ID, name: 'web', labels: {}, state: 'running', networkMode: 'bridge', published: [],
    attachments: [{ name: 'bridge', networkId: 'n-bridge', endpointId: 'e1', v4: '172.17.0.2', v6: undefined }], ...over,
  };
}

function mapping(target: string, over: Partial<Extract<DesiredObject, { kind: 'mapping' }>> = {}): DesiredObject {
  return {
    kind: 'mapping', key: 'mapping/m1', version: 1, mappingId: 'm1', environment: 'env-1', tenant: 't', name: 'web', index: 0, protocol: 'tcp', port: 30_000,
    target: parseTargetText(target, 'target'), internalPort: 80, generation: 1, verify: false, ...over,
  };
}

const known = (...all: Container[]): DockerView => ({ kind: 'known', containers: new Containers(all, NETWORKS), problem: undefined });
const desired = (...objects: DesiredObject[]): PersistentMap<DesiredObject> => PersistentMap.of(objects.map((object) => [object.key, object]));

function placeOf(target: string, view: DockerView, over: Partial<Extract<DesiredObject, { kind: 'mapping' }>> = {}): object {
  const object = nextPlaced(undefined, desired(mapping(target, over)), view, FACTS).objects.get('mapping/m1');
  assert.ok(object?.kind === 'mapping');
  return object.target;
}

function reasonOf(target: string, view: DockerView, over = {}): string {
  return (placeOf(target, view, over) as { reason?: string }).reason ?? 'has a place';
}

describe('what is planned', () => {
  it('leaves out what is not about ports, when it comes, changes and goes', () => {
    const tunnel: DesiredObject = { kind: 'tunnel', key: 'tunnel/db', version: 1, spec: tunnelSpec(), restart: 1, isStopped: false };
    const first = nextPlaced(undefined, desired(mapping('10.0.0.1'), tunnel), known(), FACTS);
    assert.deepEqual([...first.objects.keys()], ['mapping/m1']);
    const second = nextPlaced(first, desired(mapping('10.0.0.1'), { ...tunnel, version: 2, isStopped: true }), known(), FACTS);
    const third = nextPlaced(second, desired(mapping('10.0.0.1')), known(), FACTS);
    for (const { objects } of [second, third]) assert.deepEqual([...objects.keys()], ['mapping/m1']);
  });
});

describe('the place of a container', () => {
  const at = { kind: 'at', address: '172.17.0.2', containerId: ID, endpointId: 'e1' };
  const six = { name: 'six', networkId: 'n-six', endpointId: 'e1', v4: undefined, v6: 'fd99::2' };

  it('is found by name, by id, by the begin of an id, and by the label', () => {
    for (const text of ['web', ID, ID.slice(0, 12)]) assert.deepEqual(placeOf(`container:${text}`, known(container())), at);
    assert.equal(reasonOf(`container:${ID.slice(0, 11)}`, known(container())), 'CONTAINER_NOT_FOUND');
    assert.deepEqual(placeOf('container', known(container({ labels: { 'portlease.environment': 'env-1' } }))), at);
    assert.equal(reasonOf('container', known(container({ labels: { 'portlease.environment': 'env-2' } }))), 'CONTAINER_NOT_FOUND');
  });

  it('is that of the one that runs, where others have the same label; of two that run it is nobody\'s', () => {
    const labels = { 'portlease.environment': 'env-1' };
    const old = container({ id: 'f'.repeat(64), name: 'old', labels, state: 'exited' });
    assert.deepEqual(placeOf('container', known(old, container({ labels }))), at);
    assert.equal(reasonOf('container', known({ ...old, state: 'running' }, container({ labels }))), 'CONTAINER_AMBIGUOUS');
  });

  it('is the address of the family and network that were asked for', () => {
    const both = container({ attachments: [{ name: 'bridge', networkId: 'n-bridge', endpointId: 'e1', v4: '172.17.0.2', v6: undefined }, six] });
    assert.deepEqual(placeOf('container:web@six', known(both)), { ...at, address: 'fd99::2' });
    assert.deepEqual(placeOf('container:web/6', known(both)), { ...at, address: 'fd99::2' });
    assert.deepEqual(placeOf('container:web', known(both)), at);
    assert.equal(reasonOf('container:web@six/4', known(both)), 'CONTAINER_UNREACHABLE');
    assert.equal(reasonOf('container:web@other', known(both)), 'CONTAINER_NOT_ON_NETWORK');
  });

  it('is none on networks that the host cannot reach, unless there is another one', () => {
    const inner = { name: 'inner', networkId: 'n-inner', endpointId: 'e1', v4: '172.18.0.2', v6: undefined };
    const mac = { name: 'mac', networkId: 'n-mac', endpointId: 'e1', v4: '10.0.0.9', v6: undefined };
    for (const attachment of [inner, mac]) assert.equal(reasonOf('container:web', known(container({ attachments: [attachment] }))), 'CONTAINER_UNREACHABLE');
    assert.deepEqual(placeOf('container:web', known(container({ attachments: [inner, mac, six] }))), { ...at, address: 'fd99::2' });
    assert.equal(reasonOf('container:web', known(container({ networkMode: `container:${'e'.repeat(64)}` }))), 'CONTAINER_UNREACHABLE');
    assert.equal(reasonOf('container:web', known(container({ attachments: [] }))), 'CONTAINER_NOT_ON_NETWORK');
  });

  it('is none while another container has the same address: one of the two is out of date', () => {
    const other = container({ id: 'f'.repeat(64), name: 'other' });
    assert.equal(reasonOf('container:web', known(container(), other)), 'CONTAINER_ADDRESS_UNSETTLED');
    assert.deepEqual(placeOf('container:web', known(container(), { ...other, attachments: [] })), at);
  });

  it('is said to be on its way, not unreachable, while one of its networks may settle', () => {
    const inner = { name: 'inner', networkId: 'n-inner', endpointId: 'e1', v4: '172.18.0.2', v6: undefined };
    const fresh = { ...inner, name: 'fresh', networkId: 'n-fresh' };
    assert.equal(reasonOf('container:web', known(container({ attachments: [fresh] }))), 'CONTAINER_ADDRESS_UNSETTLED');
    assert.equal(reasonOf('container:web', known(container({ attachments: [inner, fresh] }))), 'CONTAINER_ADDRESS_UNSETTLED');
    assert.equal(reasonOf('container:web', known(container({ attachments: [inner, { ...inner, name: 'second' }] }))), 'CONTAINER_UNREACHABLE');
  });

  it('is the host itself where the container has its network and listens there, and nobody else of the host', () => {
    const view = known(container({ networkMode: 'host', attachments: [] }));
    const placed = (hostPorts: [string, string][], over = {}) => {
      const object = nextPlaced(undefined, desired(mapping('container:web', over)), view, { ...FACTS, hostPorts: new Map(hostPorts) });
      assert.ok(object.hostPorts.length > 0);
      return object.objects.get('mapping/m1');
    };
    const targetOf = (object: ReturnType<typeof placed>) => (object?.kind === 'mapping' ? object.target : undefined);
    assert.deepEqual(targetOf(placed([['tcp 80', ID]])), { kind: 'self', address: '192.0.2.1', containerId: ID });
    for (const ports of [[], [['tcp 81', ID]], [['udp 80', ID]], [['tcp 80', 'f'.repeat(64)]]] as [string, string][][]) assert.equal((targetOf(placed(ports)) as { reason?: string }).reason, 'CONTAINER_NOT_LISTENING');
    assert.equal((targetOf(placed([['tcp 80', ID]], { protocol: 'tcp+udp' })) as { reason?: string }).reason, 'CONTAINER_NOT_LISTENING');
    assert.equal(reasonOf('container:web/6', view), 'NO_ADDRESS_OF_FAMILY');
  });

  it('is none while it does not run, or Docker says nothing of it', () => {
    for (const state of ['created', 'exited', 'restarting', 'dead', 'removing']) assert.equal(reasonOf('container:web', known(container({ state }))), 'CONTAINER_STOPPED');
    assert.deepEqual(placeOf('container:web', known(container({ state: 'paused' }))), at);
    assert.equal(reasonOf('container:web', { kind: 'unknown', problem: 'connect ENOENT' }), 'DOCKER_UNAVAILABLE');
    assert.equal(reasonOf('container:web', { kind: 'rootless' }), 'DOCKER_ROOTLESS');
  });
});

describe('a published port', () => {
  const published = (...ports: Container['published']): DockerView => known(container({ published: ports }));
  const good = { transport: 'tcp', hostAddress: '0.0.0.0', port: 30_000, internalPort: 80 } as const;

  it('is right when exactly it leads to exactly the internal port, on an address where clients arrive', () => {
    for (const hostAddress of ['0.0.0.0', '', '192.0.2.1', '::']) assert.deepEqual(placeOf('published:web', published({ ...good, hostAddress })), { kind: 'publishedAt', address: '172.17.0.2', containerId: ID });
    assert.equal(reasonOf('published:web', published({ ...good, hostAddress: '127.0.0.1' })), 'PORT_NOT_PUBLISHED');
    assert.equal(reasonOf('published:web', published({ ...good, port: 30_001 })), 'PORT_NOT_PUBLISHED');
    assert.equal(reasonOf('published:web', published({ ...good, transport: 'udp' })), 'PORT_NOT_PUBLISHED');
    assert.equal(reasonOf('published:web', published({ ...good, internalPort: 22 })), 'PORT_PUBLISHED_ELSEWHERE');
    assert.equal(reasonOf('published:web', published(good), { protocol: 'tcp+udp' }), 'PORT_NOT_PUBLISHED');
  });
});

describe('places of many mappings', () => {
  it('stay the same objects where nothing has changed, and are made from what has', () => {
    const objects = desired(mapping('container:web'), mapping('10.0.0.9', { key: 'mapping/m2', mappingId: 'm2', port: 30_001 }));
    const first = nextPlaced(undefined, objects, known(container()), FACTS);
    assert.equal(nextPlaced(first, objects, known(container()), FACTS).objects, first.objects, 'another view that says the same');
    const moved = nextPlaced(first, objects, known(container({ attachments: [{ name: 'bridge', networkId: 'n-bridge', endpointId: 'e1', v4: '172.17.0.9', v6: undefined }] })), FACTS);
    assert.notEqual(moved.objects.get('mapping/m1'), first.objects.get('mapping/m1'));
    assert.equal(moved.objects.get('mapping/m2'), first.objects.get('mapping/m2'));
    const without = nextPlaced(moved, objects.with([['mapping/m1', undefined]]), moved.of.view, FACTS);
    assert.deepEqual([[...without.objects.keys()], [...without.dependent]], [['mapping/m2'], []]);
    const retargeted = nextPlaced(first, objects.with([['mapping/m1', mapping('10.0.0.8', { version: 2 })]]), first.of.view, FACTS);
    assert.deepEqual(places(retargeted), ['address']);
  });

  const places = ({ objects }: Placed): string[] => [...objects.values()].filter((object) => object.key === 'mapping/m1').map((object) => (object.kind === 'mapping' ? object.target.kind : ''));
});
