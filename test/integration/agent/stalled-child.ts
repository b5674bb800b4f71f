/** An agent whose child is stalled: `stalled-child.ts LOCK DEADLINE_MS`. Prints the ids of its spawner and of the child. */
import { openSync } from 'node:fs';
import { openSpawner } from '../../../agent/drivers/spawner/client.js';

const [lock = '', deadlineMs] = process.argv.slice(2);
const run = openSpawner({ lockFd: openSync(lock, 'w') });
await run('flock', ['-n', '3']);
run('sh', ['-c', `echo $$ > ${lock}.pid; exec sleep 30`], { deadlineMs: Number(deadlineMs) }).catch(() => undefined);
await run('sh', ['-c', `until [ -s ${lock}.pid ]; do sleep 0.01; done`]);
process.stdout.write(`${run.pid()}\n`);
