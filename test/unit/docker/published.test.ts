import assert from 'node:assert/strict';
import type { Listener } from '../../../agent/drivers/connections/listeners.js';
import { Containers, type Container } from '../../../agent/drivers/docker/containers.js';
import { PublishedListeners } from '../../../agent/drivers/docker/published.js';
import type { DockerView } from '../../../agent/drivers/docker/watch.js';

const ID = 'ab'.repeat(32);
const container = (over: Partial<Container> = {}): Container => ({
  id: ID, name: 'web', labels: { 'portlease.environment': 'env-1' }, state: 'running', networkMode: 'bridge', attachments: [],
  published: [{ transport: 'tcp', hostAddress: '0.0.0.0', port: 30_001, internalPort: 80 }], ...over,
});
const view = (...all: Container[]): DockerView => ({ kind: 'known', containers: new Containers(all, new Map()), problem: undefined });
const listener = (port: number, program?: string, containerId = ''): Listener => ({
  transport: 'tcp', address: '0.0.0.0', port,
  ...(program === undefined ? {} : { holder: { pid: 1, program, command: program, containerId, startedAtMs: 0, proxyFor: '', environment: '' } }),
});

describe('listeners, with what Docker knows of them', () => {
  const all = (found: Listener[], of: DockerView) => new PublishedListeners().among(found, of);

  it('name the container and environment that docker-proxy works for, and those of a process in a container', () => {
    const [proxy, inside] = all([listener(30_001, 'docker-proxy'), listener(30_002, 'httpd', ID)], view(container()));
    for (const one of [proxy, inside]) assert.deepEqual([one?.holder?.containerId, one?.holder?.environment], [ID, 'env-1']);
  });

  it('are more by a port that Docker publishes by rules alone, as long as its container runs', () => {
    assert.deepEqual(all([], view(container())).map(({ port, address }) => [port, address]), [[30_001, '0.0.0.0']]);
    assert.deepEqual(all([], view(container({ state: 'exited' }))), []);
  });

  it('are the same list where Docker has nothing to say of them', () => {
    const found = [listener(30_005, 'nginx'), listener(30_006)];
    for (const of of [view(), view(container({ published: [] })), { kind: 'rootless' } as const]) assert.equal(all(found, of), found);
    const published = new PublishedListeners();
    const one = view(container());
    assert.equal(published.among(found, one), published.among(found, one));
  });
});
