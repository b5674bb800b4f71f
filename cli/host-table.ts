/** How hosts are shown. */
import type { Host } from '../shared/gen/portlease/v1/operations.js';
import { HostDuty } from '../shared/gen/portlease/v1/operations.js';
import type { Column } from './table.js';
import { durationText, hostDutyWord, hostStateWord, roleWord, timeText } from './words.js';

export const HOST_COLUMNS: readonly Column<Host>[] = [
  { header: 'HOST', cell: (host) => host.host },
  { header: 'GATEWAY', cell: (host) => host.gateway },
  { header: 'ROLES', cell: (host) => host.roles.map(roleWord).join(',') },
  { header: 'STATE', cell: (host) => stateText(host) },
  { header: 'HEARTBEAT', align: 'right', cell: (host) => durationText(host.heartbeatAge) },
  { header: 'ADDRESSES', cell: (host) => host.addresses.join(',') },
  { header: 'PUBLIC', cell: (host) => host.publicHost },
  { header: 'DOMAIN', cell: (host) => host.failureDomain },
  { header: 'MAPPINGS', align: 'right', cell: (host) => host.mappings },
  { header: 'LEASED', align: 'right', cell: (host) => host.leasedPorts },
  { header: 'REPAIRS', align: 'right', cell: (host) => host.driftRepairs },
  { header: 'AGENT', cell: (host) => host.agentVersion },
];

/** "alive", "lost (draining, kept until 2026-01-31 09:30:00Z)". */
function stateText(host: Host): string {
  const isOpen = host.duty === HostDuty.HOST_DUTY_OPEN || host.duty === HostDuty.HOST_DUTY_UNSPECIFIED;
  const more = [
    host.replaceable ? 'replaceable' : '',
    isOpen ? '' : hostDutyWord(host.duty),
    host.keptUntil === undefined ? '' : `kept until ${timeText(host.keptUntil)}`,
  ].filter((part) => part !== '');
  return hostStateWord(host.state) + (more.length === 0 ? '' : ` (${more.join(', ')})`);
}
