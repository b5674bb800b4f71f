/** `portlease tunnels create`. */
import type { Command } from 'commander';
import {
  CreateTunnelResponse, ForwardDirection, TunnelEngine, TunnelServiceService, TunnelState, type CreateTunnelRequest, type Endpoint, type Tunnel, type TunnelForward, type TunnelProbe,
} from '../../shared/gen/portlease/v1/tunnels.js';
import { isBanner, isPublicHost, isSshOption, isSshOptionValue } from '../../shared/names.js';
import { EXIT, type ExitCode } from '../exit.js';
import { choice, dnsLabel, duration, keyAndValue, port, refuse, wholeNumber } from '../fields.js';
import { collect, isSet, needed, optional, texts } from '../flags.js';
import type { Act, Flags, Job } from '../job.js';
import { jsonOf } from '../json.js';
import { TUNNEL_COLUMNS, tunnelHints } from '../tunnel-table.js';
import { table } from '../table.js';
import { UsageError } from '../usage.js';
import { TUNNEL_ENGINES } from '../words.js';

const MAX_FORWARDS = 64;
const FORWARD_REMEDY = 'Write [ADDRESS:]PORT=HOST:PORT, for example 127.0.0.1:5432=db.internal:5432; an IPv6 address stands in brackets.';

export function addTunnelCreate(tunnels: Command, act: Act): void {
  tunnels.command('create')
    .description('have a host keep an SSH connection; doing it twice with the same flags is safe')
    .argument('<tunnel>', 'name, unique on its host')
    .option('--host <name>', 'host that opens the connection')
    .option('--ssh-server <name>', 'where to: an entry of tunnels.servers in the config of the host')
    .option('--local <listen=to>', 'the host listens, the server connects (repeatable): 127.0.0.1:5432=db.internal:5432', collect)
    .option('--reverse <listen=to>', 'the server listens, the host connects (repeatable): 0.0.0.0:2222=127.0.0.1:22', collect)
    .option('--engine <name>', `what keeps it: ${Object.keys(TUNNEL_ENGINES).join(', ')} (default: as the config of the host says)`)
    .option('--probe <forward>', 'check end to end through this forward, counted from 0: those of --local first')
    .option('--probe-banner <text>', 'what the service behind it begins with, for example SSH-2.0-')
    .option('--probe-interval <time>', 'how often (default: 10s)')
    .option('--probe-timeout <time>', 'how long an answer may take (default: 5s)')
    .option('--option <name=value>', 'option of ssh that the host allows (repeatable): Compression=yes', collect)
    .option('--wait', 'until it is up')
    .action(act(prepareCreate));
}

function prepareCreate([name = '']: readonly string[], flags: Flags): Job {
  const forwards = [
    ...texts(flags, 'local').map((text) => forwardOf('--local', text, ForwardDirection.FORWARD_DIRECTION_LOCAL)),
    ...texts(flags, 'reverse').map((text) => forwardOf('--reverse', text, ForwardDirection.FORWARD_DIRECTION_REVERSE)),
  ];
  if (forwards.length === 0) throw new UsageError('--local and --reverse are missing', `Name at least one forward. ${FORWARD_REMEDY}`);
  if (forwards.length > MAX_FORWARDS) throw new UsageError(`--local and --reverse: ${forwards.length} forwards`, `At most ${MAX_FORWARDS} are allowed.`);
  const tunnel = dnsLabel('TUNNEL', name);
  const host = needed(flags, 'host', dnsLabel, 'Say which host keeps it: --host NAME; `portlease hosts` lists them.');
  const server = needed(flags, 'sshServer', dnsLabel, 'Say where it leads: --ssh-server NAME, an entry of tunnels.servers in the config of the host.');
  const engine = optional(flags, 'engine', (flag, value) => choice(flag, value, TUNNEL_ENGINES)) ?? TunnelEngine.TUNNEL_ENGINE_UNSPECIFIED;
  const spec = { tunnel, host, server, forwards, engine, probe: probeOf(flags, forwards.length), options: Object.fromEntries(texts(flags, 'option').map(optionOf)) };
  const request: CreateTunnelRequest = { spec, wait: isSet(flags, 'wait') };
  return {
    what: `create tunnel ${tunnel} of ${host}`,
    run: async (coordinator) => {
      const response = await coordinator.call(TunnelServiceService.createTunnel, request);
      const made = response.tunnel;
      return {
        json: jsonOf(CreateTunnelResponse, response), text: table(TUNNEL_COLUMNS, made === undefined ? [] : [made]), next: made === undefined ? [] : tunnelHints(made),
        exitCode: request.wait ? exitCodeOf(made) : EXIT.ok,
      };
    },
    resume: 'run the same command again: it goes on waiting',
  };
}

/** It is recorded in any case. */
function exitCodeOf(tunnel: Tunnel | undefined): ExitCode {
  switch (tunnel?.state) {
    case TunnelState.TUNNEL_STATE_UP: return EXIT.ok;
    case TunnelState.TUNNEL_STATE_REFUSED:
    case TunnelState.TUNNEL_STATE_STOPPED: return EXIT.refused;
    default: return EXIT.deadline;
  }
}

function forwardOf(flag: string, text: string, direction: ForwardDirection): TunnelForward {
  const [listen = '', to, ...rest] = text.split('=');
  if (to === undefined || rest.length > 0) throw refuse(flag, text, 'is no forward', FORWARD_REMEDY);
  return { direction, listen: /^[0-9]+$/.test(listen) ? { host: '', port: port(flag, listen) } : endpointOf(flag, listen), to: endpointOf(flag, to) };
}

function endpointOf(flag: string, text: string): Endpoint {
  const [, six, name, digits = ''] = /^(?:\[([0-9a-fA-F:]+)\]|([^[\]:]+)):([0-9]+)$/.exec(text) ?? [];
  const host = six ?? name ?? '';
  if (!isPublicHost(host)) throw refuse(flag, text, 'is no host with a port', FORWARD_REMEDY);
  return { host, port: port(flag, digits) };
}

/** Any of its flags asks for one. */
function probeOf(flags: Flags, forwards: number): TunnelProbe | undefined {
  const forward = optional(flags, 'probe', (flag, value) => wholeNumber(flag, value, { min: 0, max: forwards - 1 }));
  const text = optional(flags, 'probeBanner', banner);
  const interval = optional(flags, 'probeInterval', duration);
  const timeout = optional(flags, 'probeTimeout', duration);
  if (forward === undefined && text === undefined && interval === undefined && timeout === undefined) return undefined;
  return { forward: forward ?? 0, banner: text ?? '', interval, timeout };
}

function banner(flag: string, text: string): string {
  if (isBanner(text)) return text;
  throw refuse(flag, text, 'is no banner', 'Write at most 128 printable characters of ASCII.');
}

function optionOf(text: string): [string, string] {
  const [name, value] = keyAndValue('--option', text);
  if (isSshOption(name) && isSshOptionValue(value)) return [name, value];
  throw refuse('--option', text, 'is no option of ssh', 'Write NAME=VALUE, for example Compression=yes: the value begins with a letter or digit, and has no quotes, $ or %.');
}
