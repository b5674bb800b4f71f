/** What is there without what it is for, and how often it was seen in a row. Pure. */
import type { DockerView } from '../drivers/docker/watch.js';
import type { Placed } from '../reconcile/places.js';

export const LEAK_KINDS = ['mappingWithoutContainer', 'containerWithoutEnvironment', 'tunnelProcess'] as const;
export type LeakKind = (typeof LEAK_KINDS)[number];

/** A process with the mark of a tunnel. `startTicks`: since boot; with the pid it names one process, also when the pid is used again. */
export type TunnelProcess = { readonly pid: number; readonly startTicks: number; readonly program: string; readonly tunnelId: string };

export type Finding = {
  /** The same in each scan, and of no other leak. */
  readonly id: string;
  /** A sentence for people. */
  readonly text: string;
} & (
  | { readonly kind: 'mappingWithoutContainer'; readonly mappingId: string; readonly port: number; readonly reason: string }
  /** `kept`: why it is not to be removed; '': nothing speaks against it. */
  | { readonly kind: 'containerWithoutEnvironment'; readonly containerId: string; readonly environment: string; readonly generation: number; readonly kept: string }
  | { readonly kind: 'tunnelProcess'; readonly process: TunnelProcess }
);

/** `sightings`: scans in a row that saw it; those that could not look at its kind count neither for it nor against it. */
export type Leak = { readonly finding: Finding; readonly sightings: number };
export type Leaks = ReadonlyMap<string, Leak>;

/** What a scan came to; a kind that it could not look at is undefined. */
export type Scan = { readonly [Kind in LeakKind]?: readonly Finding[] | undefined };

const GONE = new Set(['CONTAINER_NOT_FOUND', 'CONTAINER_STOPPED']);

/** Mappings whose container is not there or does not run. Undefined: Docker does not say so now. Of a mapping to an address nobody knows. */
export function mappingFindings(placed: Placed, view: DockerView): Finding[] | undefined {
  if (view.kind !== 'known' || view.problem !== undefined || placed.of.view !== view) return undefined;
  return [...placed.dependent].flatMap((key): Finding[] => {
    const object = placed.objects.get(key);
    if (object?.kind !== 'mapping' || object.target.kind !== 'nowhere' || !GONE.has(object.target.reason)) return [];
    const { mappingId, generation, port, target: { reason, message } } = object;
    return [{ kind: 'mappingWithoutContainer', id: `mappingWithoutContainer/${mappingId}/${generation}`, mappingId, port, reason, text: `mapping ${mappingId} of port ${port} leads nowhere: ${message}` }];
  });
}

/** Processes of tunnels that are not `known`. */
export function tunnelFindings(processes: readonly TunnelProcess[], known: ReadonlySet<string>): Finding[] {
  return processes.filter(({ tunnelId }) => !known.has(tunnelId)).map((process): Finding => ({
    kind: 'tunnelProcess', id: `tunnelProcess/${process.pid}/${process.startTicks}`, process,
    text: `process ${process.pid} (${process.program}) has the mark of tunnel ${process.tunnelId}, and there is no such tunnel`,
  }));
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

/** What is to be told: leaks that were seen often enough only now, and those that were told of and are gone. */
export function newsOf(before: Leaks, after: Leaks, sightings: number): { found: Leak[]; over: Leak[] } {
  const isConfirmed = (leak: Leak | undefined): boolean => leak !== undefined && leak.sightings >= sightings;
  return {
    found: [...after].filter(([id, leak]) => isConfirmed(leak) && !isConfirmed(before.get(id))).map(([, leak]) => leak),
    over: [...before].filter(([id, leak]) => isConfirmed(leak) && !after.has(id)).map(([, leak]) => leak),
  };
}
