/**
 * Connects once and prints the first line that comes: node ask.mjs HOST PORT [TEXT TO SEND]. Status 1: nothing came, and standard
 * error says why.
 */
import { connect } from 'node:net';

const TIMEOUT_MS = 1_000;
const [host, port, text] = process.argv.slice(2);
const end = (message, status) => {
  (status === 0 ? process.stdout : process.stderr).write(`${message}\n`);
  process.exit(status);
};
const socket = connect({ host, port: Number(port) });
setTimeout(() => end(`no answer within ${TIMEOUT_MS} ms`, 1), TIMEOUT_MS);
socket.setEncoding('utf8');
socket.on('connect', () => { if (text !== undefined) socket.write(text); });
socket.on('error', (error) => end(error.code, 1));
socket.on('end', () => end('closed without a word', 1));
let seen = '';
socket.on('data', (part) => {
  seen += part;
  const at = seen.indexOf('\n');
  if (at >= 0) end(seen.slice(0, at).trimEnd(), 0);
});
