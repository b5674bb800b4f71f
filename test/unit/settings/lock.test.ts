import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readBootId } from '../../../agent/drivers/settings/boot.js';
import { findLockFd, holdsExclusiveFlock } from '../../../agent/drivers/settings/lock.js';

describe("the writer's lock", () => {
  let directory: string;
  let path: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'pllock-'));
    path = join(directory, 'lock');
    writeFileSync(path, '');
  });
  afterEach(() => { rmSync(directory, { recursive: true }); });

  const FIND = `import { findLockFd } from '${join(import.meta.dirname, '../../../agent/drivers/settings/lock.ts')}'; console.log(String(findLockFd(process.argv[1])));`;
  const startUnder = (...flock: string[]): string => {
    const done = spawnSync(flock[0] as string, [...flock.slice(1), process.execPath, '--import', 'tsx', '--input-type=module', '-e', FIND, path], { encoding: 'utf8', timeout: 20_000 });
    assert.equal(done.status, 0, done.stderr);
    return done.stdout.trim();
  };

  it('is found in a process that flock started', () => {
    assert.match(startUnder('flock', '--nonblock', path), /^\d+$/);
  });

  it('is not found without flock, nor when the lock is a shared one', () => {
    assert.equal(startUnder('env'), 'undefined');
    assert.equal(startUnder('flock', '--shared', path), 'undefined');
  });

  it('is not held by a descriptor that merely is open on the file', () => {
    const fd = openSync(path, 'r');
    try {
      assert.equal(findLockFd(path), undefined);
    } finally {
      closeSync(fd);
    }
  });

  it('is not held when there is no such file', () => {
    assert.equal(findLockFd(join(directory, 'absent')), undefined);
  });

  it('is an exclusive FLOCK, no lock of another kind', () => {
    const info = (lock: string): string => `pos:\t0\nflags:\t0100000\nmnt_id:\t25\nino:\t7\nlock:\t1: ${lock} 4711 00:1b:7 0 EOF\n`;
    assert.equal(holdsExclusiveFlock(info('FLOCK  ADVISORY  WRITE')), true);
    for (const lock of ['FLOCK  ADVISORY  READ', 'POSIX  ADVISORY  WRITE', 'OFDLCK ADVISORY  WRITE']) assert.equal(holdsExclusiveFlock(info(lock)), false);
  });
});

describe('the boot id', () => {
  it('is that of the kernel', () => { assert.match(readBootId(), /^[0-9a-f-]{36}$/); });
  it('is never empty', () => { assert.throws(() => readBootId('/dev/null'), /no boot id/); });
});
