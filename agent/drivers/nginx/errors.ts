/** What nginx says when it refuses a config. Pure. */
import { isIP } from 'node:net';
import type { Transport } from '../../../shared/ports.js';

/** An address that it could not listen on. */
export type BindFailure = { address: string; port: number; problem: string };

export type Refusal = {
  binds: BindFailure[];
  /** Names of the route files that it does not like. */
  files: string[];
  /** Its last words. */
  problem: string;
};

const BIND = /\b(?:bind\(\) to|setsockopt\([A-Z_]+\)) (?:\[([0-9a-f:.]+)\]|([0-9.]+)):(\d+) failed \((\d+: [^)]*)\)/;
const FILE = /\/routes\/(route-[a-z0-9-]{1,18}\.conf)(?::\d+|")/;

/** `text`: lines of the error log, or of standard error. Undefined: nothing in it says that a config was refused. */
export function readRefusal(text: string): Refusal | undefined {
  const lines = text.split('\n').filter(line => line.includes('[emerg]'));
  if (lines.length === 0) return undefined;
  const binds = new Map<string, BindFailure>();
  const files = new Set<string>();
  for (const line of lines) {
    const [, v6, v4, port, problem = ''] = BIND.exec(line) ?? [];
    const address = v6 ?? v4;
    if (address !== undefined && isIP(address) !== 0) binds.set(`${address} ${port} ${problem}`, { address, port: Number(port), problem });
    const file = FILE.exec(line)?.[1];
    if (file !== undefined) files.add(file);
  }
  return { binds: [...binds.values()], files: [...files], problem: wordsOf(lines.at(-1) ?? '') };
}

function wordsOf(line: string): string {
  return line.slice(line.indexOf('[emerg]') + '[emerg]'.length).replace(/^[\s\d#:*]*/, '').trim();
}

/** nginx does not say of which transport the socket was: of all that the route has. */
export function portsOfBinds(binds: readonly BindFailure[], transportsOf: (port: number) => readonly Transport[]): { transport: Transport; port: number; problem: string }[] {
  const found = new Map<string, { transport: Transport; port: number; problem: string }>();
  for (const { address, port, problem } of binds) {
    for (const transport of transportsOf(port)) found.set(`${transport} ${port}`, { transport, port, problem: `nginx cannot listen on ${address} ${transport} port ${port}: ${problem}` });
  }
  return [...found.values()];
}
