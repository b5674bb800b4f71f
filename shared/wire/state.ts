/** Desired state, to and from messages of the contract. */
import type * as wire from '../gen/portlease/v1/agents.js';
import type { ClientLimits, Delta, DesiredObject, StateVersion } from '../desired.js';
import { atMost, count, dnsLabel, ipAddress, matching, objectId, port, required, shown, sshPublicKey } from '../fields.js';
import { InvalidField } from '../invalid.js';
import { isLabelKey, isLabelValue } from '../names.js';
import { limitsFromWire } from '../networks.js';
import { durationToMs, msToDuration, protocolFromWire, protocolToWire, rangeFromWire, rangeToWire, targetFromWire, targetToWire } from './basics.js';
import { tunnelSpecFromWire, tunnelSpecToWire } from './tunnel.js';
import { connectionsFromWire, connectionsToWire } from './connections.js';
import { containerFromWire, containerToWire, credentialSpecsFromWire, credentialSpecsToWire } from './container.js';

const KEY = /^(?:(?:lease|mapping|release|route|withdrawal)\/[A-Za-z0-9][A-Za-z0-9._-]{0,17}|(?:environment|removal|tunnel)\/[a-z0-9][a-z0-9-]{0,62})$/;
const MAX_ROUTE_ADDRESSES = 2;

/** Key of a desired object: its kind and the id of its lease or mapping, or the name of its environment or tunnel. */
export function objectKey(value: string, field: string): string {
  return matching(value, KEY, { field, wanted: 'the key of a desired object: "lease/ID", "mapping/ID", "release/ID", "route/ID", "withdrawal/ID", "environment/NAME", "removal/NAME" or "tunnel/NAME"' });
}

export function versionFromWire(value: wire.StateVersion, field: string): StateVersion {
  return {
    epoch: count(value.epoch, `${field}.epoch`),
    session: count(value.session, `${field}.session`),
    revision: count(value.revision, `${field}.revision`),
  };
}

export function deltaToWire(delta: Delta): wire.DesiredState {
  return {
    version: { ...delta.version },
    snapshot: delta.base === undefined,
    baseRevision: delta.base ?? 0,
    upserts: delta.upserts.map(objectToWire),
    removals: [...delta.removals],
  };
}

/** A snapshot with removals is refused, as is a key that comes twice. */
export function deltaFromWire(value: wire.DesiredState, field = 'desired_state'): Delta {
  const upserts = value.upserts.map((object, i) => objectFromWire(object, `${field}.upserts[${i}]`));
  const removals = value.removals.map((key, i) => objectKey(key, `${field}.removals[${i}]`));
  if (value.snapshot && removals.length > 0) throw new InvalidField(`${field}.removals`, 'a snapshot has no removals');
  const keys = [...upserts.map((object) => object.key), ...removals];
  if (new Set(keys).size !== keys.length) throw new InvalidField(`${field}.upserts`, 'a key comes twice in upserts and removals');
  return {
    version: versionFromWire(required(value.version, `${field}.version`), `${field}.version`),
    base: value.snapshot ? undefined : count(value.baseRevision, `${field}.base_revision`),
    upserts,
    removals,
  };
}

export function objectToWire(object: DesiredObject): wire.DesiredObject {
  return { key: object.key, version: object.version, object: bodyToWire(object) };
}

function bodyToWire(object: DesiredObject): wire.DesiredObject['object'] {
  switch (object.kind) {
    case 'lease':
      return { $case: 'lease', value: { ...grantToWire(object), host: object.host, guardOccupied: object.guardOccupied ?? false } };
    case 'mapping':
      return { $case: 'mapping', value: { ...portToWire(object), verify: object.verify, ...limitsToWire(object.limits), clientsHidden: object.clientsHidden ?? false, idleLimit: object.idleLimitMs === undefined ? undefined : msToDuration(object.idleLimitMs) } };
    case 'release':
      return { $case: 'release', value: { ...portToWire(object), cut: msToDuration(object.cutMs) } };
    case 'route':
      return { $case: 'route', value: { ...grantToWire(object), host: object.host, addresses: [...object.addresses], fence: object.fence, cut: msToDuration(object.cutMs), ...connectionsToWire(object.connections), tunnelKey: object.tunnelKey ?? '' } };
    case 'withdrawal':
      return { $case: 'withdrawal', value: { ...grantToWire(object), cut: msToDuration(object.cutMs) } };
    case 'environment':
      return { $case: 'environment', value: environmentToWire(object) };
    case 'removal': {
      const { environment, tenant, generation, volumes } = object;
      return { $case: 'removal', value: { environment, tenant, generation, volumes } };
    }
    case 'tunnel':
      return { $case: 'tunnel', value: { spec: tunnelSpecToWire(object.spec), restart: object.restart, stopped: object.isStopped, fromConfig: object.isOfConfig ?? false } };
    default:
      return object satisfies never;
  }
}

