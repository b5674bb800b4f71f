import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { mkdirSync } from 'node:fs';
import { packageFile } from '../../../shared/package-files.js';
import { TestCoordinator } from './coordinator.js';

const run = promisify(execFile);
const BUF = packageFile('node_modules/.bin/buf');

describe('what buf curl can do through reflection', () => {
  let coordinator: TestCoordinator;
  before(async () => {
    mkdirSync(packageFile('dist'), { recursive: true });
    await run(BUF, ['build', '--as-file-descriptor-set', '-o', 'dist/descriptors.binpb'], { cwd: packageFile('') });
    coordinator = await TestCoordinator.start();
  });
  after(() => coordinator.close());

  async function curl(...args: string[]): Promise<string> {
    const { stdout } = await run(BUF, ['curl', '--protocol', 'grpc', '--http2-prior-knowledge', ...args]);
    return stdout;
  }

  const url = (path = '') => `http://${coordinator.address}${path}`;

  async function fails(...args: string[]): Promise<string> {
    const outcome = await curl(...args).then((text) => new Error(`it worked: ${text}`), (error: unknown) => String((error as { stderr?: string }).stderr));
    if (outcome instanceof Error) throw outcome;
    return outcome;
  }

  it('lists every service', async () => {
    const services = (await curl('--list-services', url())).trim().split('\n').sort();
    assert.deepEqual(services, ['grpc.health.v1.Health', 'portlease.v1.AgentService', 'portlease.v1.EnvironmentService', 'portlease.v1.EventService', 'portlease.v1.OperationsService', 'portlease.v1.PortService', 'portlease.v1.TunnelService']);
  });

  it('lists every method, with the types that it takes', async () => {
    const methods = await curl('--list-methods', url());
    for (const method of ['AgentService/Session', 'AgentService/Heartbeat', 'PortService/AllocatePorts', 'OperationsService/UpdatePool', 'Health/Check']) {
      assert.match(methods, new RegExp(method));
    }
  });

  it('calls a unary method of each service, well-known types included', async () => {
    assert.match(await curl(url('/portlease.v1.OperationsService/GetStatus')), /"uptime": "[0-9.]+s"/);
    assert.match(await curl('-d', '{"pool":{"gateway":"gw","pool":"ssh","quarantine":"7s"},"updateMask":"quarantine"}', url('/portlease.v1.OperationsService/UpdatePool')), /"quarantine": "7s"/);
    assert.match(await curl(url('/portlease.v1.PortService/ListMappings')), /"revisions"/);
    assert.equal((await curl(url('/portlease.v1.TunnelService/ListTunnels'))).trim(), '{}');
    const heartbeat = { host: 'h1', session: '1', sequence: '1', acceptedRevision: '0', digest: '0000000000000000' };
    assert.match(await fails('-d', JSON.stringify(heartbeat), url('/portlease.v1.AgentService/Heartbeat')), /there is no host h1/);
  });

  it('opens a session: a hello brings a welcome and a snapshot', async () => {
    const hello = { hello: { host: 'h9', gateway: 'gw', bootId: 'b', version: '1', roles: ['ROLE_HOST'], addresses: ['10.9.0.9'] } };
    const answer = await curl('-d', JSON.stringify(hello), url('/portlease.v1.AgentService/Session'));
    assert.match(answer, /"welcome"[^]*"snapshot": true/);
  });

  it('shows the reason and the field of a refusal', async () => {
    const text = await fails('-d', '{"environment":"Not OK"}', url('/portlease.v1.PortService/GetEnvironment'));
    assert.match(text, /invalid_argument/);
    assert.match(text, /google\.rpc\.ErrorInfo[^]*google\.rpc\.BadRequest/);
  });

  it('answers health checks, for the whole and for each service, also on the unix socket', async () => {
    for (const service of ['', 'portlease.v1.PortService', 'portlease.v1.AgentService', 'portlease.v1.OperationsService', 'portlease.v1.TunnelService']) {
      assert.match(await curl('-d', JSON.stringify({ service }), url('/grpc.health.v1.Health/Check')), /"SERVING"/);
    }
    assert.match(await curl('--unix-socket', coordinator.socket, 'http://localhost/grpc.health.v1.Health/Check'), /"SERVING"/);
    assert.match(await curl('--unix-socket', coordinator.socket, 'http://localhost/portlease.v1.OperationsService/ListGateways'), /"gateway": "gw"/);
  });
});
