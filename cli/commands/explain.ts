/** `portlease explain PORT`: one screen about a port. */
import type { Command } from 'commander';
import type { Conflict } from '../../shared/gen/portlease/v1/common.js';
import type { Event } from '../../shared/gen/portlease/v1/events.js';
import { GatewayScope, OperationsServiceService } from '../../shared/gen/portlease/v1/operations.js';
import { ExplainPortResponse, PortServiceService, portConditionToJSON, type ExplainPortRequest, type FormerOwner } from '../../shared/gen/portlease/v1/ports.js';
import { rangeText } from '../../shared/ports.js';
import type { Coordinator } from '../coordinator.js';
import { dnsLabel, port as portField, portSpace } from '../fields.js';
import { optional } from '../flags.js';
import type { Act, Flags, Job, Result } from '../job.js';
import { jsonOf } from '../json.js';
import { limitOf, moreHint, readPages } from '../pages.js';
import { properties, table, type Column } from '../table.js';
import { UsageError } from '../usage.js';
import { endpoint, hostStateWord, mappingStateWord, protocolWord, targetText, timeText } from '../words.js';
import { idleText } from './mappings.js';

const NEWEST = 10;

export function addExplain(program: Command, act: Act): void {
  program.command('explain')
    .description('say who has a port, since when, why it is not free, when it will be, and what happened to it')
    .argument('<port>', 'public port')
    .option('--space <name>', 'port space: GATEWAY, or GATEWAY/HOST in scope host (default: that of the only gateway)')
    .option('--tenant <name>', 'who asks: for callers that are no operators')
    .option('--limit <count>', `at most so many events of its history (default: ${NEWEST})`)
    .action(act(prepareExplain));
}

function prepareExplain([given = '']: readonly string[], flags: Flags): Job {
  const port = portField('PORT', given);
  const space = optional(flags, 'space', portSpace);
  const tenant = optional(flags, 'tenant', dnsLabel) ?? '';
  const limit = limitOf(flags);
  return {
    what: `explain port ${port}`,
    run: async (coordinator) => explain(coordinator, { space: space ?? await onlySpace(coordinator), port, tenant }, limit),
  };
}

async function onlySpace(coordinator: Coordinator): Promise<string> {
  const { gateways } = await coordinator.call(OperationsServiceService.listGateways, {});
  const [only, ...others] = gateways;
  if (only !== undefined && others.length === 0 && only.scope === GatewayScope.GATEWAY_SCOPE_SHARED) return only.gateway;
  const spaces = gateways.map(({ gateway, scope }) => (scope === GatewayScope.GATEWAY_SCOPE_HOST ? `${gateway}/HOST` : gateway));
  throw new UsageError('--space is missing: there are several port spaces', `Name one: ${spaces.join(', ') || 'create a gateway first'}.`);
}

/** Without --limit one page is enough: a port that nothing happened to makes nobody read everything. */
async function explain(coordinator: Coordinator, about: Pick<ExplainPortRequest, 'space' | 'port' | 'tenant'>, limit: number): Promise<Result> {
  const ask = (pageSize: number, pageToken: string) => coordinator.call(PortServiceService.explainPort, { ...about, pageSize, pageToken });
  const response = await ask(Math.min(limit, limit === Infinity ? NEWEST : 1_000), '');
  let listed = { items: [...response.history], nextPageToken: response.nextPageToken };
  if (limit !== Infinity && response.nextPageToken !== '' && response.history.length < limit) {
    const rest = await readPages(limit - response.history.length, async (size, token) => {
      const page = await ask(size, token === '' ? response.nextPageToken : token);
      return { items: page.history, nextPageToken: page.nextPageToken };
    });
    listed = { items: [...listed.items, ...rest.items], nextPageToken: rest.nextPageToken };
  }
  const whole = { ...response, history: listed.items, nextPageToken: listed.nextPageToken };
  return { json: jsonOf(ExplainPortResponse, whole), text: screen(whole), next: listed.items.length < NEWEST ? [] : moreHint(listed) };
}

