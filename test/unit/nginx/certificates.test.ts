import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Certificates } from '../../../agent/drivers/nginx/certificates.js';
import { createLogger } from '../../../shared/log.js';
import { runSync } from '../../support/run.js';

describe('certificates of the operator', () => {
  let folder = '';
  let copies = '';
  let certificates: Certificates;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'portlease-certificates-'));
    copies = join(folder, 'copies');
    mkdirSync(copies);
    certificates = open();
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const open = () => new Certificates({ folder, copies, log: createLogger({ name: 'test', level: 'silent' }) });

  function certify(name: string): void {
    runSync(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=x', '-keyout', join(folder, `${name}.key`), '-out', join(folder, `${name}.crt`)]);
  }

  it('are those of the pool, else the default ones, copied for root alone', () => {
    certify('default');
    certify('web');
    certificates.refresh(['web', 'ssh']);
    const [web, ssh] = [certificates.fileOf('web') ?? '', certificates.fileOf('ssh') ?? ''];
    assert.match(readFileSync(web, 'utf8'), /BEGIN CERTIFICATE[^]*BEGIN PRIVATE KEY/);
    assert.equal(statSync(web).mode & 0o777, 0o600);
    assert.notEqual(web, ssh);
    assert.equal(certificates.version, 2);
    certificates.refresh(['web', 'ssh']);
    assert.equal(certificates.version, 2);
  });

  it('are told to be missing, and used as soon as they are there', () => {
    certificates.refresh(['web']);
    assert.equal(certificates.fileOf('web'), undefined);
    assert.match(certificates.problemOf('web'), /^default\.crt and default\.key in .*ENOENT/);
    certify('web');
    certificates.refresh(['web']);
    assert.notEqual(certificates.fileOf('web'), undefined);
  });

  it('stay the last ones that worked while the files are broken, or key and certificate do not fit, also for the next agent', () => {
    certify('web');
    certificates.refresh(['web']);
    const good = certificates.fileOf('web');
    certify('other');
    writeFileSync(join(folder, 'web.key'), readFileSync(join(folder, 'other.key')));
    certificates.refresh(['web']);
    assert.equal(certificates.fileOf('web'), good);
    assert.match(certificates.problemOf('web'), /mismatch/);
    const next = open();
    next.adopt([{ connections: { pool: 'web', tls: 'terminate', timeoutMs: 0 }, certificate: good }]);
    next.refresh(['web']);
    assert.equal(next.fileOf('web'), good);
    writeFileSync(join(folder, 'web.crt'), readFileSync(join(folder, 'other.crt')));
    next.refresh(['web']);
    assert.notEqual(next.fileOf('web'), good);
    next.forgetOthers([]);
    assert.deepEqual(readdirSync(copies).map(name => join(copies, name)), [next.fileOf('web')]);
  });
});
