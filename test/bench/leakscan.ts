/** One look for leaks on a host with 1,000 containers, each with a mapping and a published port: how long it takes, and what share of a core it costs. */
import { readFileSync } from 'node:fs';
import { Containers, type Container } from '../../agent/drivers/docker/containers.js';
import { RulesDriver } from '../../agent/drivers/rules/driver.js';
import { findForeignRules } from '../../agent/drivers/rules/foreign.js';
import { LeakWatch } from '../../agent/leaks/watch.js';
import { PersistentMap } from '../../agent/persistent/map.js';
import { nextPlaced } from '../../agent/reconcile/places.js';
import type { DesiredObject } from '../../shared/desired.js';
import { createLogger } from '../../shared/log.js';
import { parseTargetText } from '../../shared/target.js';
import { ADDRESS, Bench } from '../integration/rules/bench.js';
import { medianOf, quantile, type Row, type Size } from './rows.js';

const COUNT = 1_000;
const FIRST = 30_000;
const PUBLISHED = 40_000;
/** As the config of the agent has it. */
const INTERVAL_MS = 30_000;
const TICKS_PER_SECOND = 100;

export async function benchLeakScan({ runs, samples }: Size): Promise<Row[]> {
  const bench = await Bench.start();
  const log = createLogger({ name: 'bench', level: 'silent' });
  const addresses = [ADDRESS.host.v4, ADDRESS.host.v6];
  try {
    await new RulesDriver({ run: bench.onHost }).apply({
      addresses, snat: false, leased: [{ transport: 'tcp', ports: { first: FIRST, last: FIRST + COUNT - 1 } }],
      forwards: each((i) => ({ id: `m${i}`, generation: 1, transport: 'tcp', ports: { first: FIRST + i, last: FIRST + i }, to: addressOf(i), toPort: 80, hairpin: true })),
    }, { observe: true });
    const view = { kind: 'known', containers: new Containers(each(container), new Map([['n', { driver: 'bridge', isInternal: false }]])), problem: undefined } as const;
    const objects = PersistentMap.of([lease(), ...each(mapping)].map((object) => [object.key, object]));
    const placed = nextPlaced(undefined, objects, view, { addresses, hostPorts: new Map() });
    const watch = new LeakWatch({
      policy: { sightings: 3, tunnelProcesses: 'report' }, intervalMs: INTERVAL_MS, log, addresses, placed: () => placed, docker: () => view, conflicts: () => [],
      foreignRules: (leased) => findForeignRules(bench.onHost, { addresses, leased }), tunnels: () => new Set(), onChange: () => undefined,
    });
    await watch.scan();
    if (watch.leaks.size !== COUNT) throw new Error(`found ${watch.leaks.size} leaks instead of ${COUNT}`);
    const rows: Row[][] = [];
    for (let run = 0; run < runs; run += 1) rows.push(await take(watch, samples));
    await watch.close();
    return medianOf(rows);
  } finally {
    await bench.close();
  }
}

async function take(watch: LeakWatch, samples: number): Promise<Row[]> {
  const tookMs: number[] = [];
  const before = cpuMs();
  for (let i = 0; i < samples; i += 1) {
    const startMs = performance.now();
    await watch.scan();
    tookMs.push(performance.now() - startMs);
  }
  const percent = (cpuMs() - before) / samples / INTERVAL_MS * 100;
  return [
    { name: 'leakscan.c1000.ms', value: quantile(tookMs, 0.5), unit: 'ms' }, { name: 'leakscan.c1000.p99.ms', value: quantile(tookMs, 0.99), unit: 'ms' },
    { name: 'leakscan.c1000.cpu', value: percent, unit: '% of a core' },
  ];
}

/** Of this process and of its children that have ended: utime, stime, cutime and cstime of /proc/self/stat. */
function cpuMs(): number {
  const stat = readFileSync('/proc/self/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * 1_000 / TICKS_PER_SECOND;
}

function each<T>(make: (i: number) => T): T[] {
  return Array.from({ length: COUNT }, (_, i) => make(i));
}

function addressOf(i: number): string {
  return `10.80.${64 + (i >> 8)}.${i & 255}`;
}

function container(i: number): Container {
  return {
    id: i.toString(16).padStart(64, '0'), name: `web${i}`, labels: {}, state: 'running', networkMode: 'bridge',
    attachments: [{ name: 'bridge', networkId: 'n', endpointId: `e${i}`, v4: addressOf(i), v6: undefined }],
    published: [{ transport: 'tcp', hostAddress: '0.0.0.0', port: PUBLISHED + i, internalPort: 80 }],
  };
}

function lease(): DesiredObject {
  return { kind: 'lease', key: 'lease/l1', version: 1, leaseId: 'l1', ports: { first: FIRST, last: FIRST + COUNT - 1 }, protocol: 'tcp', generation: 1, host: 'a' };
}

function mapping(i: number): DesiredObject {
  return {
    kind: 'mapping', key: `mapping/m${i}`, version: 1, mappingId: `m${i}`, environment: `e${i}`, tenant: 't', name: 'web', index: 0, protocol: 'tcp', port: FIRST + i,
    target: parseTargetText(`container:web${i}`, 'target'), internalPort: 80, generation: 1, verify: false,
  };
}
