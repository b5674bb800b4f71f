/**
 * Desired state of the hosts: the objects, and the changes that a decision makes to them. Kept only from a host's hello on;
 * before that there is nobody to tell, and the hello starts with a snapshot.
 */
import { Desired } from './desired.js';
import { isInForce } from './states.js';
import { leaseObject, mappingObject, releaseObject, routeObject, tunnelObject, withdrawalObject, workloadObject } from './objects.js';
import type { Host, State } from './state.js';
import type { Delta, DesiredObject, Push } from './types.js';

export function put(state: State, host: Host | undefined, object: DesiredObject): void {
  if (host?.desired === undefined) return;
  state.changed = true;
  host.desired.put(object);
  state.told.add(host);
}

export function drop(state: State, host: Host | undefined, key: string): void {
  if (host?.desired?.drop(key) !== true) return;
  state.changed = true;
  state.told.add(host);
}

/** The changes of this decision, one for each host that has some. `state.gateway.sequence` is that of the decision already. */
export function takePushes(state: State): Push[] {
  if (state.told.size === 0) return [];
  const pushes: Push[] = [];
  for (const host of state.told) {
    if (host.desired === undefined) continue;
    const base = host.revision;
    host.revision = state.gateway.sequence;
    const version = { epoch: state.gateway.epoch, session: host.record.session, revision: host.revision };
    pushes.push({ host: host.record.host, session: host.record.session, delta: { version, base, ...host.desired.takeChanges() } });
  }
  state.told.clear();
  return pushes;
}

/** Builds all that the host is to bring about, and the snapshot that says so. The decision must be one that changes something. */
export function snapshot(state: State, host: Host): Delta {
  const desired = new Map<string, DesiredObject>();
  const keep = (object: DesiredObject): void => void desired.set(object.key, object);
  for (const lease of [...host.leases, ...host.guarding]) keep(leaseObject(state, lease));
  for (const mapping of host.mappings) {
    const lease = state.leaseAt(state.space(mapping.record.space), mapping.record.port)?.record.state;
    if (lease !== 'active' && lease !== 'expired') continue;
    if (mapping.record.state === 'releasing') keep(releaseObject(state, mapping));
    else if (isInForce(mapping.record.state)) keep(mappingObject(state, mapping));
  }
  for (const workload of host.workloads) keep(workloadObject(state, workload));
  for (const tunnel of host.tunnels.values()) keep(tunnelObject(state, tunnel));
  if (state.gatewayAgent === host) {
    for (const lease of state.leases.values()) {
      if (lease.record.state === 'withdrawing') keep(withdrawalObject(state, lease));
      else if (lease.record.guarded) keep(routeObject(state, lease));
    }
  }
  host.desired = new Desired(desired.values());
  state.told.delete(host);
  host.revision = state.sequence;
  state.changed = true;
  const version = { epoch: state.gateway.epoch, session: host.record.session, revision: host.revision };
  return { version, base: undefined, upserts: [...desired.values()], removals: [] };
}
