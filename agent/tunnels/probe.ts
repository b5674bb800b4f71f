/** One end-to-end probe of a tunnel: a TCP connection through a forward, to what is behind it. */
import { connect } from 'node:net';
import type { Endpoint } from '../../shared/tunnel.js';
import type { HeldSpec } from './words.js';

export type ProbeTarget = { readonly end: Endpoint; readonly banner: string; readonly timeoutMs: number };

/** A forward whose other end is refused is accepted first and closed then: without a banner it must stay open for so long. */
const OPEN_MS = 500;

/** Undefined: it was answered. Else what was wrong. Never rejects. */
export function probe({ end, banner, timeoutMs }: ProbeTarget): Promise<string | undefined> {
  return new Promise(resolve => {
    let said = '';
    let timer: NodeJS.Timeout | undefined;
    const socket = connect({ host: end.host, port: end.port });
    const finish = (problem?: string): void => {
      clearTimeout(timer);
      clearTimeout(deadline);
      socket.destroy();
      resolve(problem);
    };
    const deadline = setTimeout(() => finish(socket.connecting ? `no connection within ${timeoutMs} ms` : `no ${JSON.stringify(banner)} within ${timeoutMs} ms`), timeoutMs);
    socket.setEncoding('latin1');
    socket.on('error', error => finish(error.message));
    socket.on('close', () => finish('the connection was closed at once'));
    socket.on('connect', () => {
      if (banner === '') timer = setTimeout(finish, Math.min(OPEN_MS, timeoutMs - 1));
    });
    socket.on('data', (text: string) => {
      said += text;
      if (said.startsWith(banner)) finish();
      else if (!banner.startsWith(said)) finish(`it began with ${JSON.stringify(said.slice(0, 32))} instead of ${JSON.stringify(banner)}`);
    });
  });
}

/** A local forward is gone through; what a reverse one leads to is asked itself. */
export function probeTarget({ probe: wanted, forwards }: HeldSpec): ProbeTarget | undefined {
  const forward = wanted === undefined ? undefined : forwards[wanted.forward];
  if (wanted === undefined || forward === undefined) return undefined;
  const end = forward.direction === 'local' ? reachable(forward.listen) : forward.to;
  return { end, banner: wanted.banner, timeoutMs: wanted.timeoutMs };
}

function reachable(listen: { host: string; port: number }): { host: string; port: number } {
  return { port: listen.port, host: listen.host === '0.0.0.0' ? '127.0.0.1' : listen.host === '::' ? '::1' : listen.host };
}
