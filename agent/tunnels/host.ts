/** The tunnels of an agent: their parts put together, and read from what it accepted. */
import { join } from 'node:path';
import type { Clock } from '../../shared/clock.js';
import type { Log } from '../../shared/log.js';
import type { TunnelReport } from '../../shared/tunnel.js';
import type { AgentConfig } from '../config.js';
import type { Helper } from '../drivers/holders/helper.js';
import { differences } from '../persistent/map.js';
import { launcher } from './launch.js';
import { Tunnels, type TunnelWish } from './tunnels.js';

export type HostTunnelsOptions = {
  readonly config: AgentConfig;
  readonly bootId: string;
  /** Of this process. */
  readonly uid: number;
  readonly usesScopes: boolean;
  /** Looks who listens. */
  readonly holders: Pick<Helper, 'find'>;
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
};

type Objects = ReadonlyMap<string, { readonly kind: string }>;

export class HostTunnels {
  #objects: Objects | undefined;

  private constructor(private readonly tunnels: Tunnels, objects: Objects | undefined) {
    this.#objects = objects;
  }

  /** `objects`: what was accepted before, undefined: nothing. Throws when the files of tunnels cannot be read or written. */
  static async open({ config, usesScopes, uid, holders, ...rest }: HostTunnelsOptions, objects: Objects | undefined): Promise<HostTunnels> {
    const { host, addresses, driver, paths: { state, run } } = config;
    const tunnels = await Tunnels.open({
      ...rest, host, addresses, uid, config: config.tunnels, stateDir: state, controlDir: driver === 'userspace' ? join(state, 'ctl') : join(run, 'tunnels'),
      launch: launcher({ usesScopes, isRoot: uid === 0 }), find: question => holders.find({ topic: 'tunnels', ...question }),
    }, objects === undefined ? undefined : wishesOf(objects));
    return new HostTunnels(tunnels, objects);
  }

  /** Ids of all tunnels, as they stand in the mark of their processes. */
  known(): ReadonlySet<string> {
    return this.tunnels.known();
  }

  reports(): TunnelReport[] {
    return this.tunnels.reports();
  }

  setDesired(objects: Objects): void {
    const before = this.#objects;
    this.#objects = objects;
    const isAboutTunnels = (key: string): boolean => isWish(before?.get(key)) || isWish(objects.get(key));
    if (before === undefined || differences(before, objects).some(isAboutTunnels)) this.tunnels.setDesired(wishesOf(objects));
  }

  /** The connections stay. */
  close(): Promise<void> {
    return this.tunnels.close();
  }
}

function isWish(object: { readonly kind: string } | undefined): object is TunnelWish & { readonly kind: 'tunnel' } {
  return object?.kind === 'tunnel';
}

function wishesOf(objects: Objects): TunnelWish[] {
  return [...objects.values()].filter(isWish);
}
