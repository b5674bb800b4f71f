/** A process that appends for ever: started by child.ts, killed by tests. Says, with a synchronous write, so that a line is out
 *  before the next append begins: "ready"; "done GATEWAY SEQUENCE" when an append was acknowledged; "unknown GATEWAY" when its outcome
 *  is not known; "recovered GATEWAY SEQUENCE" when it was found out and appends go on from there. */
import { writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { GatewayRecord } from '../../../coordinator/book/types.js';
import { OutcomeUnknown } from '../../../coordinator/journal/journal.js';
import { SqliteJournal } from '../../../coordinator/journal/sqlite/journal.js';
import { allocation, gatewayRecord } from './records.js';

const GATEWAYS = 4;
const journal = await SqliteJournal.open({ path: process.argv[2] ?? '' });
const stored = new Map((await journal.gateways()).map((one) => [one.gateway, one]));
say('ready');
await Promise.all(Array.from({ length: GATEWAYS }, (_, i) => appendForEver(`gw-${i}`, i + 1)));

async function appendForEver(name: string, ordinal: number): Promise<void> {
  let gateway = stored.get(name);
  if (!gateway) {
    gateway = gatewayRecord({ gateway: name, ordinal });
    await journal.createGateway(gateway);
  }
  for (let n = gateway.sequence + 1; ; n++) {
    try {
      await journal.append(name, n - 1, allocation(n, gateway));
      say(`done ${name} ${n}`);
    } catch (error) {
      if (!(error instanceof OutcomeUnknown)) throw error;
      say(`unknown ${name}`);
      n = (await recovered(name)).sequence;
      say(`recovered ${name} ${n}`);
    }
  }
}

async function recovered(name: string): Promise<GatewayRecord> {
  for (;;) {
    try {
      const gateway = (await journal.load(name))?.gateway;
      if (!gateway) throw new Error(`${name} is gone`);
      await journal.barrier(name, gateway.sequence, gateway);
      return gateway;
    } catch (error) {
      if (!(error instanceof OutcomeUnknown)) throw error;
      await delay(20);
    }
  }
}

function say(line: string): void {
  writeSync(1, `${line}\n`);
}
