import assert from 'node:assert/strict';
import { benchOfEachTest } from '../support/describe.js';
import { environmentsBench, requestOf } from '../support/environments.js';
import { AGENT_TIMING, GATEWAY } from '../support/daemons.js';
import { Dockerd, IMAGE } from '../support/docker.js';
import { eventually } from '../support/wait.js';

const options = environmentsBench();

describe('a container whose environment is gone from a host', function () {
  this.timeout(120_000);
  const bench = benchOfEachTest({ ...options, agent: { ...options.agent, timing: { ...AGENT_TIMING, leakInterval: '200ms' }, leaks: { sightings: 3, containers: 'repair' } } });
  let docker: Dockerd;
  beforeEach(async () => { docker = await Dockerd.upFor(bench().agent('host-a')); });
  afterEach(async () => { await docker.close(); });

  const names = async (): Promise<string[]> => (await docker.run(['ps', '--all', '--format', '{{.Names}}'])).split('\n').filter(name => name !== '').sort();
  const made = (name: string, host: string, generation: number | undefined = 1, of: 'create' | 'run' = 'create'): Promise<string> => docker.run([
    ...(of === 'run' ? ['run', '--detach'] : ['create']), '--name', name, '--label', `portlease.environment=${name}`, '--label', `portlease.host=${host}`,
    ...(generation === 0 ? [] : ['--label', `portlease.generation=${generation}`]), IMAGE,
  ]);

  it('is told of while it runs, after its host was forgotten and is back, and removed when it was stopped', async () => {
    await bench().api.createEnvironment(requestOf('env-1'));
    await bench().agent('host-a').stop('SIGKILL');
    await bench().untilLost('host-a');
    await bench().api.forgetHost('host-a');
    bench().agent('host-a').start();
    const { process: agent } = bench().agent('host-a');
    await agent.line(/"what":"container portlease-env-1 .*"plan":"none: it runs: docker stop ends it","msg":"leak found"/, 30_000);
    assert.deepEqual(await names(), ['portlease-env-1']);
    await docker.run(['stop', '--time', '1', 'portlease-env-1']);
    await agent.line(/"msg":"leaked container was removed"/, 30_000);
    assert.deepEqual(await names(), []);
  });

  it('is removed when it was never started, and nothing that is wanted, runs, or is of somebody else', async () => {
    await bench().api.createEnvironment(requestOf('env-1'));
    await docker.run(['stop', '--time', '1', 'portlease-env-1']);
    await made('never', `${GATEWAY}/host-a`);
    await made('running', `${GATEWAY}/host-a`, 1, 'run');
    await made('other', `${GATEWAY}/host-b`);
    await made('foreign', `${GATEWAY}/host-a`, 0);
    await eventually('the one that was never started to be removed', async () => !(await names()).includes('never'), { withinMs: 30_000, everyMs: 50, hint: () => bench().agent('host-a').process.tail(10) });
    await bench().agent('host-a').process.line(/"what":"container running .*"msg":"leak found"/, 30_000);
    assert.deepEqual(await names(), ['foreign', 'other', 'portlease-env-1', 'running']);
  });
});
