/** Leaks, to and from messages of the contract. */
import { LeakKind as WireKind, LeakRepair as WireRepair, type Leak as WireLeak } from '../gen/portlease/v1/leaks.js';
import { Protocol as WireProtocol } from '../gen/portlease/v1/common.js';
import { atMost, count, objectId, port } from '../fields.js';
import { InvalidField } from '../invalid.js';
import { isLeakId, MAX_LEAKS, type Leak, type LeakKind, type LeakRepair } from '../leak.js';
import { protocolToWire } from './basics.js';
import { transportFromWire, words } from './conflict.js';

const LEAK_ID_WANTED = 'the id of a leak: 1-128 characters of A-Z a-z 0-9 . _ / -, a letter or digit first';
const MAX_MESSAGE = 400;

const WIRE_KINDS: Record<LeakKind, WireKind> = {
  mappingWithoutContainer: WireKind.LEAK_KIND_MAPPING_WITHOUT_CONTAINER, containerWithoutEnvironment: WireKind.LEAK_KIND_CONTAINER_WITHOUT_ENVIRONMENT, publishedPort: WireKind.LEAK_KIND_PUBLISHED_PORT, listener: WireKind.LEAK_KIND_LISTENER,
  foreignRule: WireKind.LEAK_KIND_FOREIGN_RULE, tunnelProcess: WireKind.LEAK_KIND_TUNNEL_PROCESS,
};
const KINDS = new Map(Object.entries(WIRE_KINDS).map(([kind, value]) => [value, kind as LeakKind]));
const WIRE_REPAIRS: Record<LeakRepair, WireRepair> = {
  none: WireRepair.LEAK_REPAIR_NONE, release: WireRepair.LEAK_REPAIR_RELEASE, endProcess: WireRepair.LEAK_REPAIR_END_PROCESS,
  removeContainer: WireRepair.LEAK_REPAIR_REMOVE_CONTAINER,
};
const REPAIRS = new Map(Object.entries(WIRE_REPAIRS).map(([repair, value]) => [value, repair as LeakRepair]));

export function leakToWire({ id, kind, message, sightings, repair, isAutomatic, mappingId, generation, at }: Leak): WireLeak {
  return {
    leak: id, kind: WIRE_KINDS[kind], message: words(message, MAX_MESSAGE), sightings, repair: WIRE_REPAIRS[repair], automatic: isAutomatic, mappingId, generation,
    protocol: at === undefined ? WireProtocol.PROTOCOL_UNSPECIFIED : protocolToWire(at.transport), port: at?.port ?? 0,
  };
}

/** Kinds that a newer agent knows and this coordinator does not are left out. */
export function leaksFromWire(values: readonly WireLeak[], field: string): Leak[] {
  return atMost(values, MAX_LEAKS, field).flatMap((value, i) => leakFromWire(value, `${field}[${i}]`) ?? []);
}

function leakFromWire(value: WireLeak, field: string): Leak | undefined {
  const kind = KINDS.get(value.kind);
  if (kind === undefined) {
    if (value.kind === WireKind.LEAK_KIND_UNSPECIFIED) throw new InvalidField(`${field}.kind`, 'is missing');
    return undefined;
  }
  return {
    id: leakId(value.leak, `${field}.leak`),
    kind,
    message: words(value.message, MAX_MESSAGE),
    sightings: count(value.sightings, `${field}.sightings`),
    repair: REPAIRS.get(value.repair) ?? 'none',
    isAutomatic: value.automatic,
    mappingId: value.mappingId === '' ? '' : objectId(value.mappingId, `${field}.mapping_id`),
    generation: count(value.generation, `${field}.generation`),
    at: value.port === 0 ? undefined : { transport: transportFromWire(value, `${field}.protocol`), port: port(value.port, `${field}.port`) },
  };
}

/** Throws InvalidField. */
export function leakId(value: string, field: string): string {
  if (isLeakId(value)) return value;
  throw new InvalidField(field, `is not ${LEAK_ID_WANTED}`);
}
