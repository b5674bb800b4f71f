import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServerCredentials } from '@grpc/grpc-js';
import { EXIT } from '../../../cli/exit.js';
import { readSettings } from '../../../cli/settings.js';
import { portlease } from '../../unit/cli/world.js';
import { statusAnswer } from './answers.js';
import { silence, startCoordinator, type FakeCoordinator } from './coordinator.js';

const NOWHERE = 'unix:/nonexistent/elsewhere.sock';

describe('the way to the coordinator', () => {
  let folder: string;
  let coordinator: FakeCoordinator;
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'portlease-settings-'));
    coordinator = await startCoordinator({ getStatus: () => statusAnswer() });
  });
  afterEach(() => {
    coordinator.close();
    rmSync(folder, { recursive: true, force: true });
  });

  function file(name: string, content: string): string {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  }
  const paths = (config: string, socket = '/nonexistent/default.sock') => ({ config, socket });

  it('is the unix socket of this machine when it exists', async () => {
    const world = { paths: paths('/nonexistent/cli.yaml', coordinator.address.slice('unix:'.length)) };
    assert.equal((await portlease(['status'], world)).exitCode, EXIT.ok);
  });

  it('is port 7410 of this machine when nothing else is known', () => {
    assert.equal(readSettings({}, { env: {}, paths: paths('/nonexistent/cli.yaml') }).address, '127.0.0.1:7410');
  });

  it('is what the flag says, else the variable, else the config file', async () => {
    const config = file('cli.yaml', `server: ${NOWHERE}\n`);
    assert.equal((await portlease(['status'], { paths: paths(config) })).exitCode, EXIT.unreachable);
    const env = { PORTLEASE_CLI_SERVER: coordinator.address };
    assert.equal((await portlease(['status'], { paths: paths(config), env })).exitCode, EXIT.ok);
    assert.equal((await portlease(['status', '--server', NOWHERE], { paths: paths(config), env })).exitCode, EXIT.unreachable);
    const named = file('named.yaml', `server: ${coordinator.address}\n`);
    assert.equal((await portlease(['status', '--config', named], { paths: paths(config) })).exitCode, EXIT.ok);
    assert.equal((await portlease(['status'], { env: { PORTLEASE_CLI_CONFIG: named } })).exitCode, EXIT.ok);
  });

  it('takes its deadline from the config file', async () => {
    coordinator.answers['getStatus'] = silence;
    const config = file('cli.yaml', `server: ${coordinator.address}\ntimeout: 200ms\n`);
    assert.equal((await portlease(['status'], { paths: paths(config) })).exitCode, EXIT.deadline);
  });

  const BAD_FILES: Record<string, [content: string, named: RegExp]> = {
    'a server that is none': ['server: nowhere\n', /server .*"nowhere"/],
    'a key that nobody reads': ['servers: 127.0.0.1:7410\n', /servers .*no such key; did you mean "server"/],
    'a deadline without a unit': ['timeout: 5\n', /timeout/],
    'half of the TLS files': ['tls: {certificate: /a.pem}\n', /tls\.key: is missing/],
    'a list': ['- server\n', /is not a mapping/],
    'no YAML': ['server: [\n', /cli\.yaml: /],
    'insecure that is neither true nor false': ['insecure: perhaps\n', /insecure/],
  };
  for (const [what, [content, named]] of Object.entries(BAD_FILES)) {
    it(`is refused when the config file has ${what}`, async () => {
      const { exitCode, out, err } = await portlease(['status'], { paths: paths(file('cli.yaml', content)) });
      assert.deepEqual([exitCode, out], [EXIT.usage, '']);
      assert.match(err, named);
      assert.match(err, /^next: {3}Correct .*cli\.yaml/m);
    });
  }

  it('is refused when a variable is misspelt or wrong', async () => {
    assert.match((await portlease(['status'], { env: { PORTLEASE_CLI_SERVERS: 'x' } })).err, /PORTLEASE_CLI_SERVERS: no such key/);
    assert.match((await portlease(['status'], { env: { PORTLEASE_CLI_TIMEOUT: '-1s' } })).err, /timeout \(PORTLEASE_CLI_TIMEOUT\)/);
    assert.equal((await portlease(['status'], { env: { PORTLEASE_AGENT_HOST: 'x', PORTLEASE_CLI_SERVER: coordinator.address } })).exitCode, EXIT.ok);
  });

  it('goes without TLS to another machine only when the caller insists', async () => {
    const { exitCode, err } = await portlease(['status', '--server', '192.0.2.1:7410', '--timeout=100ms']);
    assert.equal(exitCode, EXIT.usage);
    assert.match(err, /192\.0\.2\.1:7410 is not on this machine and no TLS files are named/);
    assert.notEqual((await portlease(['status', '--server', '192.0.2.1:7410', '--timeout=100ms', '--insecure'])).exitCode, EXIT.usage);
  });

  describe('with TLS', () => {
    let server: FakeCoordinator;
    beforeEach(async () => {
      const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
      openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', 'tls.key', '-out', 'tls.pem');
      openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=other', '-keyout', 'other.key', '-out', 'other.pem');
      const certificate = readFileSync(join(folder, 'tls.pem'));
      const credentials = ServerCredentials.createSsl(certificate, [{ cert_chain: certificate, private_key: readFileSync(join(folder, 'tls.key')) }], true);
      server = await startCoordinator({ getStatus: () => statusAnswer() }, { bind: '127.0.0.1:0', credentials });
    });
    afterEach(() => server.close());

    const flags = (name: string) => ['--server', server.address, '--timeout=5s', `--tls-cert=${folder}/${name}.pem`, `--tls-key=${folder}/${name}.key`, `--tls-ca=${folder}/tls.pem`];

    it('proves who asks, and refuses a coordinator that proves nothing', async () => {
      assert.equal((await portlease(['status', ...flags('tls')])).exitCode, EXIT.ok);
      assert.equal((await portlease(['status', ...flags('other')])).exitCode, EXIT.unreachable);
      assert.equal((await portlease(['status', '--server', server.address])).exitCode, EXIT.unreachable);
    });

    it('names the file that is missing, open to everybody, or of another certificate', async () => {
      assert.match((await portlease(['status', ...flags('absent')])).err, /absent\.pem cannot be read/);
      assert.match((await portlease(['status', ...flags('tls'), `--tls-key=${folder}/other.key`])).err, /does not belong to the certificate/);
      chmodSync(join(folder, 'tls.key'), 0o644);
      const { exitCode, err } = await portlease(['status', ...flags('tls')]);
      assert.equal(exitCode, EXIT.usage);
      assert.match(err, /chmod o-rwx/);
    });
  });
});
