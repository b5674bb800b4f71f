/** Desired objects as they are planned: a mapping that leads to a container says where that is now. */
import type { DesiredObject, PortObject } from '../../shared/desired.js';
import type { Target } from '../../shared/target.js';
import type { Bound } from '../drivers/bridge/guard.js';

/** Where a container is at the moment. */
export type Place =
  /** At this address. */
  | { readonly kind: 'at' } & Bound
  /** A container on the network of the host listens there: at a lease address. */
  | { readonly kind: 'self'; readonly address: string; readonly containerId: string }
  /** The container publishes the public port: Docker leads there. */
  | { readonly kind: 'publishedAt'; readonly address: string; readonly containerId: string }
  | { readonly kind: 'nowhere'; readonly reason: string; readonly message: string };

export type MappingObject = Omit<Extract<DesiredObject, { kind: 'mapping' }>, 'target'> & { readonly target: Target | Place };
export type RouteObject = Extract<DesiredObject, { kind: 'route' }>;

export type ReconcileObject = Exclude<PortObject, { kind: 'mapping' }> | MappingObject;

export type Objects = ReadonlyMap<string, ReconcileObject>;
