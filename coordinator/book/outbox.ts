/**
 * Desired state of the hosts: the objects, and the changes that a decision makes to them. Kept only from a host's hello on;
 * before that there is nobody to tell, and the hello starts with a snapshot.
 */
import { StateDigest } from '../../shared/digest.js';
import { isInForce } from './states.js';
import { leaseObject, mappingObject, releaseObject, routeObject, withdrawalObject } from './objects.js';
import type { Host, State } from './state.js';
import type { Delta, DesiredObject, Push } from './types.js';

export function put(state: State, host: Host | undefined, object: DesiredObject): void {
  if (host?.desired === undefined) return;
  state.changed = true;
  noteChange(host, object.key, host.desired.get(object.key)?.version);
  host.desired.set(object.key, object);
  host.outbox.push(object.key);
  state.told.add(host);
}

export function drop(state: State, host: Host | undefined, key: string): void {
  const before = host?.desired?.get(key);
  if (host?.desired === undefined || before === undefined) return;
  state.changed = true;
  host.desired.delete(key);
  noteChange(host, key, before.version);
  host.outbox.push(key);
  state.told.add(host);
}

/** Digest of what the host is to have accepted. */
export function digestOf(host: Host): string {
  for (const [key, before] of host.undigested) {
    const after = host.desired?.get(key)?.version;
    if (before !== undefined) host.digest.remove(key, before);
    if (after !== undefined) host.digest.add(key, after);
  }
  host.undigested.clear();
  return host.digest.hex();
}

/** Hashing is left for the next heartbeat, so that an allocation does not pay for it. */
function noteChange(host: Host, key: string, before: number | undefined): void {
  if (!host.undigested.has(key)) host.undigested.set(key, before);
}

/** The changes of this decision, one for each host that has some. `state.gateway.sequence` is that of the decision already. */
export function takePushes(state: State): Push[] {
  const pushes: Push[] = [];
  for (const host of state.told) {
    const upserts: DesiredObject[] = [];
    const removals: string[] = [];
    const keys = host.outbox.length > 1 ? new Set(host.outbox) : host.outbox;
    for (const key of keys) {
      const object = host.desired?.get(key);
      if (object === undefined) removals.push(key);
      else upserts.push(object);
    }
    const base = host.revision;
    host.outbox = [];
    host.revision = state.gateway.sequence;
    const version = { epoch: state.gateway.epoch, session: host.record.session, revision: host.revision };
    pushes.push({ host: host.record.host, session: host.record.session, delta: { version, base, upserts, removals } });
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
  if (state.gatewayAgent === host) {
    for (const lease of state.leases.values()) {
      if (lease.record.state === 'withdrawing') keep(withdrawalObject(state, lease));
      else if (lease.record.guarded) keep(routeObject(state, lease));
    }
  }
  host.desired = desired;
  host.digest = new StateDigest();
  host.undigested = new Map([...desired.keys()].map((key) => [key, undefined]));
  host.outbox = [];
  state.told.delete(host);
  host.revision = state.sequence;
  state.changed = true;
  const version = { epoch: state.gateway.epoch, session: host.record.session, revision: host.revision };
  return { version, base: undefined, upserts: [...desired.values()], removals: [] };
}
