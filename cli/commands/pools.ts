/** `portlease pools` and what changes them. */
import type { Command } from 'commander';
import {
  CreatePoolResponse, DeletePoolResponse, ListPoolsResponse, OperationsServiceService, Pool, UpdatePoolResponse, type Latency, type PoolRates,
} from '../../shared/gen/portlease/v1/operations.js';
import { Protocol } from '../../shared/gen/portlease/v1/common.js';
import { dnsLabel } from '../fields.js';
import { isSet, needed, optional, text } from '../flags.js';
import type { Act, Flags, Job } from '../job.js';
import { jsonOf } from '../json.js';
import { addPoolOptions, maskPath, poolFromFile, poolFromFlags, scalar } from '../pool-fields.js';
import { table, type Column } from '../table.js';
import { quoted, UsageError } from '../usage.js';
import { durationText, protocolWord, rangesText } from '../words.js';
import { readYaml } from '../yaml-file.js';

const COLUMNS: readonly Column<Pool>[] = [
  { header: 'POOL', cell: (pool) => pool.pool },
  { header: 'GATEWAY', cell: (pool) => pool.gateway },
  { header: 'SERVICE', cell: (pool) => [pool.serviceType, ...pool.aliases].filter(Boolean).join(',') },
  { header: 'PROTOCOL', cell: (pool) => protocolWord(pool.protocol) },
  { header: 'RANGES', cell: (pool) => rangesText(pool.ranges) },
  { header: 'TOTAL', align: 'right', cell: (pool) => pool.figures?.total ?? '' },
  { header: 'ALLOCATED', align: 'right', cell: (pool) => pool.figures?.allocated ?? '' },
  { header: 'HELD', align: 'right', cell: (pool) => pool.figures?.held ?? '' },
  { header: 'DRAINING', align: 'right', cell: (pool) => pool.figures?.draining ?? '' },
  { header: 'RESTING', align: 'right', cell: (pool) => pool.figures?.quarantined ?? '' },
  { header: 'FREE', align: 'right', cell: (pool) => pool.figures?.free ?? '' },
  { header: 'USAGE', align: 'right', cell: (pool) => (pool.figures === undefined ? '' : `${pool.figures.usagePercent.toFixed(1)}%`) },
  { header: 'GRANTED', align: 'right', cell: (pool) => percentText(pool.figures?.recent) },
  { header: 'P99', align: 'right', cell: (pool) => durationText(pool.figures?.recent?.allocation?.p99) },
];
/** Of the last five minutes; '' when nobody asked. */
function percentText(rates: PoolRates | undefined): string {
  return rates === undefined || rates.granted + rates.failed === 0 ? '' : `${rates.successPercent.toFixed(1)}%`;
}

const NEEDS_GATEWAY = 'Name its gateway: --gateway NAME; `portlease gateways` lists them.';

export function addPools(program: Command, act: Act): void {
  const pools = program.command('pools').enablePositionalOptions()
    .description('list pools')
    .option('--gateway <name>', 'only of this gateway')
    .action(act(prepareList));
  pools.command('show').description('show one pool: its figures, how many requests got their ports, and how long that and releases took')
    .argument('<name>', 'pool')
    .option('--gateway <name>', 'gateway that it belongs to')
    .action(act(prepareShow));
  addPoolOptions(pools.command('create').description('create a pool, from flags or from a file')
    .argument('[name]', 'pool')
    .option('--gateway <name>', 'gateway that it belongs to')
    .option('-f, --file <path>', 'YAML with the fields of a pool, as `portlease pools --json` names them'))
    .action(act(prepareCreate));
  addPoolOptions(pools.command('update').description('change the fields whose flags are given (--alias "" or --reserved "" empties the list)')
    .argument('<name>', 'pool')
    .option('--gateway <name>', 'gateway that it belongs to')
    .option('--drain', 'ports that environments have may leave: they are served until they are released'))
    .action(act(prepareUpdate));
  pools.command('delete').description('delete a pool that no environment has a port of')
    .argument('<name>', 'pool')
    .option('--gateway <name>', 'gateway that it belongs to')
    .action(act(prepareDelete));
}

function prepareList(_args: readonly string[], flags: Flags): Job {
  const gateway = optional(flags, 'gateway', dnsLabel) ?? '';
  return {
    what: 'list pools',
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.listPools, { gateway });
      const next = response.pools.length === 0 ? ['create one: portlease pools create NAME --gateway GATEWAY --range 30000-30999 --protocol tcp'] : [];
      return { json: jsonOf(ListPoolsResponse, response), text: table(COLUMNS, response.pools), next };
    },
  };
}

function prepareShow([name = '']: readonly string[], flags: Flags): Job {
  const pool = dnsLabel('NAME', name);
  const gateway = optional(flags, 'gateway', dnsLabel) ?? '';
  return {
    what: `show pool ${pool}`,
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.listPools, { gateway });
      const pools = response.pools.filter((one) => one.pool === pool);
      if (pools.length === 0) throw new UsageError(`there is no pool ${pool}${gateway === '' ? '' : ` of ${gateway}`}`, 'List them with `portlease pools`.');
      return { json: jsonOf(ListPoolsResponse, { pools }), text: pools.map((one) => `${table(COLUMNS, [one])}\n${table(RATE_COLUMNS, ratesOf(one))}`).join('\n') };
    },
  };
}

