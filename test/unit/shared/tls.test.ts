import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client, Server, type ServerUnaryCall } from '@grpc/grpc-js';
import { CLIENT_OPTIONS, endpointAddress, SERVER_OPTIONS } from '../../../shared/grpc.js';
import { clientCredentials, identityOf, listenPolicy, loadTls, serverCredentials, type TlsFiles } from '../../../shared/tls.js';

const ECHO = { path: '/test.Echo/Who', requestStream: false, responseStream: false, requestSerialize: (b: Buffer) => b, requestDeserialize: (b: Buffer) => b, responseSerialize: (b: Buffer) => b, responseDeserialize: (b: Buffer) => b };

describe('tls', () => {
  let folder = '';
  const file = (name: string) => path.join(folder, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });

  function makeCa(name: string): void {
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.pem`);
  }

  function makeCertificate(name: string, { ca, names }: { ca: string; names: string }): TlsFiles {
    openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`);
    writeFileSync(file(`${name}.ext`), `subjectAltName=${names}\n`);
    openssl('x509', '-req', '-in', `${name}.csr`, '-CA', `${ca}.pem`, '-CAkey', `${ca}.key`, '-CAcreateserial', '-days', '2', '-extfile', `${name}.ext`, '-out', `${name}.pem`);
    return { certificate: file(`${name}.pem`), key: file(`${name}.key`), ca: file('ca.pem') };
  }

  let serverFiles: TlsFiles;
  let hostFiles: TlsFiles;
  let strangerFiles: TlsFiles;
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'portlease-tls-'));
    for (const ca of ['ca', 'otherca']) makeCa(ca);
    serverFiles = makeCertificate('server', { ca: 'ca', names: 'IP:127.0.0.1' });
    hostFiles = makeCertificate('host-a', { ca: 'ca', names: 'URI:portlease://host/host-a,DNS:host-a' });
    strangerFiles = makeCertificate('stranger', { ca: 'otherca', names: 'URI:portlease://host/host-a' });
  });
  after(() => rmSync(folder, { recursive: true }));

  /** Calls a real server that answers with the identity it read from the caller's certificate. */
  async function whoAmI(files: TlsFiles): Promise<string> {
    const server = new Server(SERVER_OPTIONS);
    server.addService({ Who: { ...ECHO, originalName: 'who' } }, {
      Who: (call: ServerUnaryCall<Buffer, Buffer>, reply: (e: null, v: Buffer) => void) =>
        reply(null, Buffer.from(JSON.stringify(identityOf(call.getAuthContext().sslPeerCertificate ?? {}) ?? null))),
    });
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', serverCredentials(loadTls(serverFiles)), (error, bound) => (error ? reject(error) : resolve(bound)));
    });
    const client = new Client(`127.0.0.1:${port}`, clientCredentials(loadTls(files)), CLIENT_OPTIONS);
    try {
      return await new Promise((resolve, reject) => {
        client.makeUnaryRequest(ECHO.path, ECHO.requestSerialize, ECHO.responseDeserialize, Buffer.alloc(0), { deadline: Date.now() + 5000 }, (error, value) => {
          if (error) reject(error);
          else resolve(value?.toString() ?? '');
        });
      });
    } finally {
      client.close();
      server.forceShutdown();
    }
  }

  it('lets a host in whose certificate the CA signed, and knows which host it is', async () => {
    assert.equal(await whoAmI(hostFiles), '{"role":"host","id":"host-a"}');
  });

  it('lets nobody in whose certificate another CA signed', async () => {
    await assert.rejects(whoAmI(strangerFiles));
  });

  it('refuses a key that everybody may read, and says what to do', () => {
    chmodSync(hostFiles.key, 0o644);
    try {
      assert.throws(() => loadTls(hostFiles), /chmod o-rwx/);
    } finally {
      chmodSync(hostFiles.key, 0o600);
    }
  });

  it('refuses a key of another certificate, a file that is no PEM and one that is absent', () => {
    assert.throws(() => loadTls({ ...hostFiles, key: serverFiles.key }), /does not belong to/);
    writeFileSync(file('junk.pem'), 'junk');
    assert.throws(() => loadTls({ ...hostFiles, ca: file('junk.pem') }), /junk\.pem is not what it should be/);
    assert.throws(() => loadTls({ ...hostFiles, certificate: file('none.pem') }), /none\.pem cannot be read \(ENOENT\)/);
  });

  it('reads exactly one identity from a certificate, or none', () => {
    const of = (subjectaltname?: string) => identityOf({ subjectaltname });
    assert.deepEqual(of('DNS:x, URI:portlease://operator/alice'), { role: 'operator', id: 'alice' });
    assert.deepEqual(of('URI:spiffe://x/y, URI:portlease://viewer/bob'), { role: 'viewer', id: 'bob' });
    for (const names of [
      undefined, '', 'DNS:host-a', 'URI:portlease://root/x', 'URI:portlease://host/', 'URI:portlease://host/A', 'URI:portlease://host/a/b', 'URI:portlease://host/a?x',
      'URI:portlease://host/a, URI:portlease://host/b', 'DNS:URI:portlease://host/a', 'URI:"x, URI:portlease://host/a, y"', 'URI:portlease://host:1/a', 'URI:portlease://u@host/a',
    ]) assert.equal(of(names), undefined, names);
  });

  it('allows plaintext on loopback and unix sockets, elsewhere only when told, with a warning', () => {
    const verdict = (host: string, insecure = false, tls = false) => listenPolicy({ endpoint: { kind: 'tcp', host, port: 7410 }, tls, insecure }).kind;
    for (const host of ['127.0.0.1', '127.8.8.8', '::1', 'localhost']) assert.equal(verdict(host), 'allowed', host);
    for (const host of ['0.0.0.0', '::', '10.0.0.1', 'localhost.example.com', '128.0.0.1']) {
      assert.deepEqual([verdict(host), verdict(host, true), verdict(host, false, true)], ['refused', 'warned', 'allowed'], host);
    }
    assert.equal(listenPolicy({ endpoint: { kind: 'unix', path: '/run/x' }, tls: false, insecure: false }).kind, 'allowed');
  });

  it('writes endpoints as gRPC wants them', () => {
    assert.equal(endpointAddress({ kind: 'tcp', host: 'fd00::1', port: 1 }), '[fd00::1]:1');
    assert.equal(endpointAddress({ kind: 'unix', path: '/run/x.sock' }), 'unix:/run/x.sock');
  });
});
