/** How the coordinator is reached: flags, else PORTLEASE_CLI_... variables, else the config file, else what is on this machine. */
import { existsSync } from 'node:fs';
import { z } from 'zod';
import type { ChannelCredentials } from '@grpc/grpc-js';
import { ConfigError, durationMs as durationText, endpointText, filePathText, loadConfig, parseEndpoint, tlsFiles } from '../shared/config.js';
import { endpointAddress, type Endpoint } from '../shared/grpc.js';
import { clientCredentials, listenPolicy, loadTls, type TlsFiles, type TlsMaterial } from '../shared/tls.js';
import { durationMs, refuse } from './fields.js';
import { isSet, optional } from './flags.js';
import type { Io } from './io.js';
import type { Flags } from './job.js';
import { UsageError } from './usage.js';

export type Settings = {
  /** As grpc-js takes it. */
  address: string;
  credentials: ChannelCredentials;
  timeoutMs: number;
};

export const ENV_PREFIX = 'PORTLEASE_CLI_';
const DEFAULT_ENDPOINT: Endpoint = { kind: 'tcp', host: '127.0.0.1', port: 7410 };
const MIN_TIMEOUT_MS = 1;

const SCHEMA = z.strictObject({
  server: endpointText.optional(),
  tls: tlsFiles.optional(),
  insecure: z.boolean({ error: 'is not true or false' }).default(false),
  timeout: durationText.prefault('30s'),
});

/** Throws UsageError for whatever does not fit, wherever it comes from. Reads the config and TLS files. */
export function readSettings(flags: Flags, io: Pick<Io, 'env' | 'paths'>): Settings {
  const config = readConfig(flags, io);
  const endpoint = config.server ?? defaultEndpoint(io.paths.socket);
  const tls = endpoint.kind === 'unix' || config.tls === undefined ? undefined : readTls(config.tls);
  const insecure = config.insecure;
  if (listenPolicy({ endpoint, tls: tls !== undefined, insecure }).kind === 'refused') {
    throw new UsageError(`--server: ${endpointAddress(endpoint)} is not on this machine and no TLS files are named`,
      'Name --tls-cert, --tls-key and --tls-ca (or set tls in the config file); --insecure goes without, where nobody else listens.');
  }
  return { address: endpointAddress(endpoint), credentials: clientCredentials(tls), timeoutMs: config.timeout };
}

function readConfig(flags: Flags, { env, paths }: Pick<Io, 'env' | 'paths'>): z.output<typeof SCHEMA> {
  const named = optional(flags, 'config', filePath) ?? env[`${ENV_PREFIX}CONFIG`];
  const file = { path: named ?? paths.config, optional: named === undefined };
  const checked = {
    'server': optional(flags, 'server', endpoint),
    'tls.certificate': optional(flags, 'tlsCert', filePath),
    'tls.key': optional(flags, 'tlsKey', filePath),
    'tls.ca': optional(flags, 'tlsCa', filePath),
    'insecure': isSet(flags, 'insecure') ? 'true' : undefined,
    'timeout': optional(flags, 'timeout', timeout),
  };
  try {
    return loadConfig({ schema: SCHEMA, file, env, flags: checked, envPrefix: ENV_PREFIX });
  } catch (error) {
    if (error instanceof ConfigError) throw new UsageError(error.problems.join('; '), `Correct ${file.path}, the ${ENV_PREFIX}... variables or the flags.`);
    throw error;
  }
}

function defaultEndpoint(socket: string): Endpoint {
  return existsSync(socket) ? { kind: 'unix', path: socket } : DEFAULT_ENDPOINT;
}

function readTls(files: TlsFiles): TlsMaterial {
  try {
    return loadTls(files);
  } catch (error) {
    throw new UsageError((error as Error).message, 'Name PEM files with --tls-cert, --tls-key and --tls-ca.');
  }
}

function endpoint(flag: string, value: string): string {
  const parsed = parseEndpoint(value);
  if (parsed !== undefined && !(parsed.kind === 'tcp' && parsed.port === 0)) return value;
  throw refuse(flag, value, 'is no address of a coordinator', 'Write HOST:PORT, [IPV6]:PORT or unix:/PATH.');
}

function filePath(flag: string, value: string): string {
  if (filePathText.safeParse(value).success) return value;
  throw refuse(flag, value, 'is not an absolute path', 'Write the whole path, without "..".');
}

function timeout(flag: string, value: string): string {
  durationMs(flag, value, MIN_TIMEOUT_MS);
  return value;
}
