/**
 * Text of the state file. Line 1 is a whole state, written in one piece; each further line is one append. A line is
 * the first 16 hexadecimal digits of the SHA-256 of its JSON text, a space, the JSON text. Only the last line can be torn.
 */
import { createHash } from 'node:crypto';
import type { Delta, DesiredObject, StateVersion } from '../../shared/desired.js';
import { PersistentMap } from '../persistent/map.js';
import { amend, applyWelcome, digestOf, judge, NO_STATE, type AcceptedState, type Owner } from './accepted.js';

const FORMAT = 1;

type Snapshot = {
  format: number;
  owner: Owner;
  session: number;
  epoch: number;
  version: StateVersion | null;
  objects: DesiredObject[];
};

export type Change = { kind: 'welcome'; session: number; epoch: number } | { kind: 'deltas'; deltas: readonly Delta[] };

export type Recovered = {
  owner: Owner;
  state: AcceptedState;
  /** Bytes of line 1. */
  snapshotBytes: number;
  /** Bytes up to the end of the last good line; what follows was never accepted. */
  goodBytes: number;
};

/** The text is not what this module wrote. */
export class Corrupt extends Error {
  override readonly name = 'Corrupt';
}

export function snapshotLine(owner: Owner, state: AcceptedState): string {
  const { session, epoch, version, objects } = state;
  return line({ format: FORMAT, owner, session, epoch, version: version ?? null, objects: [...objects.values()] } satisfies Snapshot);
}

export function changeLine(change: Change): string {
  return line(change);
}

function line(value: unknown): string {
  const json = JSON.stringify(value);
  return `${checksum(json)} ${json}\n`;
}

function checksum(json: string): string {
  return createHash('sha256').update(json).digest('hex').slice(0, 16);
}

/** Reads a state file. A torn last line is left out; anything else that is wrong throws Corrupt. */
export function recover(content: Buffer): Recovered {
  const [first, ...changes] = linesOf(content);
  const snapshot = first === undefined ? undefined : parse(first.text);
  if (first === undefined || snapshot === undefined) throw new Corrupt('line 1 is damaged');
  const { owner, draft } = draftOf(snapshot as Snapshot);
  let goodBytes = first.end;
  for (const [index, { text, end }] of changes.entries()) {
    const change = parse(text);
    if (change !== undefined) replay(draft, change as Change, index + 2);
    else if (end === content.length) break;
    else throw new Corrupt(`line ${index + 2} is damaged`);
    goodBytes = end;
  }
  return { owner, state: { ...draft, objects: PersistentMap.of(draft.objects), digest: digestOf(draft.objects.values()) }, snapshotBytes: first.end, goodBytes };
}

/** Complete lines: a last one without its newline is torn. */
function* linesOf(content: Buffer): Generator<{ text: string; end: number }> {
  let start = 0;
  for (let newline = content.indexOf(10); newline !== -1; newline = content.indexOf(10, start)) {
    yield { text: content.toString('utf8', start, newline), end: newline + 1 };
    start = newline + 1;
  }
}

/** undefined when the checksum does not fit. */
function parse(text: string): unknown {
  const json = text.slice(17);
  return text.slice(0, 17) === `${checksum(json)} ` ? JSON.parse(json) : undefined;
}

/** Changed in place: a copy of all objects per line would make a start with many changes slow. */
type Draft = { session: number; epoch: number; version: StateVersion | undefined; objects: Map<string, DesiredObject> };

function draftOf({ format, owner, session, epoch, version, objects }: Snapshot): { owner: Owner; draft: Draft } {
  if (format !== FORMAT) throw new Corrupt(`its format is ${format}, and this version of portlease reads format ${FORMAT}`);
  const byKey = new Map(objects.map(object => [object.key, object]));
  return { owner, draft: { session, epoch, version: version ?? undefined, objects: byKey } };
}

function replay(draft: Draft, change: Change, lineNumber: number): void {
  const refuse = (kind: string): never => {
    throw new Corrupt(`line ${lineNumber} does not follow from the lines before it (${kind})`);
  };
  if (change.kind === 'welcome') {
    const { kind } = applyWelcome({ ...NO_STATE, session: draft.session, epoch: draft.epoch }, change.session, change.epoch);
    if (kind !== 'accepted') refuse(kind);
    draft.session = change.session;
    draft.epoch = change.epoch;
    return;
  }
  for (const delta of change.deltas) {
    const kind = judge(draft, delta);
    if (kind !== 'accepted') refuse(kind);
    amend(draft.objects, delta);
    draft.version = delta.version;
  }
}
