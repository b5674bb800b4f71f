import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { eventually } from '../../support/wait.js';
import { specOf, TunnelBench, wish } from './bench.js';

const RESTARTS = { ssh: 120, autossh: 80 } as const;

describe('restarts of a tunnel, one after the other', () => {
  let bench: TunnelBench;
  before(async () => {
    bench = await TunnelBench.up();
    bench.start();
  });
  after(() => bench.down());

  it('find their ports free each time, with ssh and with autossh', async function () {
    this.timeout(240_000);
    const specs = (['ssh', 'autossh'] as const).map((engine, i) => specOf(engine, { local: 9_001 + i, reverse: 9_011 + i, engine }));
    const orders = { ssh: 0, autossh: 0 };
    const desire = (): Promise<unknown> => bench.desire(...specs.map(spec => wish(spec, orders[spec.engine!])));
    await desire();
    await Promise.all(specs.map(async spec => {
      const engine = spec.engine!;
      const before = await bench.untilUp(engine);
      let { pid } = before;
      while (orders[engine] < RESTARTS[engine]) {
        const restart = ++orders[engine];
        await desire();
        const up = await bench.until(engine, 'is up anew', report => report.state === 'up' && report.restart === restart, 5);
        assert.notEqual(up.pid, pid);
        ({ pid } = up);
      }
      const { statistics } = await bench.untilUp(engine);
      assert.deepEqual([statistics.failures, statistics.connections, statistics.restarts], [0, RESTARTS[engine] + 1, RESTARTS[engine]]);
    }));
    for (const i of [0, 1]) assert.deepEqual([await bench.ask(9_001 + i), await bench.askFrom('server', 9_011 + i)], ['server', 'host']);
    assert.equal((await bench.processes()).length, 3);
    assert.doesNotMatch(bench.logs(), /in use/i);
    await bench.desire();
    await eventually('their removal', async () => (await bench.processes()).length === 0, { withinMs: 10_000 });
  });

  it('leave one connection when orders overtake each other', async () => {
    for (const engine of ['ssh', 'autossh'] as const) {
      const spec = specOf('hasty', { local: 9_021, reverse: 9_022, engine });
      for (let restart = 1; restart <= 40; restart += 1) {
        await bench.desire(wish(spec, restart));
        await pause(restart * 7 % 45);
      }
      await bench.until('hasty', 'is up', ({ state, restart }) => state === 'up' && restart === 40);
      assert.equal((await bench.processes()).length, engine === 'ssh' ? 1 : 2);
      assert.deepEqual([await bench.ask(9_021), await bench.askFrom('server', 9_022)], ['server', 'host']);
      await bench.desire();
      await eventually('its removal', async () => await bench.report('hasty') === undefined && (await bench.processes()).length === 0, { withinMs: 10_000 });
    }
    assert.doesNotMatch(bench.logs(), /in use/i);
  });
});
