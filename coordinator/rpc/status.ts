/** GetStatus: one screen. */
import type { Clock } from '../../shared/clock.js';
import type { GetStatusResponse } from '../../shared/gen/portlease/v1/operations.js';
import { msToDuration } from '../../shared/wire.js';
import type { Book } from '../book/book.js';
import type { Gateways } from '../keeper/gateways.js';
import type { Keeper } from '../keeper/keeper.js';
import { gatewayToWire, massLossToWire, poolsToWire } from './messages.js';

export type StatusSource = {
  gateways: Gateways;
  clock: Clock;
  version: string;
  startedAtMs: number;
  /** 'ok', or why nothing can be made durable. */
  journalStatus: () => string;
};

export async function statusAnswer({ gateways, clock, version, startedAtMs, journalStatus }: StatusSource): Promise<GetStatusResponse> {
  const parts = await Promise.all(gateways.all().map((keeper) => keeper.read((book) => screenOf(book, keeper))));
  const sum = (count: (part: Screen) => number): number => parts.reduce((total, part) => total + count(part), 0);
  return {
    version,
    uptime: msToDuration(clock.nowMs() - startedAtMs),
    journal: journalStatus(),
    gateways: parts.map(({ gateway }) => gateway),
    pools: parts.flatMap(({ pools }) => pools),
    hostsAlive: sum(({ hosts }) => hosts.alive),
    hostsSuspect: sum(({ hosts }) => hosts.suspect),
    hostsLost: sum(({ hosts }) => hosts.lost),
    hostsUnknown: sum(({ hosts }) => hosts.unknown),
    environments: sum(({ environments }) => environments),
    mappings: sum(({ mappings }) => mappings),
    leaks: sum(({ leaks }) => leaks),
    tunnelsUp: sum(({ tunnels }) => tunnels.up),
    tunnelsDown: sum(({ tunnels }) => tunnels.down),
    massLosses: parts.flatMap(({ massLosses }) => massLosses),
  };
}

type Screen = ReturnType<typeof screenOf>;

function screenOf(book: Book, keeper: Keeper) {
  const hosts = { alive: 0, suspect: 0, lost: 0, unknown: 0 };
  for (const { state } of book.hosts()) hosts[state] += 1;
  const { environments, mappings } = book.counts();
  const massLosses = book.massLosses().map((loss) => massLossToWire(loss, book.gateway.gateway));
  return { gateway: gatewayToWire(book), pools: poolsToWire(book, (pool) => keeper.ratesOf(pool)), hosts, environments, mappings, massLosses, leaks: book.leaks().length, tunnels: book.tunnelCounts() };
}
