/** Processes of portlease's own nginx, told from any other nginx by the mark of a config that they keep open. */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { readStat } from '../holders/process.js';
import type { NginxPaths } from './paths.js';

export type NginxProcess = {
  readonly pid: number;
  /** With the pid this names one process for good. */
  readonly startTicks: number;
  readonly parent: number;
  /** Number of the config that it runs. */
  readonly serial: number;
};

const PROC = '/proc';
/** What the kernel keeps of a program's name. */
const COMM_LENGTH = 15;

/** All of them, masters and workers of any age. */
export function findProcesses(program: string, paths: NginxPaths): NginxProcess[] {
  return namesIn(PROC).filter(name => /^\d+$/.test(name)).flatMap(name => processOf(Number(name), program, paths) ?? []);
}

/** Undefined: there is no such process, or it is not portlease's nginx. */
export function processOf(pid: number, program: string, { marks, mark }: NginxPaths): NginxProcess | undefined {
  const stat = readStat(PROC, pid);
  if (stat === undefined || stat.program !== basename(program).slice(0, COMM_LENGTH)) return undefined;
  const prefix = `${marks}/`;
  for (const fd of namesIn(`${PROC}/${pid}/fd`)) {
    const link = linkAt(`${PROC}/${pid}/fd/${fd}`);
    const serial = link.startsWith(prefix) ? Number(/^\d+/.exec(link.slice(prefix.length))?.[0] ?? NaN) : NaN;
    // The file itself: in a container a link may have the same text.
    if (Number.isSafeInteger(serial) && isSameFile(`${PROC}/${pid}/fd/${fd}`, mark(serial))) return { pid, startTicks: stat.startTicks, parent: parentOf(pid), serial };
  }
  return undefined;
}

/** The same process is still there. */
export function isThere({ pid, startTicks }: NginxProcess): boolean {
  return readStat(PROC, pid)?.startTicks === startTicks && !isZombie(pid);
}

/** Inodes of its sockets. */
export function socketsOf({ pid }: NginxProcess): Set<number> {
  return new Set(namesIn(`${PROC}/${pid}/fd`).flatMap(fd => {
    const inode = /^socket:\[(\d+)\]$/.exec(linkAt(`${PROC}/${pid}/fd/${fd}`))?.[1];
    return inode === undefined ? [] : [Number(inode)];
  }));
}

/** Workers of a master: its children. */
export function childrenOf({ pid }: NginxProcess): number[] {
  return textAt(`${PROC}/${pid}/task/${pid}/children`).split(' ').filter(word => word !== '').map(Number);
}

function statFields(pid: number): string[] {
  const text = textAt(`${PROC}/${pid}/stat`);
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

function parentOf(pid: number): number {
  return Number(statFields(pid)[1] ?? 0);
}

function isZombie(pid: number): boolean {
  return ['Z', 'X', ''].includes(statFields(pid)[0] ?? '');
}

function isSameFile(a: string, b: string): boolean {
  const [one, other] = [a, b].map(path => statSync(path, { throwIfNoEntry: false }));
  return one !== undefined && one.dev === other?.dev && one.ino === other.ino;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function linkAt(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function textAt(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}
