/** Key files and known hosts of the servers. */
import { constants, readFileSync } from 'node:fs';
import { mkdir, open, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isSshPublicKey } from '../../shared/tunnel-address.js';
import { knownHostsText, type Server } from './argv.js';
import type { TunnelsConfig } from './config.js';

/** Undefined: ssh will take it. `uid`: of this process. */
export async function keyProblem(path: string, uid: number): Promise<string | undefined> {
  let handle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const { mode, uid: owner, isFile } = await handle.stat().then(stat => ({ mode: stat.mode & 0o777, uid: stat.uid, isFile: stat.isFile() }));
    if (!isFile) return `${path} is no file`;
    if (owner !== uid) return `${path} belongs to uid ${owner}, and the agent runs as uid ${uid}: chown it`;
    if ((mode & 0o177) !== 0) return `${path} has mode 0${mode.toString(8)}, so others may use it: chmod 0600 it`;
    return undefined;
  } catch (error) {
    return `${path} cannot be read: ${(error as Error).message}`;
  } finally {
    await handle?.close();
  }
}

/** A file of the host keys of each server; written whole and renamed, so that an ssh that starts meanwhile sees the old text or the new one. */
export async function writeKnownHosts(folder: string, servers: Readonly<Record<string, Server>>): Promise<void> {
  for (const [name, server] of Object.entries(servers)) {
    const path = knownHostsPath(folder, name);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const handle = await open(`${path}.new`, 'w', 0o600);
    try {
      await handle.writeFile(knownHostsText(name, server));
    } finally {
      await handle.close();
    }
    await rename(`${path}.new`, path);
  }
}

export function knownHostsPath(folder: string, server: string): string {
  return join(folder, 'known_hosts', server);
}

/** Key with which this host, behind NAT, comes to its gateway. Throws when it cannot be read. */
export function tunnelKeyOf({ tunnels: { gateway, servers } }: { tunnels: Pick<TunnelsConfig, 'gateway' | 'servers'> }): { tunnelKey?: string } {
  const server = gateway === undefined ? undefined : servers[gateway];
  if (server === undefined) return {};
  const path = `${server.keyFile}.pub`;
  const text = readFileSync(path, 'utf8').trim().split(/\s+/).slice(0, 2).join(' ');
  if (!isSshPublicKey(text)) throw new Error(`${path} has no public key in it: ssh-keygen -y -f ${server.keyFile} > ${path}`);
  return { tunnelKey: text };
}
