/** Files that ship beside the code, found from the sources and from dist/ alike. */
import { readFileSync } from 'node:fs';
import path from 'node:path';

type Manifest = { name?: string; version: string };

/** Absolute path of `name`, given from the folder of package.json. */
export function packageFile(name: string): string {
  return path.join(packageOf(import.meta.dirname).folder, name);
}

/** Version of portlease, as the package.json in `folder` or above it says. */
export function packageVersion(folder: string = import.meta.dirname): string {
  return packageOf(folder).manifest.version;
}

function packageOf(start: string): { folder: string; manifest: Manifest } {
  for (let folder = start; ; folder = path.dirname(folder)) {
    const manifest = manifestIn(folder);
    if (manifest?.name === 'portlease') return { folder, manifest };
    if (folder === path.dirname(folder)) throw new Error(`no package.json of portlease in ${start} or above it: install it whole`);
  }
}

function manifestIn(folder: string): Manifest | undefined {
  try {
    return JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as Manifest;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
