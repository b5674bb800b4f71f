/** Where a mapping leads on its host, and its one text form: what the command line takes, tables hold and people read. */
import { InvalidField } from './invalid.js';
import { shown } from './fields.js';
import { canonicalAddress, isTargetAddress } from './names.js';

export type AddressTarget = { readonly kind: 'address'; readonly address: string };

export type ContainerTarget = {
  readonly kind: 'container';
  /** Name or id; '': the one that is labelled portlease.environment=ENVIRONMENT. */
  readonly container: string;
  /** Docker network; '': Docker's first one that the host can reach. */
  readonly network: string;
  /** 0: IPv4, or IPv6 when it has no IPv4 address there. */
  readonly family: 0 | 4 | 6;
};

/** The container publishes the public port itself (`docker run -p`); `container` as in ContainerTarget. */
export type PublishedTarget = { readonly kind: 'published'; readonly container: string };

export type Target = AddressTarget | ContainerTarget | PublishedTarget;

/** As Docker takes them, at most 128 characters. */
const DOCKER_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;
const CONTAINER = /^(?<container>[^@/]*)(?:@(?<network>[^@/]+))?(?:\/(?<family>[46]))?$/;

/** Name or id of a container, or name of a network. */
export function isDockerName(value: string): boolean {
  return DOCKER_NAME.test(value);
}

export function dockerName(value: string, field: string): string {
  if (isDockerName(value)) return value;
  throw new InvalidField(field, `${shown(value)} is not a name or id of Docker: 1-128 characters of A-Z a-z 0-9 _ . -, the first one a letter or digit`);
}

/** The address comes back in canonical form. Refuses loopback, link-local, multicast, unspecified and reserved ones. */
export function addressTarget(value: string, field: string): AddressTarget {
  const address = canonicalAddress(value);
  if (address === undefined) throw new InvalidField(field, value === '' ? 'is missing' : `${shown(value)} is not an IPv4 or IPv6 address`);
  if (isTargetAddress(address)) return { kind: 'address', address };
  throw new InvalidField(field, `${address} may not be a target: loopback, link-local, multicast, unspecified and reserved addresses are refused`);
}

export function sameTarget(a: Target, b: Target): boolean {
  return a === b || (a.kind === b.kind && targetDetail(a) === targetDetail(b));
}

/** All of a target but its kind: "10.88.1.2"; "web", "web@net1", "@net1/6" of a container; "web" of one that publishes. */
export function targetDetail(target: Target): string {
  switch (target.kind) {
    case 'address': return target.address;
    case 'container': return `${target.container}${target.network === '' ? '' : `@${target.network}`}${target.family === 0 ? '' : `/${target.family}`}`;
    case 'published': return target.container;
    default: return target satisfies never;
  }
}

/** "10.88.1.2", "container:web@net1/6", "container", "published:web". */
export function targetText(target: Target): string {
  if (target.kind === 'address') return target.address;
  const detail = targetDetail(target);
  return detail === '' ? target.kind : `${target.kind}:${detail}`;
}

/** Reads what targetDetail wrote of a target that was checked before. */
export function storedTarget(kind: Target['kind'], detail: string): Target {
  return kind === 'address' ? { kind, address: detail } : targetOf(kind, detail, 'target');
}

function targetOf(kind: Target['kind'], detail: string, field: string): Target {
  switch (kind) {
    case 'address': return addressTarget(detail, field);
    case 'published': return { kind, container: detail === '' ? '' : dockerName(detail, field) };
    case 'container': return containerTarget(detail, field);
    default: return kind satisfies never;
  }
}

function containerTarget(detail: string, field: string): ContainerTarget {
  const { container, network = '', family } = CONTAINER.exec(detail)?.groups ?? {};
  if (container === undefined) throw new InvalidField(field, `${shown(detail)} is no container: NAME, NAME@NETWORK, and /4 or /6 behind it for the address family`);
  return {
    kind: 'container',
    container: container === '' ? '' : dockerName(container, field),
    network: network === '' ? '' : dockerName(network, field),
    family: family === '4' ? 4 : family === '6' ? 6 : 0,
  };
}

/** Reads what targetText wrote: an address, or "container" or "published" with or without ":DETAIL". Throws InvalidField. */
export function parseTargetText(text: string, field: string): Target {
  const [, kind, detail = ''] = /^(container|published)(?::(.*))?$/.exec(text) ?? [];
  return kind === undefined ? addressTarget(text, field) : targetOf(kind as Target['kind'], detail, field);
}
