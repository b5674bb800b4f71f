import assert from 'node:assert/strict';
import { join } from 'node:path';
import { benchOfEachTest } from '../support/describe.js';
import { assertNothingLeft, environmentsBench, filesWith, lookAround, page, requestOf, type Before } from '../support/environments.js';
import { type Refused, refusalOf, status } from '../support/api.js';
import { Dockerd, IMAGE } from '../support/docker.js';
import { privateKey } from '../support/image.js';
import { GATEWAY_PUBLIC } from '../support/layout.js';
import type { LoggedProcess } from '../support/logged-process.js';
import { Wait } from '../support/requests.js';
import { eventually } from '../support/wait.js';
import { ROOT } from '../support/root.js';
import { EnvironmentStatus } from '../../shared/gen/portlease/v1/ports.js';
import type { DeepPartial, CreateEnvironmentRequest } from '../../shared/gen/portlease/v1/environments.js';

type Spec = DeepPartial<CreateEnvironmentRequest>['container'];

/** Of an environment that could not be made. */
function causeOf({ details: { reason, metadata } }: Refused): string {
  return [reason, metadata['step'], metadata['host_reason'], metadata['undone']].join(' ');
}

describe('an environment', function () {
  this.timeout(120_000);
  const bench = benchOfEachTest(environmentsBench({ rules: { hostPaths: ['/opt/allowed:ro'] } }));
  let docker: Dockerd;
  let before: Before;
  beforeEach(async () => {
    docker = await Dockerd.upFor(bench().agent('host-a'));
    before = await lookAround(docker);
  });
  afterEach(async () => { await docker.close(); });

  const create = (environment: string, container: Spec = {}) => bench().api.createEnvironment(requestOf(environment, container));
  const variableOf = (environment: string, variable: string) => docker.run(['exec', `portlease-${environment}`, 'sh', '-c', `printf %s "$${variable}"`]);

  it('is reached by ssh and HTTP through the gateway, and its credentials are in its container and nowhere else', async () => {
    const { environment, credentials } = await create('env-1', { env: { COLOUR: 'green' } });
    assert.ok(environment);
    assert.equal(environment.status, EnvironmentStatus.ENVIRONMENT_STATUS_READY);
    const [ssh, web] = environment.mappings;
    assert.ok(ssh && web);
    assert.equal(await page(bench(), web.publicPort), 'env-1');
    const login = ['ssh', '-i', privateKey(), '-p', String(ssh.publicPort), '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'BatchMode=yes', `root@${GATEWAY_PUBLIC[4]}`, 'hostname'];
    assert.equal((await bench().topology.run('client', login)).stdout.trim(), 'env-1');
    assert.equal(ssh.access?.command, `ssh -p ${ssh.publicPort} ${GATEWAY_PUBLIC[4]}`);

    const [password, ...others] = credentials;
    assert.ok(password && others.length === 0);
    assert.deepEqual([password.name, password.variables], ['ssh', ['SSH_PASSWORD']]);
    assert.match(password.value, /^[A-Za-z0-9_][A-Za-z0-9_-]{31}$/);
    assert.equal(await variableOf('env-1', 'SSH_PASSWORD'), password.value);
    assert.equal(await variableOf('env-1', 'COLOUR'), 'green');

    const again = await create('env-1', { env: { COLOUR: 'green' } });
    assert.deepEqual([again.replayed, again.credentials, again.credentialsReturned], [true, [], true], 'returned once');
    assert.deepEqual(again.environment?.mappings.map(({ publicPort }) => publicPort), [ssh.publicPort, web.publicPort]);
    assert.equal((await refusalOf(create('env-1', { env: { COLOUR: 'red' } }))).details.reason, 'ENVIRONMENT_EXISTS');

    await bench().agent('host-a').restart('SIGKILL');
    await bench().coordinator.stop('SIGKILL');
    await bench().coordinator.start();
    await bench().untilAlive('host-a', 'gateway');
    assert.deepEqual((await create('env-1', { env: { COLOUR: 'green' } })).credentials, [], 'also after both were killed');
    assert.deepEqual(filesWith(bench(), [password.value]), []);
    for (const file of ['coordinator.db', 'agent.state', 'agent.log']) assert.ok(filesWith(bench(), ['host-a']).some((one) => one.includes(file)), `${file} is not looked at`);
  });

  it('is deleted with its container and its ports, and nothing of others goes; deleting it twice is fine', async () => {
    await docker.container('stranger', ['--label', 'portlease.environment=env-1', '--volume', 'test-own:/data']);
    await docker.run(['volume', 'create', 'test-shared']);
    before = await lookAround(docker);
    await docker.run(['stop', '--time', '0', 'stranger']);
    const mounts = [{ source: { $case: 'volume' as const, value: 'test-shared' }, path: '/shared' }, { source: { $case: 'volume' as const, value: 'test-made' }, path: '/made' }];
    const { environment } = await create('env-1', { mounts });
    const port = environment?.mappings[1]?.publicPort ?? 0;
    assert.equal(await page(bench(), port), 'env-1');
    const gone = await bench().api.deleteEnvironment({ environment: 'env-1', removeVolumes: true });
    assert.equal(gone.environment, undefined);
    assert.equal(await page(bench(), port), '');
    await assertNothingLeft(bench(), docker, before);
    assert.equal((await bench().api.deleteEnvironment({ environment: 'env-1' })).environment, undefined);
    assert.equal((await bench().api.deleteEnvironment({ environment: 'never-was' })).environment, undefined);
  });

  it('is told its credentials by the call that waits, when an earlier one did not', async () => {
    const first = await bench().api.createEnvironment({ ...requestOf('env-1'), wait: Wait.WAIT_RECORDED });
    assert.deepEqual([first.credentials, first.credentialsReturned, first.environment?.status], [[], false, EnvironmentStatus.ENVIRONMENT_STATUS_CREATING]);
    const { credentials, replayed } = await create('env-1');
    assert.deepEqual([credentials.length, replayed], [1, true]);
  });

  it('gets new credentials from its rotate_command, once; without one it keeps those that it has', async () => {
    const { credentials: [old] } = await create('env-1', { rotateCommand: ['sh', '-c', 'printf %s "$SSH_PASSWORD" >/tmp/password'] });
    const { credentials: [fresh] } = await bench().api.rotateCredentials('env-1');
    assert.ok(old && fresh && fresh.value !== old.value);
    assert.equal(await docker.run(['exec', 'portlease-env-1', 'cat', '/tmp/password']), fresh.value);
    assert.deepEqual(filesWith(bench(), [old.value, fresh.value]), []);

    await create('env-2', { rotateCommand: ['sh', '-c', 'exit 3'] });
    const failed = await refusalOf(bench().api.rotateCredentials('env-2'));
    assert.deepEqual([failed.code, failed.details.reason, failed.details.metadata['host_reason']], [status.FAILED_PRECONDITION, 'ROTATION_FAILED', 'ROTATE_COMMAND_FAILED']);
    assert.match(failed.message, /status 3/);
    await create('env-3');
    assert.equal((await refusalOf(bench().api.rotateCredentials('env-3'))).details.reason, 'NOT_ROTATABLE');
    assert.equal((await refusalOf(bench().api.rotateCredentials('env-9'))).details.reason, 'ENVIRONMENT_UNKNOWN');
  });

  it('runs with the limits that were asked for, without further rights, and is started again by Docker only once it was ready', async () => {
    await create('env-1', { memoryBytes: 268_435_456, cpuMillis: 500, maxProcesses: 64, shmBytes: 33_554_432, ulimits: [{ name: 'nofile', soft: 512, hard: 1_024 }], workingDir: '/tmp', user: '0:0' });
    const shown = JSON.parse(await docker.run(['inspect', 'portlease-env-1'])) as [{ HostConfig: Record<string, unknown>; Config: Record<string, unknown> }];
    const { Privileged, NetworkMode, PidMode, SecurityOpt, Memory, NanoCpus, PidsLimit, ShmSize, Ulimits, RestartPolicy, CapAdd, Devices } = shown[0].HostConfig;
    assert.deepEqual({ Privileged, NetworkMode, PidMode, SecurityOpt, Memory, NanoCpus, PidsLimit, ShmSize, Ulimits, CapAdd, Devices }, {
      Privileged: false, NetworkMode: 'bridge', PidMode: '', SecurityOpt: ['no-new-privileges'], Memory: 268_435_456, NanoCpus: 500_000_000, PidsLimit: 64, ShmSize: 33_554_432,
      Ulimits: [{ Name: 'nofile', Soft: 512, Hard: 1_024 }], CapAdd: null, Devices: null,
    });
    assert.deepEqual((RestartPolicy as { Name: string }).Name, 'unless-stopped');
    assert.equal(shown[0].Config['WorkingDir'], '/tmp');
  });

  it('that is deleted before it is ready goes wholly, and who waits for it is told', async () => {
    const mounts = [{ source: { $case: 'volume' as const, value: 'test-made' }, path: '/made' }];
    const making = refusalOf(create('env-1', { mounts, env: { WEB_DELAY: '600' } }));
    await eventually('its container to run', async () => (await docker.run(['ps', '--quiet'])) !== '', { withinMs: 10_000, everyMs: 20 });
    assert.equal((await bench().api.deleteEnvironment({ environment: 'env-1' })).environment, undefined);
    assert.equal((await making).details.reason, 'ENVIRONMENT_UNKNOWN');
    await assertNothingLeft(bench(), docker, before);
  });

  it('is made and deleted from the command line, which shows its progress and its credentials', async () => {
    const portlease = (...argv: string[]) => bench().topology.run('coordinator', [process.execPath, join(ROOT, 'dist/cli/main.js'), '--server', `unix:${bench().coordinator.socket}`, ...argv], { timeoutMs: 60_000 });
    const { stdout, stderr } = await portlease('env', 'create', 'env-1', '--host', 'host-a', '--tenant', 'acme', '--image', IMAGE, '--want', 'name=ssh,pool=ssh', '--want', 'name=web,service=web');
    assert.match(stdout, /^status +ready$/m);
    const [, shown] = /^ssh +SSH_PASSWORD +(\S{32})$/m.exec(stdout) ?? [];
    assert.equal(await variableOf('env-1', 'SSH_PASSWORD'), shown);
    assert.match(stderr, /env-1: (?:creating|create|start|run|verify)/);
    assert.match((await portlease('list')).stdout, /^env-1 +acme +edge +host-a +2 +ready +live /m);
    assert.equal((await portlease('env', 'delete', 'env-1')).stdout, 'env-1 is gone\n');
    await assertNothingLeft(bench(), docker, before);
  });

  describe('that cannot be made is undone, and the cause told', () => {
    const rows: { what: string; cause: string; message: RegExp; container?: Spec; of?: DeepPartial<CreateEnvironmentRequest>; prepare?: () => Promise<unknown> }[] = [
      { what: 'its image is not there', cause: 'image IMAGE_MISSING', message: /plbench\/other:7 is not on this host/, container: { image: 'plbench/other:7' } },
      { what: 'its image is not allowed', cause: 'allow NOT_ALLOWED_ON_HOST', message: /environments\.images/, container: { image: 'evil/miner' } },
      { what: 'a volume is not allowed', cause: 'allow NOT_ALLOWED_ON_HOST', message: /environments\.volumes/, container: { mounts: [{ source: { $case: 'volume', value: 'other' }, path: '/x' }] } },
      { what: 'a host path is not allowed', cause: 'allow NOT_ALLOWED_ON_HOST', message: /environments\.hostPaths/, container: { mounts: [{ source: { $case: 'hostPath', value: '/etc' }, path: '/x', readOnly: true }] } },
      { what: 'a host path is not there', cause: 'allow HOST_PATH_MISSING', message: /is not there/, container: { mounts: [{ source: { $case: 'hostPath', value: '/opt/allowed/plbench-missing' }, path: '/x', readOnly: true }] } },
      { what: 'the network of the host is asked for', cause: 'allow NOT_ALLOWED_ON_HOST', message: /environments\.networks/, container: { network: 'host' } },
      { what: 'its name is taken', cause: 'create NAME_TAKEN', message: /portlease did not make/, prepare: () => docker.container('portlease-env-1') },
      { what: 'its program is not there', cause: 'start START_REFUSED', message: /no-such-program/, container: { entrypoint: ['/no-such-program'] } },
      { what: 'the host has no GPU', cause: 'start GPU_UNAVAILABLE', message: /no GPU/, container: { gpus: { which: { $case: 'count', value: 1 } } } },
      { what: 'it ends at once', cause: 'run CONTAINER_EXITED', message: /status 7/, container: { command: ['sh', '-c', 'exit 7'] } },
      { what: 'it ends before it answers', cause: 'run CONTAINER_EXITED', message: /status 9/, container: { command: ['sh', '-c', 'sleep 3; exit 9'] } },
      { what: 'a service does not answer in time', cause: 'verify START_TIMEOUT', message: /nothing answers web on port 8888/, container: { env: { WEB_DELAY: '600' } }, of: { startTimeout: { seconds: 4, nanos: 0 }, wants: [{ name: 'web', source: { $case: 'pool', value: 'web' } }] } },
      { what: 'a named volume was made for it', cause: 'run CONTAINER_EXITED', message: /status 7/, container: { command: ['sh', '-c', 'exit 7'], mounts: [{ source: { $case: 'volume', value: 'test-made' }, path: '/x' }] } },
    ];
    for (const { what, cause, message, container = {}, of = {}, prepare } of rows) {
      it(`when ${what}`, async () => {
        await prepare?.();
        before = await lookAround(docker);
        const refused = await refusalOf(bench().api.createEnvironment(requestOf('env-1', container, of)));
        assert.equal(causeOf(refused), `ENVIRONMENT_FAILED ${cause} true`, refused.message);
        assert.match(refused.message, message);
        await assertNothingLeft(bench(), docker, before);
        assert.equal((await refusalOf(bench().api.environment('env-1'))).details.reason, 'ENVIRONMENT_UNKNOWN');
        const made = await bench().api.createEnvironment(requestOf('env-2'));
        assert.equal(made.environment?.status, EnvironmentStatus.ENVIRONMENT_STATUS_READY, 'and others can be made');
      });
    }

    it('when a port of it is taken: the container is not even begun', async () => {
      const [ssh] = (await create('env-2')).environment?.mappings ?? [];
      const wants = [{ name: 'web', source: { $case: 'pool' as const, value: 'web' } }, { name: 'ssh', source: { $case: 'pool' as const, value: 'ssh' }, choice: { $case: 'exactPort' as const, value: ssh?.publicPort ?? 0 } }];
      const refused = await refusalOf(bench().api.createEnvironment(requestOf('env-1', {}, { wants })));
      assert.equal(refused.details.reason, 'PORT_TAKEN');
      assert.equal((await docker.run(['ps', '--all', '--filter', 'name=portlease-env-1', '--quiet'])), '');
      await bench().api.deleteEnvironment({ environment: 'env-2' });
      await assertNothingLeft(bench(), docker, before);
    });
  });
});

describe('an environment whose image has to be loaded', function () {
  this.timeout(60_000);
  const bench = benchOfEachTest(environmentsBench({ rules: { pull: true, images: ['localhost:5000/*'] } }));
  let docker: Dockerd;
  let registry: LoggedProcess;
  beforeEach(async () => {
    const { machine } = bench().agent('host-a');
    docker = await Dockerd.upFor(bench().agent('host-a'));
    registry = machine.start('registry', [process.execPath, join(import.meta.dirname, '../support/guests/registry.mjs'), '5000']);
    await registry.line(/listening/);
  });
  afterEach(async () => {
    await registry.stop('SIGKILL');
    await docker.close();
  });

  it('is made once it is there, and its progress told', async () => {
    await docker.run(['tag', IMAGE, 'localhost:5000/lab:1']);
    await docker.run(['push', 'localhost:5000/lab:1']);
    await docker.run(['rmi', IMAGE, 'localhost:5000/lab:1']);
    const { environment } = await bench().api.createEnvironment(requestOf('env-1', { image: 'localhost:5000/lab:1' }));
    assert.equal(environment?.status, EnvironmentStatus.ENVIRONMENT_STATUS_READY);
    const steps = (await bench().api.events('env-1')).map(({ kind, detail }) => [kind, detail['step']].join(' ').trim());
    for (const step of ['EnvironmentCreating', 'EnvironmentProgress pull', 'EnvironmentProgress create', 'EnvironmentProgress start', 'EnvironmentProgress run', 'EnvironmentReady']) assert.ok(steps.includes(step), `${step} is not in ${steps.join(', ')}`);
  });

  it('is undone when the registry does not have it', async () => {
    const before = await lookAround(docker);
    const refused = await refusalOf(bench().api.createEnvironment(requestOf('env-1', { image: 'localhost:5000/absent:1' })));
    assert.equal(causeOf(refused), 'ENVIRONMENT_FAILED pull PULL_REFUSED true', refused.message);
    await assertNothingLeft(bench(), docker, before);
  });
});
