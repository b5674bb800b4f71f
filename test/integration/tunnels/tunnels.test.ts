import assert from 'node:assert/strict';
import { signalProcess } from '../../support/processes.js';
import { eventually } from '../../support/wait.js';
import { specOf, TunnelBench, wish } from './bench.js';

const QUICK = { ServerAliveInterval: '1', ServerAliveCountMax: '2', ConnectTimeout: '2' };

for (const engine of ['ssh', 'autossh'] as const) {
  describe(`a tunnel by ${engine}`, () => {
    let bench: TunnelBench;
    before(async () => { bench = await TunnelBench.up(); });
    after(() => bench.down());
    beforeEach(() => bench.start());
    afterEach(async () => {
      if (bench.agent === undefined) bench.start();
      await bench.desire();
      await eventually('the end of all processes of tunnels', async () => (await bench.processes()).length === 0, { withinMs: 10_000 });
      await bench.stop();
    });

    it('forwards both ways, and is restarted, stopped, started and removed', async () => {
      const spec = specOf('both', { local: 9_001, reverse: 9_002, engine });
      await bench.desire(wish(spec));
      const up = await bench.until('both', 'is up with its log', ({ state, logTail }) => state === 'up' && logTail.some(line => line.includes('all expected forwarding replies received')));
      assert.deepEqual([await bench.ask(9_001), await bench.askFrom('server', 9_002)], ['server', 'host']);
      await bench.desire(wish(spec, 1));
      const again = await bench.until('both', 'is up anew', ({ state, pid }) => state === 'up' && pid !== up.pid);
      assert.deepEqual([again.statistics.restarts, again.statistics.connections, again.restart], [1, 2, 1]);
      assert.deepEqual([await bench.ask(9_001), await bench.askFrom('server', 9_002)], ['server', 'host']);
      await bench.desire(wish(spec, 1, true));
      await bench.until('both', 'is stopped', ({ state }) => state === 'stopped');
      assert.deepEqual(await bench.processes(), []);
      await bench.desire(wish(spec, 1));
      await bench.untilUp('both');
      assert.deepEqual(await bench.tell('known'), ['host-t.both']);
      await bench.desire();
      await eventually('its removal', async () => await bench.report('both') === undefined, { withinMs: 10_000 });
      assert.deepEqual([await bench.processes(), await bench.tell('known')], [[], []]);
    });

    it('is back after SIGKILL of ssh, with one connection', async () => {
      await bench.desire(wish(specOf('killed', { local: 9_001, reverse: 9_002, engine })));
      const { pid } = await bench.untilUp('killed');
      signalProcess(pid, 'SIGKILL');
      await bench.until('killed', 'is up anew', report => report.state === 'up' && report.pid !== pid);
      assert.deepEqual([await bench.ask(9_001), await bench.askFrom('server', 9_002), (await bench.processes()).length], ['server', 'host', engine === 'ssh' ? 1 : 2]);
    });

    it('ends what the leader of its group leaves behind, and is back', async () => {
      await bench.desire(wish(specOf('orphan', { local: 9_001, reverse: 9_002, engine })));
      const { pid } = await bench.untilUp('orphan');
      signalProcess(await bench.pidOf(engine), 'SIGKILL');
      await bench.until('orphan', 'is up anew', report => report.state === 'up' && report.pid !== pid);
      assert.deepEqual([(await bench.processes()).length, await bench.ask(9_001), await bench.askFrom('server', 9_002)], [engine === 'ssh' ? 1 : 2, 'server', 'host']);
      assert.doesNotMatch(bench.logs(), /in use/);
    });

    it('outlives SIGKILL of the agent, and is taken over as it is', async () => {
      const spec = specOf('lasting', { local: 9_001, reverse: 9_002, engine });
      await bench.desire(wish(spec, 3));
      const before = await bench.untilUp('lasting');
      const sessions = bench.sessions();
      await bench.kill();
      assert.equal((await bench.processes()).length, engine === 'ssh' ? 1 : 2);
      bench.start({ desired: [wish(spec, 3)] });
      const after = await bench.untilUp('lasting');
      assert.deepEqual([after.pid, bench.sessions()], [before.pid, sessions]);
      assert.ok(after.statistics.connections <= 1, 'it was connected anew');
      await bench.stop();
      bench.start();
      await bench.desire(wish(spec, 3));
      assert.equal((await bench.untilUp('lasting')).pid, before.pid, 'also when the coordinator is heard of later');
      assert.deepEqual([await bench.ask(9_001), await bench.askFrom('server', 9_002)], ['server', 'host']);
    });

    it('is made anew once when it was restarted, or its spec changed, while there was no agent; ended when it was removed', async () => {
      const spec = specOf('ordered', { local: 9_001, engine });
      await bench.desire(wish(spec));
      const first = await bench.untilUp('ordered');
      await bench.kill();
      bench.start({ desired: [wish(spec, 1)] });
      const second = await bench.until('ordered', 'is up anew', ({ state, pid }) => state === 'up' && pid !== first.pid);
      await bench.kill();
      bench.start({ desired: [wish(spec, 1)] });
      assert.equal((await bench.untilUp('ordered')).pid, second.pid, 'the order was carried out twice');
      await bench.kill();
      const moved = specOf('ordered', { local: 9_003, engine });
      bench.start({ desired: [wish(moved, 1)] });
      await bench.until('ordered', 'is up elsewhere', ({ state, pid }) => state === 'up' && pid !== second.pid);
      assert.equal(await bench.ask(9_003), 'server');
      await assert.rejects(bench.ask(9_001), /ECONNREFUSED/);
      await bench.kill();
      bench.start({ desired: [] });
      await eventually('its end', async () => (await bench.processes()).length === 0, { withinMs: 10_000 });
    });

    it('is blocked by a foreign process on its port, says who that is, and leaves it alone', async () => {
      bench.serve('host', 9_001, 'foreign');
      await eventually('the foreign process', async () => await bench.askFrom('host', 9_001) === 'foreign', { withinMs: 10_000 });
      await bench.desire(wish(specOf('blocked', { local: 9_001, engine })));
      const { message, reason } = await bench.until('blocked', 'is blocked', ({ state }) => state === 'blocked');
      const [, pid] = /^process (\d+) \(\S+, user root\) listens on 127\.0\.0\.1:9001$/.exec(message) ?? [];
      assert.equal(reason, 'LOCAL_PORT_TAKEN');
      assert.equal(await bench.ask(9_001), 'foreign');
      signalProcess(Number(pid), 'SIGKILL');
      await bench.untilUp('blocked');
      assert.equal(await bench.ask(9_001), 'server');
      assert.doesNotMatch(bench.logs(), /in use/);
    });

    it('is back after the network was cut without a word', async () => {
      await bench.desire(wish(specOf('cut', { local: 9_001, reverse: 9_002, engine, options: QUICK })));
      await bench.untilUp('cut');
      await bench.cut(true);
      const down = await bench.until('cut', 'is noticed', ({ state }) => state !== 'up');
      assert.ok(['CONNECTION_LOST', 'CONNECT_TIMEOUT'].includes(down.reason), JSON.stringify(down));
      await bench.cut(false);
      await bench.untilUp('cut');
      assert.deepEqual([await bench.ask(9_001), await bench.askFrom('server', 9_002)], ['server', 'host']);
    });

    it('is back after the server was frozen', async () => {
      await bench.desire(wish(specOf('frozen', { local: 9_001, engine, options: QUICK })));
      await bench.untilUp('frozen');
      const frozen = [...bench.sessions(), ...[bench.sshd()].filter(pid => pid !== undefined)];
      for (const pid of frozen) signalProcess(pid, 'SIGSTOP');
      await bench.until('frozen', 'is noticed', ({ state }) => state !== 'up');
      for (const pid of frozen) signalProcess(pid, 'SIGCONT');
      await bench.untilUp('frozen');
      assert.equal(await bench.ask(9_001), 'server');
    });

    it('frozen itself, is ended and made anew by a restart', async () => {
      const spec = specOf('stiff', { local: 9_001, engine });
      await bench.desire(wish(spec));
      const { pid } = await bench.untilUp('stiff');
      for (const one of await bench.processes()) signalProcess(one.pid, 'SIGSTOP');
      await bench.desire(wish(spec, 1));
      await bench.until('stiff', 'is up anew', report => report.state === 'up' && report.pid !== pid);
      assert.equal(await bench.ask(9_001), 'server');
    });

    it('takes a socket on the server over from a connection that the server still has', async () => {
      const socket = `${bench.directory}/spec-${engine}.sock`;
      const forward = { direction: 'reverse', listen: { socket }, to: { host: '127.0.0.1', port: 7_000 } } as const;
      const plain = specOf('socket', { local: 9_001, engine, options: QUICK });
      await bench.desire({ ...wish(plain), spec: { ...plain, forwards: [...plain.forwards, forward] } });
      const { pid, spec } = await bench.untilUp('socket');
      assert.deepEqual([await bench.askSocket(socket), spec], ['host\n', JSON.parse(JSON.stringify(plain))]);
      await bench.cut(true);
      signalProcess(pid, 'SIGKILL');
      await bench.cut(false);
      await bench.until('socket', 'is up anew', report => report.state === 'up' && report.pid !== pid);
      assert.equal(await bench.askSocket(socket), 'host\n');
    });

    it('has a forward added to its connection, and cancelled, without connecting anew', async () => {
      await bench.desire(wish(specOf('growing', { local: 9_001, engine })));
      const { pid } = await bench.untilUp('growing');
      const socket = `${bench.directory}/added.sock`;
      const forward = { direction: 'reverse', listen: { socket }, to: { host: '127.0.0.1', port: 7_000 } };
      await bench.tell('add', { tunnel: 'growing', forward });
      assert.equal(await bench.askSocket(socket), 'host\n');
      await bench.tell('cancel', { tunnel: 'growing', forward });
      assert.equal((await bench.untilUp('growing')).pid, pid);
      await assert.rejects(bench.tell('cancel', { tunnel: 'growing', forward }), /not forwarded/);
    });
  });
}
