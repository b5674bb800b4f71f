/** `portlease status`: what is there and what needs somebody's attention, on one screen. */
import { GatewayScope, HostState, type Gateway, type GetStatusResponse, type MassLoss, type Pool, type Restore } from '../shared/gen/portlease/v1/operations.js';
import { CREATE_GATEWAY, GATEWAY_COLUMNS } from './commands/gateways.js';
import { properties, table, type Column } from './table.js';
import { durationText, timeText } from './words.js';

const BAR_WIDTH = 20;
const NEARLY_FULL_PERCENT = 90;

const POOL_COLUMNS: readonly Column<Pool>[] = [
  { header: 'POOL', cell: (pool) => pool.pool },
  { header: 'GATEWAY', cell: (pool) => pool.gateway },
  { header: 'USAGE', cell: (pool) => (pool.figures === undefined ? '' : usageBar(pool.figures.usagePercent)) },
  { header: 'ALLOCATED', align: 'right', cell: (pool) => pool.figures?.allocated ?? '' },
  { header: 'HELD', align: 'right', cell: (pool) => pool.figures?.held ?? '' },
  { header: 'RESTING', align: 'right', cell: (pool) => pool.figures?.quarantined ?? '' },
  { header: 'FREE', align: 'right', cell: (pool) => pool.figures?.free ?? '' },
  { header: 'TOTAL', align: 'right', cell: (pool) => pool.figures?.total ?? '' },
];

/** "[#####---------------]  25%": anything above 0 shows, and only 100 % is full. */
export function usageBar(percent: number): string {
  const exact = (Math.min(100, Math.max(0, percent)) / 100) * BAR_WIDTH;
  const filled = percent >= 100 ? BAR_WIDTH : Math.min(BAR_WIDTH - 1, Math.ceil(exact));
  return `[${'#'.repeat(filled)}${'-'.repeat(BAR_WIDTH - filled)}] ${String(Math.floor(percent)).padStart(3)}%`;
}

export function statusScreen(status: GetStatusResponse): string {
  const parts = [
    properties([
      ['coordinator', `${status.version}, up ${durationText(status.uptime) || '?'}`],
      ['journal', status.journal],
      ['hosts', hostsText(status)],
      ['environments', `${status.environments} with ${status.mappings} mappings`],
      ...tunnelsProperty(status),
    ]),
    status.gateways.length === 0 ? '' : table(GATEWAY_COLUMNS, status.gateways),
    status.pools.length === 0 ? '' : table(POOL_COLUMNS, status.pools),
    statusHints(status).map((hint) => `next: ${hint}\n`).join(''),
  ];
  return parts.filter((part) => part !== '').join('\n');
}

function hostsText(status: GetStatusResponse): string {
  const counts = [[status.hostsAlive, 'alive'], [status.hostsSuspect, 'suspect'], [status.hostsLost, 'lost'], [status.hostsUnknown, 'unknown']] as const;
  return counts.filter(([count], i) => i === 0 || count > 0).map(([count, state]) => `${count} ${state}`).join(', ');
}

function tunnelsProperty({ tunnelsUp, tunnelsDown }: GetStatusResponse): [string, string][] {
  return tunnelsUp + tunnelsDown === 0 ? [] : [['tunnels', `${tunnelsUp} up${tunnelsDown === 0 ? '' : `, ${tunnelsDown} down`}`]];
}

