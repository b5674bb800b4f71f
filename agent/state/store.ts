/**
 * The accepted state on disk, in `DIR/agent.state`: at every instant, also at a power cut, the file holds all that was accepted.
 * A change costs one appended line and one fdatasync; when the changes outgrow the state, the file is written anew: whole,
 * fsynced, renamed, its folder fsynced. One process at a time (it holds the writer's lock).
 */
import { mkdir, open, readFile, rename, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Delta } from '../../shared/desired.js';
import { applyDelta, applyWelcome, NO_STATE, type AcceptedState, type Applied, type Owner } from './accepted.js';
import { syncFolder, writeAll, writeNewFile } from './files.js';
import { changeLine, Corrupt, recover, snapshotLine, type Change, type Recovered } from './format.js';

const FILE = 'agent.state';
/** Below this a rewrite saves nothing. */
const MIN_REWRITE_BYTES = 64 * 1024;

/** The state on disk cannot be used; the message says what to do. Starting without it would serve nothing, silently. */
export class StateUnusable extends Error {
  override readonly name = 'StateUnusable';
}

export type AcceptResult = { kind: Applied['kind']; state: AcceptedState };

type OpenFile = { handle: FileHandle; snapshotBytes: number; size: number };

export class StateStore {
  readonly #path: string;
  readonly #owner: Owner;
  #state: AcceptedState;
  #file: OpenFile | undefined;
  /** Last of the operations, which run one after the other. */
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(path: string, owner: Owner, start: { state: AcceptedState; file: OpenFile | undefined }) {
    this.#path = path;
    this.#owner = owner;
    this.#state = start.state;
    this.#file = start.file;
  }

