/** `npm run bench`: takes the figures of docs/bench.md, prints them, and writes them to a file. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { ROOT } from '../support/daemons.js';
import { benchConnect } from './connect.js';
import { benchCreate, benchDockerFirstByte, benchDockerRun, benchRemap } from './docker.js';
import { benchFirstByte } from './firstbyte.js';
import { benchForward } from './forward.js';
import { benchGateway } from './gateway.js';
import { benchHeal } from './heal.js';
import { benchLeakScan } from './leakscan.js';
import { benchListeners } from './listeners.js';
import { benchMove } from './move.js';
import type { Row, Size } from './rows.js';
import { benchRpc } from './rpc.js';
import { benchStart } from './start.js';
import { benchTunnel } from './tunnel.js';

/** What a figure's name begins with; samples of each run unless the command line says otherwise. */
type Part = { prefix: string; samples: number; take: (size: Size) => Promise<Row[]> };

const PARTS: readonly Part[] = [
  { prefix: 'book', samples: 0, take: () => compiled('book.js') },
  { prefix: 'journal', samples: 0, take: () => compiled('journal.js') },
  { prefix: 'rpc', samples: 0, take: benchRpc },
  { prefix: 'start', samples: 0, take: (size) => benchStart(100_000, size) },
  ...[10, 1_000, 10_000].map((mappings) => ({ prefix: `firstbyte.m${mappings}.`, samples: 100, take: (size: Size) => benchFirstByte(mappings, size) })),
  { prefix: 'firstbyte.docker.', samples: 100, take: benchDockerFirstByte },
  { prefix: 'docker.remap', samples: 20, take: benchRemap },
  { prefix: 'environment.create', samples: 10, take: benchCreate },
  { prefix: 'dockerrun', samples: 10, take: benchDockerRun },
  { prefix: 'connect', samples: 0, take: benchConnect },
  { prefix: 'forward', samples: 0, take: benchForward },
  ...[100, 1_000, 5_000].map((ports) => ({ prefix: `gateway.n${ports}.`, samples: 20, take: (size: Size) => benchGateway(ports, size) })),
  { prefix: 'move', samples: 25, take: benchMove },
  { prefix: 'heal', samples: 20, take: benchHeal },
  { prefix: 'listeners', samples: 50, take: benchListeners },
  { prefix: 'leakscan', samples: 50, take: benchLeakScan },
  { prefix: 'tunnel', samples: 20, take: benchTunnel },
];

const USAGE = `npm run bench -- [--only PREFIX] [--json FILE] [--runs N] [--samples N]
PREFIX: ${PARTS.map(({ prefix }) => prefix).join(', ')}, or the beginning of a figure's name`;

/** In a process of its own, compiled: the loader of TypeScript costs time in the measured functions. */
async function compiled(file: string): Promise<Row[]> {
  const child = spawn(process.execPath, [join(ROOT, 'dist/test/bench', file)], { stdio: ['ignore', 'pipe', 'inherit'] });
  process.once('exit', () => child.kill('SIGKILL'));
  const ended = once(child, 'close');
  const rows: Row[] = [];
  for await (const line of createInterface({ input: child.stdout })) rows.push(JSON.parse(line) as Row);
  const [code] = (await ended) as [number | null];
  if (code !== 0) throw new Error(`${file} ended with ${code}`);
  return rows;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { only: { type: 'string', default: '' }, json: { type: 'string' }, runs: { type: 'string', default: '5' }, samples: { type: 'string' } } });
  const { only } = values;
  const parts = PARTS.filter(({ prefix }) => prefix.startsWith(only) || only.startsWith(prefix));
  if (parts.length === 0) throw new Error(`nothing begins with ${only}\n${USAGE}`);
  const rows: Row[] = [];
  for (const { samples, take } of parts) {
    const taken = await take({ runs: Number(values.runs), samples: Number(values.samples ?? samples) });
    for (const row of taken.filter(({ name }) => name.startsWith(only))) {
      rows.push({ ...row, value: Math.round(row.value * 1_000) / 1_000 });
      process.stdout.write(`${row.name.padEnd(32)} ${shown(row.value).padStart(12)} ${row.unit}\n`);
    }
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(rows, undefined, 2)}\n`);
  }
}

function shown(value: number): string {
  return value >= 1_000 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);
}

await main();
