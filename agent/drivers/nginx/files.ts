/** The config on disk: each file written whole and renamed. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NginxPaths } from './paths.js';
import type { RouteFiles, ServedRoute } from './render.js';

/** A config as a whole. */
export type Config = { readonly serial: number; readonly main: string; readonly files: RouteFiles; readonly routes: readonly ServedRoute[] };

export function makeFolders({ directory, routes, marks, states, certificates, logs }: NginxPaths): void {
  for (const folder of [directory, routes, marks, states, certificates, logs]) mkdirSync(folder, { recursive: true, mode: 0o750 });
}

/** Puts the config in the place of `before`, as far as they differ: undefined when it is not known what is there. */
export function writeConfig(paths: NginxPaths, { serial, main, files, routes }: Config, before: RouteFiles | undefined): void {
  // nginx opens the mark by its name: it is there before a process can hold it.
  writeFileSync(paths.mark(serial), '', { flag: 'a', mode: 0o640 });
  replaceFile(paths.state(serial), JSON.stringify(routes));
  const there = before === undefined ? readdirSync(paths.routes) : [...before.keys()];
  for (const [name, text] of files) if (before?.get(name) !== text) replaceFile(join(paths.routes, name), text);
  for (const name of there) if (!files.has(name)) rmSync(join(paths.routes, name), { force: true });
  replaceFile(paths.main, main);
}

/** Undefined: it is not known any more what that config led where. */
export function readRoutes(paths: NginxPaths, serial: number): ServedRoute[] | undefined {
  try {
    return JSON.parse(readFileSync(paths.state(serial), 'utf8')) as ServedRoute[];
  } catch {
    return undefined;
  }
}

/** Empty when there is none. */
export function readMain({ main }: NginxPaths): string {
  try {
    return readFileSync(main, 'utf8');
  } catch {
    return '';
  }
}

export function highestSerial({ marks, states }: NginxPaths): number {
  return Math.max(0, ...[...readdirSync(marks), ...readdirSync(states)].map(name => Number(/^\d+/.exec(name)?.[0] ?? 0)));
}

/** Marks and states of configs that nobody runs go. */
export function forgetOthers({ marks, states }: NginxPaths, used: ReadonlySet<number>): void {
  for (const folder of [marks, states]) {
    for (const name of readdirSync(folder)) if (!used.has(Number(/^\d+/.exec(name)?.[0] ?? 0))) rmSync(join(folder, name), { force: true });
  }
}

export function replaceFile(path: string, text: string, mode = 0o640): void {
  const fresh = `${path}.new`;
  writeFileSync(fresh, text, { mode });
  renameSync(fresh, path);
}
