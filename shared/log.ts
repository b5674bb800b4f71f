/** Logs: events with fields, one JSON object a line, never a credential. */
import { pino, type DestinationStream, type Logger } from 'pino';

export type Log = Logger;

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

type Options = { name: string; level: LogLevel; destination?: DestinationStream };

const SECRETS = ['key', 'privateKey', 'token', 'password', 'passphrase', 'secret', 'credential', 'credentials', 'authorization'];
/** Keys of desired objects are names, not secrets. */
const OBJECT_KEY = /^(?:lease|mapping|release|route|withdrawal)\/[A-Za-z0-9._-]+$/;

/** Writes to `destination`, else to standard output. Fields of SECRETS are hidden, down to three levels. */
export function createLogger({ name, level, destination }: Options): Log {
  const options = {
    level,
    base: { name },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths: SECRETS.flatMap((secret) => [secret, `*.${secret}`, `*.*.${secret}`]), censor },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

function censor(value: unknown, path: string[]): unknown {
  const isObjectKey = path.at(-1) === 'key' && typeof value === 'string' && OBJECT_KEY.test(value);
  return isObjectKey ? value : '[hidden]';
}
