import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials, status } from '@grpc/grpc-js';
import type { Coordinator } from '../../../agent/session/channel.js';
import { SessionLink, type LinkOptions } from '../../../agent/session/link.js';
import { grpcTransport } from '../../../agent/session/transport.js';
import type { Outcome } from '../../../agent/session/words.js';
import { digestOf, type AcceptedState } from '../../../agent/state/accepted.js';
import { StateStore } from '../../../agent/state/store.js';
import { systemClock } from '../../../shared/clock.js';
import type { DesiredObject } from '../../../shared/desired.js';
import { createLogger } from '../../../shared/log.js';
import { clientCredentials, loadTls, serverCredentials } from '../../../shared/tls.js';
import { change, lease, mapping, snapshot, version } from '../../unit/agent/deltas.js';
import { refuse, TestCoordinator } from './coordinator.js';
import { FaultyProxy } from './faulty-proxy.js';

const OWNER = { host: 'host-a', gateway: 'gw' };
const IDENTITY: LinkOptions['identity'] = { ...OWNER, bootId: 'boot-1', agentVersion: '0.1.0', roles: ['host', 'gateway'], addresses: ['10.0.0.1'] };
const SETTINGS: LinkOptions['settings'] = { reconnect: { baseMs: 20, maxMs: 100 }, refusedRetryMs: 150, connectMs: 400, repeatReportMs: 60_000 };
const OUTCOME: Outcome = { applied: version(1, 1, 1), problems: [], confirmations: [], verified: [], driftRepairs: 0, occupied: [] };
const ROUTE: DesiredObject = {
  kind: 'route', key: 'route/r', version: 3, leaseId: 'r', ports: { first: 40_000, last: 40_015 }, protocol: 'tcp', generation: 3,
  host: 'host-b', addresses: ['10.0.0.2'], fence: false, cutMs: 0,
};

