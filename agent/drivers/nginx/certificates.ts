/**
 * The operator's certificates. What nginx gets is a copy that was found to work, named by its content: so a file that is broken or half written
 * keeps no route from being served with the one before, and a changed file is a changed config, which is reloaded.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { Log } from '../../../shared/log.js';
import { replaceFile } from './files.js';
import type { ServedRoute } from './render.js';
import type { ProxiedRoute } from './route.js';

export type CertificatesOptions = { folder: string; copies: string; log: Log };

/** `seen`: of the files when they were read. `file`: the last copy that works. */
type Known = { seen: string; file: string | undefined; problem: string };

const OF_OTHERS = 'default';

export class Certificates {
  /** Counts up when a pool gets another one. */
  version = 0;
  private readonly known = new Map<string, Known>();

  constructor(private readonly options: CertificatesOptions) {}

  /** What nginx serves already stays until there is something else that works. */
  adopt(routes: Iterable<Pick<ServedRoute, 'connections' | 'certificate'>>): void {
    for (const { connections, certificate } of routes) {
      if (connections !== undefined && certificate !== undefined && existsSync(certificate)) this.known.set(connections.pool, { seen: '', file: certificate, problem: '' });
    }
  }

  /** Copies that nginx does not use go. */
  forgetOthers(routes: Iterable<Pick<ServedRoute, 'certificate'>>): void {
    const used = new Set([...Array.from(routes, ({ certificate }) => certificate), ...Array.from(this.known.values(), ({ file }) => file)]);
    const { copies } = this.options;
    for (const name of readdirSync(copies)) if (!used.has(join(copies, name))) rmSync(join(copies, name), { force: true });
  }

  /** Looks again at the files of these pools. */
  refresh(pools: Iterable<string>): void {
    for (const pool of pools) this.look(pool);
  }

  /** Certificate and key in one file; undefined while there is none that works. */
  fileOf(pool: string): string | undefined {
    return this.known.get(pool)?.file;
  }

  problemOf(pool: string): string {
    return this.known.get(pool)?.problem ?? `there is no certificate for pool ${pool}`;
  }

  private look(pool: string): void {
    const name = this.stampOf(pool) === '' ? OF_OTHERS : pool;
    const seen = `${name} ${this.stampOf(name)}`;
    const before = this.known.get(pool);
    if (before?.seen === seen) return;
    const { file = before?.file, problem = '' } = this.read(name);
    this.known.set(pool, { seen, file, problem });
    if (file !== before?.file) this.version++;
    if (problem === '') this.options.log.info({ pool, certificate: `${name}.crt` }, 'the certificate of a pool was read');
    else this.options.log.error({ pool, problem, remains: file !== undefined }, 'the certificate of a pool cannot be used');
  }

  private read(name: string): { file?: string; problem?: string } {
    const { folder, copies } = this.options;
    try {
      const [cert, key] = ['crt', 'key'].map(kind => readFileSync(join(folder, `${name}.${kind}`), 'utf8')) as [string, string];
      createSecureContext({ cert, key });
      const text = `${cert.trimEnd()}\n${key.trimEnd()}\n`;
      const file = join(copies, `${createHash('sha256').update(text).digest('hex').slice(0, 32)}.pem`);
      replaceFile(file, text, 0o600);
      return { file };
    } catch (error) {
      return { problem: `${name}.crt and ${name}.key in ${folder}: ${(error as Error).message}` };
    }
  }

  /** Changes with the files; '' when one of them is missing. */
  private stampOf(name: string): string {
    const stats = ['crt', 'key'].map(kind => statSync(join(this.options.folder, `${name}.${kind}`), { throwIfNoEntry: false }));
    return stats.some(stat => stat === undefined) ? '' : stats.map(stat => `${stat?.ino}-${stat?.size}-${stat?.mtimeMs}`).join(' ');
  }
}

export function poolsWithTls(routes: Iterable<ProxiedRoute>): Set<string> {
  return new Set(Array.from(routes).flatMap(({ connections }) => (connections?.tls === 'terminate' ? [connections.pool] : [])));
}
