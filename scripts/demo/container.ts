/** The step with a container, where Docker can run. */
import assert from 'node:assert/strict';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { MappingState, Wait } from '../../shared/gen/portlease/v1/common.js';
import { Dockerd } from '../../test/support/docker.js';
import { GATEWAY_PUBLIC } from '../../test/support/layout.js';
import { eventually } from '../../test/support/wait.js';
import type { Step } from './story.js';

const NEEDED = ['dockerd', 'docker', 'busybox', 'sshd'];
const ENVIRONMENT = 'env-2';
const WEB = 8_888;

export const CONTAINER_STEP: Step = {
  text: `A container on host-b: environment ${ENVIRONMENT} is followed wherever its container goes, and who inherits its address inherits nothing.`,

  lacks: () => {
    const path = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
    const missing = NEEDED.filter((program) => !path.some((folder) => isProgram(join(folder, program))));
    return missing.length === 0 ? undefined : `${missing.join(', ')} not installed. With \`node scripts/install.mjs --containers\` the demo shows this, too.`;
  },

  async run({ world }, proven) {
    const { api } = world.bench;
    const docker = world.docker = await Dockerd.upFor(world.bench.agent('host-b'));
    await docker.container('web');
    const { mappings: [mapping] } = await api.allocate({
      tenant: 'demo', environment: ENVIRONMENT, host: 'host-b', wait: Wait.WAIT_VERIFIED,
      wants: [{ name: 'web', source: { $case: 'serviceType', value: 'jupyter' }, internalPort: WEB, target: { kind: { $case: 'container', value: { container: 'web' } } } }],
    });
    const port = mapping?.publicPort ?? 0;
    const page = () => world.clientFetches(port);
    assert.equal(await page(), 'web');
    proven(`http://${GATEWAY_PUBLIC[4]}:${port}/ is answered by container web, at ${await docker.addressOf('web')}`);

    const { process: agent } = world.bench.agent('host-b');
    agent.signal('SIGSTOP');
    const address = await docker.addressOf('web');
    await docker.run(['stop', '--time', '0', 'web']);
    await docker.container('heir');
    assert.equal(await docker.addressOf('heir'), address);
    assert.equal(await page(), '');
    proven(`the agent is frozen, web is stopped, and Docker gives ${address} to another container at once: the client gets nothing from it`);
    agent.signal('SIGCONT');
    await eventually('the mapping to be blocked', async () => (await api.environment(ENVIRONMENT)).mappings.every(({ state }) => state === MappingState.MAPPING_STATE_BLOCKED), { withinMs: 10_000 });
    const startMs = performance.now();
    await docker.run(['start', 'web']);
    await eventually('web to answer again', async () => await page() === 'web', { withinMs: 10_000, everyMs: 10 });
    proven(`web is started again, now at ${await docker.addressOf('web')}: it answers ${((performance.now() - startMs) / 1_000).toFixed(2)} s later under the same port`);
  },
};

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
