/** What the forwarder of driver: userspace costs, beside a direct connection to the same service, on loopback. */
import { join } from 'node:path';
import { ROOT } from '../support/root.js';
import { LineProcess } from './lines.js';
import { median, type Row, type Size } from './rows.js';

const DIRECT = '127.72.0.1';
const FORWARDED = '127.71.0.1';
const SECONDS = 1;
const WARM_UP_SECONDS = 0.5;
const MEBIBYTE = 1_048_576;
const STREAM = ['python3', join(ROOT, 'test/bench/guests/stream.py')];

type Rates = { connects: number; bytes: number };

export async function benchForward({ runs }: Size): Promise<Row[]> {
  const children: LineProcess[] = [];
  const start = (argv: readonly string[]): LineProcess => {
    const child = new LineProcess(argv);
    children.push(child);
    return child;
  };
  try {
    const [closing = '', sending = ''] = (await start([...STREAM, 'serve', DIRECT]).next()).split(' ');
    await start([process.execPath, join(ROOT, 'dist/test/bench/forwarder.js'), FORWARDED, DIRECT, closing, sending]).next();
    const client = start([...STREAM, 'ask']);
    const rates = async (address: string, seconds: number): Promise<Rates> => ({
      connects: Number(await client.ask(`connect ${seconds} ${address} ${closing}`)), bytes: Number(await client.ask(`receive ${seconds} ${address} ${sending}`)),
    });
    await rates(FORWARDED, WARM_UP_SECONDS);
    const pairs: { direct: Rates; forwarded: Rates }[] = [];
    for (let run = 0; run < runs; run += 1) pairs.push({ direct: await rates(DIRECT, SECONDS), forwarded: await rates(FORWARDED, SECONDS) });
    return rowsOf(pairs);
  } finally {
    for (const child of children) await child.close();
  }
}

function rowsOf(pairs: readonly { direct: Rates; forwarded: Rates }[]): Row[] {
  const of = (pick: (pair: { direct: Rates; forwarded: Rates }) => number): number => median(pairs.map(pick));
  return [
    { name: 'forward.direct.bytes', value: of(({ direct }) => direct.bytes / MEBIBYTE), unit: 'MiB/s' },
    { name: 'forward.userspace.bytes', value: of(({ forwarded }) => forwarded.bytes / MEBIBYTE), unit: 'MiB/s' },
    { name: 'forward.userspace.ratio', value: of(({ direct, forwarded }) => forwarded.bytes / direct.bytes), unit: 'of direct' },
    { name: 'forward.direct.connects', value: of(({ direct }) => direct.connects), unit: '1/s' },
    { name: 'forward.userspace.connects', value: of(({ forwarded }) => forwarded.connects), unit: '1/s' },
    { name: 'forward.userspace.connects.ratio', value: of(({ direct, forwarded }) => forwarded.connects / direct.connects), unit: 'of direct' },
  ];
}
