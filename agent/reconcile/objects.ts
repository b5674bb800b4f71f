/** Desired objects as they are planned: a mapping that leads to a container says where that is now. */
import type { DesiredObject, PortObject } from '../../shared/desired.js';
import type { Target } from '../../shared/target.js';

/** Where a container is at the moment. */
export type Place =
  /** At this address. */
  | { readonly kind: 'at'; readonly address: string; readonly containerId: string }
  /** The container publishes the public port: Docker leads there. */
  | { readonly kind: 'publishedAt'; readonly address: string; readonly containerId: string }
  | { readonly kind: 'nowhere'; readonly reason: string; readonly message: string };

export type MappingObject = Omit<Extract<DesiredObject, { kind: 'mapping' }>, 'target'> & { readonly target: Target | Place };
export type RouteObject = Extract<DesiredObject, { kind: 'route' }>;

export type ReconcileObject = Exclude<PortObject, { kind: 'mapping' }> | MappingObject;

export type Objects = ReadonlyMap<string, ReconcileObject>;
