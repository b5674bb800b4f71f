/** What a config schema asks for: its key paths, and the environment variables that stand for them. */
import { z } from 'zod';

/** One value of a config: path as in ['timing', 'heartbeat']. */
export type Leaf = { path: string[]; schema: z.core.$ZodType };

/** All leaves of `schema`, depth first. Throws when an object in it would let unknown keys pass. */
export function leavesOf(schema: z.core.$ZodType, path: string[] = []): Leaf[] {
  const inner = unwrap(schema);
  if (!(inner instanceof z.ZodObject)) return [{ path, schema: inner }];
  if (!(inner.def.catchall instanceof z.ZodNever)) throw new Error(`config schema: the object at "${path.join('.')}" is not a z.strictObject`);
  return Object.entries(inner.shape as Record<string, z.core.$ZodType>).flatMap(([key, value]) => leavesOf(value, [...path, key]));
}

/** Keys of the object at `path` (list positions are passed through), or undefined when there is none. */
export function keysAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): string[] | undefined {
  const inner = unwrap(schema);
  const [head, ...rest] = path;
  if (inner instanceof z.ZodArray) return head === undefined ? undefined : keysAt(inner.element, rest);
  if (!(inner instanceof z.ZodObject)) return undefined;
  if (head === undefined) return Object.keys(inner.shape);
  const next = (inner.shape as Record<string, z.core.$ZodType>)[String(head)];
  return next && keysAt(next, rest);
}

/** PORTLEASE_TIMING_HEARTBEAT for timing.heartbeat; a capital inside a key begins a new word. */
export function envName(prefix: string, path: readonly string[]): string {
  const words = path.map((key) => key.replace(/([a-z0-9])([A-Z])/g, '$1_$2').replace(/[^A-Za-z0-9]/g, '_'));
  return prefix + words.join('_').toUpperCase();
}

/** What the text of a flag or variable means for `schema`; left as text where it does not fit, so that the schema refuses it. */
export function fromText(text: string, schema: z.core.$ZodType): unknown {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodNumber) return /^-?[0-9]+(?:\.[0-9]+)?$/.test(text) ? Number(text) : text;
  if (inner instanceof z.ZodBoolean) return text === 'true' ? true : text === 'false' ? false : text;
  if (inner instanceof z.ZodArray) return text === '' ? [] : text.split(',').map((part) => fromText(part.trim(), inner.element));
  return text;
}

/** The schema of what is read: without defaults, optionality and what is done with it afterwards. */
function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault
    || schema instanceof z.ZodNullable || schema instanceof z.ZodReadonly) return unwrap(schema.unwrap());
  if (schema instanceof z.ZodPipe) return unwrap(schema.in);
  return schema;
}

/** The candidate that `word` was probably meant to be, or undefined. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const scored = candidates.map((candidate) => ({ candidate, distance: editDistance(word.toLowerCase(), candidate.toLowerCase()) }));
  const [best] = scored.sort((a, b) => a.distance - b.distance);
  return best && best.distance <= Math.max(2, Math.floor(word.length / 3)) ? best.candidate : undefined;
}

/** Levenshtein's distance, a row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const [i, letter] of Array.from(a).entries()) {
    const next = [i + 1];
    for (const [j, other] of Array.from(b).entries()) {
      const replaced = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
