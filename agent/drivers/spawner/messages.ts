/** What agent and spawner say to each other: a header in JSON, and bytes as they are. Both ends are of the same release. */

/** Run this program; the bytes are its stdin. `readyMs`: afterwards keep one like it ready, none for longer than that. */
export type Request = { id: number; file: string; argv: readonly string[]; deadlineMs: number; maxOutputBytes: number; path: string; readyMs?: number };

/** How it ended; the bytes are its stdout, `stdoutBytes` long, and its stderr. */
export type Answer = { id: number; exitCode: number | null; signal: NodeJS.Signals | null; timedOut: boolean; problem?: string; stdoutBytes: number };

export type Message = { header: unknown; body: Buffer };

/** Two lengths: of the header and of the bytes. */
const PREFIX_BYTES = 8;
const MAX_HEADER_BYTES = 64 * 1024 * 1024;

/** To be written in this order. */
export function encode(header: Request | Answer, ...parts: readonly Buffer[]): Buffer[] {
  const json = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(json.length, 0);
  prefix.writeUInt32BE(parts.reduce((sum, part) => sum + part.length, 0), 4);
  return [Buffer.concat([prefix, json]), ...parts.filter(part => part.length > 0)];
}

/** Puts messages together from chunks of any size. */
export class MessageReader {
  #chunks: Buffer[] = [];
  #bytes = 0;
  #neededBytes = PREFIX_BYTES;

  /** The messages that are whole with this chunk. Throws when it cannot be the beginning of one. */
  push(chunk: Buffer): Message[] {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes < this.#neededBytes) return [];
    let rest = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    const messages: Message[] = [];
    for (;;) {
      const { headerBytes, totalBytes } = lengths(rest);
      this.#neededBytes = totalBytes;
      if (rest.length < totalBytes) break;
      const body = PREFIX_BYTES + headerBytes;
      messages.push({ header: JSON.parse(rest.toString('utf8', PREFIX_BYTES, body)), body: rest.subarray(body, totalBytes) });
      rest = rest.subarray(totalBytes);
    }
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#bytes = rest.length;
    return messages;
  }
}

/** Of the first message; of its prefix only while that is not whole. */
function lengths(bytes: Buffer): { headerBytes: number; totalBytes: number } {
  if (bytes.length < PREFIX_BYTES) return { headerBytes: 0, totalBytes: PREFIX_BYTES };
  const headerBytes = bytes.readUInt32BE(0);
  if (headerBytes === 0 || headerBytes > MAX_HEADER_BYTES) throw new Error(`not a message: a header of ${headerBytes} bytes`);
  return { headerBytes, totalBytes: PREFIX_BYTES + headerBytes + bytes.readUInt32BE(4) };
}
