/** What is there without what it is for, and how often it was seen in a row. Pure. */
import { LEAK_KINDS, type LeakKind } from '../../shared/leak.js';
import { transportsOf, type Transport } from '../../shared/ports.js';
import type { DockerView } from '../drivers/docker/watch.js';
import type { Placed } from '../reconcile/places.js';

export { LEAK_KINDS, type LeakKind };

/** A process with the mark of a tunnel. `startTicks`: since boot; with the pid it names one process, also when the pid is used again. */
export type TunnelProcess = { readonly pid: number; readonly startTicks: number; readonly program: string; readonly tunnelId: string };

export type Finding = {
  /** The same in each scan, and of no other leak. */
  readonly id: string;
  /** A sentence for people. */
  readonly text: string;
  /** Left out: it is at no port. */
  readonly at?: At | undefined;
} & (
  | { readonly kind: 'mappingWithoutContainer'; readonly mappingId: string; readonly generation: number; readonly port: number; readonly reason: string }
  /** `kept`: why it is not to be removed; '': nothing speaks against it. */
  | { readonly kind: 'containerWithoutEnvironment'; readonly containerId: string; readonly environment: string; readonly generation: number; readonly kept: string }
  | { readonly kind: 'publishedPort' | 'listener' | 'foreignRule' }
  | { readonly kind: 'tunnelProcess'; readonly process: TunnelProcess }
);

type At = { readonly transport: Transport; readonly port: number };

/** `sightings`: scans in a row that saw it; those that could not look at its kind count neither for it nor against it. */
export type Leak = { readonly finding: Finding; readonly sightings: number };
export type Leaks = ReadonlyMap<string, Leak>;

/** What a scan came to; a kind that it could not look at is undefined or left out. */
export type Scan = { readonly [Kind in LeakKind]?: readonly Finding[] | undefined };

const NOT_FOUND = 'CONTAINER_NOT_FOUND';
const GONE = new Set([NOT_FOUND, 'CONTAINER_STOPPED']);

/** Mappings whose container is not there or does not run. Undefined: Docker does not say so now. Of a mapping to an address nobody knows. */
export function mappingFindings(placed: Placed, view: DockerView): Finding[] | undefined {
  if (view.kind !== 'known' || view.problem !== undefined || placed.of.view !== view) return undefined;
  return [...placed.dependent].flatMap((key): Finding[] => {
    const object = placed.objects.get(key);
    if (object?.kind !== 'mapping' || object.target.kind !== 'nowhere' || !GONE.has(object.target.reason)) return [];
    const { mappingId, generation, port, protocol, environment, target: { reason, message } } = object;
    const at = { transport: transportsOf(protocol)[0] ?? 'tcp', port };
    const text = `port ${port} of environment ${environment} leads nowhere: ${message}`;
    return [{ kind: 'mappingWithoutContainer', id: `mappingWithoutContainer/${mappingId}/${generation}`, mappingId, generation, port, reason, at, text }];
  });
}

/** Processes of tunnels that are not `known`. */
export function tunnelFindings(processes: readonly TunnelProcess[], known: ReadonlySet<string>): Finding[] {
  return processes.filter(({ tunnelId }) => !known.has(tunnelId)).map((process): Finding => ({
    kind: 'tunnelProcess', id: `tunnelProcess/${process.pid}/${process.startTicks}`, process,
    text: `process ${process.pid} (${process.program}) has the mark of tunnel ${process.tunnelId}, and there is no such tunnel`,
  }));
}

/** Mappings whose containers are there: one that is without its container later has lost it. */
export function servedMappings({ objects, dependent }: Placed): string[] {
  return [...dependent].flatMap(key => {
    const object = objects.get(key);
    return object?.kind === 'mapping' && object.target.kind !== 'nowhere' ? [mappingKey(object)] : [];
  });
}

export function mappingKey({ mappingId, generation }: { mappingId: string; generation: number }): string {
  return `${mappingId}/${generation}`;
}

/** A container that was there and is no more does not come back; one that is stopped may be started again, and one that never was may be on its way. */
export function hasLostContainer(finding: Extract<Finding, { kind: 'mappingWithoutContainer' }>, served: ReadonlySet<string>): boolean {
  return finding.reason === NOT_FOUND && served.has(mappingKey(finding));
}

export function nextLeaks(before: Leaks, scan: Scan): Leaks {
  const after = new Map<string, Leak>();
  for (const kind of LEAK_KINDS) {
    const found = scan[kind];
    if (found === undefined) {
      for (const [id, leak] of before) if (leak.finding.kind === kind) after.set(id, leak);
    } else {
      for (const finding of found) after.set(finding.id, { finding, sightings: (before.get(finding.id)?.sightings ?? 0) + 1 });
    }
  }
  return after;
}

/** Less those of a kind that a look in between did not find; it is no sighting. `found` undefined: it could not look. */
export function withoutGone(before: Leaks, kind: LeakKind, found: readonly Finding[] | undefined): Leaks {
  if (found === undefined) return before;
  const still = new Set(found.map(({ id }) => id));
  return new Map([...before].filter(([id, { finding }]) => finding.kind !== kind || still.has(id)));
}

/** What is to be told: leaks that were seen often enough only now, and those that were told of and are gone. */
export function newsOf(before: Leaks, after: Leaks, sightings: number): { found: Leak[]; over: Leak[] } {
  const isConfirmed = (leak: Leak | undefined): boolean => leak !== undefined && leak.sightings >= sightings;
  return {
    found: [...after].filter(([id, leak]) => isConfirmed(leak) && !isConfirmed(before.get(id))).map(([, leak]) => leak),
    over: [...before].filter(([id, leak]) => isConfirmed(leak) && !after.has(id)).map(([, leak]) => leak),
  };
}