describe('the link to the coordinator', () => {
  let coordinator: TestCoordinator;
  let proxy: FaultyProxy;
  let dir = '';
  let store: StateStore;
  let link: SessionLink;
  let served: AcceptedState[] = [];
  let logged: Record<string, unknown>[] = [];

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'portlease-link-'));
    served = [];
    logged = [];
    coordinator = new TestCoordinator();
    await coordinator.listen();
    proxy = new FaultyProxy(() => coordinator.address);
    proxy.onClose = () => coordinator.seen.changed();
    store = await StateStore.open(dir, OWNER);
  });
  afterEach(async () => {
    await link.close();
    await store.close();
    await proxy.close();
    coordinator.stop();
    await rm(dir, { recursive: true, force: true });
  });

  type Special = { settings?: LinkOptions['settings']; credentials?: Coordinator['credentials'] };

  function connect(address: string, { settings = SETTINGS, credentials: given = () => credentials.createInsecure() }: Special = {}): void {
    const log = createLogger({ name: 'test', level: 'info', destination: { write: text => { logged.push(JSON.parse(text) as Record<string, unknown>); coordinator.seen.changed(); } } });
    link = new SessionLink({
      identity: IDENTITY, transport: grpcTransport({ address, credentials: given }), store, settings,
      clock: systemClock(), random: () => 0.5, log, onAccepted: state => { served.push(state); coordinator.seen.changed(); },
    });
    link.start();
  }

  const until = (what: string, condition: () => boolean): Promise<void> => coordinator.seen.until(what, condition);
  const revision = (): number => served.at(-1)?.version?.revision ?? 0;

  /** Welcomes, and sends a snapshot of its own revision each time. */
  function welcomeWithSnapshot(objects: DesiredObject[] = [lease('a', 1)]): void {
    coordinator.onHello = call => {
      coordinator.welcome(call);
      coordinator.desire(call, snapshot(version(coordinator.epoch, coordinator.session, coordinator.session * 10), objects));
    };
  }

  it('says hello, makes welcome and state durable, hands the state over, reports, and sends heartbeats with its digest', async () => {
    welcomeWithSnapshot();
    connect(coordinator.address);
    link.roundOutcome(OUTCOME);
    await until('a state to serve and a heartbeat that says so', () => coordinator.heartbeats.some(beat => beat.acceptedRevision === 10));
    await until('a report', () => coordinator.reports.length > 0);
    const [hello] = coordinator.hellos;
    assert.deepEqual([hello?.host, hello?.gateway, hello?.bootId, hello?.lastSession, hello?.accepted], ['host-a', 'gw', 'boot-1', 0, undefined]);
    assert.equal(coordinator.heartbeats.at(-1)?.digest, digestOf([lease('a', 1)]));
    assert.deepEqual(coordinator.heartbeats.map(beat => beat.sequence), coordinator.heartbeats.map((_, i) => i + 1));
    assert.equal(coordinator.reports[0]?.session, 1);
    coordinator.desire(coordinator.lastCall, change(version(1, 1, 11), 10, [mapping('m', 11, 30_001)]));
    await until('the change', () => revision() === 11);
    await link.close();
    await store.close();
    store = await StateStore.open(dir, OWNER);
    assert.deepEqual(store.current(), served.at(-1));
    assert.equal(store.current().session, 1);
  });

  it('tells the coordinator what it holds when it comes back', async () => {
    await store.welcome(4, 2);
    await store.accept([snapshot(version(2, 4, 9), [lease('a', 8), mapping('m', 9, 30_001), ROUTE])]);
    connect(coordinator.address);
    await until('a hello', () => coordinator.hellos.length === 1);
    const [hello] = coordinator.hellos;
    assert.deepEqual([hello?.lastSession, hello?.accepted], [4, { epoch: 2, session: 4, revision: 9 }]);
    assert.deepEqual(hello?.leases.map(held => [held.leaseId, held.generation, held.host]), [['a', 8, 'host-a']]);
    assert.deepEqual(hello?.routes.map(held => [held.leaseId, held.generation, held.host]), [['r', 3, 'host-b']]);
  });

  it('S4: keeps what it has when a coordinator with an old database welcomes it', async () => {
    await store.welcome(4, 2);
    await store.accept([snapshot(version(2, 4, 9), [lease('a', 8)])]);
    welcomeWithSnapshot([]);
    connect(coordinator.address);
    await until('a log of it', () => logged.some(({ reason }) => reason === 'DATABASE_IS_OLDER'));
    assert.deepEqual([store.current().session, store.current().objects.size, served.length], [4, 1, 0]);
    assert.equal(coordinator.heartbeats.length, 0);
  });

  it('gives up a connection that hangs before HTTP/2 stands, leaves none behind, and gets through later', async () => {
    proxy.mode = 'hang';
    connect(await proxy.listen(), { settings: { ...SETTINGS, connectMs: 80 } });
    await until('several attempts', () => logged.filter(({ why }) => String(why).includes('could not be reached in time')).length >= 4);
    proxy.mode = 'forward';
    await until('a session', () => coordinator.heartbeats.length > 0);
    await until('only stream and heartbeats to have a connection', () => proxy.open <= 2);
    assert.ok(proxy.accepted >= 5, `${proxy.accepted} connections`);
  });

  it('gives up connections that carry nothing any more, after three heartbeats without an answer', async () => {
    coordinator.deadlineMs = 200;
    welcomeWithSnapshot();
    connect(await proxy.listen());
    await until('a session', () => revision() === 10);
    proxy.freezeAll();
    await until('a new session', () => revision() === 20);
    assert.ok(logged.some(({ why }) => String(why).includes('no answer to 3 heartbeats')));
    assert.equal(coordinator.hellos.at(-1)?.lastSession, 1);
    await until('a heartbeat of it', () => coordinator.heartbeats.at(-1)?.session === 2);
  });

  it('opens a new stream on a new connection when the coordinator sees the state stay behind', async () => {
    welcomeWithSnapshot();
    connect(await proxy.listen());
    await until('a session', () => coordinator.heartbeats.some(beat => beat.acceptedRevision === 10));
    proxy.freeze(0);
    coordinator.desire(coordinator.lastCall, change(version(1, 1, 11), 10, [mapping('m', 11, 30_001)]));
    coordinator.onHeartbeat = ({ session }) => ({ staleSession: false, rebuild: session === 1, resolveLeaks: [] });
    await until('a new session', () => revision() === 20);
    assert.equal(coordinator.hellos.length, 2);
  });

  it('opens a new session when the coordinator calls its session stale', async () => {
    welcomeWithSnapshot();
    coordinator.onHeartbeat = ({ session }) => ({ staleSession: session === 1, rebuild: false, resolveLeaks: [] });
    connect(coordinator.address);
    await until('a new session', () => coordinator.heartbeats.at(-1)?.session === 2);
    assert.deepEqual(coordinator.hellos.map(hello => hello.lastSession), [0, 1]);
    assert.ok(coordinator.calls[0]?.cancelled, 'the old stream is ended');
  });

  it('goes on with heartbeats and serves what it has while hellos are refused, says the remedy once, and is admitted at last', async () => {
    welcomeWithSnapshot();
    connect(coordinator.address);
    await until('a session', () => revision() === 10);
    coordinator.onHello = call => refuse(call, { reason: 'SECOND_MACHINE' });
    coordinator.lastCall.end();
    await until('three more hellos', () => coordinator.hellos.length === 4);
    const refusals = logged.filter(({ reason }) => reason === 'SECOND_MACHINE');
    assert.equal(refusals.length, 1);
    assert.match(String(refusals[0]?.['remedy']), /portlease hosts replace/);
    const before = coordinator.heartbeats.length;
    await until('heartbeats of the session that it has', () => coordinator.heartbeats.length > before && coordinator.heartbeats.at(-1)?.session === 1);
    assert.equal(store.current().objects.size, 1);
    welcomeWithSnapshot();
    await until('a session again', () => revision() === 20);
  });

  it('waits as long as RetryInfo says', async () => {
    let refusedAtMs = 0;
    const clock = systemClock();
    coordinator.onHello = call => {
      refusedAtMs = clock.nowMs();
      welcomeWithSnapshot();
      refuse(call, { reason: 'RATE_LIMITED', code: status.RESOURCE_EXHAUSTED, retryMs: 300 });
    };
    connect(coordinator.address);
    await until('a session', () => coordinator.hellos.length === 2);
    assert.ok(clock.nowMs() - refusedAtMs >= 300);
  });

  it('comes back to a coordinator that died and started again, with a new epoch', async () => {
    welcomeWithSnapshot();
    connect(coordinator.address);
    link.roundOutcome(OUTCOME);
    await until('a session', () => revision() === 10 && coordinator.reports.length === 1);
    coordinator.stop();
    await until('the loss to be noticed', () => logged.some(({ msg }) => msg === 'no session with the coordinator'));
    coordinator.epoch = 2;
    await coordinator.listen(coordinator.address);
    await until('a session', () => revision() === 20);
    assert.equal(served.at(-1)?.epoch, 2);
    await until('the last outcome again', () => coordinator.reports.at(-1)?.session === 2);
  });

  it('gives up a stream that brings what is not allowed, and takes nothing of it', async () => {
    coordinator.onHello = call => {
      welcomeWithSnapshot();
      coordinator.welcome(call);
      coordinator.desire(call, snapshot(version(1, 1, 5), [{ ...mapping('m', 5, 30_001), target: { kind: 'address', address: '127.0.0.1' } } as DesiredObject]));
    };
    connect(coordinator.address);
    await until('a session with a proper state', () => revision() === 20);
    assert.deepEqual(served.map(state => state.version?.revision), [20]);
    assert.ok(logged.some(({ why }) => String(why).includes('target.address')), JSON.stringify(logged));
  });

  it('asks for a new session when a change does not fit what it has', async () => {
    welcomeWithSnapshot();
    connect(coordinator.address);
    await until('a session', () => revision() === 10);
    coordinator.desire(coordinator.lastCall, change(version(1, 1, 15), 14, [mapping('m', 15, 30_001)]));
    await until('a new session', () => revision() === 20);
    assert.deepEqual([...store.current().objects.keys()], ['lease/a']);
  });

  it('keeps only the newest report while the coordinator does not read', async () => {
    welcomeWithSnapshot();
    connect(coordinator.address);
    await until('a session', () => revision() === 10);
    coordinator.lastCall.pause();
    const large = Array.from({ length: 2_000 }, (_, i) => ({ key: `mapping/m${i}`, reason: 'TARGET_REFUSED', message: 'x'.repeat(100) }));
    const before = process.memoryUsage().rss;
    for (let repairs = 1; repairs <= 300; repairs++) {
      link.roundOutcome({ ...OUTCOME, problems: large, driftRepairs: repairs });
      await new Promise(setImmediate);
    }
    assert.ok(process.memoryUsage().rss - before < 100e6, 'reports pile up');
    coordinator.lastCall.resume();
    await until('the last report', () => coordinator.reports.at(-1)?.driftRepairs === 300);
    assert.ok(coordinator.reports.length < 100, `${coordinator.reports.length} reports`);
  });

  it('takes a snapshot of 20,000 objects in one session', async () => {
    const objects = Array.from({ length: 20_000 }, (_, i) => mapping(`m${i}`, 1, 10_000 + i));
    welcomeWithSnapshot(objects);
    connect(coordinator.address);
    await until('heartbeats with its digest', () => coordinator.heartbeats.some(beat => beat.digest === digestOf(objects)));
    assert.deepEqual([served.at(-1)?.objects.size, coordinator.hellos.length], [20_000, 1]);
  });

  it('speaks over a unix socket', async () => {
    coordinator.stop();
    await coordinator.listen(`unix:${join(dir, 'c.sock')}`);
    welcomeWithSnapshot();
    connect(coordinator.address);
    await until('a session', () => revision() === 10 && coordinator.heartbeats.length > 1);
  });

  it('closes at once, whatever hangs, and leaves no connection', async () => {
    coordinator.onHeartbeat = () => 'silence';
    welcomeWithSnapshot();
    connect(await proxy.listen());
    await until('a heartbeat in flight', () => coordinator.heartbeats.length > 0);
    const startMs = systemClock().nowMs();
    await link.close();
    assert.ok(systemClock().nowMs() - startMs < 1_000);
    await until('all connections to end', () => proxy.open === 0);
  });

  it('speaks TLS, with renewed certificates once it connects anew', async () => {
    const openssl = (...argv: string[]): Buffer => execFileSync('openssl', argv, { cwd: dir, stdio: 'pipe' });
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    openssl('req', '-x509', ...key, '-days', '2', '-subj', '/CN=ca', '-keyout', 'ca.key', '-out', 'ca.pem');
    await writeFile(join(dir, 'names'), 'subjectAltName=IP:127.0.0.1,URI:portlease://host/host-a\n');
    const issue = (serial: string): void => {
      openssl('req', ...key, '-subj', '/CN=host-a', '-keyout', 'a.key', '-out', 'a.csr');
      openssl('x509', '-req', '-in', 'a.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-set_serial', serial, '-days', '2', '-extfile', 'names', '-out', 'a.pem');
    };
    issue('0x1001');
    const files = { certificate: join(dir, 'a.pem'), key: join(dir, 'a.key'), ca: join(dir, 'ca.pem') };
    coordinator.stop();
    coordinator.deadlineMs = 200;
    await coordinator.listen('127.0.0.1:0', serverCredentials(loadTls(files)));
    welcomeWithSnapshot();
    connect(await proxy.listen(), { credentials: () => clientCredentials(loadTls(files)) });
    const serial = (): string | undefined => coordinator.lastCall.getAuthContext().sslPeerCertificate?.serialNumber;
    await until('a session', () => revision() === 10 && coordinator.heartbeats.length > 0);
    assert.equal(serial(), '1001');
    issue('0x1002');
    proxy.freezeAll();
    await until('a new session', () => revision() === 20);
    assert.equal(serial(), '1002');
    await link.close();
    await until('all connections to end', () => proxy.open === 0);
  });

  it('says why credentials cannot be used, and tries again', async () => {
    let attempts = 0;
    const fail = (): never => {
      attempts++;
      throw new Error('no such key');
    };
    connect(coordinator.address, { credentials: fail });
    await until('three attempts', () => attempts === 3);
    assert.ok(logged.some(({ why }) => String(why).includes('no such key')));
  });
});