export function objectFromWire(value: wire.DesiredObject, field = 'object'): DesiredObject {
  const body = required(value.object, `${field}.object`);
  const object = bodyFromWire(body, { version: count(value.version, `${field}.version`), field: `${field}.${body.$case}` });
  if (value.key !== object.key) throw new InvalidField(`${field}.key`, `is not "${object.key}", as kind and id make it`);
  return object;
}

type Body = NonNullable<wire.DesiredObject['object']>;

function bodyFromWire(body: Body, { version, field }: { version: number; field: string }): DesiredObject {
  switch (body.$case) {
    case 'lease': {
      const grant = grantFromWire(body.value, field);
      const host = body.value.host === '' ? '' : dnsLabel(body.value.host, `${field}.host`);
      return { kind: 'lease', key: `lease/${grant.leaseId}`, version, ...grant, host, ...(body.value.guardOccupied ? { guardOccupied: true } : {}) };
    }
    case 'mapping': {
      const mapping = portFromWire(body.value, field);
      const limits = limitsFromWire(body.value, `${field}.`);
      return {
        kind: 'mapping', key: `mapping/${mapping.mappingId}`, version, ...mapping, verify: body.value.verify,
        ...(body.value.idleLimit === undefined ? {} : { idleLimitMs: durationToMs(body.value.idleLimit, `${field}.idle_limit`) }),
        ...(limits === undefined ? {} : { limits }), ...(body.value.clientsHidden ? { clientsHidden: true } : {}),
      };
    }
    case 'release': {
      const release = portFromWire(body.value, field);
      return { kind: 'release', key: `release/${release.mappingId}`, version, ...release, cutMs: cutFromWire(body.value, field) };
    }
    case 'route':
      return routeFromWire(body.value, { version, field });
    case 'withdrawal': {
      const grant = grantFromWire(body.value, field);
      return { kind: 'withdrawal', key: `withdrawal/${grant.leaseId}`, version, ...grant, cutMs: cutFromWire(body.value, field) };
    }
    case 'environment':
      return environmentFromWire(body.value, { version, field });
    case 'removal': {
      const whose = whoseFromWire(body.value, field);
      return { kind: 'removal', key: `removal/${whose.environment}`, version, ...whose, volumes: body.value.volumes };
    }
    case 'tunnel': {
      const { restart, stopped: isStopped, fromConfig } = body.value;
      const spec = tunnelSpecFromWire(body.value.spec, `${field}.spec`);
      return { kind: 'tunnel', key: `tunnel/${spec.tunnel}`, version, spec, restart: count(restart, `${field}.restart`), isStopped, ...(fromConfig ? { isOfConfig: true } : {}) };
    }
    default:
      return body satisfies never;
  }
}

function routeFromWire(value: wire.RouteObject, { version, field }: { version: number; field: string }): DesiredObject {
  const grant = grantFromWire(value, field);
  const addresses = atMost(value.addresses, MAX_ROUTE_ADDRESSES, `${field}.addresses`);
  return {
    kind: 'route', key: `route/${grant.leaseId}`, version, ...grant,
    host: dnsLabel(value.host, `${field}.host`),
    addresses: addresses.map((address, i) => ipAddress(address, `${field}.addresses[${i}]`)),
    fence: value.fence,
    cutMs: cutFromWire(value, field),
    ...(value.tunnelKey === '' ? {} : { tunnelKey: sshPublicKey(value.tunnelKey, `${field}.tunnel_key`) }),
    ...connectionsFromWire(value, field),
  };
}

type EnvironmentObject = Extract<DesiredObject, { kind: 'environment' }>;
type Whose = Pick<EnvironmentObject, 'environment' | 'tenant' | 'generation'>;

