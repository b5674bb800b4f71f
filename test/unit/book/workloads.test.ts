import assert from 'node:assert/strict';
import type { CreateEnvironmentCommand, Reply, WorkloadView } from '../../../coordinator/book/types.js';
import type { ContainerSpec, EnvironmentWord } from '../../../shared/container.js';
import { agentOf, backUp, checkWorldsAfterEach, comeBack, lose, shared } from './checked.js';
import { containerSpec, reasonOf, want, type World } from './world.js';

function command(world: World, environment: string, container: Partial<ContainerSpec> = {}, bodyHash = 'h'): CreateEnvironmentCommand {
  const wants = [want({ target: { kind: 'container', container: '', network: '', family: 0 } })];
  return { kind: 'createEnvironment', actor: 'o', allocation: world.allocateCommand(environment, 'a', wants, { bodyHash, verify: true }), container: containerSpec(container), startTimeoutMs: 60_000 };
}

function create(world: World, environment: string, container: Partial<ContainerSpec> = {}): Reply {
  const asked = command(world, environment, container);
  for (let reply = world.decide(asked); ; reply = world.decide(asked)) {
    if (reply.kind !== 'waiting') return reply;
    world.settle();
  }
}

function workload(world: World, environment = 'e-1'): WorkloadView {
  const view = world.book.workload(environment);
  assert.ok(view, `${environment} has no workload`);
  return view;
}

/** What the host's agent says of the environment, with its ports served. */
function say(world: World, word: Partial<EnvironmentWord>, verified = false, problem?: { reason: string; message: string }): Reply {
  const agent = agentOf(world, 'a');
  agent.apply();
  const generation = world.book.workload('e-1')?.generation ?? 0;
  const mappings = [...agent.objects.values()].flatMap((object) => (object.kind === 'mapping' ? [object.mappingId] : []));
  return world.decide({
    kind: 'report', host: 'a', session: agent.session, applied: agent.accepted as NonNullable<typeof agent.accepted>,
    problems: problem === undefined ? [] : mappings.map((id) => ({ key: `mapping/${id}`, ...problem })), confirmations: agent.confirmations(),
    verified: verified ? mappings : [], driftRepairs: 0, occupied: [],
    environments: [{ environment: 'e-1', generation, state: 'working', step: 'create', reason: '', message: '', percent: 0, containerId: '', rotation: 0, ...word }],
  });
}

function becomeReady(world: World): void {
  create(world, 'e-1');
  world.settle();
  say(world, { state: 'started', step: 'run', containerId: 'abc' }, true);
  assert.equal(workload(world).phase, 'ready');
}

const kindsOf = (world: World) => world.tables.events.filter(({ kind }) => kind.startsWith('Environment')).map(({ kind }) => kind);
const objectsOf = (world: World) => [...agentOf(world, 'a').objects.keys()].filter((key) => key.startsWith('environment/') || key.startsWith('removal/'));

