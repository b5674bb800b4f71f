import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keyProblem } from '../../../agent/tunnels/keys.js';
import { Records, type TunnelRecord } from '../../../agent/tunnels/records.js';

const STATISTICS = { attempts: 1, connections: 2, failures: 3, restarts: 4, probes: 5, probesFailed: 6, probeTimeMs: 7, restartTimeMs: undefined };
const record = (tunnel: string, restart = 1): TunnelRecord => ({ tunnel, leader: { pid: 7, startTicks: 70 }, digest: 'd', restart, statistics: STATISTICS });

describe('the records of tunnels', () => {
  let folder = '';
  let path = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'plrecords-'));
    path = join(folder, 'tunnels.json');
  });
  afterEach(() => { rmSync(folder, { recursive: true }); });

  it('are there for the next agent of this boot; in another one no process is', async () => {
    const records = await Records.open(path, 'boot-1');
    assert.deepEqual(records.names(), []);
    await Promise.all([records.set(record('a')), records.set(record('b')), records.set(record('a', 2))]);
    await records.delete('b');
    const again = await Records.open(path, 'boot-1');
    assert.deepEqual([again.names(), again.get('a')?.restart, again.get('a')?.leader, again.get('a')?.statistics.connections], [['a'], 2, { pid: 7, startTicks: 70 }, 2]);
    const other = await Records.open(path, 'boot-2');
    assert.deepEqual([other.get('a')?.restart, other.get('a')?.leader], [2, undefined]);
  });

  it('say when the disk refuses, and are written by the next change', async () => {
    const records = await Records.open(join(folder, 'none', 'tunnels.json'), 'boot-1');
    await assert.rejects(records.set(record('a')), /ENOENT/);
    await assert.rejects(records.set(record('b')), /ENOENT/);
  });

  for (const text of ['', '{', 'null', '[]', '{"format":2,"bootId":"boot-1","tunnels":[]}', '{"format":1,"bootId":"boot-1","tunnels":[{}]}', '{"format":1,"bootId":"boot-1","tunnels":[{"tunnel":"a","digest":"d","restart":1,"statistics":{},"leader":{"pid":"7"}}]}']) {
    it(`are none when they are not understood: ${text}`, async () => {
      writeFileSync(path, text);
      const records = await Records.open(path, 'boot-1');
      assert.deepEqual(records.names(), []);
      await records.set(record('a'));
      assert.match(readFileSync(path, 'utf8'), /^\{"format":1,/);
    });
  }
});

describe('a key file', () => {
  it('is one that its owner alone can read', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'plkeys-'));
    try {
      const path = join(folder, 'key');
      writeFileSync(path, 'secret', { mode: 0o600 });
      const uid = process.getuid!();
      for (const [mode, problem] of [[0o600, undefined], [0o400, undefined], [0o640, /0640/], [0o604, /0604/], [0o700, /0700/]] as const) {
        chmodSync(path, mode);
        const said = await keyProblem(path, uid);
        if (problem === undefined) assert.equal(said, undefined);
        else assert.match(said ?? '', problem);
      }
      chmodSync(path, 0o600);
      assert.match(await keyProblem(path, uid + 1) ?? '', /belongs to uid/);
      assert.match(await keyProblem(folder, uid) ?? '', /is no file/);
      assert.match(await keyProblem(join(folder, 'none'), uid) ?? '', /ENOENT/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
