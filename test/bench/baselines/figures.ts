/** From what was measured in each run to rows, ratios and a table that a person reads. */
import type { LoadResult } from '../h2load.js';
import { median, type Row } from '../rows.js';

export const CALLERS = { homeMade: [1, 64], skipLocked: [4, 16, 64] } as const;

/** Results of one run by the name of their row, without the common beginning. */
export type RunResults = ReadonlyMap<string, LoadResult>;

type Ratio = { name: string; title: string; goal: number; of: (run: RunResults) => number };

const PREFIX = 'baselines';
/** Ports a second, by calls of 64 requests. */
const BATCHES = 'portlease.batch64';

const TITLES: readonly (readonly [name: string, title: string])[] = [
  ['portlease.c1m1', 'portlease, one call at a time'],
  ['portlease.c4m64', 'portlease, 4 connections x 64 calls'],
  [BATCHES, 'portlease, batches of 64, 16 at a time'],
  ...CALLERS.homeMade.map((callers) => [`homemade.c${callers}`, `home-made table, ${callers} ${callers === 1 ? 'caller' : 'callers'}`] as const),
  ...CALLERS.skipLocked.map((clients) => [`skiplocked.c${clients}`, `PostgreSQL SKIP LOCKED, ${clients} clients`] as const),
  ['etcd.put', 'etcd, Put only'],
  ['etcd.grant', 'etcd, LeaseGrant only'],
];

const RATIOS: readonly Ratio[] = [
  { name: 'ratio.homemade', title: 'portlease / home-made table', goal: 10, of: (run) => best(run, 'portlease') / best(run, 'homemade') },
  { name: 'ratio.homemade.batch64', title: 'portlease in batches / home-made table', goal: 40, of: (run) => resultOf(run, BATCHES).callsPerSecond / best(run, 'homemade') },
  { name: 'ratio.others', title: 'portlease / best of the others', goal: 2, of: (run) => best(run, 'portlease') / bestOfOthers(run) },
  { name: 'ratio.others.batch64', title: 'portlease in batches / best of the others', goal: 6, of: (run) => resultOf(run, BATCHES).callsPerSecond / bestOfOthers(run) },
];

/** Medians of the runs; a ratio is taken within each run. */
export function rowsOf(runs: readonly RunResults[]): Row[] {
  const rows = TITLES.flatMap(([name]) => {
    const results = runs.map((run) => resultOf(run, name));
    return [row(name, '1/s', results.map(({ callsPerSecond }) => callsPerSecond)), row(`${name}.p50`, 'ms', results.map(({ p50Ms }) => p50Ms)), row(`${name}.p99`, 'ms', results.map(({ p99Ms }) => p99Ms))];
  });
  return [
    ...rows,
    row('etcd.both', '1/s', runs.map(bothOfEtcd)),
    row('skiplocked.best', '1/s', runs.map((run) => best(run, 'skiplocked'))),
    row('skiplocked.best.clients', 'clients', [bestClients(runs)]),
    ...RATIOS.map(({ name, of }) => row(name, 'times', runs.map(of))),
  ];
}

export function tableOf(rows: readonly Row[]): string {
  const value = (name: string): number => rows.find((one) => one.name === `${PREFIX}.${name}`)?.value ?? Number.NaN;
  const line = (title: string, ...cells: readonly string[]): string => `${title.padEnd(44)}${cells.map((cell) => cell.padStart(10)).join('')}`;
  const rate = (name: string): string => Math.round(value(name)).toLocaleString('en');
  const milliseconds = (name: string): string => value(name).toPrecision(3);
  return [
    line('', '1/s', 'p50 ms', 'p99 ms'),
    ...TITLES.map(([name, title]) => line(title, rate(name), milliseconds(`${name}.p50`), milliseconds(`${name}.p99`))),
    line('etcd, both for each port: 1/(1/a + 1/b)', rate('etcd.both')),
    `PostgreSQL SKIP LOCKED was best with ${value('skiplocked.best.clients')} clients`,
    '',
    line('', 'times', 'goal', ''),
    ...RATIOS.map(({ name, title, goal }) => line(title, value(name).toFixed(2), `${goal}`, value(name) >= goal ? 'met' : 'missed')),
  ].join('\n');
}

function row(name: string, unit: string, values: readonly number[]): Row {
  return { name: `${PREFIX}.${name}`, value: Math.round(median(values) * 1_000) / 1_000, unit };
}

/** A port needs a lease and a key, one after the other on the same core. */
function bothOfEtcd(run: RunResults): number {
  return 1 / (1 / resultOf(run, 'etcd.put').callsPerSecond + 1 / resultOf(run, 'etcd.grant').callsPerSecond);
}

function bestOfOthers(run: RunResults): number {
  return Math.max(best(run, 'skiplocked'), bothOfEtcd(run));
}

/** With one port a call. */
function best(run: RunResults, system: 'portlease' | 'homemade' | 'skiplocked'): number {
  return Math.max(...[...run].filter(([name]) => name.startsWith(`${system}.`) && name !== BATCHES).map(([, { callsPerSecond }]) => callsPerSecond));
}

function bestClients(runs: readonly RunResults[]): number {
  const rate = (clients: number): number => median(runs.map((run) => resultOf(run, `skiplocked.c${clients}`).callsPerSecond));
  return [...CALLERS.skipLocked].reduce((found, clients) => (rate(clients) > rate(found) ? clients : found));
}

function resultOf(run: RunResults, name: string): LoadResult {
  const result = run.get(name);
  if (result === undefined) throw new Error(`${name} was not measured`);
  return result;
}