function screen(response: ExplainPortResponse): string {
  const lines: [string, string][] = [
    ['port', `${response.port} of ${response.space}${response.pool === '' ? '' : `, pool ${response.pool} (${protocolWord(response.protocol)})`}`],
    ['condition', portConditionToJSON(response.condition).replace('PORT_CONDITION_', '').toLowerCase().replaceAll('_', ' ')],
    ['why', response.explanation],
    ['since', timeText(response.since)],
    ['free from', timeText(response.freeAt)],
    ...ownerLines(response),
    ['lease', leaseText(response)],
    ...response.conflicts.map((conflict): [string, string] => ['conflict', holderText(conflict)]),
  ];
  const tables = [response.history.length === 0 ? '' : table(COLUMNS, response.history), response.formerOwners.length === 0 ? '' : table(OWNER_COLUMNS, response.formerOwners)];
  return [properties(lines), ...tables.filter((text) => text !== '')].join('\n');
}

function ownerLines({ mapping, ofAnotherTenant, lastEnvironment }: ExplainPortResponse): [string, string][] {
  if (ofAnotherTenant) return [['environment', 'another tenant']];
  if (mapping === undefined) return [['had last', lastEnvironment]];
  return [
    ['environment', `${mapping.environment} (tenant ${mapping.tenant}), port ${mapping.name}`],
    ['mapping', `${mapping.mappingId}, ${mappingStateWord(mapping.state)}${mapping.reason === '' ? '' : `: ${mapping.reason}`}`],
    ['idle', idleText(mapping)],
    ['leads to', `${endpoint(mapping.publicHost, mapping.publicPort)} -> ${mapping.host} -> ${targetText(mapping.target, mapping.internalPort)}`],
  ];
}

function leaseText({ lease, hostState }: ExplainPortResponse): string {
  if (lease?.ports === undefined) return '';
  return `${lease.leaseId}, ${rangeText(lease.ports)} of host ${lease.host} (${hostStateWord(hostState)}), ${lease.routed ? 'routed' : 'not routed'}, token ${lease.epoch}.${lease.generation}`;
}

function holderText({ protocol, address, port, uid, user, holder }: Conflict): string {
  if (address === '') return `a process that is not known (${protocolWord(protocol)})`;
  const place = `${protocolWord(protocol)} ${endpoint(address, port)}, user ${user || uid}`;
  if (holder === undefined) return `${place}, process not found`;
  const { program, pid, command, containerId, startedAt, proxyFor } = holder;
  const more = [containerId && `container ${containerId}`, startedAt && `since ${timeText(startedAt)}`, proxyFor && `for ${proxyFor}`].filter((text) => text !== undefined && text !== '');
  return [`${place}, ${program} (pid ${pid}): ${command}`, ...more].join(', ');
}

const COLUMNS: readonly Column<Event>[] = [
  { header: 'AT', cell: (event) => timeText(event.at) },
  { header: 'EVENT', cell: (event) => event.kind },
  { header: 'ENVIRONMENT', cell: (event) => (event.detail['tenant'] === 'another' && event.environment === '' ? 'another tenant' : event.environment) },
  { header: 'HOST', cell: (event) => event.host },
  { header: 'STATE', cell: (event) => event.detail['state'] ?? '' },
  { header: 'DETAIL', cell: (event) => event.detail['reason'] ?? (event.detail['first'] === undefined ? '' : `${event.detail['first']}-${event.detail['last'] ?? ''}`) },
];

const OWNER_COLUMNS: readonly Column<FormerOwner>[] = [
  { header: 'HAD BY', cell: (owner) => owner.environment || 'another tenant' },
  { header: 'TENANT', cell: (owner) => owner.tenant },
  { header: 'HOST', cell: (owner) => owner.host },
  { header: 'FROM', cell: (owner) => timeText(owner.createdAt) },
  { header: 'UNTIL', cell: (owner) => timeText(owner.releasedAt) },
];
