/** Audit and event rows of a gateway's own birth and end: there is no book yet, or no longer, that could write them. */
import type { Actor, AuditRecord, Changes, EventKind, EventRecord, GatewayRecord } from '../book/types.js';

type Note = { action: 'CreateGateway' | 'DeleteGateway'; event: Extract<EventKind, 'GatewayCreated' | 'GatewayDeleted'>; actor: Actor; nowMs: number };

/** Changes that contain only the note; the book's sequence advances by one. */
export function noteOn(gateway: GatewayRecord, { action, event, actor, nowMs }: Note): Changes {
  const sequence = gateway.sequence + 1;
  const about = { sequence, atMs: nowMs, environment: '', detail: JSON.stringify({ gateway: gateway.gateway, scope: gateway.scope, publicHost: gateway.publicHost }) };
  const audit: AuditRecord = { ...about, actor, action, outcome: 'ok', requestId: '' };
  const record: EventRecord = { ...about, kind: event, host: '', mappingId: '' };
  return { ...NOTHING, gateway: { ...gateway, sequence }, events: [record], audits: [audit] };
}

const NOTHING: Omit<Changes, 'gateway'> = {
  removedPools: [], removedHosts: [], removedLeases: [], removedEnvironments: [], removedRequests: [], removedForgotten: [], removedOverrides: [], removedWorkloads: [], removedTunnels: [], forgotten: [], workloads: [], tunnels: [], overrides: [],
  pools: [], hosts: [], leases: [], environments: [], mappings: [], requests: [], events: [], audits: [],
};
