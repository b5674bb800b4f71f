/** Keys `tunnels` of the agent's config. */
import { z } from 'zod';
import { cidrText, dnsLabelText, durationMs, filePathText } from '../../shared/config.js';
import { isIpAddress, isPublicHost } from '../../shared/names.js';
import { isPort, MAX_PORT } from '../../shared/ports.js';
import type { Endpoint, TunnelSpec } from '../../shared/tunnel.js';
import { OPTION_NAMES, OPTIONS_BY_DEFAULT, optionProblem } from './options.js';

const LOOPBACK = ['127.0.0.0/8', '::1/128'];
const PRIVATE = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7'];

const wholeNumber = (min: number, max: number) => z.int({ error: 'is not a whole number' }).min(min, { error: `is less than ${min}` }).max(max, { error: `is more than ${max}` });
const duration = (minMs: number, maxMs: number) => durationMs.refine(ms => ms >= minMs && ms <= maxMs, { error: `is not between ${minMs} and ${maxMs} ms` });

const userName = z.string().refine(text => /^[a-z_][a-z0-9_-]{0,31}$/.test(text), { error: 'is not the name of a user: 1-32 characters of a-z 0-9 _ -, a letter or _ first' });
const hostKey = z.string().refine(text => /^(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]{16,2000}={0,2}$/.test(text),
  { error: 'is not a host key as in /etc/ssh/ssh_host_ed25519_key.pub, without its comment: "ssh-ed25519 AAAA…"' });
const address = z.string().refine(text => isIpAddress(text) || isPublicHost(text), { error: 'is not an address or a DNS name' });

const server = z.strictObject({ address, port: wholeNumber(1, MAX_PORT).prefault(22), user: userName, keyFile: filePathText, hostKeys: z.array(hostKey).min(1, { error: 'is empty: without a pinned host key no connection is made' }) });

/** "8080" (127.0.0.1), "10.0.0.1:8080", "[::1]:8080", "db.example:5432". */
const end = z.string().transform((text, context): Endpoint => {
  const found = parseEnd(text);
  if (found === undefined) context.addIssue({ code: 'custom', message: 'is not a place: "HOST:PORT", "[IPV6]:PORT" or "PORT"' });
  return found ?? { host: '', port: 0 };
});

const forward = z.strictObject({ direction: z.enum(['local', 'reverse'], { error: 'is not a direction: local or reverse' }), listen: end, to: end });

const probe = z.strictObject({
  forward: wholeNumber(0, 63).prefault(0),
  banner: z.string().max(128, { error: 'is longer than 128 characters' }).prefault(''),
  interval: duration(1_000, 3_600_000).prefault('10s'),
  timeout: duration(100, 60_000).prefault('5s'),
}).transform(({ forward: which, banner, interval, timeout }) => ({ forward: which, banner, intervalMs: interval, timeoutMs: timeout }));

const engine = z.enum(['autossh', 'ssh'], { error: 'is not an engine: autossh or ssh' });

const tunnel = z.strictObject({
  tunnel: dnsLabelText, server: dnsLabelText, engine: engine.optional(), probe: probe.optional(),
  forwards: z.array(forward).min(1, { error: 'is empty: a tunnel without a forward does nothing' }).max(64, { error: 'has more than 64 forwards' }),
  options: z.record(z.string(), z.string()).prefault({}).superRefine((options, context) => {
    const problem = optionProblem(options, OPTION_NAMES);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: `: ${problem}` });
  }),
}).refine(({ probe: wanted, forwards }) => wanted === undefined || wanted.forward < forwards.length, { path: ['probe', 'forward'], error: 'is no forward of the tunnel: they are counted from 0' });

/** Supervised ssh connections. */
export const tunnelsConfig = z.strictObject({
  /** autossh: connects again by itself, also while there is no agent. ssh: without it. */
  engine: engine.prefault('autossh'),
  /** Where tunnels may go: name → address, user, key, pinned host keys. */
  servers: z.record(dnsLabelText, server, { error: 'is not a mapping of names to servers' }).prefault({}),
  /** Host behind NAT: the server of these that is its gateway, which reaches it only through the connections that this host makes. */
  gateway: dnsLabelText.optional(),
  /** ssh options that tunnels which were asked for over RPC may set. */
  options: z.array(z.enum(OPTION_NAMES, { error: `is not one of ${OPTION_NAMES.join(', ')}` })).prefault([...OPTIONS_BY_DEFAULT]).transform((names): readonly string[] => names),
  /** Ends on this host that tunnels which were asked for over RPC may have. */
  forwards: z.strictObject({
    /** Where they may listen, besides the lease addresses. */
    listen: z.array(cidrText).prefault(LOOPBACK),
    minPort: wholeNumber(1, MAX_PORT).prefault(1024),
    /** Where reverse forwards may lead to. Loopback is not among them unless it is put here: what listens there trusts this host. */
    to: z.array(cidrText).prefault(PRIVATE),
  }).prefault({}),
  /** Tunnels of this config. */
  list: z.array(tunnel).max(256, { error: 'has more than 256 tunnels' }).refine(all => new Set(all.map(one => one.tunnel)).size === all.length, { error: 'names a tunnel twice' }).prefault([]),
  logs: z.strictObject({
    /** Left out: tunnels in paths.state. */
    dir: filePathText.optional(),
    /** Of one tunnel, before its log is cut off. */
    maxKiB: wholeNumber(4, 1_048_576).prefault(1_024),
    /** Logs that were cut off before. */
    keep: wholeNumber(0, 100).prefault(3),
  }).prefault({}),
  /** Probes in a row that must fail before the connection is made anew. */
  probeFailures: wholeNumber(1, 1_000).prefault(3),
  /** Lost so often within the window, a tunnel is called flapping. */
  flapping: z.strictObject({ downs: wholeNumber(1, 1_000).prefault(3), window: duration(1_000, 86_400_000).prefault('10m') }).prefault({}),
  /** Pause after a failure: doubled from min to max. */
  backoff: z.strictObject({ min: duration(10, 60_000).prefault('1s'), max: duration(10, 600_000).prefault('30s') }).refine(({ min, max }) => min <= max, { path: ['max'], error: 'is shorter than tunnels.backoff.min' }).prefault({}),
}).superRefine(({ list, servers, gateway }, context) => {
  if (gateway !== undefined && !Object.hasOwn(servers, gateway)) context.addIssue({ code: 'custom', path: ['gateway'], message: 'is no server of tunnels.servers' });
  for (const [index, one] of list.entries()) {
    if (!Object.hasOwn(servers, one.server)) context.addIssue({ code: 'custom', path: ['list', index, 'server'], message: 'is no server of tunnels.servers' });
  }
});

export type TunnelsConfig = z.output<typeof tunnelsConfig>;

export function specsOf({ list }: TunnelsConfig, host: string): TunnelSpec[] {
  return list.map(one => ({ tunnel: one.tunnel, host, server: one.server, forwards: one.forwards, engine: one.engine, probe: one.probe, options: one.options }));
}

function parseEnd(text: string): Endpoint | undefined {
  const [, six, name, digits = ''] = /^(?:(?:\[([0-9a-fA-F:]+)\]|([A-Za-z0-9.-]+)):)?([0-9]{1,5})$/.exec(text) ?? [];
  const host = six ?? name ?? '127.0.0.1';
  const port = Number(digits);
  return digits !== '' && isPort(port) && (isIpAddress(host) || isPublicHost(host)) ? { host, port } : undefined;
}