  /** Reads what is there; no file: no state. Throws StateUnusable when the file is damaged, unreadable or another host's. */
  static async open(dir: string, owner: Owner): Promise<StateStore> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await syncFolder(dirname(dir));
    const path = join(dir, FILE);
    const content = await readIfThere(path);
    if (content === undefined) return new StateStore(path, owner, { state: NO_STATE, file: undefined });
    const recovered = understand(path, content, owner);
    return new StateStore(path, owner, { state: recovered.state, file: await openForAppend(path, recovered) });
  }

  /** What is durable. */
  current(): AcceptedState {
    return this.#state;
  }

  /** Takes the number of a new session; durable when it resolves. Rejects, with nothing changed, when the disk refuses. */
  welcome(session: number, epoch: number): Promise<'accepted' | 'older'> {
    return this.#enqueue(async () => {
      const result = applyWelcome(this.#state, session, epoch);
      if (result.kind === 'accepted') await this.#write({ kind: 'welcome', session, epoch }, result.state);
      return result.kind;
    });
  }

  /** Takes deltas in their order up to the first that is refused; what was taken is durable when it resolves. Rejects, with
   *  nothing changed, when the disk refuses. */
  accept(deltas: readonly Delta[]): Promise<AcceptResult> {
    return this.#enqueue(async () => {
      const { kind, state, taken } = applyAll(this.#state, deltas);
      if (taken > 0) await this.#write({ kind: 'deltas', deltas: deltas.slice(0, taken) }, state);
      return { kind, state };
    });
  }

  /** Waits for the operations that were begun; later ones reject. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#last.catch(() => undefined);
    await this.#file?.handle.close();
    this.#file = undefined;
  }

  #enqueue<T>(operation: () => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new Error(`${this.#path} is closed`));
    const result = this.#last.catch(() => undefined).then(operation);
    this.#last = result;
    return result;
  }

  async #write(change: Change, next: AcceptedState): Promise<void> {
    const line = Buffer.from(changeLine(change));
    const isWhole = change.kind === 'deltas' && change.deltas.some(delta => delta.base === undefined);
    if (isWhole || this.#file === undefined) await this.#rewrite(next);
    else if (!isOutgrown(this.#file)) await this.#append(this.#file, line);
    else await this.#rewriteOrAppend(next, line);
    this.#state = next;
  }

  /** A disk without room for a whole new file may have room for a line. */
  async #rewriteOrAppend(next: AcceptedState, line: Buffer): Promise<void> {
    try {
      await this.#rewrite(next);
    } catch (error) {
      if (this.#file === undefined) throw error;
      await this.#append(this.#file, line);
    }
  }

  async #append(file: OpenFile, line: Buffer): Promise<void> {
    try {
      await writeAll(file.handle, line, file.size);
    } catch (error) {
      await file.handle.truncate(file.size).catch(() => this.#abandonFile());
      throw error;
    }
    try {
      await file.handle.datasync();
    } catch (error) {
      await this.#abandonFile();
      throw error;
    }
    file.size += line.length;
  }

  /** The kernel reports a failed fsync once and then forgets it: what is on the disk is unknown, and the next write makes a new file. */
  async #abandonFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.handle.close().catch(() => undefined);
  }

  async #rewrite(next: AcceptedState): Promise<void> {
    const bytes = Buffer.from(snapshotLine(this.#owner, next));
    const handle = await writeNewFile(`${this.#path}.new`, bytes);
    try {
      await rename(`${this.#path}.new`, this.#path);
      await this.#abandonFile();
      await syncFolder(dirname(this.#path));
    } catch (error) {
      await handle.close();
      throw error;
    }
    this.#file = { handle, snapshotBytes: bytes.length, size: bytes.length };
  }
}

function isOutgrown({ size, snapshotBytes }: OpenFile): boolean {
  return size - snapshotBytes > Math.max(snapshotBytes, MIN_REWRITE_BYTES);
}

function applyAll(start: AcceptedState, deltas: readonly Delta[]): AcceptResult & { taken: number } {
  let state = start;
  for (const [taken, delta] of deltas.entries()) {
    const result = applyDelta(state, delta);
    if (result.kind !== 'accepted') return { kind: result.kind, state, taken };
    state = result.state;
  }
  return { kind: 'accepted', state, taken: deltas.length };
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new StateUnusable(`cannot read the state of this agent: ${(error as Error).message}`, { cause: error });
  }
}

function understand(path: string, content: Buffer, owner: Owner): Recovered {
  const recovered = recoverOrExplain(path, content, owner);
  const was = recovered.owner;
  const [driver, before] = [owner.driver ?? 'iptables', was.driver ?? 'iptables'];
  if (was.host === owner.host && was.gateway === owner.gateway) {
    if (driver === before) return recovered;
    throw new StateUnusable(`${path} was written with driver: ${before}, and the config says driver: ${driver}. Correct the config, or, to change over: release what this ` +
      `host serves, stop the agent, move ${path} away, run \`portlease hosts replace ${owner.host} --reason WHY\`${before === 'iptables' ? ', reboot (its rules stay until then)' : ''}, and start it again.`);
  }
  throw new StateUnusable(`${path} belongs to host ${was.host} of gateway ${was.gateway}, but this agent is configured as host ` +
    `${owner.host} of gateway ${owner.gateway}. Correct the config, or, to give the machine its new name, move ${path} away.`);
}

function recoverOrExplain(path: string, content: Buffer, { host }: Owner): Recovered {
  try {
    return recover(content);
  } catch (error) {
    if (!(error instanceof Corrupt)) throw error;
    throw new StateUnusable(`${path} is damaged: ${error.message}. Rules of this host stay as they are. To go on: move ${path} away, ` +
      `run \`portlease hosts replace ${host} --reason WHY\`, and start the agent again: the coordinator then sends everything anew.`, { cause: error });
  }
}

async function openForAppend(path: string, { snapshotBytes, goodBytes }: Recovered): Promise<OpenFile> {
  const handle = await open(path, 'r+');
  try {
    await handle.truncate(goodBytes);
    await handle.sync();
    await syncFolder(dirname(path));
  } catch (error) {
    await handle.close();
    throw error;
  }
  return { handle, snapshotBytes, size: goodBytes };
}
