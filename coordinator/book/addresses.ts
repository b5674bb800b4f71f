/** Addresses that pass from one machine to another. */
import { route, transfer } from './leases.js';
import { setState } from './mappings.js';
import type { Host, State } from './state.js';

/**
 * The host is where silent ones were: those are there no longer. What was routed to them leads nowhere until they say where they
 * are, because the machine that has their address now guards none of it (S1).
 */
export function takeAddresses(state: State, host: Host): void {
  for (const other of state.hosts.values()) {
    if (other === host || other.state === 'alive') continue;
    const { record } = other;
    const left = record.addresses.filter((address) => !host.record.addresses.includes(address));
    if (left.length === record.addresses.length) continue;
    record.addresses = left;
    state.dirtyHost(other);
    if (state.shared) unroute(state, other);
  }
}

function unroute(state: State, host: Host): void {
  for (const mapping of host.mappings) if (mapping.record.state === 'live') setState(state, mapping, 'pending', 'NOT_CONFIRMED_BY_GATEWAY');
  for (const lease of [...host.leases]) {
    lease.routed = false;
    // A fence towards nowhere would never be confirmed: it begins anew when the host guards the ports again.
    if (lease.record.state === 'fencing' && lease.holder !== undefined) transfer(state, lease, lease.record, lease.holder);
    else route(state, lease);
  }
}
