import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { appendFile, chmod, mkdtemp, readFile, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { StateStore, StateUnusable } from '../../../agent/state/store.js';
import { digestOf, type AcceptedState } from '../../../agent/state/accepted.js';
import type { Delta } from '../../../shared/desired.js';
import { change, lease, mapping, snapshot, version } from '../../unit/agent/deltas.js';

const OWNER = { host: 'host-a', gateway: 'gw' };

describe('the accepted state on disk', () => {
  let dir = '';
  let store: StateStore;
  const file = (): string => join(dir, 'agent.state');

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'portlease-state-'));
    store = await StateStore.open(dir, OWNER);
  });
  afterEach(async () => {
    await store.close();
    await rm(dir, { recursive: true, force: true });
  });

  async function reopen(): Promise<AcceptedState> {
    await store.close();
    store = await StateStore.open(dir, OWNER);
    return store.current();
  }

  async function accept(...deltas: Delta[]): Promise<void> {
    assert.equal((await store.accept(deltas)).kind, 'accepted');
  }

  it('is empty where no file is', () => {
    assert.equal(store.current().version, undefined);
    assert.equal(store.current().session, 0);
  });

  it('is there again after a restart: session, version, objects and digest', async () => {
    await store.welcome(3, 1);
    await accept(snapshot(version(1, 3, 5), [lease('a', 4), mapping('m', 5, 30_001)]));
    await accept(change(version(1, 3, 6), 5, [mapping('n', 6, 30_002)], ['mapping/m']), change(version(1, 3, 7), 6, [], ['lease/a']));
    await store.welcome(4, 2);
    const before = store.current();
    assert.deepEqual(await reopen(), before);
    assert.deepEqual([...before.objects.keys()], ['mapping/n']);
  });

  it('is closed to others', async () => {
    await store.welcome(1, 1);
    assert.equal((await stat(file())).mode & 0o777, 0o600);
  });

  it('S4: still refuses what is older after a restart', async () => {
    await store.welcome(3, 1);
    await accept(snapshot(version(1, 3, 5), []));
    await reopen();
    assert.equal(await store.welcome(3, 1), 'older');
    assert.equal((await store.accept([snapshot(version(1, 3, 4), [])])).kind, 'older');
    assert.equal((await store.accept([snapshot(version(1, 2, 9), [])])).kind, 'older');
  });

  it('takes a batch up to the delta that is refused', async () => {
    await accept(snapshot(version(1, 1, 1), []));
    const result = await store.accept([change(version(1, 1, 2), 1, [lease('a', 2)]), change(version(1, 1, 9), 8, [lease('b', 9)])]);
    assert.equal(result.kind, 'wrongBase');
    assert.equal((await reopen()).version?.revision, 2);
  });

  it('writes one line for a change among 10,000 objects, and starts from it quickly', async () => {
    const many = Array.from({ length: 10_000 }, (_, i) => mapping(`m${i}`, 1, 10_000 + i));
    await accept(snapshot(version(1, 1, 1), many));
    const whole = (await stat(file())).size;
    await accept(change(version(1, 1, 2), 1, [mapping('m7', 2, 10_007)]));
    assert.ok((await stat(file())).size - whole < 500);
    const state = await reopen();
    assert.equal(state.objects.size, 10_000);
    assert.equal(state.digest, digestOf(state.objects.values()));
  });

  it('writes the file anew when changes outgrow it', async () => {
    await accept(snapshot(version(1, 1, 1), [lease('a', 1)]));
    for (let revision = 2; revision <= 1_000; revision++) await accept(change(version(1, 1, revision), revision - 1, [lease('a', revision)]));
    assert.ok((await stat(file())).size < 100_000);
    assert.equal((await reopen()).version?.revision, 1_000);
    assert.deepEqual(await readdir(dir), ['agent.state']);
  });

  it('leaves out a torn last line, whatever part of it is there', async () => {
    await accept(snapshot(version(1, 1, 1), [lease('a', 1)]));
    const good = (await stat(file())).size;
    await accept(change(version(1, 1, 2), 1, [lease('b', 2)]));
    const whole = (await stat(file())).size;
    for (let size = whole - 1; size > good; size -= 17) {
      await truncate(file(), size);
      assert.equal((await reopen()).version?.revision, 1, `${size} of ${whole} bytes`);
      await accept(change(version(1, 1, 2), 1, [lease('b', 2)]));
      assert.equal((await reopen()).version?.revision, 2);
    }
  });

  it('leaves out a last line that was never written but counted in the length of the file', async () => {
    await accept(snapshot(version(1, 1, 1), [lease('a', 1)]));
    await appendFile(file(), Buffer.alloc(300));
    assert.equal((await reopen()).version?.revision, 1);
    await accept(change(version(1, 1, 2), 1, [lease('b', 2)]));
    assert.equal((await reopen()).version?.revision, 2);
  });

  it('leaves out a last line of which only the end reached the disk', async () => {
    await accept(snapshot(version(1, 1, 1), [lease('a', 1)]));
    const good = (await stat(file())).size;
    await accept(change(version(1, 1, 2), 1, [lease('b', 2)]));
    const bytes = await readFile(file());
    bytes.fill(0, good, good + 100);
    await writeFile(file(), bytes);
    assert.equal((await reopen()).version?.revision, 1);
    assert.equal((await stat(file())).size, good);
  });

  it('refuses a file that is damaged before its end, and names the remedy', async () => {
    await accept(snapshot(version(1, 1, 1), [lease('a', 1)]));
    await accept(change(version(1, 1, 2), 1, [lease('b', 2)]));
    await accept(change(version(1, 1, 3), 2, [lease('c', 3)]));
    const text = await readFile(file(), 'utf8');
    for (const damaged of [text.replace('lease/a', 'lease/x'), text.replace('lease/b', 'lease/x'), '', 'garbage\n', text.slice(0, 40)]) {
      await writeFile(file(), damaged);
      await assert.rejects(StateStore.open(dir, OWNER), (error: Error) =>
        error instanceof StateUnusable && error.message.includes('is damaged') && error.message.includes('portlease hosts replace host-a'));
      assert.equal(await readFile(file(), 'utf8'), damaged, 'what is damaged is kept to be looked at');
    }
  });

  it('refuses the state of another host or gateway', async () => {
    await store.welcome(1, 1);
    await store.close();
    await assert.rejects(StateStore.open(dir, { host: 'host-b', gateway: 'gw' }), /belongs to host host-a of gateway gw/);
    await assert.rejects(StateStore.open(dir, { host: 'host-a', gateway: 'other' }), StateUnusable);
  });

  it('refuses the state of the other driver: what that one left in the kernel, or has no rules for, this one does not know', async () => {
    await accept(snapshot(version(1, 1, 10), [lease('l1', 9)]));
    await store.close();
    await assert.rejects(StateStore.open(dir, { ...OWNER, driver: 'userspace' }), /written with driver: iptables, and the config says driver: userspace/);
    store = await StateStore.open(dir, { ...OWNER, driver: 'iptables' });
    assert.equal(store.current().objects.size, 1);
  });

  it('refuses a file of a later format instead of guessing', async () => {
    await store.welcome(1, 1);
    const { createHash } = await import('node:crypto');
    const json = (await readFile(file(), 'utf8')).slice(17).trim().replace('"format":1', '"format":2');
    await writeFile(file(), `${createHash('sha256').update(json).digest('hex').slice(0, 16)} ${json}\n`);
    await assert.rejects(StateStore.open(dir, OWNER), /its format is 2/);
  });

  it('takes nothing after close', async () => {
    await store.close();
    await assert.rejects(store.welcome(1, 1), /is closed/);
  });

  it('refuses a path that is no file', async () => {
    await rm(file(), { force: true });
    execFileSync('mkdir', [file()]);
    await chmod(file(), 0o700);
    await assert.rejects(StateStore.open(dir, OWNER), StateUnusable);
  });
});

