/** AuthorizedKeysCommand of the gateway's sshd: `node keys.js SOCKET TYPE KEY`. Prints what the agent answers; without an agent nobody logs in. */
import { connect } from 'node:net';

const PATIENCE_MS = 5_000;

const [socket = '', type = '', key = ''] = process.argv.slice(2);
const client = connect(socket);
client.setTimeout(PATIENCE_MS, () => { client.destroy(new Error('no answer')); });
client.on('error', (error: Error) => {
  process.stderr.write(`portlease: the agent of this gateway does not answer at ${socket}: ${error.message}\n`);
  process.exitCode = 1;
});
client.on('connect', () => { client.write(`${process.ppid} ${type} ${key}\n`); });
client.pipe(process.stdout);
