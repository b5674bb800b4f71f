/** Names of users from /etc/passwd alone: other name services would have to be asked through a child, and may hang. */
import { readFileSync, statSync } from 'node:fs';

const PATH = '/etc/passwd';

/** By uid; the first line of a uid counts. */
export function parsePasswd(text: string): Map<number, string> {
  const names = new Map<number, string>();
  for (const line of text.split('\n')) {
    const [name, , uid] = line.split(':');
    if (name === undefined || uid === undefined || !/^[A-Za-z0-9_][A-Za-z0-9_.$-]{0,31}$/.test(name) || !/^[0-9]+$/.test(uid)) continue;
    if (!names.has(Number(uid))) names.set(Number(uid), name);
  }
  return names;
}

/** Reads the file again when it has changed. */
export class Users {
  private names = new Map<number, string>();
  private readAt = '';

  constructor(private readonly path = PATH) {}

  refresh(): void {
    try {
      const { mtimeMs, ino, size } = statSync(this.path);
      const at = `${ino} ${mtimeMs} ${size}`;
      if (at === this.readAt) return;
      this.names = parsePasswd(readFileSync(this.path, 'latin1'));
      this.readAt = at;
    } catch {
      this.names = new Map();
    }
  }

  /** '' for a user that the file does not name. */
  nameOf(uid: number): string {
    return this.names.get(uid) ?? '';
  }
}
