/** The unix socket file: its folder closed to others, a dead process's file replaced, a living one's refused. */
import { chmodSync, existsSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';

const PROBE_MS = 1000;

/** Makes way for a socket at `socketPath`. Throws when somebody serves it, or when something else than a socket is there. */
export async function prepareSocket(socketPath: string): Promise<void> {
  const folder = path.dirname(socketPath);
  if (!existsSync(folder)) mkdirSync(folder, { recursive: true, mode: 0o700 });
  const found = lstatSync(socketPath, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error(`listen.unix: ${socketPath} is there and is no socket: remove it, or name another path`);
  if (await isServed(socketPath)) throw new Error(`listen.unix: another process serves ${socketPath}: stop it, or name another path`);
  rmSync(socketPath);
}

/** Only the daemon's user may connect. */
export function closeToOthers(socketPath: string): void {
  chmodSync(socketPath, 0o600);
}

function isServed(socketPath: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    const end = (served: boolean): void => {
      socket.destroy();
      resolve(served);
    };
    socket.setTimeout(PROBE_MS, () => { end(true); });
    socket.once('connect', () => { end(true); });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      socket.destroy();
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      else reject(new Error(`listen.unix: ${socketPath} cannot be tried: ${error.message}`, { cause: error }));
    });
  });
}
