/**
 * The spawner: a program that starts the agent's children for it, because a small process is forked sooner than the agent. It imports
 * next to nothing, and keeps nothing but children that wait for work: it ends when the agent does, or closes its stdin.
 */
import { encode, MessageReader, type Request } from './messages.js';
import { ReadyChildren } from './ready.js';

/** Inherited, and handed on: the writer's lock, and what tells the agent that this process and its children are gone. */
const LOCK_FD = process.argv[2] === 'locked' ? 3 : undefined;
const LEASH_FD = 4;

const children = new ReadyChildren({ lockFd: LOCK_FD, leashFd: LEASH_FD, nowMs: () => performance.now() });

async function serve({ id, ...task }: Request, stdin: Buffer): Promise<void> {
  const { stdout, stderr, ...end } = await children.run(task, stdin);
  process.stdout.cork();
  for (const part of encode({ id, ...end, stdoutBytes: stdout.length }, stdout, stderr)) process.stdout.write(part);
  process.stdout.uncork();
  // Not sooner: to start a process takes longer than to answer.
  children.prepare(task);
}

function end(): never {
  children.close();
  process.exit(0);
}

const reader = new MessageReader();
process.stdin.on('data', (chunk: Buffer) => {
  for (const { header, body } of reader.push(chunk)) void serve(header as Request, body);
});
process.stdin.on('end', end).on('error', end);
process.stdout.on('error', end);
// Ctrl-C and systemd reach all of the agent's processes: what ends and when is the agent's to say.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined);
