/** OperationsService: what operators call. */
import type { OperationsServiceServer } from '../../shared/gen/portlease/v1/operations.js';
import { namesTaken, type NamedPools } from '../../shared/domain.js';
import { InvalidField } from '../../shared/invalid.js';
import { overlaps, type PortRange } from '../../shared/ports.js';
import type { Book } from '../book/book.js';
import type { Command, PoolSpec } from '../book/types.js';
import type { Gateways } from '../keeper/gateways.js';
import type { Keeper } from '../keeper/keeper.js';
import { Refused } from '../keeper/refused.js';
import { mutating, OPERATE, attempt, orRefuse, reading, type Services } from './calls.js';
import { Checks } from './checks.js';
import { leakChanges } from './leaks.js';
import { listConflicts, listLeaks, listLeases } from './lists.js';
import { gatewayToWire, hostToWire, poolsToWire, poolToWire } from './messages.js';
import { hostChanges } from './host-operations.js';
import { parseGateway, parsePool, parsePoolUpdate } from './parse-operations.js';
import { purging, type PurgeOptions } from './purge.js';
import { statusAnswer, type StatusSource } from './status.js';

export type OperationsOptions = Services & StatusSource & PurgeOptions & {
  /** Ports that portlease itself listens on: no pool may have them. */
  ownPorts: () => readonly number[];
};

export function operationsService(options: OperationsOptions): OperationsServiceServer {
  return { ...queries(options), ...gatewayChanges(options), ...poolChanges(options), ...hostChanges(options), ...leakChanges(options), ...purging(options) };
}

type Part<Names extends keyof OperationsServiceServer> = Pick<OperationsServiceServer, Names>;


function queries(options: OperationsOptions): Part<'getStatus' | 'listGateways' | 'listPools' | 'listHosts' | 'listLeases' | 'listConflicts' | 'listLeaks'> {
  const { gateways } = options;
  const chosen = (gateway: string): Keeper[] => (gateway === '' ? gateways.all() : [gateways.need(gateway)]);
  const collect = async <T>(keepers: Keeper[], look: (book: Book) => T[]): Promise<T[]> =>
    (await Promise.all(keepers.map((keeper) => keeper.read(look)))).flat();
  return {
    getStatus: reading(options, 'read', () => statusAnswer(options)),
    listGateways: reading(options, 'read', async () => ({ gateways: await collect(gateways.all(), (book) => [gatewayToWire(book)]) })),
    listPools: reading(options, 'read', async (request) => {
      checkFilters({ gateway: request.gateway });
      const pools = await Promise.all(chosen(request.gateway).map((keeper) => keeper.read((book) => poolsToWire(book, (pool) => keeper.ratesOf(pool)))));
      return { pools: pools.flat() };
    }),
    listHosts: reading(options, 'read', async (request) => {
      checkFilters({ gateway: request.gateway, host: request.host });
      const fits = (host: string): boolean => request.host === '' || host === request.host;
      return {
        hosts: await collect(chosen(request.gateway), (book) =>
          book.hosts().filter(({ record }) => fits(record.host)).map((view) => hostToWire(view, book.gateway.gateway))),
      };
    }),
    listLeases: reading(options, 'read', (request) => listLeases(gateways, request)),
    listConflicts: reading(options, 'read', (request) => listConflicts(gateways, request)),
    listLeaks: reading(options, 'read', (request) => listLeaks(gateways, request)),
  };
}

function checkFilters(filters: Readonly<Record<string, string>>): void {
  const checks = new Checks();
  for (const [field, value] of Object.entries(filters)) checks.optionalLabel(value, field);
  checks.done();
}

function gatewayChanges(options: OperationsOptions): Part<'createGateway' | 'deleteGateway'> {
  const { gateways } = options;
  return {
    createGateway: mutating(options, { right: OPERATE, attempt: attempt('CreateGateway') }, async ({ request }, { actor }) => {
      const keeper = await gateways.create({ ...parseGateway(request.gateway), actor });
      return { gateway: await keeper.read(gatewayToWire) };
    }),
    deleteGateway: mutating(options, { right: OPERATE, attempt: attempt('DeleteGateway') }, async ({ request }, { actor }) => {
      const checks = new Checks();
      checks.label(request.gateway, 'gateway');
      checks.done();
      await gateways.delete(request.gateway, actor);
      return {};
    }),
  };
}