describe('the link on a full disk', () => {
  it('serves what it has, keeps the session alive, and takes the state once there is room', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'portlease-link-full-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', dir]);
    const coordinator = new TestCoordinator();
    await coordinator.listen();
    const store = await StateStore.open(dir, OWNER);
    const served: number[] = [];
    coordinator.onHello = call => {
      coordinator.welcome(call);
      coordinator.desire(call, snapshot(version(1, 1, 1), [lease('a', 1)]));
    };
    const link = new SessionLink({
      identity: IDENTITY, store, settings: SETTINGS, clock: systemClock(), random: () => 0.5,
      transport: grpcTransport({ address: coordinator.address, credentials: () => credentials.createInsecure() }),
      log: createLogger({ name: 'test', level: 'error', destination: { write: () => coordinator.seen.changed() } }),
      onAccepted: state => { served.push(state.version?.revision ?? 0); coordinator.seen.changed(); },
    });
    try {
      link.start();
      await coordinator.seen.until('a state', () => served.at(-1) === 1);
      await assert.rejects(writeFile(join(dir, 'filler'), Buffer.alloc(100_000)), { code: 'ENOSPC' });
      coordinator.onHeartbeat = ({ acceptedRevision }) => ({ staleSession: false, rebuild: acceptedRevision < 2, resolveLeaks: [] });
      const many = Array.from({ length: 40 }, (_, i) => mapping(`m${i}`, 2, 30_000 + i));
      coordinator.desire(coordinator.lastCall, change(version(1, 1, 2), 1, many));
      const before = coordinator.heartbeats.length;
      await coordinator.seen.until('heartbeats of the old state', () => coordinator.heartbeats.length >= before + 5);
      assert.deepEqual([served.at(-1), coordinator.heartbeats.at(-1)?.acceptedRevision, coordinator.hellos.length], [1, 1, 1]);
      await rm(join(dir, 'filler'));
      await coordinator.seen.until('the new state', () => served.at(-1) === 2);
    } finally {
      await link.close();
      await store.close();
      coordinator.stop();
      execFileSync('umount', [dir]);
      await rm(dir, { recursive: true, force: true });
    }
  });
});
