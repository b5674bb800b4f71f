import assert from 'node:assert/strict';
import { EventServiceService, ListEventsRequest } from '../../../shared/gen/portlease/v1/events.js';
import { ForwardDirection, ListTunnelsRequest, TunnelServiceService, TunnelState } from '../../../shared/gen/portlease/v1/tunnels.js';
import type { TunnelReport } from '../../../shared/tunnel.js';
import { refusalOf, status } from '../../support/api.js';
import { tunnelReport, tunnelSpec } from '../../support/tunnels.js';
import { eventually } from '../../support/wait.js';
import { TestCoordinator } from './coordinator.js';
import type { FakeAgent } from './fake-agent.js';

const FORWARD = { direction: ForwardDirection.FORWARD_DIRECTION_LOCAL, listen: { port: 5432 }, to: { host: 'db.internal', port: 5432 } };
const spec = (over: object = {}) => ({ tunnel: 'db', host: 'h1', server: 'bastion', forwards: [FORWARD], ...over });
const { TUNNEL_STATE_UP: UP, TUNNEL_STATE_PENDING: PENDING, TUNNEL_STATE_BACKOFF: BACKOFF, TUNNEL_STATE_REFUSED: REFUSED, TUNNEL_STATE_STOPPED: STOPPED } = TunnelState;

