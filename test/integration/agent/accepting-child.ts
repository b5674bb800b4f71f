/** Accepts one change after the other for ever, and prints each revision once it is durable, or that the disk refused it. Run by state-store.test.ts. */
import { StateStore } from '../../../agent/state/store.js';
import { change, mapping, snapshot, version } from '../../unit/agent/deltas.js';

const OBJECTS = 50;
const SESSION_LENGTH = 40;

const [dir = ''] = process.argv.slice(2);
const store = await StateStore.open(dir, { host: 'host-a', gateway: 'gw' });
for (;;) {
  const { version: last, session } = store.current();
  const revision = (last?.revision ?? 0) + 1;
  if (session === 0 || revision % SESSION_LENGTH === 0) {
    await store.welcome(session + 1, 1);
    process.stdout.write(`session ${session + 1}\n`);
  }
  const at = version(1, store.current().session, revision);
  const object = mapping(`m${revision % OBJECTS}`, revision, 30_000 + (revision % OBJECTS));
  try {
    const { kind } = await store.accept([last === undefined ? snapshot(at, [object]) : change(at, revision - 1, [object])]);
    if (kind !== 'accepted') throw new Error(`revision ${revision}: ${kind}`);
    process.stdout.write(`revision ${revision}\n`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error;
    process.stdout.write('refused\n');
  }
}
