/** What this machine accepted from its coordinator, and the rules by which it takes more. Pure: store.ts makes it durable. */
import { isDeepStrictEqual } from 'node:util';
import { PersistentMap, type Change } from '../persistent/map.js';
import { StateDigest } from '../../shared/digest.js';
import { compareVersions, type Delta, type DesiredObject, type Driver, type StateVersion } from '../../shared/desired.js';

/** Whose state it is. Versions of different gateways, or sessions of different hosts, cannot be compared. */
export type Owner = {
  readonly host: string;
  readonly gateway: string;
  /** What serves it. Left out: iptables. What one has left in the kernel, or has no rules for, the other would not know. */
  readonly driver?: Driver;
};

export type AcceptedState = {
  /** Number of the last session that this machine was welcomed with; 0 before the first. */
  readonly session: number;
  /** Epoch of that session's coordinator; 0 before the first. */
  readonly epoch: number;
  /** undefined: no desired state was accepted yet. */
  readonly version: StateVersion | undefined;
  /** By key. Never changed in place: that of the next state shares what did not change. */
  readonly objects: PersistentMap<DesiredObject>;
  /** As HeartbeatRequest.digest. */
  readonly digest: string;
};

export const NO_STATE: AcceptedState = { session: 0, epoch: 0, version: undefined, objects: PersistentMap.empty(), digest: new StateDigest().hex() };

export type Welcomed = { readonly kind: 'accepted'; readonly state: AcceptedState } | { readonly kind: 'older' };

export type Applied =
  | { readonly kind: 'accepted'; readonly state: AcceptedState }
  /** Of an earlier session or revision than what was accepted (S4). */
  | { readonly kind: 'older' }
  /** A change to a state that this machine does not have. */
  | { readonly kind: 'wrongBase' };

/** Session numbers grow for ever, and epochs never shrink: anything else comes from an old copy of the coordinator (S4). */
export function applyWelcome(state: AcceptedState, session: number, epoch: number): Welcomed {
  if (session <= state.session || epoch < state.epoch) return { kind: 'older' };
  return { kind: 'accepted', state: { ...state, session, epoch } };
}

/** Takes a snapshot or a change. What has the version that is accepted already may come again: it changes nothing. */
export function applyDelta(state: AcceptedState, delta: Delta): Applied {
  const kind = judge(state, delta);
  if (kind !== 'accepted') return { kind };
  const before = state.objects;
  const objects = before.with(delta.base === undefined ? replacements(before, delta) : changesOf(delta));
  const digest = delta.base === undefined ? digestOf(objects.values()) : xor(state.digest, differenceOf(before, objects, delta));
  return { kind, state: { ...state, version: delta.version, objects, digest } };
}

/** Removals come before upserts. */
function* changesOf({ upserts, removals }: Delta): Generator<Change<DesiredObject>> {
  for (const key of removals) yield [key, undefined];
  for (const object of upserts) yield [object.key, object];
}

/** As a snapshot says: an object that says what it said before stays the same object, so that nobody takes it for a change. */
function* replacements(before: PersistentMap<DesiredObject>, { upserts }: Delta): Generator<Change<DesiredObject>> {
  const wanted = new Map(upserts.map(object => [object.key, object]));
  for (const key of before.keys()) if (!wanted.has(key)) yield [key, undefined];
  for (const [key, object] of wanted) if (!isDeepStrictEqual(object, before.get(key))) yield [key, object];
}

/** Digest of all that went and came. */
function differenceOf(before: PersistentMap<DesiredObject>, after: PersistentMap<DesiredObject>, { upserts, removals }: Delta): string {
  const difference = new StateDigest();
  for (const key of new Set([...removals, ...upserts.map(object => object.key)])) {
    const [old, fresh] = [before.get(key), after.get(key)];
    if (old?.version === fresh?.version) continue;
    if (old !== undefined) difference.remove(key, old.version);
    if (fresh !== undefined) difference.add(key, fresh.version);
  }
  return difference.hex();
}

/** What `applyDelta` would say, without doing it. */
export function judge({ session, epoch, version: accepted }: Order, { version, base }: Delta): Applied['kind'] {
  if (version.session < session || version.epoch < epoch) return 'older';
  if (accepted !== undefined && compareVersions(version, accepted) < 0) return 'older';
  return base === undefined || base === accepted?.revision ? 'accepted' : 'wrongBase';
}

type Order = Pick<AcceptedState, 'session' | 'epoch' | 'version'>;

/** Changes `objects` in place, as applyDelta does it to a copy. */
export function amend(objects: Map<string, DesiredObject>, delta: Delta): void {
  if (delta.base === undefined) objects.clear();
  for (const [key, object] of changesOf(delta)) {
    if (object === undefined) objects.delete(key);
    else objects.set(key, object);
  }
}

export function digestOf(objects: Iterable<DesiredObject>): string {
  const digest = new StateDigest();
  for (const { key, version } of objects) digest.add(key, version);
  return digest.hex();
}

/** Of two numbers of 16 hexadecimal digits. */
function xor(a: string, b: string): string {
  return (BigInt(`0x${a}`) ^ BigInt(`0x${b}`)).toString(16).padStart(16, '0');
}
