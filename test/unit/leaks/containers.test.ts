import assert from 'node:assert/strict';
import { Containers, type Container } from '../../../agent/drivers/docker/containers.js';
import type { DockerView } from '../../../agent/drivers/docker/watch.js';
import { containerFindings, type Accepted } from '../../../agent/leaks/containers.js';
import { LeakWatch } from '../../../agent/leaks/watch.js';
import { createLogger } from '../../../shared/log.js';
import type { DesiredObject } from '../../../shared/desired.js';
import { eventually } from '../../support/wait.js';
import { containerSpec } from '../book/world.js';

const HOST = 'gw/host-a';
const LABELS = { 'portlease.environment': 'e', 'portlease.generation': '5', 'portlease.host': HOST };

function container(of: Partial<Container> = {}): Container {
  return { id: 'c'.repeat(64), name: 'portlease-e', labels: LABELS, state: 'created', networkMode: 'bridge', attachments: [], published: [], ...of };
}

function viewOf(all: Container[], problem?: string): DockerView {
  return { kind: 'known', containers: new Containers(all, new Map()), problem };
}

function environment(generation: number): DesiredObject {
  return {
    kind: 'environment', key: 'environment/e', version: 1, environment: 'e', tenant: 't', generation, container: containerSpec({}), credentials: [], labels: {}, isReady: true,
    tellCredentials: false, rotation: 0,
  };
}

const removal = (generation: number): DesiredObject => ({ kind: 'removal', key: 'removal/e', version: 1, environment: 'e', tenant: 't', generation, volumes: false });
const accepted = (...objects: DesiredObject[]): Accepted => ({ revision: 9, objects: new Map(objects.map((object) => [object.key, object])) });
const found = (of: Partial<Container>, state: Accepted | undefined = accepted()) => containerFindings(state, viewOf([container(of)]), HOST)?.map(({ environment: name, generation, kept }) => [name, generation, kept]);

describe('a container that was made for an environment', () => {
  it('is a leak when its environment is not to run here any more, and nobody is told to remove it', () => {
    assert.deepEqual(found({}), [['e', 5, '']]);
    assert.deepEqual(found({}, accepted(environment(6))), [['e', 5, '']]);
    assert.deepEqual(found({}, accepted(removal(4))), [['e', 5, '']]);
    assert.deepEqual(found({ state: 'exited' }), [['e', 5, '']]);
  });

  it('is none while it is wanted, or being removed', () => {
    for (const objects of [[environment(5)], [removal(5)], [removal(6)], [environment(6), removal(5)]]) assert.deepEqual(found({}, accepted(...objects)), []);
  });

  it('is none of ours without both labels, or when another agent made it', () => {
    const { 'portlease.environment': name, ...unnamed } = LABELS;
    const { 'portlease.generation': generation, ...undated } = LABELS;
    assert.deepEqual([name, generation], ['e', '5']);
    for (const labels of [{}, unnamed, undated, { ...LABELS, 'portlease.generation': 'x' }, { ...LABELS, 'portlease.generation': '-5' }, { ...LABELS, 'portlease.host': 'gw/host-b' }]) assert.deepEqual(found({ labels }), []);
  });

  it('is told of and kept when it runs, is newer than what was accepted, or does not say who made it', () => {
    const { 'portlease.host': host, ...nobody } = LABELS;
    assert.equal(host, HOST);
    for (const state of ['running', 'paused', 'restarting']) assert.match(String(found({ state })?.[0]?.[2]), /it runs/);
    assert.match(String(found({ labels: { ...LABELS, 'portlease.generation': '10' } })?.[0]?.[2]), /newer/);
    assert.match(String(found({ labels: nobody })?.[0]?.[2]), /does not say that this host made it/);
  });

  it('is not judged while nothing was accepted, or Docker does not answer', () => {
    assert.equal(containerFindings(undefined, viewOf([container()]), HOST), undefined);
    assert.equal(containerFindings(accepted(), viewOf([container()], 'it is stopped'), HOST), undefined);
    assert.equal(containerFindings(accepted(), { kind: 'unknown', problem: 'it is stopped' }, HOST), undefined);
    assert.equal(containerFindings(accepted(), { kind: 'rootless' }, HOST), undefined);
  });
});

