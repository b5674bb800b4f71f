/** A process that appends for ever: started by child.ts, killed by tests. Writes a line "GATEWAY SEQUENCE" for each append that was
 *  acknowledged, with a synchronous write, so that a line is out before the next append begins. */
import { writeSync } from 'node:fs';
import { SqliteJournal } from '../../../coordinator/journal/sqlite/journal.js';
import { allocation, gatewayRecord } from './records.js';

const GATEWAYS = 4;
const journal = await SqliteJournal.open({ path: process.argv[2] ?? '' });
const stored = new Map((await journal.gateways()).map((one) => [one.gateway, one]));
writeSync(1, 'ready\n');
await Promise.all(Array.from({ length: GATEWAYS }, (_, i) => appendForEver(i)));

async function appendForEver(i: number): Promise<void> {
  const gateway = stored.get(`gw-${i}`) ?? gatewayRecord({ gateway: `gw-${i}`, ordinal: i + 1 });
  if (!stored.has(gateway.gateway)) await journal.createGateway(gateway);
  for (let n = gateway.sequence + 1; ; n++) {
    await journal.append(gateway.gateway, n - 1, allocation(n, gateway));
    writeSync(1, `${gateway.gateway} ${n}\n`);
  }
}
