import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** How nginx is run. */
export type NginxSettings = {
  /** The nginx binary. */
  readonly program: string;
  /** Unit of systemd that starts it, so that it outlives the agent's unit; undefined: the agent starts it. */
  readonly unit: string | undefined;
  /** The stream module, where that is not part of the binary. */
  readonly module: string | undefined;
  /** Files of this nginx, and nothing else: config, logs, pid. */
  readonly directory: string;
  /** Of its workers. */
  readonly user: string;
  readonly workers: number;
  /** Client connections of one worker. */
  readonly connections: number;
  /** To a host, in ms. */
  readonly connectMs: number;
  /** Earlier workers end connections that are still open so long after a reload; undefined: when these end by themselves. */
  readonly shutdownMs: number | undefined;
  /** Folder with the operator's certificates: POOL.crt and POOL.key, or default.crt and default.key. */
  readonly certificates: string;
  /** The log of connections is put aside when it is larger; 0: there is none. */
  readonly accessLogBytes: number;
  /** Between two reloads, unless a range is taken away. */
  readonly reloadMs: number;
};

/** What may stand in its config as a path, or as the name of a user. */
export function isPlainPath(text: string): boolean {
  return /^(?:\/[A-Za-z0-9_@%+=:,.-]+)+$/.test(text);
}

export function isUnit(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_.@-]{0,100}\.service$/.test(text);
}

export function isPlainUser(text: string): boolean {
  return /^[a-z_][a-z0-9_-]{0,31}$/.test(text);
}

/** As the agent's config says it. */
type Configured = {
  program: string; unit?: string | undefined; streamModule?: string | undefined; directory?: string | undefined; user: string; workers: number; connections: number;
  connectTimeout: number; shutdownTimeout?: number | undefined; reloadInterval: number; certificates: string; accessLogMiB: number;
};

const DEBIAN_MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so';

export function settingsOf(config: Configured, statePath: string): NginxSettings {
  const { program, unit, streamModule, directory, user, workers, connections, connectTimeout, shutdownTimeout, reloadInterval, certificates, accessLogMiB } = config;
  return {
    program, unit, user, workers, connections, certificates, accessLogBytes: accessLogMiB * 1_048_576, connectMs: connectTimeout, shutdownMs: shutdownTimeout, reloadMs: reloadInterval,
    module: streamModule ?? (existsSync(DEBIAN_MODULE) ? DEBIAN_MODULE : undefined), directory: directory ?? join(statePath, 'nginx'),
  };
}
