/** The command line of the fleet bench. */
import { parseArgs } from 'node:util';
import type { Sharing } from './transport.js';

export const PHASES = ['steady', 'restart', 'loss'] as const;
export type Phase = (typeof PHASES)[number];

export type Options = {
  hosts: number;
  /** Of each host: two ports each. */
  environments: number;
  phases: readonly Phase[];
  /** How long the steady state is looked at, twice. */
  steadyMs: number;
  /** Before each phase. */
  settleMs: number;
  restarts: number;
  allocationsPerSecond: number;
  sharing: Sharing;
  json: string | undefined;
  profile: string | undefined;
  timing: Timing;
};

export type Timing = Record<'heartbeat' | 'deadline' | 'suspect' | 'lost', string>;

/** As shipped, but for `lost` (120 s there): how long a silent host is waited for costs nobody anything. */
const TIMING: Timing = { heartbeat: '5s', deadline: '3s', suspect: '15s', lost: '30s' };
const QUICK_TIMING: Timing = { heartbeat: '500ms', deadline: '300ms', suspect: '1500ms', lost: '3s' };

export const USAGE = `npm run bench:fleet -- [--hosts 10000] [--environments 2] [--only ${PHASES.join(',')}] [--seconds 20] [--restarts 3] [--rate 50]
  [--heartbeats own|shared] [--quick] [--json FILE] [--profile FOLDER]`;

/** Agents whose heartbeats share a connection. */
const SHARED_HEARTBEATS = 250;
/** Streams that the coordinator and this machine's descriptors have room for, with a reserve. */
const MAX_STREAM_CONNECTIONS = 18_000;

/** Throws an Error that says what is wrong. */
export function optionsOf(argv: readonly string[]): Options {
  const { values } = parseArgs({ args: [...argv], options: {
    hosts: { type: 'string', default: '10000' }, environments: { type: 'string', default: '2' }, only: { type: 'string', default: PHASES.join(',') },
    seconds: { type: 'string', default: '20' }, restarts: { type: 'string', default: '3' }, rate: { type: 'string', default: '50' },
    heartbeats: { type: 'string', default: 'shared' }, quick: { type: 'boolean', default: false }, json: { type: 'string' }, profile: { type: 'string' },
  } });
  const count = (key: 'hosts' | 'environments' | 'restarts' | 'rate' | 'seconds', least: number): number => {
    const value = Number(values[key]);
    if (!Number.isInteger(value) || value < least) throw new Error(`--${key} ${values[key]} is not a whole number from ${least} on\n${USAGE}`);
    return value;
  };
  const hosts = count('hosts', 10);
  if (values.heartbeats !== 'own' && values.heartbeats !== 'shared') throw new Error(`--heartbeats ${values.heartbeats} is not own or shared\n${USAGE}`);
  const isOwn = values.heartbeats === 'own';
  const seconds = count('seconds', 1);
  return {
    hosts, environments: count('environments', 0), phases: phasesOf(values.only), steadyMs: 1_000 * seconds, settleMs: Math.min(10_000, 500 * seconds),
    restarts: count('restarts', 1), allocationsPerSecond: count('rate', 1),
    sharing: { heartbeats: isOwn ? 1 : SHARED_HEARTBEATS, streams: isOwn ? 1 : Math.ceil(hosts / MAX_STREAM_CONNECTIONS) },
    json: values.json, profile: values.profile, timing: values.quick ? QUICK_TIMING : TIMING,
  };
}

function phasesOf(text: string): Phase[] {
  return text.split(',').map((name) => {
    const phase = PHASES.find((one) => one === name);
    if (phase === undefined) throw new Error(`${name} is not one of ${PHASES.join(', ')}\n${USAGE}`);
    return phase;
  });
}
