/**
 * Config: a YAML file, overridden by environment variables, overridden by flags; checked as a whole, once, at main.
 * Schemas are made of z.strictObject, so that a key that nobody reads is refused, and of the types re-exported here.
 */
import { readFileSync } from 'node:fs';
import { parseDocument } from 'yaml';
import type { z } from 'zod';
import { envName, fromText, keysAt, leavesOf, nearest, type Leaf } from './config/keys.js';

export { cidrText, dnsLabelText, durationMs, endpointText, filePathText, ipAddressText, parseEndpoint, tlsFiles } from './config/types.js';

/** Names the variable that names the file itself; mains read it. */
const FILE_VARIABLE = 'CONFIG';
const SECRET = /token|password|secret|credential/i;
const MAX_SHOWN = 80;

/** All that is wrong with a config. Mains print the message and exit with EX_CONFIG, which systemd does not retry. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`config: ${problems.join('\nconfig: ')}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** sysexits.h: something is wrong with the configuration. */
export const EX_CONFIG = 78;

export type ConfigSource<S extends z.ZodObject> = {
  schema: S;
  /** `optional`: its absence is no error (the default path). undefined: no file. */
  file: { path: string; optional: boolean } | undefined;
  env: Readonly<Record<string, string | undefined>>;
  /** By key path: { 'timing.heartbeat': '5s' }; undefined ones are left out. */
  flags: Readonly<Record<string, string | undefined>>;
  envPrefix: string;
};

type Tree = Record<string, unknown>;
/** Where the value of a key path came from, for errors. */
type Origins = Map<string, string>;

/** The config, typed; throws ConfigError with every problem at once. Reads the file, nothing else. */
export function loadConfig<S extends z.ZodObject>({ schema, file, env, flags, envPrefix }: ConfigSource<S>): z.output<S> {
  const leaves = leavesOf(schema);
  const tree = file === undefined ? {} : readTree(file);
  const origins: Origins = new Map();
  const problems = [
    ...applyEnv(tree, { leaves, env, envPrefix, origins }),
    ...applyFlags(tree, { leaves, flags, origins }),
  ];
  const parsed = schema.safeParse(tree);
  const where = file?.path ?? 'the config';
  if (!parsed.success) problems.push(...parsed.error.issues.flatMap((issue) => describe(issue, { schema, tree, origins, where, envPrefix })));
  if (problems.length > 0) throw new ConfigError(problems);
  return parsed.data as z.output<S>;
}

function readTree({ path, optional }: { path: string; optional: boolean }): Tree {
  const text = readText(path, optional);
  const document = parseDocument(text ?? '');
  if (document.errors.length > 0) throw new ConfigError(document.errors.map((error) => `${path}: ${error.message.split('\n')[0] ?? ''}`));
  const tree: unknown = document.toJS();
  if (tree === null || tree === undefined) return {};
  if (typeof tree !== 'object' || Array.isArray(tree)) throw new ConfigError([`${path}: is not a mapping of keys to values`]);
  return tree as Tree;
}

function readText(path: string, optional: boolean): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (optional && code === 'ENOENT') return undefined;
    throw new ConfigError([`${path}: cannot be read (${code}): create the file or name another one with --config`]);
  }
}

function applyEnv(tree: Tree, source: { leaves: Leaf[]; env: ConfigSource<z.ZodObject>['env']; envPrefix: string; origins: Origins }): string[] {
  const byName = new Map(source.leaves.map((leaf) => [envName(source.envPrefix, leaf.path), leaf]));
  const problems: string[] = [];
  for (const [name, text] of Object.entries(source.env)) {
    if (!name.startsWith(source.envPrefix) || text === undefined || name === source.envPrefix + FILE_VARIABLE) continue;
    const leaf = byName.get(name);
    if (leaf === undefined) problems.push(`${name}: no such key${suggestion(name, [...byName.keys()])}`);
    else put(tree, { leaf, text, origin: name, origins: source.origins });
  }
  return problems;
}

function applyFlags(tree: Tree, source: { leaves: Leaf[]; flags: ConfigSource<z.ZodObject>['flags']; origins: Origins }): string[] {
  const byPath = new Map(source.leaves.map((leaf) => [leaf.path.join('.'), leaf]));
  const problems: string[] = [];
  for (const [path, text] of Object.entries(source.flags)) {
    const leaf = byPath.get(path);
    if (text === undefined) continue;
    if (leaf === undefined) problems.push(`--${path}: no such key${suggestion(path, [...byPath.keys()])}`);
    else put(tree, { leaf, text, origin: 'flag', origins: source.origins });
  }
  return problems;
}

/** Sets a leaf. Where the file has something else than a mapping on the way, that stays, and the schema refuses it. */
function put(tree: Tree, { leaf, text, origin, origins }: { leaf: Leaf; text: string; origin: string; origins: Origins }): void {
  let at = tree;
  for (const key of leaf.path.slice(0, -1)) {
    const next = (at[key] ??= {});
    if (typeof next !== 'object' || Array.isArray(next)) return;
    at = next as Tree;
  }
  at[leaf.path.at(-1) ?? ''] = fromText(text, leaf.schema);
  origins.set(leaf.path.join('.'), origin);
}

type Context = { schema: z.ZodObject; tree: Tree; origins: Origins; where: string; envPrefix: string };

function describe(issue: z.core.$ZodIssue, { schema, tree, origins, where, envPrefix }: Context): string[] {
  const path = issue.path.map(String);
  const key = path.join('.');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((unknown) => `${[...path, unknown].join('.')} (${where}): no such key${suggestion(unknown, keysAt(schema, issue.path) ?? [])}`);
  }
  const value = path.reduce<unknown>((at, step) => (at as Tree | undefined)?.[step], tree);
  const origin = origins.get(key) ?? where;
  if (value === undefined && issue.code === 'custom') return [`${key} (default): ${issue.message}`];
  if (value === undefined) return [`${key}: is missing: set it in ${where} or as ${envName(envPrefix, path)}`];
  return [`${key || 'the whole'} (${origin}): ${show(value, key)} ${issue.message}`];
}

function show(value: unknown, key: string): string {
  if (SECRET.test(key)) return '(hidden)';
  const text = JSON.stringify(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

function suggestion(word: string, candidates: string[]): string {
  const near = nearest(word, candidates);
  return near === undefined ? `; known are: ${candidates.join(', ')}` : `; did you mean "${near}"?`;
}