describe('a leaked container', () => {
  const removed: string[] = [];
  let state: Accepted | undefined;
  let view: DockerView;
  let failure: Error | undefined;
  let logged: { msg: string; plan?: string }[];

  function watchOf(policy: 'report' | 'repair' | undefined): LeakWatch {
    const log = createLogger({ name: 'test', level: 'info', destination: { write: (line: string) => { logged.push(JSON.parse(line) as { msg: string }); } } });
    return new LeakWatch({
      policy: { sightings: 3, tunnelProcesses: 'report', ...(policy === undefined ? {} : { containers: policy }) }, intervalMs: 1_000, log, addresses: [], conflicts: () => undefined, foreignRules: () => Promise.resolve([]), onChange: () => undefined, placed: () => undefined, docker: () => view, tunnels: () => new Set(),
      after: () => () => undefined, processes: () => Promise.resolve([]),
      containers: {
        host: HOST, accepted: () => state, remove: (id) => {
          removed.push(id);
          return failure === undefined ? Promise.resolve() : Promise.reject(failure);
        },
      },
    });
  }

  async function scans(watch: LeakWatch, count: number): Promise<void> {
    for (let i = 0; i < count; i++) await watch.scan();
  }

  beforeEach(() => {
    removed.length = 0;
    logged = [];
    failure = undefined;
    state = accepted();
    view = viewOf([container()]);
  });

  it('is reported only, unless the config says repair', async () => {
    for (const policy of [undefined, 'report'] as const) {
      logged = [];
      await scans(watchOf(policy), 5);
      assert.deepEqual([removed, logged.map(({ msg, plan }) => [msg, plan])], [[], [['leak found', 'none: leaks.containers is report; repair would remove the container']]]);
    }
  });

  it('is removed when it was seen often enough, and not before', async () => {
    const watch = watchOf('repair');
    await scans(watch, 2);
    assert.deepEqual([removed, logged], [[], []]);
    await watch.scan();
    assert.deepEqual([removed, logged.map(({ msg }) => msg)], [[container().id], ['leak found', 'leaked container was removed']]);
    view = viewOf([]);
    await watch.scan();
    assert.deepEqual([removed.length, logged.at(-1)?.msg], [1, 'leak is over']);
  });

  it('is tried again when it could not be removed', async () => {
    failure = new Error('removal of it is already in progress');
    const watch = watchOf('repair');
    await scans(watch, 4);
    assert.deepEqual([removed.length, logged.at(-1)?.msg], [2, 'leaked container could not be removed']);
  });

  it('is removed when an operator asks for it, whatever the config says, and again when that has failed', async () => {
    failure = new Error('it is busy');
    const watch = watchOf('report');
    await scans(watch, 3);
    const leak = `containerWithoutEnvironment/${container().id}`;
    for (const times of [1, 2]) {
      watch.resolve([leak]);
      await eventually(`attempt ${times}`, () => logged.filter(({ msg }) => msg === 'leaked container could not be removed').length === times, { withinMs: 10_000, everyMs: 5 });
    }
    assert.deepEqual(removed, [container().id, container().id]);
    await watch.close();
  });

  it('stays when it is wanted again, when it runs, and when nothing was accepted since the start', async () => {
    const watch = watchOf('repair');
    await scans(watch, 2);
    state = accepted(environment(5));
    await scans(watch, 3);
    state = accepted();
    view = viewOf([container({ state: 'running' })]);
    await scans(watch, 5);
    state = undefined;
    view = viewOf([container()]);
    await scans(watch, 5);
    state = accepted();
    view = viewOf([container()], 'it is stopped');
    await scans(watch, 5);
    assert.deepEqual(removed, []);
  });
});
