/** `portlease leaks`: what hosts found that is there without what it is for, and its repair. */
import type { Command } from 'commander';
import { LeakKind, LeakRepair } from '../../shared/gen/portlease/v1/leaks.js';
import { ListLeaksResponse, OperationsServiceService, ResolveLeakResponse, type HostLeak } from '../../shared/gen/portlease/v1/operations.js';
import { auditReason, dnsLabel, leakId } from '../fields.js';
import { isSet, optional } from '../flags.js';
import type { Act, Flags, Job } from '../job.js';
import { jsonOf } from '../json.js';
import { table, type Column } from '../table.js';
import { timeText } from '../words.js';
import { addPlaceList } from './place-list.js';

const KIND_WORDS: Partial<Record<LeakKind, string>> = {
  [LeakKind.LEAK_KIND_MAPPING_WITHOUT_CONTAINER]: 'mapping without container', [LeakKind.LEAK_KIND_CONTAINER_WITHOUT_ENVIRONMENT]: 'container without environment', [LeakKind.LEAK_KIND_PUBLISHED_PORT]: 'published port',
  [LeakKind.LEAK_KIND_LISTENER]: 'listener', [LeakKind.LEAK_KIND_FOREIGN_RULE]: 'foreign rule', [LeakKind.LEAK_KIND_TUNNEL_PROCESS]: 'tunnel process',
};
const REPAIR_WORDS: Partial<Record<LeakRepair, string>> = {
  [LeakRepair.LEAK_REPAIR_NONE]: 'none: not portlease\'s', [LeakRepair.LEAK_REPAIR_RELEASE]: 'release the port', [LeakRepair.LEAK_REPAIR_END_PROCESS]: 'end the process',
  [LeakRepair.LEAK_REPAIR_REMOVE_CONTAINER]: 'remove the container',
};

const COLUMNS: readonly Column<HostLeak>[] = [
  { header: 'HOST', cell: ({ host }) => host },
  { header: 'KIND', cell: ({ leak }) => (leak === undefined ? '' : KIND_WORDS[leak.kind] ?? 'unknown to this version') },
  { header: 'LEAK', cell: ({ leak }) => leak?.leak ?? '' },
  { header: 'ENVIRONMENT', cell: ({ environment }) => environment },
  { header: 'REPAIR', cell: repairText },
  { header: 'SINCE', cell: ({ since }) => timeText(since) },
  { header: 'WHAT', cell: ({ leak }) => leak?.message ?? '' },
];

/** "end the process, by itself": what would be done, and whether the policy does it unasked. */
function repairText({ leak }: HostLeak): string {
  if (leak === undefined) return '';
  const what = REPAIR_WORDS[leak.repair] ?? '';
  return leak.automatic ? `${what}, by itself` : what;
}

export function addLeaks(program: Command, act: Act): void {
  const leaks = addPlaceList(program, act, {
    name: 'leaks',
    description: 'list what hosts found that is there without what it is for: mappings, listeners, published ports, rules, processes of tunnels',
    columns: COLUMNS,
    read: async (coordinator, request) => {
      const { leaks: items, nextPageToken } = await coordinator.call(OperationsServiceService.listLeaks, request);
      return { items, nextPageToken };
    },
    json: ({ items, nextPageToken }) => jsonOf(ListLeaksResponse, { leaks: items, nextPageToken }),
  });
  leaks.command('resolve')
    .description('repair one leak now, whatever the policy is; what is not portlease\'s is never touched')
    .argument('<host>', 'host that found it')
    .argument('<leak>', 'as `portlease leaks` shows it')
    .option('--reason <why>', 'why, for the audit record')
    .option('--dry-run', 'only say what would be done')
    .action(act(prepareResolve));
}

function prepareResolve([host = '', leak = '']: readonly string[], flags: Flags): Job {
  const dryRun = isSet(flags, 'dryRun');
  const request = { host: dnsLabel('HOST', host), leak: leakId('LEAK', leak), reason: optional(flags, 'reason', auditReason) ?? '', dryRun };
  return {
    what: `resolve ${request.leak} on ${request.host}`,
    run: async (coordinator) => {
      const answer = await coordinator.call(OperationsServiceService.resolveLeak, request);
      const head = dryRun ? `dry run: nothing was done; it would ${answer.leak === undefined ? '' : REPAIR_WORDS[answer.leak.leak?.repair ?? LeakRepair.LEAK_REPAIR_UNSPECIFIED] ?? ''}\n` : 'resolved\n';
      return { json: jsonOf(ResolveLeakResponse, answer), text: head + table(COLUMNS, answer.leak === undefined ? [] : [answer.leak]) };
    },
    resume: 'portlease leaks tells whether it is still there',
  };
}
