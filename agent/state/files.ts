/** Durable files: what these resolve for survives a power cut. */
import { open, unlink, type FileHandle } from 'node:fs/promises';

/** The open handle of the file, which is durable; a failure leaves no part of it. */
export async function writeNewFile(path: string, bytes: Buffer): Promise<FileHandle> {
  const handle = await open(path, 'w', 0o600);
  try {
    await writeAll(handle, bytes, 0);
    await handle.sync();
    return handle;
  } catch (error) {
    await handle.close();
    await unlink(path).catch(() => undefined);
    throw error;
  }
}

/** One write(2) may take only a part. */
export async function writeAll(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
