/**
 * Why portlease refuses: one table, reason → gRPC code → remedy. docs/reasons.md is generated from it.
 * A reason goes out as ErrorInfo.reason in the domain "portlease".
 */
import { status } from '@grpc/grpc-js';

type Entry = { code: status; meaning: string; remedy: string };

export const REASONS = {
  INVALID_FIELD: { code: status.INVALID_ARGUMENT, meaning: 'A field of the request is missing or not allowed.', remedy: 'Correct the field that BadRequest names.' },
  REQUEST_ID_REUSED: { code: status.INVALID_ARGUMENT, meaning: 'This request id was used with another body.', remedy: 'Use a new request id, or send the same body again.' },
  POOL_UNKNOWN: { code: status.NOT_FOUND, meaning: 'The gateway of the host has no such pool.', remedy: 'List the pools with `portlease pools`.' },
  SERVICE_TYPE_UNKNOWN: { code: status.NOT_FOUND, meaning: 'No pool of the gateway serves this service type.', remedy: 'List the pools with `portlease pools`, or name a pool.' },
  SERVICE_TYPE_AMBIGUOUS: { code: status.INVALID_ARGUMENT, meaning: 'Several pools of the gateway serve this service type.', remedy: 'Name one of the pools in the metadata instead of the service type.' },
  PROTOCOL_NOT_SERVED: { code: status.INVALID_ARGUMENT, meaning: 'The pool does not serve this protocol.', remedy: 'Ask for a protocol of the pool, or for another pool.' },
  GATEWAY_UNKNOWN: { code: status.NOT_FOUND, meaning: 'There is no such gateway.', remedy: 'List the gateways with `portlease gateways`.' },
  GATEWAY_EXISTS: { code: status.ALREADY_EXISTS, meaning: 'There is a gateway of this name.', remedy: 'Choose another name.' },
  GATEWAY_IN_USE: { code: status.FAILED_PRECONDITION, meaning: 'Pools or hosts belong to the gateway.', remedy: 'Remove its pools and hosts first.' },
  GATEWAY_HAS_AGENT: { code: status.FAILED_PRECONDITION, meaning: 'Another host has the gateway role of this gateway.', remedy: 'Let one host have the role. A machine that takes its place takes its host id: `portlease hosts replace HOST --reason WHY`.' },
  POOL_EXISTS: { code: status.ALREADY_EXISTS, meaning: 'The gateway has a pool of this name.', remedy: 'Choose another name, or update the pool.' },
  POOL_OVERLAP: { code: status.INVALID_ARGUMENT, meaning: 'A range overlaps another pool, another range, or ports that portlease itself listens on.', remedy: 'Choose a range without the ports in the metadata.' },
  POOL_IN_USE: { code: status.FAILED_PRECONDITION, meaning: 'Environments have ports in what would be removed.', remedy: 'Release the ports in the metadata first.' },
  POOL_EXHAUSTED: { code: status.RESOURCE_EXHAUSTED, meaning: 'The pool has no free port.', remedy: 'Retry after the time in RetryInfo, release ports, or grow the pool.' },
  NO_CONTIGUOUS_RUN: { code: status.RESOURCE_EXHAUSTED, meaning: 'The pool has free ports, but not that many without a gap.', remedy: 'Ask for fewer ports, or without contiguous.' },
  PORT_TAKEN: { code: status.ALREADY_EXISTS, meaning: 'The port belongs to another environment.', remedy: 'Ask for another port, or for any.' },
  PORT_RESERVED: { code: status.FAILED_PRECONDITION, meaning: 'The port is reserved in the pool.', remedy: 'Ask for another port.' },
  PORT_QUARANTINED: { code: status.FAILED_PRECONDITION, meaning: 'The port was released a moment ago and rests.', remedy: 'Retry after the time in RetryInfo.' },
  PORT_NOT_IN_POOL: { code: status.INVALID_ARGUMENT, meaning: 'The port is in no range of the pool.', remedy: 'Ask for a port of the ranges in the metadata.' },
  HOST_UNKNOWN: { code: status.NOT_FOUND, meaning: 'There is no such host.', remedy: 'List the hosts with `portlease hosts`; create it, or start its agent.' },
  HOST_EXISTS: { code: status.ALREADY_EXISTS, meaning: 'There is a host of this name.', remedy: 'Choose another name.' },
  HOST_NOT_READY: { code: status.UNAVAILABLE, meaning: 'The host has not said hello since the coordinator started.', remedy: 'Retry; look at the agent on the host.' },
  HOST_SUSPECT: { code: status.UNAVAILABLE, meaning: 'The heartbeat of the host is late.', remedy: 'Use another host, or retry when it is back.' },
  HOST_LOST: { code: status.UNAVAILABLE, meaning: 'The heartbeat of the host was lost.', remedy: 'Use another host, or retry when it is back.' },
  HOST_NOT_SERVING: { code: status.FAILED_PRECONDITION, meaning: 'The host has no host role.', remedy: 'Use a host with the role host.' },
  HOST_NOT_LOST: { code: status.FAILED_PRECONDITION, meaning: 'The host answers, or its leases have not expired yet.', remedy: 'Release or move its environments instead, or wait until it is lost.' },
  HOST_CORDONED: { code: status.FAILED_PRECONDITION, meaning: 'The host is cordoned or drained: it gets no new ports. What is there goes on.', remedy: 'Use another host, or let it have ports again: `portlease hosts uncordon HOST`.' },
  OTHER_GATEWAY: { code: status.FAILED_PRECONDITION, meaning: 'The host belongs to another gateway.', remedy: 'Use a host of the same gateway: numbers are unique only there.' },
  ENVIRONMENT_UNKNOWN: { code: status.NOT_FOUND, meaning: 'There is no such environment.', remedy: 'List them with `portlease list`.' },
  ENVIRONMENT_ELSEWHERE: { code: status.FAILED_PRECONDITION, meaning: 'The environment is on another host.', remedy: 'Move it with MoveEnvironment, or allocate on the host that it is on.' },
  ENVIRONMENT_OF_OTHER_TENANT: { code: status.PERMISSION_DENIED, meaning: 'The environment belongs to another tenant.', remedy: 'Choose another environment name.' },
  PORT_NAME_DIFFERS: { code: status.ALREADY_EXISTS, meaning: 'The environment has a port of this name from another pool, protocol or number.', remedy: 'Use another name, or release the port first.' },
  PORT_BLOCKED: { code: status.FAILED_PRECONDITION, meaning: 'The host refused to serve the port; the allocation was undone.', remedy: 'See the reason of the host in the metadata.' },
  NOT_LIVE_IN_TIME: { code: status.DEADLINE_EXCEEDED, meaning: 'The ports are recorded, but host or gateway did not confirm them in time.', remedy: 'Retry with the same request id: it goes on waiting.' },
  NOT_VERIFIED_IN_TIME: { code: status.DEADLINE_EXCEEDED, meaning: 'The ports are live, but the target did not answer in time.', remedy: 'Look at the service; retry with the same request id.' },
  GATEWAY_NOT_READY: { code: status.UNAVAILABLE, meaning: 'The ports must be fenced, and the gateway has not confirmed in time.', remedy: 'Look at the gateway agent; retry with the same request id.' },
  JOURNAL_UNAVAILABLE: { code: status.UNAVAILABLE, meaning: 'Nothing can be made durable now.', remedy: 'Look at the disk of the coordinator; retry with the same request id.' },
  STOPPING: { code: status.UNAVAILABLE, meaning: 'The coordinator is stopping.', remedy: 'Retry with the same request id when it is back; agents do so by themselves, and what is served goes on.' },
  NOT_MADE: { code: status.INTERNAL, meaning: 'The journal refused this decision; nothing was changed.', remedy: 'This is a defect of portlease: report it with the log.' },
  SECOND_MACHINE: { code: status.FAILED_PRECONDITION, meaning: 'Another machine uses this host id, or this one has lost its state.', remedy: 'Give the machine an id of its own, or, if it takes the place of the other one: `portlease hosts replace HOST --reason WHY`.' },
  DATABASE_IS_OLDER: { code: status.FAILED_PRECONDITION, meaning: 'The agent knows more than the database: an old copy was restored.', remedy: 'Start the coordinator on the newest copy of its database.' },
  STALE_SESSION: { code: status.ABORTED, meaning: 'The session is not the newest of the host.', remedy: 'The agent opens a new one by itself.' },
  DRIVER_NOT_ADMITTED: { code: status.FAILED_PRECONDITION, meaning: 'The agent has driver: userspace, which keeps nobody away from leased ports, and the gateway has scope shared.', remedy: 'Set driver: iptables in the config of the agent and start it as root, or let it belong to a gateway with scope host.' },
  NOT_ADMITTED: { code: status.PERMISSION_DENIED, meaning: 'The host is not known, or known with other roles, and the config of the coordinator says admit: known.', remedy: 'Create it with `portlease hosts create HOST --gateway GATEWAY`, the agent of a gateway with `--role gateway`; or correct the roles in the config of the agent.' },
  IDENTITY_MISMATCH: { code: status.PERMISSION_DENIED, meaning: 'The certificate does not bear the id of this host, or its role does not include this call.', remedy: 'Agents: use a certificate with the URI SAN portlease://host/HOST. Others: portlease://operator/NAME may do all, scheduler what is about ports, viewer only read.' },
  RATE_LIMITED: { code: status.RESOURCE_EXHAUSTED, meaning: 'Too many hellos at once.', remedy: 'The agent retries by itself after the time in RetryInfo.' },
  REVISION_TOO_OLD: { code: status.OUT_OF_RANGE, meaning: 'Events after this revision have been purged.', remedy: 'List again, and watch from the revision that the list returns.' },
  REVISION_AHEAD: { code: status.OUT_OF_RANGE, meaning: 'The gateway has not reached this revision: it is of another gateway, or an older copy of the database was restored.', remedy: 'List again, and watch from the revision that the list returns.' },
  TOO_MANY_WATCHERS: { code: status.RESOURCE_EXHAUSTED, meaning: 'The coordinator has as many watches open as it serves.', remedy: 'Share one watch among those who need it, or end others.' },
  PAGE_TOKEN_INVALID: { code: status.INVALID_ARGUMENT, meaning: 'The page token is not one of this list.', remedy: 'Start again without a page token.' },
} as const satisfies Record<string, Entry>;

export type Reason = keyof typeof REASONS;
