// A process in the namespace of a laptop: services, clients, and programs that hold ports. Commands come as JSON lines, each gets one
// JSON line back.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

const servers = new Map();
const clients = new Map();

const hashOf = (bytes) => createHash('sha256').update(bytes).digest('hex');

async function readAll(socket) {
  const chunks = [];
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

// Answers what it read once the client has ended its direction: its digest, the digest of what follows, and that.
async function answerWithDigests(socket, bytes) {
  const asked = await readAll(socket);
  const body = randomBytes(bytes);
  socket.write(`${hashOf(asked)} ${hashOf(body)}\n`);
  socket.end(body);
}

async function listen({ address, port, who, bytes }) {
  const sockets = new Set();
  const server = createServer({ allowHalfOpen: bytes !== undefined }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    if (bytes !== undefined) void answerWithDigests(socket, bytes).catch(() => undefined);
    else socket.on('data', (data) => socket.write(`${who} ${data}`));
  });
  servers.set(`${address} ${port}`, { server, sockets });
  server.listen({ host: address, port });
  await once(server, 'listening');
  return 'listening';
}

async function stop({ address, port }) {
  const { server, sockets } = servers.get(`${address} ${port}`);
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  return 'stopped';
}

async function transfer({ address, port, bytes }) {
  const socket = connect({ host: address, port, allowHalfOpen: true });
  const sent = randomBytes(bytes);
  socket.end(sent);
  const answer = await readAll(socket);
  const at = answer.indexOf('\n');
  const [up, down] = answer.subarray(0, at).toString().split(' ');
  const body = answer.subarray(at + 1);
  return { up: up === hashOf(sent), down: down === hashOf(body), received: body.length };
}

// One question, one answer; or the code of the error, or "closed".
function ask({ address, port, name = 'x' }) {
  return new Promise((resolve) => {
    const startMs = performance.now();
    const socket = connect({ host: address, port });
    clients.set(name, { socket, end: new Promise((ended) => socket.once('close', () => ended(performance.now()))) });
    const end = (answer) => resolve({ answer, afterMs: performance.now() - startMs });
    socket.on('connect', () => socket.write(name)).on('data', (data) => end(String(data))).on('error', (error) => end(error.code)).on('close', () => end('closed'));
  });
}

// That many connections, all open at the same time. Returns how many got an answer of their own.
async function askMany({ address, port, count }) {
  const names = Array.from({ length: count }, (_, i) => `client-${i}`);
  const answers = await Promise.all(names.map((name) => ask({ address, port, name })));
  const open = names.filter((name) => !clients.get(name).socket.destroyed).length;
  for (const name of names) clients.get(name).socket.destroy();
  return { own: answers.filter(({ answer }, i) => answer.endsWith(` ${names[i]}`)).length, open };
}

const commands = {
  listen, stop, transfer, ask, askMany,
  isOpen: ({ name }) => !clients.get(name).socket.destroyed,
  hangUp: ({ name }) => { clients.get(name).socket.destroy(); return 'closed'; },
};

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, command, ...fields } = JSON.parse(line);
  try {
    process.stdout.write(`${JSON.stringify({ id, answer: await commands[command](fields) })}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ id, error: error.message })}\n`);
  }
}).on('close', () => process.exit());
