/** From the order to restart a tunnel until a client through its forward is answered by the service on the other side, with ssh and with autossh. */
import { eventually } from '../support/wait.js';
import { SERVICE_PORT, specOf, TunnelBench, wish } from '../integration/tunnels/bench.js';
import { medianOf, quantile, type Row, type Size } from './rows.js';

const LOCAL = 9_001;

export async function benchTunnel({ runs, samples }: Size): Promise<Row[]> {
  const bench = await TunnelBench.up();
  try {
    bench.start();
    const rows: Row[] = [];
    for (const engine of ['ssh', 'autossh'] as const) rows.push(...await restarts(bench, engine, { runs, samples }));
    rows.push(...await addedPorts(bench, { runs, samples }));
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

const FORWARDS = 500;
const FIRST = 20_000;

/** A connection that carries FORWARDS ports gets one more, and loses it again. */
async function addedPorts(bench: TunnelBench, { runs, samples }: Size): Promise<Row[]> {
  const of = (count: number) => {
    const spec = specOf('lease', { engine: 'ssh' });
    const forwards = Array.from({ length: count }, (_, i) => ({ direction: 'reverse' as const, listen: { host: '127.0.0.1', port: FIRST + i }, to: { host: '127.0.0.1', port: SERVICE_PORT } }));
    return { wishes: [{ spec: { ...spec, forwards } }] };
  };
  const carries = (count: number) => eventually(`${count} ports to be carried`, async () => await bench.tell('standing', { tunnel: 'lease' }) === count, { withinMs: 20_000, everyMs: 1 });
  await bench.tell('lease', of(FORWARDS));
  await carries(FORWARDS);
  const { pid } = await bench.untilUp('lease');
  const rows: Row[][] = [];
  for (let run = 0; run < runs; run += 1) {
    const tookMs: number[] = [];
    for (let i = 0; i < samples; i += 1) {
      const startMs = performance.now();
      await bench.tell('lease', of(FORWARDS + 1));
      await carries(FORWARDS + 1);
      tookMs.push(performance.now() - startMs);
      await bench.tell('lease', of(FORWARDS));
      await carries(FORWARDS);
    }
    rows.push([{ name: `tunnel.addport.m${FORWARDS}.ms`, value: quantile(tookMs, 0.5), unit: 'ms' }]);
  }
  if ((await bench.untilUp('lease')).pid !== pid) throw new Error('the connection was made anew');
  return medianOf(rows);
}
