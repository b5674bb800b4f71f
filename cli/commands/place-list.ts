/** Lists of what stands at ports of hosts: leases, conflicts. All of it, or of one gateway, host or pool. */
import type { Command } from 'commander';
import type { Coordinator } from '../coordinator.js';
import { dnsLabel } from '../fields.js';
import { optional } from '../flags.js';
import type { Act, Flags, Job } from '../job.js';
import { limitOf, moreHint, readPages, type Listed, type Page } from '../pages.js';
import { table, type Column } from '../table.js';

type Request = { gateway: string; host: string; pool: string; pageSize: number; pageToken: string };

export type PlaceList<Item> = {
  /** Of the command. */
  name: string;
  description: string;
  columns: readonly Column<Item>[];
  read: (coordinator: Coordinator, request: Request) => Promise<Page<Item>>;
  json: (listed: Listed<Item>) => Record<string, unknown>;
};

/** Returns the command, for subcommands. */
export function addPlaceList<Item>(program: Command, act: Act, list: PlaceList<Item>): Command {
  const command = program.command(list.name)
    .description(list.description)
    .option('--gateway <name>', 'only of this gateway')
    .option('--host <name>', 'only of this host')
    .option('--pool <name>', 'only of this pool')
    .option('--limit <count>', 'at most so many')
    .action(act((_args, flags) => prepareList(flags, list)));
  return command;
}

function prepareList<Item>(flags: Flags, { name, columns, read, json }: PlaceList<Item>): Job {
  const limit = limitOf(flags);
  const filter = {
    gateway: optional(flags, 'gateway', dnsLabel) ?? '',
    host: optional(flags, 'host', dnsLabel) ?? '',
    pool: optional(flags, 'pool', dnsLabel) ?? '',
  };
  return {
    what: `list ${name}`,
    run: async (coordinator) => {
      const listed = await readPages(limit, (pageSize, pageToken) => read(coordinator, { ...filter, pageSize, pageToken }));
      return { json: json(listed), text: table(columns, listed.items), next: moreHint(listed) };
    },
  };
}
