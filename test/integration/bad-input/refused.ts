/** Requests that are well formed and still not allowed: each with the reason that it gets. */
import * as events from '../../../shared/gen/portlease/v1/events.js';
import * as operations from '../../../shared/gen/portlease/v1/operations.js';
import * as ports from '../../../shared/gen/portlease/v1/ports.js';
import type { Reason } from '../../../shared/reasons.js';

/** A port that the coordinator itself listens on. */
export type World = { ownPort: number };

type Case = { method: string; request: (world: World) => object; reason: Reason; field?: string };

type Range = [number, number];

const ranges = (...all: Range[]) => all.map(([first, last]) => ({ first, last }));

const pool = (more: object): object => operations.CreatePoolRequest.fromPartial({ pool: { pool: 'web', gateway: 'gw', protocol: 1, ranges: ranges([44_000, 45_000]), ...more } });
const createPool = (all: Range[], reason: Reason = 'POOL_OVERLAP'): Case => ({ method: 'OperationsService/CreatePool', request: () => pool({ ranges: ranges(...all) }), reason, field: 'pool.ranges' });
const updatePool = (change: object, updateMask: string[], reason: Reason): Case => ({
  method: 'OperationsService/UpdatePool', reason, field: 'pool',
  request: () => operations.UpdatePoolRequest.fromPartial({ pool: { pool: 'tiny', gateway: 'gw', ...change }, updateMask }),
});

const want = { name: 'a', source: { $case: 'pool' as const, value: 'tiny' }, target: { kind: { $case: 'address' as const, value: '10.1.0.1' } } };
const allocate = (more: object, wants: object[] = [want], dryRun = false): () => object => () =>
  ports.AllocatePortsRequest.fromPartial({ tenant: 'acme', environment: 'new', host: 'h1', dryRun, wants: wants as ports.Want[], ...more });
const allocation = (reason: Reason, more: object, wants: object[] = [want]): Case => ({ method: 'PortService/AllocatePorts', request: allocate(more, wants), reason });