/** What needs attention, the gravest first, each with what to do. */
export function statusHints(status: GetStatusResponse): string[] {
  const hints: string[] = [];
  if (status.journal !== 'ok') hints.push(`nothing can be made durable (${status.journal}): look at the disk of the coordinator`);
  if (status.gateways.length === 0) hints.push(`there is no gateway: ${CREATE_GATEWAY}`);
  hints.push(...status.gateways.flatMap((gateway) => gatewayHints(gateway, status)));
  hints.push(...status.massLosses.map(massLossHint));
  hints.push(...status.pools.flatMap(poolHints));
  if (status.leaks > 0) hints.push(`${status.leaks} ${status.leaks === 1 ? 'thing is' : 'things are'} there without what they are for: portlease leaks shows them`);
  if (status.hostsLost > 0) hints.push(`${status.hostsLost} lost: portlease hosts shows them; move their environments, or portlease hosts reclaim HOST`);
  if (status.hostsSuspect > 0) hints.push(`${status.hostsSuspect} with a late heartbeat: portlease hosts shows them`);
  if (status.hostsUnknown > 0) hints.push(`${status.hostsUnknown} have not said hello since the coordinator started: look at the agent there`);
  if (status.tunnelsDown > 0) hints.push(`${status.tunnelsDown} tunnels are not up: portlease tunnels shows them and why`);
  return hints;
}

function massLossHint({ gateway, failureDomain, lostHosts, hosts, overriddenUntil }: MassLoss): string {
  const where = failureDomain === '' ? `gateway ${gateway}` : `failure domain ${failureDomain} of ${gateway}`;
  const silent = `${lostHosts} of ${hosts} hosts of ${where} are silent`;
  if (overriddenUntil !== undefined) return `${silent}; reclaim goes on until ${timeText(overriddenUntil)}`;
  const domain = failureDomain === '' ? '' : ` --failure-domain ${failureDomain}`;
  return `${silent}, so nothing is reclaimed there: look at network and power; or portlease gateways override-mass-loss ${gateway}${domain} --for 1h --reason WHY`;
}

function gatewayHints(gateway: Gateway, status: GetStatusResponse): string[] {
  const hints: string[] = [];
  const name = gateway.gateway;
  if (gateway.restore !== undefined) hints.push(restoreHint(name, gateway.restore));
  if (gateway.scope === GatewayScope.GATEWAY_SCOPE_SHARED) {
    if (gateway.agentHost === '') hints.push(`gateway ${name} has no agent, so nothing is routed: start one with the role gateway`);
    else if (gateway.agentState !== HostState.HOST_STATE_ALIVE) hints.push(`the agent of gateway ${name} does not answer: look at it on ${gateway.agentHost}`);
  }
  if (!status.pools.some((pool) => pool.gateway === name)) hints.push(`gateway ${name} has no pool: portlease pools create NAME --gateway ${name} --range 30000-30999 --protocol tcp`);
  return hints;
}

const SHOWN_HOSTS = 5;

function restoreHint(gateway: string, { awaitedHosts, problem, rest }: Restore): string {
  const what = `gateway ${gateway} runs on an older copy of its database and grants nothing`;
  if (rest !== undefined) return `${what} for another ${durationText(rest) || 'moment'}, while released ports rest: wait`;
  if (awaitedHosts.length === 0) return `${what}: ${problem || 'every host has reported, wait'}`;
  const names = [...awaitedHosts.slice(0, SHOWN_HOSTS), ...(awaitedHosts.length > SHOWN_HOSTS ? [`and ${awaitedHosts.length - SHOWN_HOSTS} more`] : [])].join(', ');
  return `${what} before these have reported: ${names}. Start their agents, or: portlease hosts waive HOST --reason WHY`;
}

function poolHints(pool: Pool): string[] {
  const { figures } = pool;
  if (figures === undefined || figures.total === 0) return [];
  const grow = `portlease pools update ${pool.pool} --gateway ${pool.gateway} --range ...`;
  // A pool that is reserved as a whole is meant to give nothing.
  if (figures.total === figures.reserved) return [];
  if (figures.free === 0) return [`pool ${pool.pool} of ${pool.gateway} has no free port: ${grow}`];
  if (figures.usagePercent >= NEARLY_FULL_PERCENT) return [`pool ${pool.pool} of ${pool.gateway} is nearly full: ${grow}`];
  return [];
}