describe('tunnels, over the wire', () => {
  let coordinator: TestCoordinator;
  let agent: FakeAgent;
  beforeEach(async () => {
    coordinator = await TestCoordinator.start();
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    agent = await coordinator.agent({ host: 'h1' });
  });
  afterEach(() => coordinator.close());

  /** From now on the host does as it is told, and all its tunnels are so. */
  function supervise(more: Partial<TunnelReport> = {}): void {
    agent.tunnels = (objects) => objects.map(({ spec: of, restart, isStopped }) => tunnelReport({ spec: of, restart, state: isStopped ? 'stopped' : 'up', ...more }));
    agent.report();
  }

  const kinds = async (): Promise<string[]> => {
    const request = ListEventsRequest.fromPartial({ gateway: 'gw', pageSize: 1_000 });
    return (await coordinator.api.call(EventServiceService.listEvents, request)).events.map(({ kind }) => kind).filter((kind) => kind.startsWith('Tunnel'));
  };

  it('are created, told to their host, and answered when they are up, if the caller waits', async () => {
    const recorded = await coordinator.api.createTunnel(spec());
    assert.deepEqual([recorded.tunnel?.state, recorded.tunnel?.gateway, recorded.tunnel?.spec?.forwards[0]?.listen], [PENDING, 'gw', { host: '127.0.0.1', port: 5432 }]);
    await eventually('the host to be told', () => agent.tunnelObjects().length === 1, { withinMs: 10_000 });
    const waiting = coordinator.api.createTunnel(spec(), { wait: true, deadlineMs: 30_000 });
    supervise({ pid: 77, logTail: ['connected'] });
    assert.equal((await waiting).tunnel?.state, UP);
    const seen = await coordinator.api.tunnel('h1', 'db');
    assert.deepEqual([seen.pid, seen.logTail, seen.revision, seen.statistics?.connections], [77, ['connected'], recorded.tunnel?.revision, 1]);
    assert.deepEqual((await coordinator.api.tunnels())[0]?.logTail, [], 'the log is for one alone');
    const { code, details } = await refusalOf(coordinator.api.createTunnel(spec({ server: 'other' })));
    assert.deepEqual([code, details.reason, details.metadata['fields']], [status.ALREADY_EXISTS, 'TUNNEL_EXISTS', 'server']);
    assert.deepEqual(await kinds(), ['TunnelUp']);
    const { tunnelsUp, tunnelsDown } = await coordinator.api.status();
    assert.deepEqual([tunnelsUp, tunnelsDown], [1, 0]);
  });

  it('are answered with what they came to, when the time is up or nothing more can come', async () => {
    supervise({ state: 'backoff', reason: 'SSH_FAILED' });
    const late = await coordinator.api.createTunnel(spec(), { wait: true, deadlineMs: 1_500 });
    assert.deepEqual([late.tunnel?.state, late.tunnel?.reason], [BACKOFF, 'SSH_FAILED']);
    supervise({ state: 'refused', reason: 'SERVER_UNKNOWN' });
    const refused = await coordinator.api.createTunnel(spec({ tunnel: 'other' }), { wait: true, deadlineMs: 60_000 });
    assert.deepEqual([refused.tunnel?.state, refused.tunnel?.reason], [REFUSED, 'SERVER_UNKNOWN']);
  });

  it('are restarted: answered when the connection of that restart is up, and not by a report of the former one', async () => {
    supervise();
    await coordinator.api.createTunnel(spec(), { wait: true });
    const before = agent.tunnelObjects()[0]?.restart ?? 0;
    agent.tunnels = (objects) => objects.map(({ spec: of }) => tunnelReport({ spec: of, restart: before }));
    const restarting = coordinator.api.restartTunnel('h1', 'db', 30_000);
    await eventually('the host to be told', () => (agent.tunnelObjects()[0]?.restart ?? 0) > before, { withinMs: 10_000 });
    agent.report();
    await eventually('that report to be heard', async () => (await coordinator.api.tunnel('h1', 'db')).state === TunnelState.TUNNEL_STATE_ENDING, { withinMs: 10_000 });
    supervise({ pid: 99 });
    assert.equal((await restarting).tunnel?.pid, 99);
  });

  it('that are not up again in time say how far they are; what their host does not allow is told at once', async () => {
    supervise();
    await coordinator.api.createTunnel(spec(), { wait: true });
    agent.tunnels = (objects) => objects.map(({ spec: of, restart }) => tunnelReport({ spec: of, restart, state: 'blocked', reason: 'PORT_TAKEN', message: 'nginx (pid 1) has it' }));
    const late = await refusalOf(coordinator.api.restartTunnel('h1', 'db', 1_500));
    assert.deepEqual([late.code, late.details.reason, late.details.metadata['state'], late.details.metadata['host_reason']], [status.DEADLINE_EXCEEDED, 'TUNNEL_NOT_UP_IN_TIME', 'blocked', 'PORT_TAKEN']);
    assert.match(late.message, /nginx \(pid 1\) has it/);
    agent.tunnels = (objects) => objects.map(({ spec: of, restart }) => tunnelReport({ spec: of, restart, state: 'refused', reason: 'KEY_READABLE' }));
    const refused = await refusalOf(coordinator.api.restartTunnel('h1', 'db', 60_000));
    assert.deepEqual([refused.code, refused.details.reason, refused.details.metadata['host_reason']], [status.FAILED_PRECONDITION, 'TUNNEL_REFUSED', 'KEY_READABLE']);
    const before = agent.tunnelObjects()[0]?.restart ?? 0;
    agent.tunnels = (objects) => objects.map(({ spec: of }) => tunnelReport({ spec: of, restart: before, state: 'refused', reason: 'KEY_READABLE' }));
    const restarting = coordinator.api.restartTunnel('h1', 'db', 30_000);
    await eventually('the host to be told', () => (agent.tunnelObjects()[0]?.restart ?? 0) > before, { withinMs: 10_000 });
    supervise();
    assert.equal((await restarting).tunnel?.state, UP, 'what was said before it had heard of this restart does not count');
  });

  it('of a host that falls silent meanwhile end the waiting, and are not restarted from then on', async () => {
    supervise();
    await coordinator.api.createTunnel(spec(), { wait: true });
    agent.tunnels = () => [];
    const waiting = refusalOf(coordinator.api.restartTunnel('h1', 'db', 60_000));
    await eventually('the restart to be told', () => (agent.deltas.at(-1)?.upserts.length ?? 0) > 0, { withinMs: 10_000 });
    agent.silence();
    assert.deepEqual([(await waiting).code, (await waiting).details.reason], [status.UNAVAILABLE, 'HOST_LOST']);
    assert.equal((await refusalOf(coordinator.api.restartTunnel('h1', 'db'))).details.reason, 'HOST_LOST');
    assert.equal((await coordinator.api.createTunnel(spec(), { wait: true, deadlineMs: 60_000 })).tunnel?.reason, 'HOST_LOST', 'recorded, and answered at once');
  });

  it('are stopped, started and removed; what is absent is removed already', async () => {
    supervise();
    await coordinator.api.createTunnel(spec(), { wait: true });
    const order = { host: 'h1', tunnel: 'db', reason: 'maintenance' };
    await coordinator.api.call(TunnelServiceService.stopTunnel, order);
    await eventually('it to be stopped', async () => (await coordinator.api.tunnel('h1', 'db')).state === STOPPED, { withinMs: 10_000 });
    assert.equal((await refusalOf(coordinator.api.restartTunnel('h1', 'db'))).details.reason, 'TUNNEL_STOPPED');
    await coordinator.api.call(TunnelServiceService.startTunnel, order);
    await eventually('it to be up again', async () => (await coordinator.api.tunnel('h1', 'db')).state === UP, { withinMs: 10_000 });
    assert.equal((await coordinator.api.call(TunnelServiceService.removeTunnel, order)).tunnel?.spec?.tunnel, 'db');
    assert.equal((await coordinator.api.call(TunnelServiceService.removeTunnel, order)).tunnel, undefined);
    assert.equal((await refusalOf(coordinator.api.tunnel('h1', 'db'))).details.reason, 'TUNNEL_UNKNOWN');
    assert.equal((await refusalOf(coordinator.api.tunnel('absent', 'db'))).details.reason, 'HOST_UNKNOWN');
    assert.equal((await refusalOf(coordinator.api.createTunnel(spec({ host: 'absent' })))).details.reason, 'HOST_UNKNOWN');
  });

  it('of the host\'s own config are listed, restarted, and not removed', async () => {
    agent.tunnels = (objects) => [tunnelReport({ spec: tunnelSpec({ tunnel: 'mine' }), isFromConfig: true, restart: objects[0]?.restart ?? 0 })];
    agent.report();
    await eventually('it to be listed', async () => (await coordinator.api.tunnels()).length === 1, { withinMs: 10_000 });
    const [mine] = await coordinator.api.tunnels();
    assert.deepEqual([mine?.fromConfig, mine?.state, mine?.revision], [true, UP, 0]);
    assert.equal((await coordinator.api.restartTunnel('h1', 'mine')).tunnel?.fromConfig, true);
    const refused = await refusalOf(coordinator.api.call(TunnelServiceService.removeTunnel, { host: 'h1', tunnel: 'mine', reason: '' }));
    assert.equal(refused.details.reason, 'TUNNEL_OF_CONFIG');
    assert.equal((await refusalOf(coordinator.api.createTunnel(spec({ tunnel: 'mine' })))).details.reason, 'TUNNEL_OF_CONFIG');
  });

  it('come in pages, in order of gateway, host and name', async () => {
    await coordinator.agent({ host: 'a1', gateway: 'edge', addresses: ['10.9.0.2'] });
    for (const [host, tunnel] of [['h1', 'b'], ['h1', 'a'], ['g1', 'z'], ['a1', 'y'], ['h1', 'a-1']] as const) await coordinator.api.createTunnel(spec({ host, tunnel }));
    const read = async (pageToken: string): Promise<string[]> => {
      const { tunnels, nextPageToken } = await coordinator.api.call(TunnelServiceService.listTunnels, ListTunnelsRequest.fromPartial({ pageSize: 2, pageToken }));
      return [...tunnels.map(({ gateway, spec: of }) => `${gateway} ${of?.host} ${of?.tunnel}`), ...(nextPageToken === '' ? [] : await read(nextPageToken))];
    };
    assert.deepEqual(await read(''), ['edge a1 y', 'gw g1 z', 'gw h1 a', 'gw h1 a-1', 'gw h1 b']);
    assert.deepEqual((await coordinator.api.tunnels({ host: 'h1' })).map(({ spec: of }) => of?.tunnel), ['a', 'a-1', 'b']);
    assert.deepEqual((await coordinator.api.tunnels({ gateway: 'edge' })).length, 1);
  });

  it('are there after a restart of the coordinator, up once their host says so, and nothing is told twice', async () => {
    supervise();
    await coordinator.api.createTunnel(spec(), { wait: true });
    const { session, version } = agent;
    await coordinator.shutdown();
    await coordinator.boot();
    assert.deepEqual([(await coordinator.api.tunnel('h1', 'db')).state, (await coordinator.api.tunnel('h1', 'db')).reason], [PENDING, 'HOST_NOT_READY']);
    agent = await coordinator.agent({ host: 'h1', lastSession: session });
    assert.equal(agent.tunnelObjects().length, 1, JSON.stringify(version));
    supervise();
    await eventually('it to be up', async () => (await coordinator.api.tunnel('h1', 'db')).state === UP, { withinMs: 10_000 });
    assert.deepEqual(await kinds(), ['TunnelUp']);
  });
});