describe('the container of an environment, in the book', () => {
  checkWorldsAfterEach();

  it('is recorded with its ports in one decision, and told to its host', () => {
    const world = shared();
    const reply = create(world, 'e-1');
    assert.ok(reply.kind === 'environment' && !reply.replayed);
    assert.deepEqual([reply.view.mappings.length, reply.view.workload?.phase], [1, 'creating']);
    assert.deepEqual(objectsOf(world), ['environment/e-1']);
    assert.deepEqual(workload(world).credentials, [{ name: 'ssh', variables: ['SSH_PASSWORD'] }], 'what is usual for the service type');
    assert.deepEqual(kindsOf(world), ['EnvironmentCreating']);
    assert.equal(world.tables.audits.at(-1)?.action, 'CreateEnvironment');
  });

  it('is ready when it runs and every port is live and has answered, and not before', () => {
    const world = shared();
    create(world, 'e-1');
    world.settle();
    say(world, { state: 'working', step: 'start' }, true);
    assert.equal(workload(world).phase, 'creating', 'the container has not run yet');
    say(world, { state: 'started', step: 'run' });
    assert.equal(workload(world).phase, 'ready');
    const other = shared();
    create(other, 'e-1');
    other.settle();
    say(other, { state: 'started', step: 'run' });
    assert.equal(workload(other).phase, 'creating', 'nothing has answered yet');
  });

  it('is undone when its host says that it failed: ports and container go, and then the name is free', () => {
    const world = shared();
    create(world, 'e-1');
    world.settle();
    say(world, { state: 'failed', step: 'run', reason: 'CONTAINER_EXITED', message: 'status 7' });
    assert.deepEqual([workload(world).phase, workload(world).failure], ['undoing', { step: 'run', reason: 'CONTAINER_EXITED', message: 'status 7' }]);
    assert.deepEqual(objectsOf(world), ['removal/e-1']);
    world.settle();
    assert.ok(world.book.environment('e-1') !== undefined, 'its container is not removed yet');
    say(world, { state: 'removed', step: 'remove' });
    assert.equal(world.book.environment('e-1'), undefined);
    assert.deepEqual([objectsOf(world), world.tables.workloads.size, world.tables.environments.size], [[], 0, 0]);
    assert.deepEqual(kindsOf(world), ['EnvironmentCreating', 'EnvironmentFailed', 'EnvironmentDeleted']);
    world.pass(2_000);
    assert.equal(create(world, 'e-1').kind, 'environment');
  });

  it('is undone when its port is blocked for good, and not while what blocks it passes', () => {
    const world = shared();
    create(world, 'e-1');
    world.settle();
    for (const reason of ['CONTAINER_NOT_FOUND', 'CONTAINER_STOPPED', 'CONTAINER_ADDRESS_UNSETTLED', 'DOCKER_UNAVAILABLE']) {
      say(world, { state: 'started', step: 'run' }, false, { reason, message: 'not now: it has no address' });
      const mapping = world.book.environment('e-1')?.mappings[0];
      assert.deepEqual([workload(world).phase, mapping?.state, mapping?.reason], ['creating', 'blocked', `${reason}: not now: it has no address`]);
    }
    say(world, { state: 'started', step: 'run' }, false, { reason: 'CONTAINER_UNREACHABLE', message: 'container web: it has no IPv4 address' });
    assert.deepEqual([workload(world).phase, workload(world).failure?.step, workload(world).failure?.reason], ['undoing', 'map', 'CONTAINER_UNREACHABLE']);
    assert.match(workload(world).failure?.message ?? '', /^port \d+: container web: it has no IPv4 address$/);
  });

  it('is undone when the time is up, which a restart begins anew', () => {
    const world = shared();
    create(world, 'e-1');
    world.settle();
    world.pass(40_000);
    world.restart();
    for (const agent of world.agents.values()) world.hello(agent);
    world.pass(40_000);
    assert.equal(workload(world).phase, 'creating');
    assert.equal([...agentOf(world, 'a').objects.values()].every((object) => object.kind !== 'mapping' || object.verify), true, 'its services are asked for an answer again');
    world.pass(21_000);
    assert.deepEqual([workload(world).phase, workload(world).failure?.reason], ['undoing', 'START_TIMEOUT']);
  });

  it('is undone when a port of it is released before it is ready', () => {
    const world = shared();
    create(world, 'e-1');
    world.decide({ kind: 'release', actor: 'o', selector: { kind: 'environment', environment: 'e-1' } });
    assert.equal(workload(world).failure?.reason, 'PORTS_RELEASED');
  });

  it('is deleted once, whatever becomes of host and coordinator meanwhile', () => {
    const world = shared();
    becomeReady(world);
    const remove = () => world.decide({ kind: 'deleteEnvironment', actor: 'o', environment: 'e-1', removesVolumes: true });
    const reply = remove();
    assert.ok(reply.kind === 'deleting' && reply.view?.workload?.phase === 'deleting' && (reply.boundMs ?? 0) > 0);
    remove();
    lose(world, 'a');
    world.restart();
    assert.deepEqual([workload(world).phase, workload(world).removesVolumes], ['deleting', true]);
    assert.equal(reasonOf(create(world, 'e-1')), 'ENVIRONMENT_NOT_READY', 'the name is not free');
    for (const agent of world.agents.values()) world.hello(agent);
    comeBack(world, 'a');
    assert.deepEqual(objectsOf(world), ['removal/e-1']);
    say(world, { state: 'removed', step: 'remove' });
    world.settle();
    assert.equal(world.book.environment('e-1'), undefined);
    const again = remove();
    assert.ok(again.kind === 'deleting' && again.view === undefined);
  });

  it('believes its own host and this container only', () => {
    const world = shared();
    create(world, 'e-1');
    world.settle();
    say(world, { state: 'failed', step: 'run', generation: 1 });
    assert.equal(workload(world).phase, 'creating');
    const other = agentOf(world, 'b');
    world.decide({
      kind: 'report', host: 'b', session: other.session, applied: other.accepted as NonNullable<typeof other.accepted>, problems: [], confirmations: [], verified: [], driftRepairs: 0, occupied: [],
      environments: [{ environment: 'e-1', generation: workload(world).generation, state: 'failed', step: 'run', reason: 'X', message: '', percent: 0, containerId: '', rotation: 0 }],
    });
    assert.equal(workload(world).phase, 'creating');
  });

  it('tells credentials until they were returned, and again after each rotation', () => {
    const world = shared();
    becomeReady(world);
    const told = () => [...agentOf(world, 'a').objects.values()].map((object) => (object.kind === 'environment' ? [object.tellCredentials, object.rotation, object.isReady] : undefined)).find((one) => one !== undefined);
    assert.deepEqual(told(), [true, 0, true]);
    const note = (rotation: number) => world.decide({ kind: 'noteCredentials', environment: 'e-1', generation: workload(world).generation, rotation });
    note(1);
    assert.deepEqual(told(), [true, 0, true], 'of another rotation');
    note(0);
    assert.deepEqual(told(), [false, 0, true]);
    world.decide({ kind: 'rotateCredentials', actor: 'o', environment: 'e-1' });
    assert.deepEqual(told(), [true, 1, true]);
    world.restart();
    for (const agent of world.agents.values()) world.hello(agent);
    assert.deepEqual(told(), [true, 1, true]);
    note(1);
    assert.deepEqual(told(), [false, 1, true]);
  });

  it('makes at most one event of progress in 2 s, besides those of a new step', () => {
    const world = shared();
    create(world, 'e-1');
    for (let percent = 1; percent <= 50; percent += 1) {
      say(world, { state: 'working', step: 'pull', percent });
      world.nowMs += 100;
    }
    const events = kindsOf(world).filter((kind) => kind === 'EnvironmentProgress').length;
    assert.ok(events >= 2 && events <= 4, `${events} events`);
  });

  it('is as the agent knows it after an older copy of the database was restored', () => {
    const world = shared();
    const putBack = backUp(world);
    becomeReady(world);
    putBack();
    for (let round = 0; round < 3; round += 1) {
      for (const agent of world.agents.values()) {
        const { accepted } = agent;
        const hello = { kind: 'hello' as const, actor: 'host', host: agent.host, bootId: agent.bootId, agentVersion: '1', roles: agent.roles, addresses: [agent.address], lastSession: agent.session, accepted, leases: [], routes: [], admit: true };
        const reply = world.decide({ ...hello, state: [...agent.objects.values()] });
        if (reply.kind !== 'welcome') continue;
        agent.session = reply.session;
        agent.accepted = reply.state.version;
        agent.objects = new Map(reply.state.upserts.map((object) => [object.key, object]));
      }
    }
    const { phase, container, credentials, tenant, host } = workload(world);
    assert.deepEqual({ phase, container, credentials, tenant, host }, { phase: 'ready', container: containerSpec(), credentials: [{ name: 'ssh', variables: ['SSH_PASSWORD'] }], tenant: 't1', host: 'a' });
    assert.deepEqual(objectsOf(world), ['environment/e-1']);
    assert.equal(create(world, 'e-1').kind, 'environment');
  });

  it('leaves the variables alone that the spec sets, and gives none twice', () => {
    const world = shared();
    create(world, 'e-1', { env: { SSH_PASSWORD: 'own' } });
    assert.deepEqual(workload(world).credentials, []);
    assert.equal(workload(world).credentialsReturned, true);
    create(world, 'e-2', { credentials: [{ name: 'ssh', variables: ['ROOT_PASSWORD'] }] });
    assert.deepEqual(workload(world, 'e-2').credentials, [{ name: 'ssh', variables: ['ROOT_PASSWORD'] }]);
  });

  it('keeps its ports where they are: nobody moves them, or adds to them while it is on its way', () => {
    const world = shared();
    create(world, 'e-1');
    world.settle();
    assert.equal(reasonOf(world.decide(world.allocateCommand('e-1', 'a', [want({ name: 'more' })]))), 'ENVIRONMENT_NOT_READY');
    assert.equal(reasonOf(world.decide({ kind: 'move', actor: 'o', environment: 'e-1', host: 'b', targets: [], verify: false })), 'ENVIRONMENT_HAS_CONTAINER');
    say(world, { state: 'started', step: 'run' }, true);
    assert.equal(world.allocate('e-1', 'a', [want({ name: 'more' })]).kind, 'allocated');
    assert.equal(reasonOf(world.decide(world.allocateCommand('e-1', 'b', [want({ name: 'most' })]))), 'ENVIRONMENT_ELSEWHERE');
  });
});
