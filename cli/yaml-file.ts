/** A YAML (or JSON) file that a flag names, read whole. */
import { readFileSync, statSync } from 'node:fs';
import { parseDocument } from 'yaml';
import { quoted, UsageError } from './usage.js';

const MAX_FILE = 1 << 20;

/** What the file holds. `flag` names the file in errors, `remedy` says what it should be. Throws UsageError. */
export function readYaml(flag: string, path: string, remedy: string): unknown {
  const document = parseDocument(readText(flag, path, remedy));
  const [problem] = document.errors;
  if (problem !== undefined) throw new UsageError(`${flag}: ${quoted(path)}: ${problem.message.split('\n')[0] ?? ''}`, 'Correct the YAML.');
  try {
    return document.toJS();
  } catch (error) {
    throw new UsageError(`${flag}: ${quoted(path)}: ${(error as Error).message.split('\n')[0] ?? ''}`, 'Correct the YAML.');
  }
}

function readText(flag: string, path: string, remedy: string): string {
  try {
    if (statSync(path).size <= MAX_FILE) return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`${flag}: ${quoted(path)} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`, remedy);
  }
  throw new UsageError(`${flag}: ${quoted(path)} is larger than 1 MiB`, remedy);
}
