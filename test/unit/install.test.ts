import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('../../scripts/install.mjs', import.meta.url));
const NOBODY = 65_534;

describe('scripts/install.mjs', () => {
  let folder = '';
  /** A copy that the user nobody may read, wherever the clone is. */
  const script = () => path.join(folder, 'install.mjs');
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'portlease-install-'));
    chmodSync(folder, 0o755);
    copyFileSync(SOURCE, script());
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** Puts a tool in the only folder of the PATH; it writes down its arguments and ends with `status`. */
  function tool(name: string, status: number): void {
    writeFileSync(path.join(folder, name), `#!/bin/sh\necho ${name} "$@" >> ${folder}/calls 2>/dev/null\nexit ${status}\n`, { mode: 0o755 });
  }

  function install(uid: number, ...flags: string[]) {
    return spawnSync(process.execPath, [script(), ...flags], { encoding: 'utf8', env: { PATH: folder }, uid, gid: uid });
  }

  it('changes nothing on a machine that has everything', () => {
    const { status, stdout } = spawnSync(process.execPath, [SOURCE], { encoding: 'utf8' });
    assert.deepEqual([status, stdout], [0, 'install: all Debian packages are there\n']);
  });

  it('tells who is not root which line to run, changes nothing and ends with 2', () => {
    tool('dpkg-query', 1);
    symlinkSync('/bin/true', path.join(folder, 'apt-get'));
    const { status, stdout, stderr } = install(NOBODY);
    assert.equal(status, 2);
    assert.match(stdout, /missing conntrack \(ends and lists connections\)/);
    assert.ok(stderr.includes(`sudo ${process.execPath} ${script()}\n`), stderr);
  });

  it('installs what portlease is compared with only when that is asked for', () => {
    tool('dpkg-query', 1);
    symlinkSync('/bin/true', path.join(folder, 'apt-get'));
    assert.doesNotMatch(install(NOBODY).stdout, /postgresql|etcd/);
    const { stdout, stderr } = install(NOBODY, '--comparisons');
    assert.match(stdout, /missing postgresql .*\n.*missing etcd-server /);
    assert.ok(stderr.includes(`sudo ${process.execPath} ${script()} --comparisons\n`), stderr);
  });

  it('says what to install where there is no apt-get', () => {
    tool('dpkg-query', 1);
    const { status, stderr } = install(0);
    assert.equal(status, 1);
    assert.match(stderr, /Install these with your package manager: .*iptables ipset conntrack/);
  });

  it('passes on that apt-get failed', () => {
    tool('dpkg-query', 1);
    writeFileSync(path.join(folder, 'apt-get'), '#!/bin/sh\n[ "$1" = --version ]\n', { mode: 0o755 });
    const { status, stderr } = install(0);
    assert.equal(status, 1);
    assert.match(stderr, /apt-get update failed \(status 1\)/);
  });
});
