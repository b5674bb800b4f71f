/** Version of this program, as package.json says. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Looks in `folder` and above it: sources and built files lie at different depths. */
export function programVersion(folder: string): string {
  for (let at = folder; at !== dirname(at); at = dirname(at)) {
    const version = versionIn(join(at, 'package.json'));
    if (version !== undefined) return version;
  }
  throw new Error(`no package.json of portlease in ${folder} or above it`);
}

function versionIn(path: string): string | undefined {
  try {
    const { name, version } = JSON.parse(readFileSync(path, 'utf8')) as { name?: string; version?: string };
    return name === 'portlease' ? version : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
