/** What is started for a tunnel: program, arguments and environment. Pure. Everything in it was checked before (policy.ts, config.ts). */
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { TUNNEL_MARK } from '../leaks/tunnels.js';
import type { Endpoint, TunnelEngine } from '../../shared/tunnel.js';
import type { HeldForward, HeldSpec } from './words.js';

export type Server = { readonly address: string; readonly port: number; readonly user: string; readonly keyFile: string; readonly hostKeys: readonly string[] };

export type Command = { readonly file: string; readonly argv: readonly string[]; readonly env: Readonly<Record<string, string>> };

export type Places = { readonly controlPath: string; readonly knownHosts: string; readonly log: string };

export type CommandOptions = { readonly spec: HeldSpec; readonly server: Server; readonly engine: TunnelEngine; readonly id: string; readonly places: Places; readonly path: string };

/** Says once, with its pid, that all reverse forwards stand; needs OpenSSH 8.5. */
const SAYS_WHEN_READY = 'ssh.c:forwarding_success():*';

/** What a spec may override. ExitOnForwardFailure: connected without a forward is worse than not connected. */
const DEFAULTS = { ConnectTimeout: '10', ServerAliveInterval: '5', ServerAliveCountMax: '3', TCPKeepAlive: 'yes' };

const FIXED = {
  BatchMode: 'yes', StrictHostKeyChecking: 'yes', GlobalKnownHostsFile: '/dev/null', CheckHostIP: 'no', UpdateHostKeys: 'no', IdentitiesOnly: 'yes', IdentityAgent: 'none',
  PreferredAuthentications: 'publickey', ExitOnForwardFailure: 'yes', ForwardAgent: 'no', ForwardX11: 'no', PermitLocalCommand: 'no', ControlMaster: 'auto', ControlPersist: 'no',
  LogLevel: 'INFO', LogVerbose: SAYS_WHEN_READY,
};

/** Id of a tunnel: host names and tunnel names have no dot, so it is no other's. */
export function tunnelId(host: string, tunnel: string): string {
  return `${host}.${tunnel}`;
}

/** False for the id of a tunnel of another host: several agents may run on one machine, each as a host of its own. */
export function isOfHost(id: string, host: string): boolean {
  return !id.includes('.') || id.startsWith(`${host}.`);
}

export function commandOf({ spec, server, engine, id, places, path }: CommandOptions): Command {
  const options = { ...DEFAULTS, ...spec.options, ...FIXED, ControlPath: places.controlPath, UserKnownHostsFile: places.knownHosts, HostKeyAlias: aliasOf(spec.server) };
  const argv = [
    '-F', '/dev/null', '-N', '-T', '-p', String(server.port), '-i', server.keyFile, '-l', server.user,
    ...Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
    ...spec.forwards.flatMap(forwardArgument), '--', server.address,
  ];
  const env = { PATH: path, LC_ALL: 'C', [TUNNEL_MARK]: id };
  if (engine === 'ssh') return { file: 'ssh', argv, env };
  return { file: 'autossh', argv: ['-M', '0', ...argv], env: { ...env, AUTOSSH_GATETIME: '0', AUTOSSH_PORT: '0', AUTOSSH_LOGFILE: places.log } };
}

/** Name under which the host keys of a server stand in its file. */
export function aliasOf(server: string): string {
  return `portlease-${server}`;
}

export function knownHostsText(name: string, { hostKeys }: Pick<Server, 'hostKeys'>): string {
  return hostKeys.map(key => `${aliasOf(name)} ${key}\n`).join('');
}

export function forwardArgument({ direction, listen, to }: HeldForward): string[] {
  const from = 'socket' in listen ? listen.socket : endText(listen);
  return [direction === 'local' ? '-L' : '-R', `${from}:${endText(to)}`];
}

function endText({ host, port }: Endpoint): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Two commands with one digest make the same connection. */
export function digestOf({ file, argv, env }: Command): string {
  return createHash('sha256').update(JSON.stringify([file, argv, Object.entries(env).sort()])).digest('hex').slice(0, 16);
}

/** They say the same: on disk what is not said is left out, and from the coordinator it is undefined. */
export function isSameSpec(a: HeldSpec, b: HeldSpec): boolean {
  return isDeepStrictEqual(JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b)));
}
