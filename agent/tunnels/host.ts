/** The tunnels of an agent: their parts put together, and read from what it accepted. */
import { join } from 'node:path';
import type { Clock } from '../../shared/clock.js';
import type { Log } from '../../shared/log.js';
import type { DesiredObject, ObjectProblem } from '../../shared/desired.js';
import type { TunnelReport } from '../../shared/tunnel.js';
import type { AgentConfig } from '../config.js';
import type { Helper } from '../drivers/holders/helper.js';
import { differences } from '../persistent/map.js';
import { launcher } from './launch.js';
import { tunnelKeyOf } from './keys.js';
import { carriersOf, leaseSpecs, listenedPorts, type Carriers, tunnelProblems, type LeaseTunnelFacts } from './leases.js';
import { Tunnels, type LeaseWish, type TunnelWish } from './tunnels.js';

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

type Objects = ReadonlyMap<string, DesiredObject>;

export class HostTunnels {
  #objects: Objects | undefined;
  #carriers: Carriers;

  /** `behindNat`: undefined where the gateway reaches this host at its addresses. */
  private constructor(private readonly tunnels: Tunnels, private readonly behindNat: LeaseTunnelFacts | undefined, objects: Objects | undefined) {
    this.#objects = objects;
    this.#carriers = objects === undefined || behindNat === undefined ? new Map() : carriersOf(objects, behindNat.host, new Map());
  }

  /** `objects`: what was accepted before, undefined: nothing. Throws when the files of tunnels cannot be read or written. */
  static async open({ config, usesScopes, uid, holders, ...rest }: HostTunnelsOptions, objects: Objects | undefined): Promise<HostTunnels> {
    const { host, addresses, driver, paths: { state, run } } = config;
    const behindNat = factsOf(config);
    const tunnels = await Tunnels.open({
      ...rest, host, addresses, uid, config: config.tunnels, stateDir: state, controlDir: driver === 'userspace' ? join(state, 'ctl') : join(run, 'tunnels'),
      launch: launcher({ usesScopes, isRoot: uid === 0 }), find: question => holders.find({ topic: 'tunnels', ...question }),
    }, objects === undefined ? undefined : wishesOf(objects), objects === undefined ? [] : leasesOf(objects, behindNat));
    return new HostTunnels(tunnels, behindNat, objects);
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
    const isAboutTunnels = (key: string): boolean => isWish(before?.get(key)) || isWish(objects.get(key)) || (this.behindNat !== undefined && /^(?:lease|mapping)\//.test(key));
    if (before === undefined || differences(before, objects).some(isAboutTunnels)) {
      if (this.behindNat !== undefined) this.#carriers = carriersOf(objects, this.behindNat.host, this.#carriers);
      this.tunnels.setDesired(wishesOf(objects), leasesOf(objects, this.behindNat, this.#carriers));
    }
  }

  /** Mappings that the gateway cannot lead clients to, because no connection carries them. */
  problems(): ObjectProblem[] {
    const { behindNat: facts } = this;
    const objects = this.#objects;
    if (facts === undefined || objects === undefined) return [];
    const specs = leaseSpecs(objects, facts, this.#carriers);
    const standing = new Set(specs.flatMap(({ tunnel }) => listenedPorts(this.tunnels.standing(tunnel))));
    return tunnelProblems(objects, standing, port => {
      const why = this.tunnels.whyDown(this.#carriers.get(port) ?? '');
      return `no connection of this host to its gateway carries port ${port} now${why === '' ? '' : `: ${why}`}`;
    });
  }

  /** The connections stay. */
  close(): Promise<void> {
    return this.tunnels.close();
  }
}

function factsOf(config: AgentConfig): LeaseTunnelFacts | undefined {
  const { host, addresses, tunnels: { gateway: server } } = config;
  const { tunnelKey: key } = tunnelKeyOf(config);
  return server === undefined || key === undefined ? undefined : { host, server, key, addresses };
}

function leasesOf(objects: Objects, facts: LeaseTunnelFacts | undefined, carriers?: Carriers): LeaseWish[] {
  return facts === undefined ? [] : leaseSpecs(objects, facts, carriers ?? carriersOf(objects, facts.host, new Map())).map(spec => ({ spec }));
}

function isWish(object: DesiredObject | undefined): object is Extract<DesiredObject, { kind: 'tunnel' }> {
  return object?.kind === 'tunnel';
}

function wishesOf(objects: Objects): TunnelWish[] {
  return [...objects.values()].filter(isWish);
}
