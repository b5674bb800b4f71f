/**
 * The helper: a program that looks who listens on leased ports. To look through /proc takes the time of many system calls, and reading of a
 * process that hangs may hang: so the agent lets another process do it, which it can kill. It ends when the agent does, or closes its stdin.
 */
import { HolderLookup, type Topic } from './lookup.js';
import { foundOf, LineReader, lineOf, type Answer, type Request } from './messages.js';

/** One that was asked of other ports would forget what it knows of these. */
const lookups = new Map<Topic, { lookup: HolderLookup; last: string }>();
const reader = new LineReader();

function answerTo({ id, topic, ...question }: Request): Answer {
  try {
    const known = lookups.get(topic) ?? { lookup: new HolderLookup(), last: '' };
    lookups.set(topic, known);
    const found = foundOf(known.lookup.find(question, performance.now()));
    const text = JSON.stringify(found);
    if (text === known.last) return { id, same: true };
    known.last = text;
    return { id, ...found };
  } catch (error) {
    return { id, problem: (error as Error).message };
  }
}

process.stdin.setEncoding('utf8');
process.stdin.on('data', (chunk: string) => {
  for (const request of reader.push(chunk)) process.stdout.write(lineOf(answerTo(request as Request)));
});
process.stdin.on('end', () => process.exit(0)).on('error', () => process.exit(0));
process.stdout.on('error', () => process.exit(0));
// Ctrl-C and systemd reach all of the agent's processes: what ends and when is the agent's to say.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined);
