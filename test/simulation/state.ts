/** The state of a run for people: what the database, the disks and the kernels have. */
import { rangeText } from '../../shared/ports.js';
import { isAboutPorts } from '../../shared/desired.js';
import { targetText } from '../../shared/target.js';
import type { Changes } from '../../coordinator/book/types.js';
import type { Stage } from './actions.js';

export function describe({ coordinator, machines, world, time }: Stage): string[] {
  const { stored, weather } = coordinator.database;
  const { epoch, sequence } = stored.gateway;
  return [
    `at ${(time.nowMs / 1_000).toFixed(3)} s: restore ${stored.gateway.restoring}, coordinator ${coordinator.isRunning ? 'runs' : 'is down'}${coordinator.isPaused ? ', paused' : ''}, disk ${weather}, epoch ${epoch}, sequence ${sequence}`,
    ...[...stored.hosts.values()].map((host) => `  host ${host.host}: session ${host.session} (confirmed ${host.confirmedSession}), lost at ${host.lostAtMs}`),
    ...[...stored.leases.values()].sort((a, b) => a.first - b.first).map((lease) =>
      `  lease ${lease.leaseId} ${lease.space} ${rangeText(lease)} ${lease.state} on ${lease.host} g${lease.generation}${lease.guarded ? '' : ', not guarded'}${lease.guards.length > 0 ? `, guards ${lease.guards.join(' ')}` : ''}`),
    ...[...stored.mappings.values()].filter(({ state }) => state !== 'released').sort((a, b) => a.port - b.port).map((mapping) =>
      `  mapping ${mapping.mappingId} ${mapping.space} ${mapping.port} ${mapping.state} of ${mapping.environment} on ${mapping.host} at ${targetText(mapping.target)} g${mapping.generation} ${mapping.reason}`),
    ...machines.flatMap((machine) => {
      const { host, address, kernel, disk, path, isRunning, isPaused, diskIsFull } = machine;
      const flags = [isRunning ? 'runs' : 'down', isPaused ? 'paused' : '', diskIsFull ? 'disk full' : '', path.up ? '' : 'up cut', path.down ? '' : 'down cut', kernel.isBare ? 'bare' : '', kernel.children > 0 ? `${kernel.children} children` : ''];
      return [
        `machine ${host} ${address}: ${flags.filter((flag) => flag !== '').join(', ')}; session ${disk.session}, accepted ${JSON.stringify(disk.version)}`,
        `  accepted: ${[...disk.objects.values()].filter(isAboutPorts).map((object) => `${object.key}${'ports' in object ? ` ${rangeText(object.ports)}` : ` ${object.port}`} g${object.generation}${object.kind === 'route' ? ` to ${object.host}${object.fence ? ' fence' : ''}` : ''}`).join('; ')}`,
        `  kernel: guards ${kernel.rules.leased.map(({ ports }) => rangeText(ports)).join(' ')}; ${[...kernel.rules.forwards].filter(({ transport }) => transport === 'tcp').map(({ id, ports, to }) => `${rangeText(ports)} -> ${to} (${id})`).join('; ')}`,
      ];
    }),
    ...[...world.connections].map(({ port, atGateway, atHost }) => `  connection to ${port}${atGateway === undefined ? '' : ` by ${atGateway.flow.to}`} to ${atHost.flow.to} on ${atHost.machine.host}`),
  ];
}

/** What a commit changed, on one line. */
export function tellCommit(changes: Changes): string {
  const leases = changes.leases.map(({ leaseId, first, last, state, host, guarded }) => `${leaseId} ${rangeText({ first, last })} ${state} ${host}${guarded ? '' : ' unguarded'}`);
  const mappings = changes.mappings.map(({ mappingId, port, state, environment, host, reason }) => `${mappingId} ${port} ${state} ${environment} ${host} ${reason}`);
  const audits = changes.audits.map(({ action, outcome, environment, requestId }) => `${action} ${environment} ${requestId} ${outcome}`);
  return `  commit ${changes.gateway.epoch}.${changes.gateway.sequence}: ${[...audits, ...leases, ...mappings, ...changes.removedLeases.map((id) => `${id} gone`)].join('; ')}`;
}
