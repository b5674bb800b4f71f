/** One agent for a state folder, without flock: a name that the kernel frees when its process ends, however it ends. */
import { mkdir, stat } from 'node:fs/promises';
import { createServer } from 'node:net';

/** Another process works on this folder. */
export class NotAlone extends Error {
  override readonly name = 'NotAlone';
}

export type Held = { close(): Promise<void> };

/**
 * Makes the folder if it is not there, and holds it; throws NotAlone when another process of this network namespace does. Folders are
 * told apart by device and inode, not by path.
 */
export async function holdAlone(folder: string): Promise<Held> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { dev, ino } = await stat(folder);
  const server = createServer(client => client.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', error => reject((error as NodeJS.ErrnoException).code === 'EADDRINUSE' ? new NotAlone(`another agent works on ${folder}`) : error));
    // A leading NUL: a name of its own, no file.
    server.listen({ path: `\0portlease-agent/${dev}/${ino}`, exclusive: true }, resolve);
  });
  return { close: () => new Promise(resolve => server.close(() => resolve())) };
}
