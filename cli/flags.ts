/** Reads flags as commander leaves them: texts, lists of texts, switches. */
import type { Flags } from './job.js';
import { UsageError } from './usage.js';

/** For flags that may be repeated: `.option('--range <r>', '…', collect)`. */
export function collect(value: string, earlier: string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}

export function text(flags: Flags, name: string): string | undefined {
  const value = flags[name];
  return typeof value === 'string' ? value : undefined;
}

export function texts(flags: Flags, name: string): string[] {
  const value = flags[name];
  return Array.isArray(value) ? value : [];
}

export function isSet(flags: Flags, name: string): boolean {
  return flags[name] === true;
}

/** The flag's value, checked; undefined when it was left out. */
export function optional<T>(flags: Flags, name: string, parse: (flag: string, value: string) => T): T | undefined {
  const value = text(flags, name);
  return value === undefined ? undefined : parse(flagName(name), value);
}

/** The flag's value, checked; refused when it was left out. */
export function needed<T>(flags: Flags, name: string, parse: (flag: string, value: string) => T, remedy: string): T {
  const value = optional(flags, name, parse);
  if (value === undefined) throw new UsageError(`${flagName(name)} is missing`, remedy);
  return value;
}

/** internalPort → --internal-port */
export function flagName(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
