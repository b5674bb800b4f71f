import assert from 'node:assert/strict';
import { CreateTunnelRequest, ForwardDirection, GetTunnelRequest, ListTunnelsRequest, RemoveTunnelRequest, RestartTunnelRequest, StopTunnelRequest, TunnelEngine, TunnelServiceService, TunnelState, type Tunnel } from '../../shared/gen/portlease/v1/tunnels.js';
import { refusalOf } from '../support/api.js';
import { Bench } from '../support/bench.js';
import { GATEWAY } from '../support/daemons.js';
import { GATEWAY_INNER } from '../support/layout.js';
import { signalProcess } from '../support/processes.js';
import { Sshd } from '../support/sshd.js';
import { eventually } from '../support/wait.js';
import { Watch } from '../support/watch.js';

const [LOCAL, REVERSE, SERVICE] = [15_000, 16_000, 7_000];

describe('a tunnel that operators make over RPC', function () {
  this.timeout(120_000);
  let bench: Bench;
  let sshd: Sshd;

  beforeEach(async () => {
    bench = await Bench.bare({ hosts: 1 });
    sshd = await Sshd.up(bench.agent('gateway').machine, { address: GATEWAY_INNER[4] });
    bench.configure('host-a', { tunnels: { servers: { edge: sshd.server() }, forwards: { to: ['127.0.0.0/8'] }, backoff: { min: '200ms', max: '1s' } } });
    await bench.startAll();
    await bench.serve('gateway/inner', [{ transport: 'tcp', port: SERVICE, address: '127.0.0.1' }], { node: 'gateway' });
    await bench.serve('host-a/inner', [{ transport: 'tcp', port: SERVICE, address: '127.0.0.1' }], { node: 'host-a' });
  });
  afterEach(async function () { await bench.close({ failed: this.currentTest?.state === 'failed' }); });

  const to = { host: '127.0.0.1', port: SERVICE };
  const create = (engine: TunnelEngine, wait = true) => bench.api.call(TunnelServiceService.createTunnel, CreateTunnelRequest.fromPartial({
    wait, spec: {
      tunnel: 'db', host: 'host-a', server: 'edge', engine,
      forwards: [
        { direction: ForwardDirection.FORWARD_DIRECTION_LOCAL, listen: { host: '127.0.0.1', port: LOCAL }, to },
        { direction: ForwardDirection.FORWARD_DIRECTION_REVERSE, listen: { host: '127.0.0.1', port: REVERSE }, to },
      ],
    },
  }), 20_000);
  const restart = () => bench.api.call(TunnelServiceService.restartTunnel, RestartTunnelRequest.fromPartial({ host: 'host-a', tunnel: 'db', reason: 'test' }), 20_000);
  const get = async (): Promise<Tunnel> => (await bench.api.call(TunnelServiceService.getTunnel, GetTunnelRequest.fromPartial({ host: 'host-a', tunnel: 'db' }))).tunnel as Tunnel;
  /** What the service says that is behind the port of the machine. */
  const ask = async (node: 'host-a' | 'gateway', port: number): Promise<string> =>
    (await bench.agent(node).machine.run(['bash', '-c', `exec 3<>/dev/tcp/127.0.0.1/${port} && echo hello >&3 && read -r -t 5 line <&3 && echo "$line"`], { accept: [0, 1, 142] })).stdout;
  const forwards = async (): Promise<void> => {
    await eventually('both forwards to lead through', async () => /gateway\/inner/.test(await ask('host-a', LOCAL)) && /host-a\/inner/.test(await ask('gateway', REVERSE)), { withinMs: 10_000, hint: () => bench.agent('host-a').process.tail(10) });
  };

  for (const engine of [TunnelEngine.TUNNEL_ENGINE_SSH, TunnelEngine.TUNNEL_ENGINE_AUTOSSH]) {
    it(`forwards both ways, is restarted, stopped and removed, and tells of it: ${TunnelEngine[engine]}`, async () => {
      const watch = new Watch(`unix:${bench.coordinator.socket}`, { gateway: GATEWAY });
      try {
        assert.equal((await create(engine)).tunnel?.state, TunnelState.TUNNEL_STATE_UP);
        await forwards();
        const before = await get();
        const { tunnel: restarted } = await restart();
        assert.deepEqual([restarted?.state, restarted?.pid === before.pid, restarted?.statistics?.restarts], [TunnelState.TUNNEL_STATE_UP, false, 1]);
        await forwards();
        assert.deepEqual((await bench.api.call(TunnelServiceService.listTunnels, ListTunnelsRequest.fromPartial({ host: 'host-a' }))).tunnels.map(({ spec, fromConfig }) => [spec?.tunnel, fromConfig]), [['db', false]]);
        const stopped = await bench.api.call(TunnelServiceService.stopTunnel, StopTunnelRequest.fromPartial({ host: 'host-a', tunnel: 'db' }), 20_000);
        assert.ok(stopped.tunnel !== undefined);
        await eventually('it to be stopped', async () => (await get()).state === TunnelState.TUNNEL_STATE_STOPPED, { withinMs: 10_000 });
        assert.equal(await ask('gateway', REVERSE), '');
        await bench.api.call(TunnelServiceService.removeTunnel, RemoveTunnelRequest.fromPartial({ host: 'host-a', tunnel: 'db' }), 20_000);
        assert.equal((await refusalOf(restart())).details.reason, 'TUNNEL_UNKNOWN');
        await watch.until('its events', ({ events }) => events.filter(({ kind }) => kind.startsWith('Tunnel')).length >= 4, 10_000);
        assert.deepEqual(watch.events.filter(({ kind }) => kind.startsWith('Tunnel')).map(({ kind }) => kind), ['TunnelUp', 'TunnelDown', 'TunnelUp', 'TunnelDown']);
      } finally {
        watch.close();
      }
    });
  }

  it('outlives its agent and the coordinator, and comes back by itself when it is lost', async () => {
    const { tunnel } = await create(TunnelEngine.TUNNEL_ENGINE_SSH);
    const pid = tunnel?.pid ?? 0;
    await bench.coordinator.stop('SIGKILL');
    await bench.agent('host-a').restart('SIGKILL');
    await eventually('the agent to serve', async () => /gateway\/inner/.test(await ask('host-a', LOCAL)), { withinMs: 10_000 });
    await bench.coordinator.start();
    await bench.untilAlive('host-a');
    await eventually('it to be told as up', async () => (await get()).state === TunnelState.TUNNEL_STATE_UP, { withinMs: 10_000 });
    assert.equal((await get()).pid, pid, 'the connection is the same');
    signalProcess(pid, 'SIGKILL');
    await eventually('another connection', async () => {
      const now = await get();
      return now.state === TunnelState.TUNNEL_STATE_UP && now.pid !== pid;
    }, { withinMs: 20_000 });
    await forwards();
  });

  it('that its host does not allow says so, and why', async () => {
    const spec = { tunnel: 'other', host: 'host-a', server: 'absent', forwards: [{ direction: ForwardDirection.FORWARD_DIRECTION_LOCAL, listen: { host: '127.0.0.1', port: LOCAL }, to }] };
    const { tunnel } = await bench.api.call(TunnelServiceService.createTunnel, CreateTunnelRequest.fromPartial({ wait: true, spec }), 5_000);
    assert.deepEqual([tunnel?.state, tunnel?.reason], [TunnelState.TUNNEL_STATE_REFUSED, 'SERVER_UNKNOWN']);
  });
});