function environmentToWire(object: EnvironmentObject): wire.EnvironmentObject {
  const { environment, tenant, generation, container, credentials, labels, isReady, tellCredentials, rotation } = object;
  return {
    environment, tenant, generation, container: containerToWire(container), credentials: credentialSpecsToWire(credentials), labels: { ...labels },
    ready: isReady, tellCredentials, rotation,
  };
}

function environmentFromWire(value: wire.EnvironmentObject, { version, field }: { version: number; field: string }): EnvironmentObject {
  const whose = whoseFromWire(value, field);
  return {
    kind: 'environment', key: `environment/${whose.environment}`, version, ...whose,
    container: containerFromWire(value.container, `${field}.container`),
    credentials: credentialSpecsFromWire(value.credentials, `${field}.credentials`),
    labels: labelsFromWire(value.labels, `${field}.labels`), isReady: value.ready, tellCredentials: value.tellCredentials, rotation: count(value.rotation, `${field}.rotation`),
  };
}

function whoseFromWire(value: wire.RemovalObject | wire.EnvironmentObject, field: string): Whose {
  return {
    environment: dnsLabel(value.environment, `${field}.environment`),
    tenant: dnsLabel(value.tenant, `${field}.tenant`),
    generation: count(value.generation, `${field}.generation`),
  };
}

function labelsFromWire(labels: Readonly<Record<string, string>>, field: string): Record<string, string> {
  for (const [key, value] of Object.entries(labels)) {
    if (!isLabelKey(key) || !isLabelValue(value)) throw new InvalidField(field, `${shown(`${key}=${value}`)} is not a label`);
  }
  return { ...labels };
}

type Grant = Pick<Extract<DesiredObject, { kind: 'lease' }>, 'leaseId' | 'ports' | 'protocol' | 'generation'>;

type WireGrant = Omit<wire.LeaseObject, 'guardOccupied' | 'host'>;

export function grantToWire({ leaseId, ports, protocol, generation }: Grant): WireGrant {
  return { leaseId, ports: rangeToWire(ports), protocol: protocolToWire(protocol), generation };
}

export function grantFromWire(value: WireGrant, field: string): Grant {
  return {
    leaseId: objectId(value.leaseId, `${field}.lease_id`),
    ports: rangeFromWire(value.ports, `${field}.ports`),
    protocol: protocolFromWire(value.protocol, `${field}.protocol`),
    generation: count(value.generation, `${field}.generation`),
  };
}

type MappedPort = Pick<Extract<DesiredObject, { kind: 'release' }>, 'mappingId' | 'environment' | 'tenant' | 'name' | 'index' | 'protocol' | 'port' | 'target' | 'internalPort' | 'generation'>;
type WireMappedPort = Pick<wire.ReleaseObject, keyof MappedPort>;

function portToWire(object: MappedPort): WireMappedPort {
  const { mappingId, environment, tenant, name, index, port: number, internalPort, generation } = object;
  return { mappingId, environment, tenant, name, index, protocol: protocolToWire(object.protocol), port: number, target: targetToWire(object.target), internalPort, generation };
}

function portFromWire(value: WireMappedPort, field: string): MappedPort {
  return {
    mappingId: objectId(value.mappingId, `${field}.mapping_id`),
    environment: dnsLabel(value.environment, `${field}.environment`),
    tenant: dnsLabel(value.tenant, `${field}.tenant`),
    name: dnsLabel(value.name, `${field}.name`),
    index: count(value.index, `${field}.index`),
    protocol: protocolFromWire(value.protocol, `${field}.protocol`),
    port: port(value.port, `${field}.port`),
    target: targetFromWire(value.target, `${field}.target`),
    internalPort: port(value.internalPort, `${field}.internal_port`),
    generation: count(value.generation, `${field}.generation`),
  };
}

export function limitsToWire(limits: ClientLimits | undefined): { clientNetworks: string[]; maxConnections: number } {
  return { clientNetworks: [...limits?.networks ?? []], maxConnections: limits?.maxConnections ?? 0 };
}

function cutFromWire(value: { cut: wire.ReleaseObject['cut'] }, field: string): number {
  return durationToMs(required(value.cut, `${field}.cut`), `${field}.cut`);
}
