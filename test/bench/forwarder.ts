/** The forwarder of driver: userspace as a process of its own: ADDRESS TARGET PORT…. Prints "ready" when it serves each port of the target under its own number. */
import { UserspaceDriver } from '../../agent/drivers/userspace/driver.js';
import { createLogger } from '../../shared/log.js';

const [address = '', to = '', ...ports] = process.argv.slice(2);
const driver = new UserspaceDriver({
  limits: { maxConnections: 4_096, maxPerMapping: 1_024, files: 10_000 }, connectMs: 5_000, log: createLogger({ name: 'forwarder', level: 'silent' }),
});
const forwards = ports.map(Number).map((port) => ({ id: `m${port}`, generation: 1, transport: 'tcp' as const, ports: { first: port, last: port }, to, toPort: port, hairpin: true }));
const { unserved = [] } = await driver.apply({ addresses: [address], leased: [], forwards, snat: false }, { observe: false });
if (unserved.length > 0) throw new Error(JSON.stringify(unserved));
process.stdout.write('ready\n');
process.stdin.resume().on('close', () => process.exit());
