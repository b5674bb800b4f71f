/** A PostgreSQL cluster of the comparison's own: in its directory, on a unix socket there, as durable as it is shipped. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { run } from '../../support/run.js';
import { eventually } from '../../support/wait.js';
import type { LoggedProcess } from '../../support/logged-process.js';
import { identity, startServer } from './place.js';

/** initdb and postgres refuse root; Debian's package makes this user. */
const USER = 'postgres';
const VERSIONS = '/usr/lib/postgresql';
/** It writes a checkpoint before it ends. */
const STOP_MS = 15_000;
const DURABLE = ['fsync=on', 'synchronous_commit=on', 'full_page_writes=on'];

export type Cluster = { admin: pg.Client; socketDirectory: string; program: (name: string) => string };

export async function withPostgres<T>(directory: string, use: (cluster: Cluster) => Promise<T>): Promise<T> {
  const home = mkdtempSync(join(directory, 'postgres-'));
  await promisify(execFile)('chown', [`${USER}:${USER}`, home]);
  const server = await startCluster(home);
  const admin = new pg.Client(connection(home));
  admin.on('error', () => undefined);
  try {
    await eventually('PostgreSQL to answer', () => existsSync(join(home, '.s.PGSQL.5432')) && server.line(/ready to accept connections/), { withinMs: 15_000, hint: () => server.tail() });
    await admin.connect();
    return await use({ admin, socketDirectory: home, program });
  } finally {
    await admin.end().catch(() => undefined);
    await server.stop('SIGINT', STOP_MS);
    rmSync(home, { recursive: true });
  }
}

async function startCluster(home: string): Promise<LoggedProcess> {
  const data = join(home, 'data');
  await run(['setpriv', ...identity(USER), program('initdb'), '--pgdata', data, '--auth=trust', '--no-locale', '--encoding=UTF8', '--no-sync'], { timeoutMs: 60_000 });
  const settings = ['listen_addresses=', `unix_socket_directories=${home}`, 'port=5432', ...DURABLE].flatMap((setting) => ['-c', setting]);
  return startServer([program('postgres'), '-D', data, ...settings], { user: USER, logFile: `${home}.log` });
}

/** Nothing of it comes from the environment of the caller. */
export function connection(socketDirectory: string): pg.ClientConfig {
  return { host: socketDirectory, port: 5432, user: USER, database: 'postgres' };
}

/** A program of the newest PostgreSQL that Debian has installed here: they are not in PATH. */
function program(name: string): string {
  const versions = existsSync(VERSIONS) ? readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a)) : [];
  const found = versions.map((version) => join(VERSIONS, version, 'bin', name)).find((file) => existsSync(file));
  if (found === undefined) throw new Error(`there is no ${name} in ${VERSIONS}: run node scripts/install.mjs --comparisons`);
  return found;
}
