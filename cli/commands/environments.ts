/** `portlease list` and `portlease show ENV`. */
import type { Command } from 'commander';
import {
  EnvironmentStatus, GetEnvironmentResponse, ListEnvironmentsResponse, PortServiceService, type Environment,
} from '../../shared/gen/portlease/v1/ports.js';
import { MappingState } from '../../shared/gen/portlease/v1/common.js';
import { dnsLabel, labels } from '../fields.js';
import { collect, optional, texts } from '../flags.js';
import type { Act, Flags, Job } from '../job.js';
import { jsonOf } from '../json.js';
import { limitOf, moreHint, readPages } from '../pages.js';
import { properties, table, type Column } from '../table.js';
import { environmentStatusWord, mappingStateWord, timeText } from '../words.js';
import { mappingsTable } from './mappings.js';

const COLUMNS: readonly Column<Environment>[] = [
  { header: 'ENVIRONMENT', cell: (environment) => environment.environment },
  { header: 'TENANT', cell: (environment) => environment.tenant },
  { header: 'GATEWAY', cell: (environment) => environment.gateway },
  { header: 'HOST', cell: (environment) => environment.host },
  { header: 'PORTS', align: 'right', cell: (environment) => environment.mappings.length },
  { header: 'STATUS', cell: (environment) => environmentStatusWord(environment.status) || '-' },
  { header: 'STATES', cell: stateCounts },
  { header: 'IDLE', align: 'right', cell: ({ mappings }) => mappings.filter(({ idleSince }) => idleSince !== undefined).length },
  { header: 'CREATED', cell: (environment) => timeText(environment.createdAt) },
];

/** "live" when all are, else "live:2,held:1". */
function stateCounts(environment: Environment): string {
  const counts = new Map<string, number>();
  for (const mapping of environment.mappings) {
    const state = mappingStateWord(mapping.state);
    counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  if (counts.size <= 1) return [...counts.keys()].join('');
  return [...counts].map(([state, count]) => `${state}:${count}`).join(',');
}

/** One environment with its mappings, for people. */
export function environmentText(environment: Environment): string {
  const labelText = Object.entries(environment.labels).map(([key, value]) => `${key}=${value}`).join(' ');
  return properties([
    ['environment', environment.environment],
    ['tenant', environment.tenant],
    ['gateway', environment.gateway],
    ['host', environment.host],
    ['labels', labelText],
    ['revision', environment.revision],
    ['created', timeText(environment.createdAt)],
    ...containerProperties(environment),
  ]) + '\n' + mappingsTable(environment.mappings);
}

/** Of one that portlease runs a container for. */
function containerProperties({ status, statusDetail, image, containerId }: Environment): [string, string][] {
  if (status === EnvironmentStatus.ENVIRONMENT_STATUS_UNSPECIFIED) return [];
  return [['status', `${environmentStatusWord(status)}${statusDetail === '' ? '' : ` (${statusDetail})`}`], ['image', image], ['container', containerId.slice(0, 12)]];
}

/** What can be done about mappings that do not serve. */
export function environmentHints(environment: Environment): string[] {
  const has = (state: MappingState) => environment.mappings.some((mapping) => mapping.state === state);
  const hints: string[] = [];
  if (has(MappingState.MAPPING_STATE_HELD)) {
    hints.push(`host ${environment.host} is silent: portlease move ${environment.environment} --to HOST keeps the numbers`);
  }
  if (has(MappingState.MAPPING_STATE_BLOCKED)) hints.push(`the reason of a blocked port says what is in its way on ${environment.host}`);
  return hints;
}

export function addEnvironments(program: Command, act: Act): void {
  program.command('list')
    .description('list environments')
    .option('--tenant <name>', 'only of this tenant')
    .option('--gateway <name>', 'only of this gateway')
    .option('--host <name>', 'only on this host')
    .option('--label <key=value>', 'only with this label (repeatable: all of them)', collect)
    .option('--limit <count>', 'at most so many')
    .action(act(prepareList));
  program.command('show')
    .description('show one environment with its ports')
    .argument('<env>', 'environment')
    .action(act(prepareShow));
}

function prepareList(_args: readonly string[], flags: Flags): Job {
  const limit = limitOf(flags);
  const filter = {
    tenant: optional(flags, 'tenant', dnsLabel) ?? '',
    gateway: optional(flags, 'gateway', dnsLabel) ?? '',
    host: optional(flags, 'host', dnsLabel) ?? '',
    labels: labels('--label', texts(flags, 'label')),
  };
  return {
    what: 'list environments',
    run: async (coordinator) => {
      let revisions: Record<string, number> | undefined;
      const listed = await readPages(limit, async (pageSize, pageToken) => {
        const response = await coordinator.call(PortServiceService.listEnvironments, { ...filter, pageSize, pageToken });
        revisions ??= response.revisions;
        return { items: response.environments, nextPageToken: response.nextPageToken };
      });
      const { items: environments, nextPageToken } = listed;
      return {
        json: jsonOf(ListEnvironmentsResponse, { environments, nextPageToken, revisions: revisions ?? {} }),
        text: table(COLUMNS, environments),
        next: moreHint(listed),
      };
    },
  };
}

function prepareShow([name = '']: readonly string[]): Job {
  const environment = dnsLabel('ENV', name);
  return {
    what: `show ${environment}`,
    run: async (coordinator) => {
      const response = await coordinator.call(PortServiceService.getEnvironment, { environment });
      const shown = response.environment;
      if (shown === undefined) throw new Error('the coordinator answered without an environment');
      return { json: jsonOf(GetEnvironmentResponse, response), text: environmentText(shown), next: environmentHints(shown) };
    },
  };
}
