/** The containers of a machine, as Docker lists them: immutable, with the look-ups that mappings need. Pure. */
import { canonicalAddress } from '../../../shared/names.js';
import type { Transport } from '../../../shared/ports.js';

/** Names the container of an environment. */
export const ENVIRONMENT_LABEL = 'portlease.environment';

/** What the Engine API says of a network. */
export type Network = { readonly driver: string; readonly isInternal: boolean };

export type Attachment = {
  /** Of the network. */
  readonly name: string;
  readonly networkId: string;
  /** Another one each time the container joins the network. */
  readonly endpointId: string;
  /** Undefined: none, or the container does not run. */
  readonly v4: string | undefined;
  readonly v6: string | undefined;
};

export type Published = { readonly transport: Transport; readonly hostAddress: string; readonly port: number; readonly internalPort: number };

export type Container = {
  readonly id: string;
  readonly name: string;
  /** All labels. */
  readonly labels: Readonly<Record<string, string>>;
  /** As Docker says: created, running, paused, restarting, exited, … */
  readonly state: string;
  /** As it was run: bridge, host, none, container:ID, or the name of a network. */
  readonly networkMode: string;
  /** In order of their names. */
  readonly attachments: readonly Attachment[];
  readonly published: readonly Published[];
};

/** One entry of GET /containers/json; what is not read here is left out. */
export type ListedContainer = {
  Id: string;
  Names?: readonly string[] | null;
  Labels?: Readonly<Record<string, string>> | null;
  State: string;
  HostConfig?: { NetworkMode?: string };
  NetworkSettings?: { Networks?: Readonly<Record<string, { NetworkID?: string; EndpointID?: string; IPAddress?: string; GlobalIPv6Address?: string }>> | null } | null;
  Ports?: readonly { IP?: string; PrivatePort: number; PublicPort?: number; Type: string }[] | null;
};

type ListedNetworks = NonNullable<NonNullable<ListedContainer['NetworkSettings']>['Networks']>;

/** GET /containers/ID/json; what is not read here is left out. */
export type InspectedContainer = {
  Id: string;
  Name: string;
  Config: { Labels?: Readonly<Record<string, string>> | null };
  State: { Status: string };
  HostConfig: { NetworkMode?: string };
  NetworkSettings: { Networks?: ListedNetworks | null; Ports?: Readonly<Record<string, readonly { HostIp: string; HostPort: string }[] | null>> | null };
};

const SHORTEST_ID = /^[0-9a-f]{12,64}$/;

export function listedContainer(listed: ListedContainer): Container {
  return {
    id: listed.Id,
    // Links give a container further names, with the linking one in front: "/web/db".
    name: (listed.Names ?? []).map(name => name.slice(1)).find(name => !name.includes('/')) ?? '',
    labels: listed.Labels ?? {},
    state: listed.State,
    networkMode: listed.HostConfig?.NetworkMode ?? '',
    attachments: attachmentsOf(listed.NetworkSettings?.Networks ?? {}),
    published: (listed.Ports ?? []).flatMap(({ IP = '', PrivatePort, PublicPort = 0, Type }) => publishedPort(Type, IP, PublicPort, PrivatePort)),
  };
}

export function inspectedContainer({ Id, Name, Config, State, HostConfig, NetworkSettings }: InspectedContainer): Container {
  const ports = Object.entries(NetworkSettings.Ports ?? {}).flatMap(([inside, bindings]) => {
    const [port, type = ''] = inside.split('/');
    return (bindings ?? []).flatMap(({ HostIp, HostPort }) => publishedPort(type, HostIp, Number(HostPort), Number(port)));
  });
  return {
    id: Id, name: Name.slice(1), labels: Config.Labels ?? {}, state: State.Status, networkMode: HostConfig.NetworkMode ?? '',
    attachments: attachmentsOf(NetworkSettings.Networks ?? {}), published: ports,
  };
}

function attachmentsOf(networks: ListedNetworks): Attachment[] {
  return Object.entries(networks).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, { NetworkID = '', EndpointID = '', IPAddress = '', GlobalIPv6Address = '' }]) => (
    { name, networkId: NetworkID, endpointId: EndpointID, v4: canonicalAddress(IPAddress), v6: canonicalAddress(GlobalIPv6Address) }));
}

function publishedPort(type: string, hostAddress: string, port: number, internalPort: number): Published[] {
  return port === 0 || (type !== 'tcp' && type !== 'udp') ? [] : [{ transport: type, hostAddress, port, internalPort }];
}

/** True when processes of it exist: a paused container keeps its addresses. */
export function hasProcesses({ state }: Container): boolean {
  return state === 'running' || state === 'paused';
}

export class Containers {
  static readonly none = new Containers([], new Map());

  private readonly byId: ReadonlyMap<string, Container>;
  private readonly byName: ReadonlyMap<string, Container>;
  private readonly byEnvironment: ReadonlyMap<string, readonly Container[]>;
  private readonly claimed: ReadonlySet<string>;

  constructor(all: Iterable<Container>, readonly networks: ReadonlyMap<string, Network>) {
    const list = [...all];
    this.byId = new Map(list.map(container => [container.id, container]));
    this.byName = new Map(list.map(container => [container.name, container]));
    const labelled = new Map<string, Container[]>();
    this.claimed = claimedTwice(list.filter(hasProcesses));
    for (const container of list) {
      const environment = container.labels[ENVIRONMENT_LABEL];
      if (environment !== undefined) labelled.set(environment, [...labelled.get(environment) ?? [], container]);
    }
    this.byEnvironment = labelled;
  }

  get all(): Iterable<Container> {
    return this.byId.values();
  }

  get size(): number {
    return this.byId.size;
  }

  /** By its whole id. */
  get(id: string): Container | undefined {
    return this.byId.get(id);
  }

  with(changed: Iterable<readonly [id: string, container: Container | undefined]>, networks = this.networks): Containers {
    const next = new Map(this.byId);
    for (const [id, container] of changed) {
      if (container === undefined) next.delete(id);
      else next.set(id, container);
    }
    return new Containers(next.values(), networks);
  }

  /** By id, by name, or by the first 12 characters or more of an id, in this order; more than one: by an id that does not tell them apart. */
  named(text: string): readonly Container[] {
    const exact = this.byId.get(text) ?? this.byName.get(text);
    if (exact !== undefined) return [exact];
    return SHORTEST_ID.test(text) ? [...this.byId.values()].filter(({ id }) => id.startsWith(text)) : [];
  }

  /** True when two containers have the address: what is known of one of them is out of date, for Docker is moving it. */
  isClaimedTwice(address: string): boolean {
    return this.claimed.has(address);
  }

  /** Those that are labelled with the environment; when some of them run, only these. */
  of(environment: string): readonly Container[] {
    const all = this.byEnvironment.get(environment) ?? [];
    const running = all.filter(hasProcesses);
    return running.length > 0 ? running : all;
  }
}

function claimedTwice(all: readonly Container[]): Set<string> {
  const seen = new Set<string>();
  const twice = new Set<string>();
  for (const { attachments } of all) {
    for (const address of attachments.flatMap(({ v4, v6 }) => [v4, v6])) {
      if (address === undefined) continue;
      if (seen.has(address)) twice.add(address);
      seen.add(address);
    }
  }
  return twice;
}
