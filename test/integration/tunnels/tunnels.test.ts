import assert from 'node:assert/strict';
import { specOf, TunnelBench, wish } from './bench.js';

for (const engine of ['ssh', 'autossh'] as const) {
  describe(`a tunnel by ${engine}`, () => {
    let bench: TunnelBench;
    before(async () => { bench = await TunnelBench.up(); });
    after(() => bench.down());
    beforeEach(() => bench.start());
    afterEach(async () => {
      await bench.desire();
      await bench.stop();
    });

    it('forwards both ways, and is restarted, stopped, started and removed', async () => {
      const spec = specOf('both', { local: 9_001, reverse: 9_002, engine });
      await bench.desire(wish(spec));
      const up = await bench.untilUp('both');
      assert.deepEqual([await bench.ask(9_001), await bench.askFrom('server', 9_002)], ['server', 'host']);
      await bench.desire(wish(spec, 1));
      const again = await bench.until('both', 'is up anew', ({ state, pid }) => state === 'up' && pid !== up.pid);
      console.log(again.statistics.restartTimeMs);
      assert.equal(again.statistics.restarts, 1);
      assert.deepEqual([await bench.ask(9_001), await bench.askFrom('server', 9_002)], ['server', 'host']);
      await bench.desire(wish(spec, 1, true));
      await bench.until('both', 'is stopped', ({ state }) => state === 'stopped');
      assert.deepEqual(await bench.processes(), []);
    });
  });
}
