/**
 * A service that says who it is. Started as: node service.mjs JSON, with
 *   { who, listen: [{ transport: 'tcp'|'udp', port, address?, style?: 'lines'|'ssh'|'http' }], pushEveryMs? }
 * Style 'lines': on connect, and for each line or datagram received, one line "who=WHO port=PORT at=EPOCH_MS echo=TEXT".
 * Style 'ssh': a banner as sshd sends it, WHO in it, then as 'lines'. Style 'http': a page with WHO and the client's address.
 * pushEveryMs: goes on sending lines from its side, to every connection and to every UDP peer that it ever heard of.
 * Prints "ready" once everything listens.
 */
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { createSocket } from 'node:dgram';

const { who, listen, pushEveryMs = 0 } = JSON.parse(process.argv[2]);

const line = (port, echo) => `who=${who} port=${port} at=${Date.now()} echo=${echo}\n`;

function lines({ port, address, style }) {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.setEncoding('utf8');
    socket.on('error', () => undefined);
    socket.write(style === 'ssh' ? `SSH-2.0-demo ${who}\r\n` : line(port, 'hello'));
    const push = pushEveryMs > 0 ? setInterval(() => socket.write(line(port, 'push')), pushEveryMs) : undefined;
    socket.on('close', () => clearInterval(push));
    let rest = '';
    socket.on('data', (text) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop();
      for (const part of parts) socket.write(line(port, part));
    });
  });
  return listening(server, port, address);
}

function http({ port, address }) {
  return listening(createHttpServer((request, response) => response.end(`${who} answers ${request.socket.remoteAddress.replace('::ffff:', '')}\n`)), port, address);
}

function listening(server, port, address) {
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen({ port, host: address ?? '::', ipv6Only: false }, resolve);
  });
}

function udp({ port, address }) {
  const family = address === undefined || address.includes(':') ? 'udp6' : 'udp4';
  const socket = createSocket({ type: family });
  const peers = new Map();
  socket.on('message', (message, peer) => {
    const key = `${peer.address} ${peer.port}`;
    socket.send(line(port, message.toString().trimEnd()), peer.port, peer.address);
    if (pushEveryMs > 0 && !peers.has(key)) {
      peers.set(key, setInterval(() => socket.send(line(port, 'push'), peer.port, peer.address), pushEveryMs));
    }
  });
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.bind(port, address, resolve);
  });
}

function open(entry) {
  if (entry.transport === 'udp') return udp(entry);
  return entry.style === 'http' ? http(entry) : lines(entry);
}

await Promise.all(listen.map(open));
process.stdout.write('ready\n');
