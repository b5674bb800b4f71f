/**
 * The usual home-made port table's function, and its callers in the same process: one mutex, and under it SELECT the first
 * available port, UPDATE, COMMIT. Arguments: socket directory, callers, seconds to warm up, seconds. Prints one line of JSON.
 */
import pg from 'pg';
import { connection } from './postgres.js';
import { quantile } from '../rows.js';

export type Served = { answered: number; callsPerSecond: number; p50Ms: number; p99Ms: number };

type Answer = { port: number; tookMs: number };

class Mutex {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#last.then(work);
    this.#last = next.catch(() => undefined);
    return next;
  }
}

async function allocate(client: pg.Client, environment: string): Promise<number> {
  await client.query('BEGIN');
  const { rows } = await client.query<{ port: number }>("SELECT port FROM port WHERE status = 'available' ORDER BY port LIMIT 1");
  const port = rows[0]?.port;
  if (port === undefined) throw new Error('the table has no available port left');
  await client.query("UPDATE port SET status = 'allocated', environment = $2, allocated_at = now() WHERE port = $1", [port, environment]);
  await client.query('COMMIT');
  return port;
}

/** Each caller asks again as soon as it is answered, until the time is over. */
async function serve(client: pg.Client, callers: number, seconds: number): Promise<Answer[]> {
  const mutex = new Mutex();
  const answers: Answer[] = [];
  const untilMs = performance.now() + seconds * 1_000;
  const callUntil = async (caller: number): Promise<void> => {
    while (performance.now() < untilMs) {
      const askedMs = performance.now();
      const port = await mutex.run(() => allocate(client, `environment-${caller}-${answers.length}`));
      answers.push({ port, tookMs: performance.now() - askedMs });
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, caller) => callUntil(caller)));
  return answers;
}

async function main(): Promise<void> {
  const [socketDirectory = '', callers, warmSeconds, seconds] = process.argv.slice(2);
  const client = new pg.Client(connection(socketDirectory));
  await client.connect();
  const warm = await serve(client, Number(callers), Number(warmSeconds));
  const startMs = performance.now();
  const timed = await serve(client, Number(callers), Number(seconds));
  const tookSeconds = (performance.now() - startMs) / 1_000;
  await client.end();
  const all = [...warm, ...timed];
  if (new Set(all.map(({ port }) => port)).size !== all.length) throw new Error('a port was answered twice');
  const times = timed.map(({ tookMs }) => tookMs);
  const served: Served = { answered: all.length, callsPerSecond: timed.length / tookSeconds, p50Ms: quantile(times, 0.5), p99Ms: quantile(times, 0.99) };
  process.stdout.write(`${JSON.stringify(served)}\n`);
}

await main();
