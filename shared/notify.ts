/**
 * Tells systemd how the daemon is, through `systemd-notify` (the unit has NotifyAccess=all). One child at a time, each with a
 * deadline. Without a socket nothing is done. Failures are logged and not thrown: systemd acts on silence.
 */
import { execFile } from 'node:child_process';
import type { Log } from './log.js';

export type Notifier = {
  ready(): Promise<void>;
  /** Call it on real progress only. Dropped while earlier messages wait. */
  watchdog(): Promise<void>;
  /** One line for `systemctl status`. Dropped while earlier messages wait. */
  status(text: string): Promise<void>;
  stopping(): Promise<void>;
};

const DEADLINE_MS = 5_000;
const MAX_WAITING = 4;
const MAX_STATUS = 200;

/** `socket`: NOTIFY_SOCKET as main found it; `command` is for other places of systemd-notify. */
export function createNotifier({ socket, log, command = 'systemd-notify' }: { socket: string | undefined; log: Log; command?: string }): Notifier {
  let last = Promise.resolve();
  let waiting = 0;
  async function send(argument: string): Promise<void> {
    if (socket === undefined || socket === '') return;
    waiting += 1;
    last = last.then(() => run({ command, argument, socket, log }));
    await last;
    waiting -= 1;
  }
  const sendUnlessBusy = async (argument: string) => (waiting < MAX_WAITING ? send(argument) : undefined);
  return {
    ready: () => send('--ready'),
    watchdog: () => sendUnlessBusy('WATCHDOG=1'),
    status: (text) => sendUnlessBusy(`--status=${text.slice(0, MAX_STATUS).replace(/\p{Cc}+/gu, ' ')}`),
    stopping: () => send('STOPPING=1'),
  };
}

/** How often to feed the watchdog: a third of WATCHDOG_USEC, in milliseconds; undefined when systemd watches nothing. */
export function watchdogIntervalMs(watchdogUsec: string | undefined): number | undefined {
  const usec = Number(watchdogUsec ?? '');
  return Number.isSafeInteger(usec) && usec > 0 ? Math.max(1, Math.floor(usec / 3000)) : undefined;
}

function run({ command, argument, socket, log }: { command: string; argument: string; socket: string; log: Log }): Promise<void> {
  return new Promise((resolve) => {
    const options = { env: { NOTIFY_SOCKET: socket, PATH: '/usr/bin:/bin' }, timeout: DEADLINE_MS, killSignal: 'SIGKILL' as const };
    execFile(command, [argument], options, (err, _stdout, stderr) => {
      if (err !== null) log.warn({ argument, stderr: stderr.trim(), err }, 'systemd was not told');
      resolve();
    });
  });
}
