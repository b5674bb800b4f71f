/** Foreign processes on leased ports, to and from messages of the contract. */
import type { Conflict as WireConflict, PortHolder as WireHolder } from '../gen/portlease/v1/common.js';
import type { Timestamp } from '../gen/google/protobuf/timestamp.js';
import { MAX_CONFLICTS, type Conflict, type PortHolder } from '../desired.js';
import { atMost, count, ipAddress, port } from '../fields.js';
import { InvalidField } from '../invalid.js';
import type { Transport } from '../ports.js';
import { msToTimestamp, protocolFromWire, protocolToWire } from './basics.js';

const MAX_NAME = 64;
const MAX_COMMAND = 160;
const MAX_UID = 0xffff_ffff;

export function conflictToWire({ transport, port: number, address, uid, user, holder }: Conflict): WireConflict {
  return { protocol: protocolToWire(transport), port: number, address, uid, user, holder: holder && holderToWire(holder) };
}

export function conflictsFromWire(values: readonly WireConflict[], field: string): Conflict[] {
  return atMost(values, MAX_CONFLICTS, field).map((value, i) => conflictFromWire(value, `${field}[${i}]`));
}

function conflictFromWire(value: WireConflict, field: string): Conflict {
  return {
    transport: transportFromWire(value, `${field}.protocol`),
    port: port(value.port, `${field}.port`),
    address: ipAddress(value.address, `${field}.address`),
    uid: uidOf(value.uid, `${field}.uid`),
    user: words(value.user, MAX_NAME),
    holder: value.holder && holderFromWire(value.holder, `${field}.holder`),
  };
}

export function transportFromWire({ protocol }: Pick<WireConflict, 'protocol'>, field: string): Transport {
  const transport = protocolFromWire(protocol, field);
  if (transport === 'tcp+udp') throw new InvalidField(field, 'is PROTOCOL_TCP_UDP: a socket has one, PROTOCOL_TCP or PROTOCOL_UDP');
  return transport;
}

function uidOf(value: number, field: string): number {
  if (count(value, field) <= MAX_UID) return value;
  throw new InvalidField(field, `${value} is not a uid: 0-${MAX_UID}`);
}

function holderToWire({ startedAtMs, ...same }: PortHolder): WireHolder {
  return { ...same, startedAt: startedAtMs === 0 ? undefined : msToTimestamp(startedAtMs) };
}

/** Texts that a foreign process may have chosen are cut and put on one line rather than refused: the rest of the report matters. */
function holderFromWire(value: WireHolder, field: string): PortHolder {
  return {
    pid: count(value.pid, `${field}.pid`),
    program: words(value.program, MAX_NAME),
    command: words(value.command, MAX_COMMAND),
    containerId: words(value.containerId, MAX_NAME),
    startedAtMs: value.startedAt === undefined ? 0 : timeOf(value.startedAt),
    proxyFor: words(value.proxyFor, MAX_NAME),
    environment: words(value.environment, MAX_NAME),
  };
}

/** On one line, and no longer than that. */
export function words(text: string, max: number): string {
  return text.slice(0, max).replace(/\p{C}+/gu, ' ').trim();
}

/** A time that no clock shows counts as not known. */
function timeOf({ seconds, nanos }: Timestamp): number {
  const ms = seconds * 1_000 + Math.floor(nanos / 1_000_000);
  return Number.isSafeInteger(ms) && ms > 0 && ms <= 8.64e15 ? ms : 0;
}
