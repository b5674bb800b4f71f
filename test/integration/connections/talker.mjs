// A process in a namespace whose connections last. Commands come as JSON lines, each gets one JSON line back.
// Servers go on sending a tick every 20 ms to everybody who ever spoke to them; clients count what they receive.
import { createServer, connect } from 'node:net';
import { createSocket } from 'node:dgram';
import { createInterface } from 'node:readline';

const TICK_MS = 20;
const clients = new Map();
const listeners = [];
const quiet = [];
const counts = { sent: 0, accepted: 0 };

function tickTo(send) {
  const timer = setInterval(() => { counts.sent++; send(); }, TICK_MS);
  return () => clearInterval(timer);
}

function serveTcp({ port, who, address }) {
  const server = createServer((socket) => {
    counts.accepted++;
    const stop = tickTo(() => socket.write(`${who}\n`));
    socket.on('error', () => undefined);
    socket.on('close', stop);
    socket.resume();
  });
  return new Promise((resolve, reject) => server.on('error', reject).listen(port, address, () => resolve('listening')));
}

// Greets, and is silent then until it is told to speak.
function serveQuietly({ port, who, address }) {
  const server = createServer((socket) => {
    quiet.push({ who, socket });
    socket.on('error', () => undefined);
    socket.write(`${who}\n`);
    socket.resume();
  });
  listeners.push(server);
  return new Promise((resolve, reject) => server.on('error', reject).listen(port, address, () => resolve('listening')));
}

function sayAll({ what }) {
  for (const { socket } of quiet) socket.write(what);
  return quiet.length;
}

// Neither listens nor has connections any more, but for those that the kernel goes on trying to end.
function stopServing() {
  for (const server of listeners.splice(0)) server.close();
  for (const { socket } of quiet.splice(0)) socket.destroy();
  return 'stopped';
}

function serveUdp({ port, who, address }) {
  const socket = createSocket(address?.includes(':') ? 'udp6' : 'udp4');
  const known = new Set();
  socket.on('error', () => undefined);
  socket.on('message', (_, peer) => {
    const name = `${peer.address} ${peer.port}`;
    if (known.has(name)) return;
    known.add(name);
    counts.accepted++;
    tickTo(() => socket.send(`${who}\n`, peer.port, peer.address, () => undefined));
  });
  return new Promise((resolve, reject) => socket.on('error', reject).bind(port, address, () => resolve('listening')));
}

function openTcp({ name, port, address, from }) {
  const state = { received: 0, from: '', end: '' };
  clients.set(name, state);
  const socket = connect({ port, host: address, localAddress: from });
  state.socket = socket;
  socket.on('data', (data) => { state.received += data.length; state.from = data.toString().trim().split('\n').at(-1); });
  socket.on('error', (error) => { state.end = error.code; });
  socket.on('close', () => { state.end ||= 'closed'; });
  return 'opening';
}

// A client that goes on asking, from one source port; or that asks once and listens.
function openUdp({ name, port, address, once, from }) {
  const state = { received: 0, from: '', end: '' };
  clients.set(name, state);
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (data) => { state.received += data.length; state.from = data.toString().trim(); });
  socket.on('error', () => undefined);
  const ask = () => socket.send('hello', port, address, () => undefined);
  socket.bind(0, from, () => {
    ask();
    if (!once) tickTo(ask);
  });
  return 'opening';
}

function end({ name }) {
  clients.get(name).socket.destroy();
  return 'ended';
}

function look({ name }) {
  const { received, from, end } = clients.get(name);
  return { received, from, end };
}

function speak({ name }) {
  clients.get(name).socket.write('x');
  return 'spoken';
}

// Ends a TCP connection in good order.
function hangUp({ name }) {
  clients.get(name).socket.end();
  return 'ending';
}

// Whether a TCP connection is accepted in time.
function reach({ address, port, deadlineMs, localPort }) {
  return new Promise((resolve) => {
    const socket = connect({ port, host: address, timeout: deadlineMs, localPort });
    const end = (reached) => { socket.destroy(); resolve(reached); };
    socket.on('connect', () => end(true)).on('error', () => end(false)).on('timeout', () => end(false));
  });
}

const commands = { reach, serveQuietly, sayAll, stopServing, serveTcp, serveUdp, openTcp, openUdp, end, look, speak, hangUp, counts: () => counts };

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, command, ...fields } = JSON.parse(line);
  try {
    const answer = await commands[command](fields);
    process.stdout.write(`${JSON.stringify({ id, answer })}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ id, error: error.message })}\n`);
  }
}).on('close', () => process.exit());
