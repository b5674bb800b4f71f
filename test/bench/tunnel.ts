/** From the order to restart a tunnel until a client through its forward is answered by the service on the other side, with ssh and with autossh. */
import { specOf, TunnelBench, wish } from '../integration/tunnels/bench.js';
import { medianOf, quantile, type Row, type Size } from './rows.js';

const LOCAL = 9_001;

export async function benchTunnel({ runs, samples }: Size): Promise<Row[]> {
  const bench = await TunnelBench.up();
  try {
    bench.start();
    const rows: Row[] = [];
    for (const engine of ['ssh', 'autossh'] as const) rows.push(...await restarts(bench, engine, { runs, samples }));
    return rows;
  } finally {
    await bench.desire();
    await bench.down();
  }
}

async function restarts(bench: TunnelBench, engine: 'ssh' | 'autossh', { runs, samples }: Size): Promise<Row[]> {
  const spec = specOf(engine, { local: LOCAL, reverse: LOCAL + 1, engine });
  await bench.desire(wish(spec));
  await bench.untilUp(engine);
  const rows: Row[][] = [];
  let restart = 0;
  for (let run = 0; run < runs; run += 1) {
    const tookMs: number[] = [];
    for (let i = 0; i < samples; i += 1) {
      const order = ++restart;
      const startMs = performance.now();
      await bench.desire(wish(spec, order));
      await bench.until(engine, 'is up anew', (report) => report.state === 'up' && report.restart === order, 2);
      await bench.ask(LOCAL);
      tookMs.push(performance.now() - startMs);
    }
    rows.push([0.5, 0.99].map((q) => ({ name: `tunnel.restart.${engine}.p${q * 100}`, value: quantile(tookMs, q), unit: 'ms' })));
  }
  await bench.desire();
  return medianOf(rows);
}
