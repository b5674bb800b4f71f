import assert from 'node:assert/strict';
import { benchOfEachTest } from '../support/describe.js';
import { assertNothingLeft, environmentsBench, filesWith, lookAround, page, requestOf, type Before } from '../support/environments.js';
import { Refused, refusalOf } from '../support/api.js';
import { Dockerd } from '../support/docker.js';
import { DockerGate, type When } from '../support/docker-gate.js';
import { EnvironmentStatus } from '../../shared/gen/portlease/v1/ports.js';

const CREATE = /^POST .*\/containers\/create$/;
const VOLUME = /^POST .*\/volumes\/create$/;
const START = /^POST .*\/start$/;
const REMOVE = /^DELETE .*\/containers\//;

const WITH_VOLUME = { mounts: [{ source: { $case: 'volume' as const, value: 'test-made' }, path: '/made' }] };
const ENDS_AT_ONCE = { ...WITH_VOLUME, command: ['sh', '-c', 'exit 7'] };

type Point = readonly [name: string, pattern: RegExp, when: When];
const MAKING: readonly Point[] = [
  ['when its volume is made', VOLUME, 'after'], ['before its container is created', CREATE, 'before'], ['when its container is created', CREATE, 'after'],
  ['before it starts', START, 'before'], ['when it has started', START, 'after'],
];
const REMOVING: readonly Point[] = [['before its container is removed', REMOVE, 'before'], ['when its container is removed', REMOVE, 'after']];

describe('an environment, when something is killed', function () {
  this.timeout(120_000);
  const bench = benchOfEachTest(environmentsBench({ gated: true }));
  let docker: Dockerd;
  let gate: DockerGate;
  let before: Before;
  beforeEach(async () => {
    const { machine } = bench().agent('host-a');
    docker = await Dockerd.up(machine);
    gate = await DockerGate.open(machine);
    await bench().agent('host-a').process.line(/"msg":"Docker answers again"/);
    before = await lookAround(docker);
  });
  afterEach(async () => {
    await gate.close();
    await docker.close();
  });

  const create = (container = {}) => bench().api.createEnvironment(requestOf('env-1', container));
  const outcome = (call: Promise<unknown>): Promise<unknown> => call.catch((error: unknown) => error);

  /** Kills the agent, and starts it anew: what it asked for is gone, or done without its knowing. */
  async function killAgent(): Promise<void> {
    await bench().agent('host-a').stop('SIGKILL');
    gate.forget();
    bench().agent('host-a').start();
  }

  async function killCoordinator(): Promise<void> {
    await bench().coordinator.stop('SIGKILL');
    await bench().coordinator.start();
    await bench().untilAlive('host-a', 'gateway');
    gate.release();
  }

  async function assertReady({ environment, credentials }: Awaited<ReturnType<typeof create>>): Promise<void> {
    assert.equal(environment?.status, EnvironmentStatus.ENVIRONMENT_STATUS_READY);
    assert.equal(await page(bench(), environment.mappings.find(({ name }) => name === 'web')?.publicPort ?? 0), 'env-1');
    assert.equal(await docker.run(['exec', 'portlease-env-1', 'sh', '-c', 'printf %s "$SSH_PASSWORD"']), credentials[0]?.value);
    assert.equal((await docker.run(['ps', '--all', '--quiet'])).split('\n').length, 1);
    assert.deepEqual(filesWith(bench(), credentials.map(({ value }) => value)), []);
    await bench().api.deleteEnvironment({ environment: 'env-1', removeVolumes: true });
    await assertNothingLeft(bench(), docker, before);
  }

  for (const [name, pattern, when] of MAKING) {
    it(`is made by the next agent, the agent being killed ${name}`, async () => {
      gate.hold(pattern, when);
      const made = create(WITH_VOLUME);
      made.catch(() => undefined);
      await gate.holds(() => bench().logs());
      await killAgent();
      await assertReady(await made);
    });

    it(`is made by the next coordinator, that being killed ${name}`, async () => {
      gate.hold(pattern, when);
      const made = outcome(create(WITH_VOLUME));
      await gate.holds(() => bench().logs());
      await killCoordinator();
      assert.ok(await made instanceof Error, 'the call that waited is told so');
      await assertReady(await create(WITH_VOLUME));
    });
  }

  for (const [name, pattern, when] of REMOVING) {
    it(`is deleted by the next agent, the agent being killed ${name}`, async () => {
      await create(WITH_VOLUME);
      gate.hold(pattern, when);
      const deleted = bench().api.deleteEnvironment({ environment: 'env-1', removeVolumes: true });
      await gate.holds(() => bench().logs());
      await killAgent();
      assert.equal((await deleted).environment, undefined);
      await assertNothingLeft(bench(), docker, before);
    });

    it(`is deleted by the next coordinator, that being killed ${name}`, async () => {
      await create(WITH_VOLUME);
      gate.hold(pattern, when);
      const deleted = outcome(bench().api.deleteEnvironment({ environment: 'env-1', removeVolumes: true }));
      await gate.holds(() => bench().logs());
      await killCoordinator();
      assert.ok(await deleted instanceof Error);
      assert.equal((await bench().api.deleteEnvironment({ environment: 'env-1' })).environment, undefined);
      await assertNothingLeft(bench(), docker, before);
    });

    it(`that cannot be made is undone by the next agent, the agent being killed ${name}`, async () => {
      gate.hold(pattern, when);
      const refused = refusalOf(create(ENDS_AT_ONCE));
      await gate.holds(() => bench().logs());
      await killAgent();
      assert.equal((await refused).details.metadata['host_reason'], 'CONTAINER_EXITED');
      await assertNothingLeft(bench(), docker, before);
    });

    it(`that cannot be made is undone by the next coordinator, that being killed ${name}; whoever asks again is told the cause`, async () => {
      gate.hold(pattern, when);
      const refused = outcome(create(ENDS_AT_ONCE));
      await gate.holds(() => bench().logs());
      await bench().coordinator.stop('SIGKILL');
      await bench().coordinator.start();
      assert.ok(await refused instanceof Refused);
      const again = refusalOf(create(ENDS_AT_ONCE));
      await bench().untilAlive('host-a', 'gateway');
      gate.release();
      assert.deepEqual([(await again).details.reason, (await again).details.metadata['host_reason']], ['ENVIRONMENT_FAILED', 'CONTAINER_EXITED']);
      await assertNothingLeft(bench(), docker, before);
    });
  }

  it('is deleted as far as can be while its host is silent, and wholly when that is back', async () => {
    const { environment } = await create();
    const port = environment?.mappings.find(({ name }) => name === 'web')?.publicPort ?? 0;
    await bench().agent('host-a').stop('SIGKILL');
    await bench().untilLost('host-a');
    const deleting = await bench().api.deleteEnvironment({ environment: 'env-1' }, 4_000);
    assert.equal(deleting.environment?.status, EnvironmentStatus.ENVIRONMENT_STATUS_DELETING);
    assert.equal(await page(bench(), port), '', 'the gateway leads nobody there any more');
    assert.equal((await refusalOf(create())).details.reason, 'ENVIRONMENT_NOT_READY', 'and the name is not free');
    bench().agent('host-a').start();
    assert.equal((await bench().api.deleteEnvironment({ environment: 'env-1' })).environment, undefined);
    await assertNothingLeft(bench(), docker, before);
  });

  it('is made when Docker is away for a while', async () => {
    gate.hold(CREATE, 'before');
    const made = create();
    made.catch(() => undefined);
    await gate.holds();
    await docker.kill();
    gate.forget();
    await docker.start();
    await assertReady(await made);
  });
});
