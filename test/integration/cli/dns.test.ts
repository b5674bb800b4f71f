import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { join } from 'node:path';
import { EXIT } from '../../../cli/exit.js';
import { LoggedProcess } from '../../support/logged-process.js';
import { eventually } from '../../support/wait.js';
import { portlease } from '../../unit/cli/world.js';
import { TestCoordinator } from '../rpc/coordinator.js';

async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return port;
}

describe('portlease dns', () => {
  let coordinator: TestCoordinator;
  let server: LoggedProcess | undefined;
  beforeEach(async () => {
    coordinator = await TestCoordinator.start();
    server = undefined;
  });
  afterEach(async () => {
    await server?.stop();
    await coordinator.close();
  });

  const run = (...argv: string[]) => portlease([...argv, '--server', `unix:${coordinator.socket}`]);

  /** A real name server with these records and no others. */
  async function serve(...records: string[]): Promise<string> {
    const port = await freeUdpPort();
    server = new LoggedProcess(['dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--pid-file=', '--log-facility=-', '--user=root', '--no-resolv', '--no-hosts', '--local=/example.com/', '--local=/example.net/',
      '--bind-interfaces', '--listen-address=127.0.0.1', `--port=${port}`, ...records], { logFile: join(coordinator.folder, 'dnsmasq.log') });
    const resolver = `127.0.0.1:${port}`;
    await eventually('the name server to answer', async () => !(await run('dns', 'check', '--resolver', resolver)).out.includes('unknown'), { withinMs: 10_000 });
    return resolver;
  }

  async function named(pool: string, template: string): Promise<void> {
    assert.equal((await run('pools', 'update', pool, '--gateway=gw', '--domain-template', template)).exitCode, EXIT.ok);
  }

  it('prints the records that the templates need, as lines of a zone file', async () => {
    const { out, err, exitCode } = await run('dns', 'records');
    assert.deepEqual([out, exitCode], ['', EXIT.ok]);
    assert.match(err, /--domain-template/);
    await named('ssh', '{env}.{service}.example.com');
    await named('rdp', 'rdp.{env}.{gateway}.example.com');
    const records = await run('dns', 'records', '--gateway', 'gw');
    assert.equal(records.exitCode, EXIT.ok);
    assert.deepEqual(records.out.trim().split('\n').sort(), ['*.gw.example.com. 300 IN A 203.0.113.1 ; gateway gw: rdp', '*.ssh.example.com. 300 IN A 203.0.113.1 ; gateway gw: ssh']);
  });

  it('is what callers are told to use, with the port', async () => {
    await named('ssh', '{env}.{service}.example.com');
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    await coordinator.agent({ host: 'h1' });
    const { out } = await run('allocate', 'env-1', '--host=h1', '--tenant=acme', '--want=name=ssh,pool=ssh,target=10.1.0.1', '--want=name=rdp,pool=rdp,target=10.1.0.1');
    const [, port] = /ssh -p (\d+) env-1\.ssh\.example\.com/.exec(out) ?? [];
    assert.ok(port !== undefined, out);
    const { mappings } = (JSON.parse((await run('show', 'env-1', '--json')).out) as { environment: { mappings: { name: string; access: { hostName: string; url: string; command: string } }[] } }).environment;
    assert.deepEqual(mappings.map(({ name, access }) => [name, access.hostName, access.command]).sort(), [['rdp', '203.0.113.1', ''], ['ssh', 'env-1.ssh.example.com', `ssh -p ${port} env-1.ssh.example.com`]]);
  });

  it('asks a resolver: right, elsewhere, missing, and no answer are told apart', async () => {
    await named('ssh', '{env}.ssh.example.com');
    await named('rdp', '{env}.rdp.example.com');
    await named('tiny', '{env}.tiny.example.com');
    const resolver = await serve('--address=/ssh.example.com/203.0.113.1', '--address=/rdp.example.com/198.51.100.9');
    const { out, err, exitCode } = await run('dns', 'check', '--resolver', resolver);
    assert.equal(exitCode, EXIT.refused);
    assert.match(out, /^\*\.ssh\.example\.com +gw +ok +portlease-[0-9a-f]{8}\.ssh\.example\.com +203\.0\.113\.1 +-$/m);
    assert.match(out, /^\*\.rdp\.example\.com +gw +elsewhere .*leads to 198\.51\.100\.9, not to 203\.0\.113\.1$/m);
    assert.match(out, /^\*\.tiny\.example\.com +gw +missing .*there is no such name$/m);
    assert.match(err, /create: \*\.tiny\.example\.com\. 300 IN A 203\.0\.113\.1/);
    await server?.stop();
    const silent = await run('dns', 'check', '--resolver', resolver);
    assert.equal(silent.exitCode, EXIT.refused);
    assert.match(silent.out, /unknown .*the resolver gave no answer/);
  });

  it('follows a gateway with a name, and is content when every name leads there', async () => {
    assert.equal((await run('gateways', 'create', 'named', '--scope=shared', '--public-host=gw.example.net')).exitCode, EXIT.ok);
    assert.equal((await run('pools', 'create', 'web', '--gateway=named', '--range=40000-40009', '--protocol=tcp', '--domain-template={env}.{gateway}.example.com')).exitCode, EXIT.ok);
    const resolver = await serve('--host-record=gw.example.net,203.0.113.7,2001:db8::7', '--address=/named.example.com/203.0.113.7', '--address=/named.example.com/2001:db8::7');
    const { out, exitCode } = await run('dns', 'check', '--resolver', resolver, '--json');
    assert.equal(exitCode, EXIT.ok, out);
    const { checked } = JSON.parse(out) as { checked: { verdict: string; answers: string[] }[] };
    assert.deepEqual(checked.map(({ verdict, answers }) => [verdict, answers.sort()]), [['ok', ['2001:db8::7', '203.0.113.7']]]);
  });

  it('cannot be asked of two gateways with the same names: the second one is refused', async () => {
    await named('ssh', '{env}.{service}.example.com');
    const { err, exitCode } = await run('pools', 'update', 'ssh', '--gateway=edge', '--domain-template={env}.ssh.example.com');
    assert.equal(exitCode, EXIT.refused);
    assert.match(err, /\*\.ssh\.example\.com, as gateway gw does: put \{gateway\} in it/);
    assert.equal((await run('pools', 'update', 'ssh', '--gateway=edge', '--domain-template={env}.{gateway}.example.com')).exitCode, EXIT.ok);
    const records = await run('dns', 'records');
    assert.equal(records.exitCode, EXIT.refused);
    assert.match(records.err, /pool ssh of edge: in scope host/);
  });
});
