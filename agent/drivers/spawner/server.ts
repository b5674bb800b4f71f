/**
 * The spawner: a program that starts the agent's children for it, because a small process is forked sooner than the agent. It imports
 * next to nothing, and keeps nothing: it ends when the agent does, or closes its stdin.
 */
import { runToEnd } from '../child.js';
import { encode, MessageReader, type Request } from './messages.js';

/** Inherited, and handed on: the writer's lock, and what tells the agent that this process and its children are gone. */
const LOCK_FD = process.argv[2] === 'locked' ? 3 : undefined;
const LEASH_FD = 4;

async function serve({ id, file, argv, ...limits }: Request, stdin: Buffer): Promise<void> {
  const { stdout, stderr, ...end } = await runToEnd(file, argv, { ...limits, stdin, lockFd: LOCK_FD, leashFd: LEASH_FD });
  process.stdout.cork();
  for (const part of encode({ id, ...end, stdoutBytes: stdout.length }, stdout, stderr)) process.stdout.write(part);
  process.stdout.uncork();
}

function end(): never {
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