type RateRow = { time: string; what: string; count: number; share: string; latency: Latency | undefined };

const RATE_COLUMNS: readonly Column<RateRow>[] = [
  { header: '', cell: ({ time }) => time },
  { header: 'WHAT', cell: ({ what }) => what },
  { header: 'COUNT', align: 'right', cell: ({ count }) => count },
  { header: 'GRANTED', align: 'right', cell: ({ share }) => share },
  { header: 'P50', align: 'right', cell: ({ latency }) => durationText(latency?.p50) },
  { header: 'P95', align: 'right', cell: ({ latency }) => durationText(latency?.p95) },
  { header: 'P99', align: 'right', cell: ({ latency }) => durationText(latency?.p99) },
];

function ratesOf({ figures }: Pool): RateRow[] {
  return [['last 5 minutes', figures?.recent] as const, ['since start', figures?.sinceStart] as const].flatMap(([time, rates]) => (rates === undefined ? [] : [
    { time, what: 'allocation', count: rates.granted + rates.failed, share: percentText(rates), latency: rates.allocation },
    { time, what: 'release', count: rates.release?.count ?? 0, share: '', latency: rates.release },
  ]));
}

function prepareCreate([name]: readonly string[], flags: Flags): Job {
  const path = text(flags, 'file');
  const given = path === undefined ? {} : readPoolFile(path);
  const pool = Pool.fromPartial({
    ...given,
    ...poolFromFlags(flags),
    ...(name === undefined ? {} : { pool: dnsLabel('NAME', name) }),
    ...(text(flags, 'gateway') === undefined ? {} : { gateway: needed(flags, 'gateway', dnsLabel, NEEDS_GATEWAY) }),
  });
  if (pool.pool === '') throw new UsageError('the name of the pool is missing', 'Write: portlease pools create NAME, or "pool: NAME" in the file.');
  if (pool.gateway === '') throw new UsageError('--gateway is missing', NEEDS_GATEWAY);
  if (pool.ranges.length === 0) throw new UsageError('--range is missing', 'Say which ports it has: --range 30000-30999');
  if (pool.protocol === Protocol.PROTOCOL_UNSPECIFIED) throw new UsageError('--protocol is missing', 'Say what it serves: --protocol tcp, udp or tcp+udp');
  return {
    what: `create pool ${pool.pool}`,
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.createPool, { pool });
      return {
        json: jsonOf(CreatePoolResponse, response),
        text: table(COLUMNS, response.pool === undefined ? [] : [response.pool]),
        next: [`portlease allocate ENV --host HOST --tenant TENANT --want name=NAME,pool=${pool.pool},target=ADDRESS`],
      };
    },
  };
}

function readPoolFile(path: string): Partial<Pool> {
  const { pool, gateway, ...fields } = readMapping(path);
  return {
    ...poolFromFile(path, fields),
    ...(pool === undefined ? {} : { pool: dnsLabel(`${path}: pool`, scalar(`${path}: pool`, pool)) }),
    ...(gateway === undefined ? {} : { gateway: dnsLabel(`${path}: gateway`, scalar(`${path}: gateway`, gateway)) }),
  };
}

function readMapping(path: string): Record<string, unknown> {
  const content = readYaml('--file', path, 'Name a YAML file with the fields of one pool.');
  if (typeof content === 'object' && content !== null && !Array.isArray(content)) return content as Record<string, unknown>;
  throw new UsageError(`--file: ${quoted(path)} does not hold the fields of one pool`, 'Write "pool: NAME", "gateway: NAME", "protocol: tcp" and "ranges: [30000-30999]", one a line.');
}

function prepareUpdate([name = '']: readonly string[], flags: Flags): Job {
  const changes = poolFromFlags(flags);
  const pool = Pool.fromPartial({ ...changes, pool: dnsLabel('NAME', name), gateway: needed(flags, 'gateway', dnsLabel, NEEDS_GATEWAY) });
  const updateMask = Object.keys(changes).map(maskPath);
  if (updateMask.length === 0) throw new UsageError('nothing to change is named', 'Give at least one flag of `portlease pools update --help`.');
  return {
    what: `update pool ${pool.pool}`,
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.updatePool, { pool, updateMask, drain: isSet(flags, 'drain') });
      return { json: jsonOf(UpdatePoolResponse, response), text: table(COLUMNS, response.pool === undefined ? [] : [response.pool]), next: drainHints(response.pool) };
    },
  };
}

function drainHints(pool: Pool | undefined): string[] {
  const draining = pool?.figures?.draining ?? 0;
  return pool === undefined || draining === 0 ? [] : [`${draining} ports are served until they are released: portlease mappings --pool ${pool.pool} shows them`];
}

function prepareDelete([name = '']: readonly string[], flags: Flags): Job {
  const pool = dnsLabel('NAME', name);
  const gateway = needed(flags, 'gateway', dnsLabel, NEEDS_GATEWAY);
  return {
    what: `delete pool ${pool}`,
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.deletePool, { gateway, pool });
      return { json: jsonOf(DeletePoolResponse, response), text: `pool ${pool} of ${gateway} is deleted\n` };
    },
  };
}
