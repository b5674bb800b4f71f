/** `portlease dns`: the records that host names of environments need, and whether they are there. */
import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { OperationsServiceService } from '../../shared/gen/portlease/v1/operations.js';
import type { Coordinator } from '../coordinator.js';
import { checkRecords, type Checked } from '../dns/check.js';
import { dnsPlan, zoneLine, type DnsPlan } from '../dns/records.js';
import { EXIT } from '../exit.js';
import { dnsLabel, resolverAddress } from '../fields.js';
import { optional } from '../flags.js';
import type { Act, Flags, Job, Result } from '../job.js';
import { table, type Column } from '../table.js';

const NO_TEMPLATE = 'no pool has a domain template: portlease pools update NAME --gateway GATEWAY --domain-template {env}.{service}.example.com';

export function addDns(program: Command, act: Act): void {
  const dns = program.command('dns').description('host names of environments: the DNS records that they need');
  dns.command('records').description('print the records to create, as lines of a zone file')
    .option('--gateway <name>', 'only of this gateway')
    .action(act(prepareRecords));
  dns.command('check').description('look up a name under each record, and say whether it leads to its gateway; exits with 1 when one does not')
    .option('--gateway <name>', 'only of this gateway')
    .option('--resolver <address>', 'who is asked: ADDRESS or ADDRESS:PORT (default: what this machine uses)')
    .action(act(prepareCheck));
}

function prepareRecords(_args: readonly string[], flags: Flags): Job {
  const gateway = optional(flags, 'gateway', dnsLabel) ?? '';
  return {
    what: 'list DNS records',
    run: async (coordinator): Promise<Result> => {
      const plan = await planOf(coordinator, gateway);
      const lines = plan.records.map((record) => `${zoneLine(record)} ; gateway ${record.gateway}: ${record.pools.join(', ')}\n`);
      return { json: plan, text: lines.join(''), next: notesOf(plan), exitCode: plan.problems.length === 0 ? EXIT.ok : EXIT.refused };
    },
  };
}

function prepareCheck(_args: readonly string[], flags: Flags): Job {
  const gateway = optional(flags, 'gateway', dnsLabel) ?? '';
  const resolver = optional(flags, 'resolver', resolverAddress);
  return {
    what: 'check DNS records',
    run: async (coordinator, { signal }): Promise<Result> => {
      const plan = await planOf(coordinator, gateway);
      const checked = await checkRecords(plan.records, { resolver, label: `portlease-${randomBytes(4).toString('hex')}`, signal });
      const wrong = checked.filter(({ verdict }) => verdict !== 'ok');
      const isFine = wrong.length === 0 && plan.problems.length === 0;
      const next = [...notesOf(plan), ...wrong.map(({ record }) => `create: ${zoneLine(record)}`)];
      return { json: { checked, problems: plan.problems }, text: checked.length === 0 ? '' : table(COLUMNS, checked), next, exitCode: isFine ? EXIT.ok : EXIT.refused };
    },
  };
}

async function planOf(coordinator: Coordinator, gateway: string): Promise<DnsPlan> {
  const { pools } = await coordinator.call(OperationsServiceService.listPools, { gateway });
  const { gateways } = await coordinator.call(OperationsServiceService.listGateways, {});
  return dnsPlan(gateways.filter((one) => gateway === '' || one.gateway === gateway), pools);
}

function notesOf({ records, problems }: DnsPlan): string[] {
  return records.length === 0 && problems.length === 0 ? [NO_TEMPLATE] : problems;
}

const COLUMNS: readonly Column<Checked>[] = [
  { header: 'NAME', cell: ({ record }) => record.name },
  { header: 'GATEWAY', cell: ({ record }) => record.gateway },
  { header: 'VERDICT', cell: ({ verdict }) => verdict },
  { header: 'ASKED', cell: ({ asked }) => asked },
  { header: 'ANSWERS', cell: ({ answers }) => answers.join(',') },
  { header: 'DETAIL', cell: ({ detail }) => detail },
];
