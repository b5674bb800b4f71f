/** Resets of connections: to send one at once, and to tell one from a good end. */
import type { Socket } from 'node:net';

/** What resetAndDestroy() sets. That one waits until all is written, and says goodbye in good order before it resets. */
type Resettable = Socket & { resetAndClosing?: boolean };

/**
 * The other side learns it by a reset. One that is being opened has nothing to reset; and while the end of our direction waits behind
 * what the other side does not read, Node cannot reset: then the socket is closed, and the kernel ends it.
 */
export function resetNow(socket: Socket): void {
  const isEnding = socket.writableEnded && !socket.writableFinished;
  if (!socket.destroyed && !socket.connecting && !isEnding) (socket as Resettable).resetAndClosing = true;
  socket.destroy();
}

/**
 * Asked when a socket has read all. A reset that comes right behind data is read as an end: but then the kernel knows no peer any
 * more. (Nor does it when both directions have ended, in good order.)
 */
export function wasReset(socket: Socket): boolean {
  return !socket.writableEnded && socket.remoteAddress === undefined;
}

/** What remoteAddress keeps of its first answer. */
type Remembering = { _peername?: unknown };

/** Address of the other side; '' when there is none any more. Nothing of the answer is kept, for wasReset() asks the kernel again. */
export function peerAddress(socket: Socket): string {
  const address = socket.remoteAddress ?? '';
  (socket as unknown as Remembering)._peername = undefined;
  return address;
}
