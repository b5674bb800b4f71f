/**
 * A client that keeps asking. Started as: node probe.mjs JSON, with { everyMs, timeoutMs }.
 * Reads commands, a JSON object a line: { watch: [{ address, port, transport }] } and { unwatch: [...] }.
 * To each watched port it makes a new connection every everyMs, and keeps one open on which it sends a ping every everyMs; a kept
 * one that ends is opened anew. Writes records, a JSON object a line:
 *   { sentAtMs, atMs, address, port, transport, kind: 'new' | 'kept', connection, outcome, who?, servedAtMs?, push? }
 * outcome: reached | refused | unreachable | timeout (no answer within timeoutMs) | closed (the peer ended it) | reset.
 * For an answer sentAtMs is when it was asked for, and servedAtMs when the service answered, by its own clock (the same machine).
 */
import { connect } from 'node:net';
import { createSocket } from 'node:dgram';
import { createInterface } from 'node:readline';

const { everyMs, timeoutMs } = JSON.parse(process.argv[2]);
const watched = new Map();
let connections = 0;

const keyOf = ({ address, port, transport }) => `${transport} ${address} ${port}`;
const record = (base, fields) => process.stdout.write(`${JSON.stringify({ ...base, atMs: Date.now(), ...fields })}\n`);

function parse(text) {
  const match = /^who=(.*) port=\d+ at=(\d+) echo=(.*)$/.exec(text);
  const banner = /^SSH-2\.0-demo (.*?)\r?$/.exec(text);
  if (banner) return { who: banner[1], servedAtMs: Date.now(), echo: '' };
  return match ? { who: match[1], servedAtMs: Number(match[2]), echo: match[3] } : { who: text, servedAtMs: Date.now(), echo: '' };
}

function outcomeOf(error) {
  if (error.code === 'ECONNREFUSED') return 'refused';
  if (error.code === 'ECONNRESET' || error.code === 'EPIPE') return 'reset';
  return 'unreachable';
}

/** Lines from a stream socket, whole ones only. */
function onLines(socket, take) {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (text) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop();
    for (const part of parts) take(part);
  });
}

function newTcp(target) {
  const base = { sentAtMs: Date.now(), ...target, kind: 'new', connection: ++connections };
  const socket = connect({ host: target.address, port: target.port, noDelay: true });
  let isDone = false;
  const done = (fields) => {
    if (isDone) return;
    isDone = true;
    clearTimeout(timer);
    record(base, fields);
    socket.removeAllListeners();
    socket.on('error', () => undefined);
    socket.destroy();
  };
  const timer = setTimeout(() => done({ outcome: 'timeout' }), timeoutMs);
  socket.on('error', (error) => done({ outcome: outcomeOf(error) }));
  socket.on('end', () => done({ outcome: 'closed' }));
  onLines(socket, (text) => {
    const { who, servedAtMs } = parse(text);
    done({ outcome: 'reached', who, servedAtMs });
  });
}

function newUdp(target) {
  const base = { sentAtMs: Date.now(), ...target, kind: 'new', connection: ++connections };
  const socket = createSocket(target.address.includes(':') ? 'udp6' : 'udp4');
  const done = (fields) => {
    clearTimeout(timer);
    socket.close();
    record(base, fields);
  };
  const timer = setTimeout(() => done({ outcome: 'timeout' }), timeoutMs);
  socket.once('message', (message) => {
    const { who, servedAtMs } = parse(message.toString().trimEnd());
    done({ outcome: 'reached', who, servedAtMs });
  });
  socket.once('error', (error) => done({ outcome: outcomeOf(error) }));
  socket.connect(target.port, target.address, (error) => { if (!error) socket.send('ask\n'); });
}

/** Pings on one connection; each is answered or times out, and what comes unasked is recorded as a push. */
class Pings {
  constructor(base, send) {
    this.base = base;
    this.send = send;
    this.open = new Map();
    this.number = 0;
  }

  ping() {
    const id = `ping-${++this.number}`;
    this.open.set(id, Date.now());
    this.send(`${id}\n`);
    this.#expire();
  }

  take(text) {
    const { who, servedAtMs, echo } = parse(text);
    const sentAtMs = this.open.get(echo);
    this.open.delete(echo);
    const push = sentAtMs === undefined;
    record(this.base, { sentAtMs: sentAtMs ?? servedAtMs, outcome: 'reached', who, servedAtMs, ...(push ? { push } : {}) });
  }

  #expire() {
    const nowMs = Date.now();
    for (const [id, sentAtMs] of this.open) {
      if (nowMs - sentAtMs < timeoutMs) break;
      this.open.delete(id);
      record(this.base, { sentAtMs, outcome: 'timeout' });
    }
  }
}

function keepTcp(target) {
  let stopped = false;
  let socket;
  const open = () => {
    const base = { sentAtMs: Date.now(), ...target, kind: 'kept', connection: ++connections };
    const pings = new Pings(base, (text) => socket.write(text));
    let pinging;
    let refused = setTimeout(() => end({ outcome: 'timeout' }), timeoutMs);
    const mine = connect({ host: target.address, port: target.port, noDelay: true });
    socket = mine;
    const end = (fields) => {
      clearTimeout(refused);
      clearInterval(pinging);
      mine.removeAllListeners();
      mine.on('error', () => undefined);
      mine.destroy();
      if (fields) record(base, fields);
      if (!stopped) setTimeout(() => { if (!stopped) open(); }, everyMs);
    };
    mine.on('connect', () => {
      clearTimeout(refused);
      refused = undefined;
      pinging = setInterval(() => pings.ping(), everyMs);
    });
    mine.on('error', (error) => end({ outcome: outcomeOf(error) }));
    mine.on('end', () => end({ outcome: 'closed' }));
    onLines(mine, (text) => pings.take(text));
  };
  open();
  return () => { stopped = true; socket.emit('end'); };
}

/** One socket, so one source port, for ever: the flow that conntrack remembers. */
function keepUdp(target) {
  const base = { sentAtMs: Date.now(), ...target, kind: 'kept', connection: ++connections };
  const socket = createSocket(target.address.includes(':') ? 'udp6' : 'udp4');
  const pings = new Pings(base, (text) => socket.send(text));
  let pinging;
  socket.on('message', (message) => pings.take(message.toString().trimEnd()));
  socket.on('error', (error) => record(base, { outcome: outcomeOf(error) }));
  socket.connect(target.port, target.address, () => { pinging = setInterval(() => pings.ping(), everyMs); });
  return () => { clearInterval(pinging); socket.close(); };
}

function watch(target) {
  const ask = target.transport === 'tcp' ? newTcp : newUdp;
  ask(target);
  const asking = setInterval(() => ask(target), everyMs);
  const release = (target.transport === 'tcp' ? keepTcp : keepUdp)(target);
  watched.set(keyOf(target), () => { clearInterval(asking); release(); });
}

function unwatch(target) {
  watched.get(keyOf(target))?.();
  watched.delete(keyOf(target));
}

const commands = createInterface({ input: process.stdin });
commands.on('line', (text) => {
  const { watch: more = [], unwatch: fewer = [] } = JSON.parse(text);
  for (const target of more) if (!watched.has(keyOf(target))) watch(target);
  for (const target of fewer) unwatch(target);
});
commands.on('close', () => process.exit(0));
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
