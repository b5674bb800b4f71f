/** Where the project lies. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The folder of package.json; the same for the sources and for what is built from them. */
export const ROOT = rootFrom(import.meta.dirname);

function rootFrom(folder: string): string {
  if (existsSync(join(folder, 'package.json'))) return folder;
  if (folder === dirname(folder)) throw new Error(`there is no package.json above ${import.meta.dirname}`);
  return rootFrom(dirname(folder));
}
