import assert from 'node:assert/strict';
import { benchOfEachTest } from '../support/describe.js';
import { environmentsBench, requestOf, page } from '../support/environments.js';
import { Dockerd, IMAGE } from '../support/docker.js';
import { privateKey, WEB_PORT } from '../support/image.js';
import { GATEWAY_PUBLIC } from '../support/layout.js';
import { EnvironmentStatus } from '../../shared/gen/portlease/v1/ports.js';

describe('an environment', function () {
  this.timeout(120_000);
  const bench = benchOfEachTest(environmentsBench());
  let docker: Dockerd;
  beforeEach(async () => { docker = await Dockerd.up(bench().agent('host-a').machine); });
  afterEach(async () => { await docker.close(); });

  it('is made as a whole: reached by ssh and HTTP through the gateway, with its credentials in the container and nowhere else', async () => {
    const { environment, credentials } = await bench().api.createEnvironment(requestOf('env-1'));
    assert.ok(environment);
    assert.equal(environment.status, EnvironmentStatus.ENVIRONMENT_STATUS_READY);
    const [ssh, web] = environment.mappings;
    assert.ok(ssh && web);
    assert.equal(await page(bench(), web.publicPort), 'env-1');
    const login = ['ssh', '-i', privateKey(), '-p', String(ssh.publicPort), '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'BatchMode=yes', `root@${GATEWAY_PUBLIC[4]}`, 'hostname'];
    assert.equal((await bench().topology.run('client', login)).stdout.trim(), 'env-1');
    assert.deepEqual(credentials.map(({ name, variables }) => ({ name, variables })), [{ name: 'ssh', variables: ['SSH_PASSWORD'] }]);
    assert.equal(IMAGE, environment.image);
    assert.ok(WEB_PORT);
  });
});
