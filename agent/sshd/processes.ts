/** Connections to the sshd of this machine: the process of each, proven by its start time, what it listens on, and how long its peer has been silent. */
import { readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { readStat } from '../drivers/holders/process.js';
import { parseListeners } from '../drivers/connections/listeners.js';
import type { RunChild } from '../drivers/child.js';

/** `pid`: of the privileged process of one connection, which runs the command for keys; its child carries the connection. */
export type SessionProcess = { readonly pid: number; readonly startTicks: number };

const PROC = '/proc';
const PROGRAMS = new Set(['sshd', 'sshd-session', 'sshd-auth']);
/** What clients send through a session is not its peer's. */
const TUNNEL_ADDRESSES = '127.64.0.0/10';
const SOCKET = /^socket:\[(\d+)\]$/;

/** Undefined: there is no such process, or it is no sshd of this machine's root in the agent's network. */
export function sessionProcess(pid: number): SessionProcess | undefined {
  const stat = readStat(PROC, pid);
  if (stat === undefined || !PROGRAMS.has(stat.program) || isDead(pid)) return undefined;
  try {
    const isRoots = statSync(`${PROC}/${pid}`).uid === 0;
    const isHere = readlinkSync(`${PROC}/${pid}/ns/net`) === readlinkSync(`${PROC}/self/ns/net`);
    return isRoots && isHere ? { pid, startTicks: stat.startTicks } : undefined;
  } catch {
    return undefined;
  }
}

export function isThere({ pid, startTicks }: SessionProcess): boolean {
  return readStat(PROC, pid)?.startTicks === startTicks && !isDead(pid);
}

/** The process and those that it made, as far as they are sshd. */
export function familyOf(session: SessionProcess): SessionProcess[] {
  if (!isThere(session)) return [];
  const children = textAt(`${PROC}/${session.pid}/task/${session.pid}/children`).split(' ').filter(word => word !== '').map(Number);
  return [session, ...children.flatMap(pid => {
    const stat = readStat(PROC, pid);
    return stat !== undefined && PROGRAMS.has(stat.program) ? familyOf({ pid, startTicks: stat.startTicks }) : [];
  })];
}

/** TCP ports that it listens on at `address`. */
export function listensOn(session: SessionProcess, address: string): number[] {
  const inodes = new Set(familyOf(session).flatMap(({ pid }) => socketsOf(pid)));
  return parseListeners(textAt(`${PROC}/self/net/tcp`), 'tcp').filter(one => one.address === address && inodes.has(one.inode ?? 0)).map(({ port }) => port);
}

/** How long the peers of these connections have sent nothing, in ms; left out: it is not known. */
export async function silenceOf(run: RunChild, sessions: readonly SessionProcess[]): Promise<Map<number, number>> {
  if (sessions.length === 0) return new Map();
  const heard = lastHeard((await run('ss', ['-H', '-t', '-i', '-n', '-e', 'state', 'established', 'not', 'src', TUNNEL_ADDRESSES])).stdout);
  // Once somebody has logged in, only the child of the privileged process has the connection.
  const known = sessions.map(session => [session.pid, Math.min(...familyOf(session).flatMap(({ pid }) => socketsOf(pid)).map(inode => heard.get(inode) ?? Infinity))] as const);
  return new Map(known.filter(([, ms]) => ms !== Infinity));
}

/** By inode, of what `ss -tine` prints: a line for each socket, and one of its figures. Neither data nor an acknowledgement has come for so long; of a socket that has just heard there is no figure. */
export function lastHeard(text: string): Map<number, number> {
  const found = new Map<number, number>();
  let inode: number | undefined;
  for (const line of text.split('\n')) {
    const ino = /\bino:(\d+)/.exec(line)?.[1];
    if (ino !== undefined) inode = Number(ino);
    if (inode === undefined || !/\b(?:rto|cwnd|mss):/.test(line)) continue;
    const [data, ack] = ['lastrcv', 'lastack'].map(name => Number(new RegExp(`\\b${name}:(\\d+)`).exec(line)?.[1] ?? 0));
    found.set(inode, Math.min(data ?? 0, ack ?? 0));
    inode = undefined;
  }
  return found;
}

function socketsOf(pid: number): number[] {
  return namesIn(`${PROC}/${pid}/fd`).flatMap(fd => {
    const inode = SOCKET.exec(linkAt(`${PROC}/${pid}/fd/${fd}`))?.[1];
    return inode === undefined ? [] : [Number(inode)];
  });
}

function isDead(pid: number): boolean {
  const text = textAt(`${PROC}/${pid}/stat`);
  return ['Z', 'X', ''].includes(text.slice(text.lastIndexOf(')') + 2, text.lastIndexOf(')') + 3));
}

function namesIn(folder: string): string[] {
  try { return readdirSync(folder); } catch { return []; }
}

function linkAt(path: string): string {
  try { return readlinkSync(path); } catch { return ''; }
}

function textAt(path: string): string {
  try { return readFileSync(path, 'utf8').trim(); } catch { return ''; }
}