function poolChanges(options: OperationsOptions): Part<'createPool' | 'updatePool' | 'deletePool'> {
  const { gateways, ownPorts } = options;
  const answer = async (keeper: Keeper, command: Command) => {
    const { pool } = orRefuse(await keeper.submit(command), 'pool');
    const figures = await keeper.read((book) => book.poolFigures(pool.pool));
    return { pool: poolToWire(pool, { gateway: keeper.gateway, figures, rates: keeper.ratesOf(pool.pool) }) };
  };
  return {
    createPool: mutating(options, { right: OPERATE, attempt: attempt('CreatePool') }, async ({ request }, { actor }) => {
      const { gateway, spec } = parsePool(request.pool);
      refuseOwnPorts(spec.ranges, { ownPorts: ownPorts(), pool: spec.pool });
      await refuseNamesTaken(gateways, { gateway, pools: [spec] });
      return answer(gateways.need(gateway, 'pool.gateway'), { kind: 'createPool', actor, pool: spec, seed: false });
    }),
    updatePool: mutating(options, { right: OPERATE, attempt: attempt('UpdatePool') }, async ({ request }, { actor }) => {
      const { gateway, pool, change, drain } = parsePoolUpdate(request);
      refuseOwnPorts(change.ranges ?? [], { ownPorts: ownPorts(), pool });
      await refuseNamesTaken(gateways, { gateway, pools: [await changedNaming(gateways.need(gateway, 'pool.gateway'), pool, change)] });
      return answer(gateways.need(gateway, 'pool.gateway'), { kind: 'updatePool', actor, pool, change, drain });
    }),
    deletePool: mutating(options, { right: OPERATE, attempt: attempt('DeletePool') }, async ({ request }, { actor }) => {
      const checks = new Checks();
      checks.label(request.gateway, 'gateway');
      checks.label(request.pool, 'pool');
      checks.done();
      orRefuse(await gateways.need(request.gateway).submit({ kind: 'deletePool', actor, pool: request.pool }), 'done');
      return {};
    }),
  };
}

/** Throws Refused when a range has a port that portlease itself listens on. */
function refuseOwnPorts(ranges: readonly PortRange[], { ownPorts, pool }: { ownPorts: readonly number[]; pool: string }): void {
  const taken = ownPorts.filter((port) => ranges.some((range) => overlaps(range, { first: port, last: port })));
  if (taken.length === 0) return;
  throw new Refused({
    kind: 'refused', reason: 'POOL_OVERLAP', field: 'pool.ranges', metadata: { pool, ports: taken.join(','), owner: 'portlease' },
    message: `pool ${pool} would have port ${taken.join(', ')}, which portlease itself listens on`,
  });
}

/** Throws InvalidField when environments of two gateways would have the same names. Ports do not depend on names: two calls at once may both pass. */
async function refuseNamesTaken(gateways: Gateways, one: NamedPools): Promise<void> {
  const others = gateways.all().filter(({ gateway }) => gateway !== one.gateway);
  const named = await Promise.all(others.map(async (keeper) => ({ gateway: keeper.gateway, pools: await keeper.read((book) => book.poolSpecs()) })));
  const taken = namesTaken([...named, one]).find(({ at }) => at === named.length);
  if (taken !== undefined) throw new InvalidField('pool.domain_template', `makes the names ${taken.name}, as gateway ${taken.gateway} does: put {gateway} in it`);
}

async function changedNaming(keeper: Keeper, name: string, { serviceType, domainTemplate }: Partial<PoolSpec>): Promise<NamedPools['pools'][number]> {
  const known = await keeper.read((book) => book.poolSpec(name));
  return { pool: name, serviceType: serviceType ?? known?.serviceType ?? '', domainTemplate: domainTemplate ?? known?.domainTemplate ?? '' };
}