export const REFUSED: Record<string, Case> = {
  'a pool with a port that portlease itself listens on': { ...createPool([]), request: ({ ownPort }) => pool({ ranges: ranges([ownPort, ownPort]) }) },
  'a pool whose first range begins there': { ...createPool([]), request: ({ ownPort }) => pool({ ranges: ranges([44_000, 44_010], [ownPort, Math.min(ownPort + 5, 65_535)]) }) },
  'a pool grown over it': { ...updatePool({}, [], 'POOL_OVERLAP'), request: ({ ownPort }) => operations.UpdatePoolRequest.fromPartial({ pool: { pool: 'tiny', gateway: 'gw', ranges: ranges([32_000, 32_001], [ownPort, ownPort]) }, updateMask: ['ranges'] }) },
  'a pool with a range in another pool': createPool([[29_000, 30_000]]),
  'a pool with a range around another pool': createPool([[29_000, 33_000]]),
  'a pool whose ranges overlap': createPool([[44_000, 44_010], [44_010, 44_020]]),
  'a pool with one range twice': createPool([[44_000, 44_000], [44_000, 44_000]]),
  'a pool with a reversed range': createPool([[44_010, 44_000]], 'INVALID_FIELD'),
  'a pool with 65 ranges': createPool(Array.from({ length: 65 }, (_, i): Range => [44_000 + 2 * i, 44_000 + 2 * i]), 'INVALID_FIELD'),
  'a pool without ranges': createPool([], 'INVALID_FIELD'),
  'a pool of a name that is there': { method: 'OperationsService/CreatePool', request: () => pool({ pool: 'ssh' }), reason: 'POOL_EXISTS' },
  'a pool of an unknown gateway': { method: 'OperationsService/CreatePool', request: () => pool({ gateway: 'nowhere' }), reason: 'GATEWAY_UNKNOWN', field: 'pool.gateway' },
  'a pool without anything': { method: 'OperationsService/CreatePool', request: () => ({ pool: undefined }), reason: 'INVALID_FIELD', field: 'pool' },
  'an update of an unknown pool': updatePool({ pool: 'absent', description: 'x' }, ['description'], 'POOL_UNKNOWN'),
  'a pool grown over another one': updatePool({ ranges: ranges([31_000, 32_001]) }, ['ranges'], 'POOL_OVERLAP'),
  'a pool shrunk under a port that somebody has': updatePool({ ranges: ranges([32_001, 32_001]) }, ['ranges'], 'POOL_IN_USE'),
  'the end of a pool that somebody has a port of': { method: 'OperationsService/DeletePool', request: () => ({ gateway: 'gw', pool: 'tiny' }), reason: 'POOL_IN_USE' },
  'the end of an unknown pool': { method: 'OperationsService/DeletePool', request: () => ({ gateway: 'gw', pool: 'absent' }), reason: 'POOL_UNKNOWN' },
  'a gateway of a name that is there': { method: 'OperationsService/CreateGateway', request: () => ({ gateway: operations.Gateway.fromPartial({ gateway: 'gw', scope: 1, publicHost: 'x.example.com' }) }), reason: 'GATEWAY_EXISTS' },
  'the end of a gateway in use': { method: 'OperationsService/DeleteGateway', request: () => ({ gateway: 'gw' }), reason: 'GATEWAY_IN_USE' },
  'the end of an unknown gateway': { method: 'OperationsService/DeleteGateway', request: () => ({ gateway: 'absent' }), reason: 'GATEWAY_UNKNOWN' },
  'a host of a name that is there': { method: 'OperationsService/CreateHost', request: () => ({ host: operations.Host.fromPartial({ host: 'h1', gateway: 'gw', roles: [1] }) }), reason: 'HOST_EXISTS' },
  'a host of a name that another gateway has': { method: 'OperationsService/CreateHost', request: () => ({ host: operations.Host.fromPartial({ host: 'h1', gateway: 'edge', roles: [1] }) }), reason: 'HOST_EXISTS' },
  'a second host with the gateway role': { method: 'OperationsService/CreateHost', request: () => ({ host: operations.Host.fromPartial({ host: 'g2', gateway: 'gw', roles: [2] }) }), reason: 'GATEWAY_HAS_AGENT' },
  'a replacement of an unknown host': { method: 'OperationsService/ReplaceHost', request: () => ({ host: 'absent', reason: 'why' }), reason: 'HOST_UNKNOWN' },
  'a reclaim of an unknown host': { method: 'OperationsService/ReclaimHost', request: () => ({ host: 'absent', reason: 'why' }), reason: 'HOST_UNKNOWN' },
  'a reclaim of a host that answers': { method: 'OperationsService/ReclaimHost', request: () => ({ host: 'h1', reason: 'why' }), reason: 'HOST_NOT_LOST' },
  'a move of an unknown environment': { method: 'PortService/MoveEnvironment', request: () => ports.MoveEnvironmentRequest.fromPartial({ environment: 'absent', host: 'h1' }), reason: 'ENVIRONMENT_UNKNOWN' },
  'a move to an unknown host': { method: 'PortService/MoveEnvironment', request: () => ports.MoveEnvironmentRequest.fromPartial({ environment: 'taken', host: 'absent' }), reason: 'HOST_UNKNOWN' },
  'a move to another gateway': { method: 'PortService/MoveEnvironment', request: () => ports.MoveEnvironmentRequest.fromPartial({ environment: 'taken', host: 'e1' }), reason: 'OTHER_GATEWAY' },
  'a move to a host that serves nothing': { method: 'PortService/MoveEnvironment', request: () => ports.MoveEnvironmentRequest.fromPartial({ environment: 'taken', host: 'g1' }), reason: 'HOST_NOT_SERVING' },
  'a watch from a revision that is not there yet': { method: 'EventService/WatchEvents', request: () => events.WatchEventsRequest.fromPartial({ gateway: 'gw', afterRevision: 1_000_000 }), reason: 'REVISION_AHEAD', field: 'after_revision' },
  'a watch of an unknown gateway': { method: 'EventService/WatchEvents', request: () => events.WatchEventsRequest.fromPartial({ gateway: 'absent' }), reason: 'GATEWAY_UNKNOWN', field: 'gateway' },
  'a list of events of an unknown gateway': { method: 'EventService/ListEvents', request: () => events.ListEventsRequest.fromPartial({ gateway: 'absent' }), reason: 'GATEWAY_UNKNOWN', field: 'gateway' },
  'ports on an unknown host': allocation('HOST_UNKNOWN', { host: 'absent' }),
  'ports on a host that serves nothing': allocation('HOST_NOT_SERVING', { host: 'g1' }),
  'ports of an unknown pool': allocation('POOL_UNKNOWN', {}, [{ ...want, source: { $case: 'pool', value: 'absent' } }]),
  'ports of an unknown service type': allocation('SERVICE_TYPE_UNKNOWN', {}, [{ ...want, source: { $case: 'serviceType', value: 'absent' } }]),
  'a protocol that the pool does not serve': allocation('PROTOCOL_NOT_SERVED', {}, [{ ...want, protocol: 2 }]),
  'a port that is in no range of the pool': allocation('PORT_NOT_IN_POOL', {}, [{ ...want, choice: { $case: 'exactPort', value: 30_000 } }]),
  'a port that somebody has': allocation('PORT_TAKEN', {}, [{ ...want, choice: { $case: 'exactPort', value: 32_000 } }]),
  'more ports than the pool has': allocation('POOL_EXHAUSTED', {}, [{ ...want, count: 2 }]),
  'a request id with another body': allocation('REQUEST_ID_REUSED', { requestId: 'known', environment: 'taken' }),
  'an environment of another tenant': allocation('ENVIRONMENT_OF_OTHER_TENANT', { tenant: 'other', environment: 'taken' }),
  'an environment of another gateway': allocation('ENVIRONMENT_ELSEWHERE', { host: 'e1', environment: 'taken' }),
  'a port name that leads elsewhere': allocation('PORT_NAME_DIFFERS', { environment: 'taken' }, [{ ...want, source: { $case: 'pool', value: 'ssh' } }]),
  'one bad port beside a good one': allocation('POOL_UNKNOWN', {}, [want, { ...want, name: 'b', source: { $case: 'pool', value: 'absent' } }]),
  'no ports at all': { ...allocation('INVALID_FIELD', {}, []), field: 'wants' },
  '65 wants': { ...allocation('INVALID_FIELD', {}, Array.from({ length: 65 }, (_, i) => ({ ...want, name: `p${i}` }))), field: 'wants' },
  '1,025 ports': { ...allocation('INVALID_FIELD', {}, Array.from({ length: 5 }, (_, i) => ({ ...want, name: `p${i}`, count: 205 + (i === 0 ? 5 : 0) }))), field: 'wants' },
  'a port name twice': { ...allocation('INVALID_FIELD', {}, [want, want]), field: 'wants[1].name' },
};