describe('the accepted state of an agent that is killed', () => {
  const KILLS = 24;

  it(`S5: holds what was accepted after SIGKILL at ${KILLS} instants`, async function () {
    this.timeout(120_000);
    const dir = await mkdtemp(join(tmpdir(), 'portlease-state-'));
    try {
      let total = 0;
      for (let kill = 0; kill < KILLS; kill++) {
        const child = await killWhileAccepting(dir, 3 + ((kill * 37) % 400));
        const store = await StateStore.open(dir, OWNER);
        const state = store.current();
        await store.close();
        total = state.version?.revision ?? 0;
        assert.ok(total >= child.last('revision'), `accepted ${child.last('revision')}, found ${total}`);
        assert.ok(state.session >= child.last('session'), `welcomed to ${child.last('session')}, found ${state.session}`);
        assertModel(state);
      }
      assert.ok(total > KILLS * 10, `${total} changes are too few to say anything`);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  it('S5: accepts nothing that the disk does not confirm, and goes on when it confirms again', async function () {
    this.timeout(60_000);
    const dir = await mkdtemp(join(tmpdir(), 'portlease-state-'));
    const library = join(dir, 'sync-fails.so');
    const marker = join(dir, 'fails');
    execFileSync('cc', ['-shared', '-fPIC', '-o', library, fileURLToPath(new URL('../journal/sync-fails.c', import.meta.url)), '-ldl']);
    const child = new Child(join(dir, 'state'), { LD_PRELOAD: library, FAIL_SYNC: marker });
    try {
      await child.printed(/revision 30\n/);
      await writeFile(marker, '');
      await child.printed(/(refused\n){5}/);
      const refused = child.text.indexOf('refused');
      assert.doesNotMatch(child.text.slice(refused), /revision/, 'a change was accepted while the disk refused');
      await rm(marker);
      await child.printed(/refused\n(session \d+\n)?(revision \d+\n(session \d+\n)?){30}/);
      await child.kill();
      const store = await StateStore.open(join(dir, 'state'), OWNER);
      assertModel(store.current());
      assert.ok((store.current().version?.revision ?? 0) >= child.last('revision'));
      await store.close();
    } finally {
      await child.kill();
      await rm(dir, { recursive: true, force: true });
    }
  });

  class Child {
    text = '';
    readonly #process: ChildProcess;
    readonly #ended: Promise<unknown>;
    readonly #more = new EventEmitter();

    constructor(dir: string, env: Record<string, string> = {}) {
      const script = fileURLToPath(new URL('accepting-child.ts', import.meta.url));
      this.#process = spawn(process.execPath, ['--import', 'tsx', script, dir], { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...env } });
      this.#ended = once(this.#process, 'close').then(() => this.#more.emit('text'));
      this.#process.stdout?.on('data', (chunk: Buffer) => {
        this.text += chunk.toString();
        this.#more.emit('text');
      });
    }

    async printed(pattern: RegExp): Promise<void> {
      const signal = AbortSignal.timeout(20_000);
      while (!pattern.test(this.text)) {
        assert.equal(this.#process.exitCode, null, 'the child ended by itself');
        await once(this.#more, 'text', { signal });
      }
    }

    async kill(): Promise<void> {
      this.#process.kill('SIGKILL');
      await this.#ended;
    }

    /** Last number that it printed after `word`. */
    last(word: string): number {
      return Number([...this.text.matchAll(new RegExp(`^${word} (\\d+)\n`, 'gm'))].at(-1)?.[1] ?? 0);
    }
  }

  /** Kills the child once it has printed `lines` lines. */
  async function killWhileAccepting(dir: string, lines: number): Promise<Child> {
    const child = new Child(dir);
    await child.printed(new RegExp(`(.*\n){${lines}}`));
    await child.kill();
    return child;
  }

  /** The child changes mapping r mod 50 at revision r. */
  function assertModel({ version: last, objects, digest }: AcceptedState): void {
    const revision = last?.revision ?? 0;
    const expected = new Map<string, number>();
    for (let r = Math.max(1, revision - 49); r <= revision; r++) expected.set(`mapping/m${r % 50}`, r);
    assert.deepEqual(new Map([...objects.values()].map(object => [object.key, object.version])), expected);
    assert.equal(digest, digestOf(objects.values()));
  }
});

describe('the accepted state on a full disk', () => {
  let dir = '';
  let store: StateStore;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'portlease-full-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', dir]);
    store = await StateStore.open(dir, OWNER);
    await store.welcome(1, 1);
    await store.accept([snapshot(version(1, 1, 1), [lease('a', 1)])]);
  });
  afterEach(async () => {
    await store.close();
    execFileSync('umount', [dir]);
    await rm(dir, { recursive: true, force: true });
  });

  async function fill(): Promise<void> {
    await assert.rejects(writeFile(join(dir, 'filler'), Buffer.alloc(1_000_000)), { code: 'ENOSPC' });
  }

  const big = Array.from({ length: 100 }, (_, i) => mapping(`m${i}`, 2, 30_000 + i));

  it('takes nothing, keeps what it has, and takes it once there is room', async () => {
    await fill();
    const before = store.current();
    for (const delta of [change(version(1, 1, 2), 1, big), snapshot(version(1, 1, 2), big)]) {
      await assert.rejects(store.accept([delta]), { code: 'ENOSPC' });
      assert.equal(store.current(), before);
    }
    await rm(join(dir, 'filler'));
    assert.equal((await store.accept([change(version(1, 1, 2), 1, big)])).kind, 'accepted');
    await store.close();
    store = await StateStore.open(dir, OWNER);
    assert.equal(store.current().version?.revision, 2);
    assert.equal(store.current().objects.size, 101);
  });

  it('takes a line where there is no room to write the file anew', async () => {
    assert.equal((await store.accept([change(version(1, 1, 2), 1, big)])).kind, 'accepted');
    const size = async (): Promise<number> => (await stat(join(dir, 'agent.state'))).size;
    let revision = 2;
    const next = async (): Promise<string> => (await store.accept([change(version(1, 1, revision + 1), revision++, big.slice(0, 8))])).kind;
    while (await size() < 62 * 1024) await next();
    await fill();
    await truncate(join(dir, 'filler'), (await stat(join(dir, 'filler'))).size - 16 * 1024);
    while (await size() < 70 * 1024) assert.equal(await next(), 'accepted');
    await rm(join(dir, 'filler'));
    assert.equal(await next(), 'accepted');
    assert.ok(await size() < 40 * 1024, 'written anew once there is room');
  });

  it('is read again as it was before the writes that failed', async () => {
    await fill();
    await assert.rejects(store.accept([change(version(1, 1, 2), 1, big)]), { code: 'ENOSPC' });
    await store.close();
    store = await StateStore.open(dir, OWNER);
    assert.equal(store.current().version?.revision, 1);
    assert.deepEqual([...store.current().objects.keys()], ['lease/a']);
  });
});
