// Runs in a network namespace; one JSON request a line on stdin, one JSON answer a line on stdout.
import { createSocket } from 'node:dgram';
import { createConnection, createServer } from 'node:net';
import { createInterface } from 'node:readline';

const open = new Map();

// Listens and tells every client who it is and whom it sees.
const listen = {
  tcp: ({ port, who, address }) => new Promise((resolve, reject) => {
    const server = createServer({ keepAlive: false }, socket => {
      socket.on('error', () => undefined);
      socket.on('data', () => socket.write(`${who} sees ${socket.remoteAddress.replace('::ffff:', '')}\n`));
    });
    server.on('error', reject);
    server.listen({ port, host: address ?? '::' }, () => resolve('listening'));
  }),
  udp: ({ port, who, address }) => new Promise((resolve, reject) => {
    const socket = createSocket(address?.includes('.') ? 'udp4' : 'udp6');
    socket.on('error', reject);
    socket.on('message', (_, from) => socket.send(`${who} sees ${from.address.replace('::ffff:', '')}\n`, from.port, from.address));
    socket.bind(port, address ?? '::', () => resolve('listening'));
  }),
};

// Asks once on a new connection: the answer, or 'refused' or 'silent'.
const ask = {
  tcp: ({ port, address, from, timeoutMs = 5_000, keep }) => new Promise(resolve => {
    const socket = createConnection({ port, host: address, localAddress: from });
    const end = answer => { clearTimeout(timer); if (keep === undefined) socket.destroy(); resolve(answer); };
    const timer = setTimeout(() => { socket.destroy(); resolve('silent'); }, timeoutMs);
    socket.on('connect', () => socket.write('?'));
    socket.once('data', data => end(data.toString().trim()));
    socket.on('error', error => { clearTimeout(timer); resolve(error.code === 'ECONNREFUSED' ? 'refused' : error.code); });
    if (keep !== undefined) open.set(keep, socket);
  }),
  udp: ({ port, address, from, fromPort, timeoutMs = 5_000 }) => new Promise(resolve => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    const end = answer => { clearTimeout(timer); socket.close(); resolve(answer); };
    const timer = setTimeout(() => end('silent'), timeoutMs);
    socket.on('message', data => end(data.toString().trim()));
    socket.on('error', error => end(error.code));
    socket.bind(fromPort ?? 0, from, () => { socket.connect(port, address, () => socket.send('?')); });
  }),
};

// Asks again on a kept TCP connection.
const again = ({ keep, timeoutMs = 5_000 }) => new Promise(resolve => {
  const socket = open.get(keep);
  const timer = setTimeout(() => resolve('silent'), timeoutMs);
  socket.once('data', data => { clearTimeout(timer); resolve(data.toString().trim()); });
  socket.write('?');
});

const perform = request => request.do === 'again' ? again(request) : (request.do === 'listen' ? listen : ask)[request.transport](request);

createInterface({ input: process.stdin }).on('line', async line => {
  const { id, ...request } = JSON.parse(line);
  const answer = await perform(request).catch(error => `error ${error.message}`);
  process.stdout.write(`${JSON.stringify({ id, answer })}\n`);
}).on('close', () => process.exit(0));
