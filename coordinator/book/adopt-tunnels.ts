/** Tunnels, when the database turned out to be an older copy: a host that knows more than the copy says which it was told to keep. */
import type { Report } from './adopt.js';
import type { TunnelRecord } from './types.js';

export function tunnelsAfter(copied: readonly TunnelRecord[], reports: ReadonlyMap<string, Report>, { nowMs, sequence }: { nowMs: number; sequence: number }): TunnelRecord[] {
  const kept = copied.filter(({ host }) => reports.get(host)?.isAhead !== true);
  const told = [...reports.values()].filter(({ isAhead }) => isAhead).flatMap(({ hello: { host }, objects }) => objects.flatMap((object): TunnelRecord[] => {
    if (object.kind !== 'tunnel') return [];
    const before = copied.find((record) => record.host === host && record.spec.tunnel === object.spec.tunnel);
    const { restart, isStopped, isOfConfig = false } = object;
    return [{
      host, spec: { ...object.spec, host }, restart, isStopped, isOfConfig, createdAtMs: before?.createdAtMs ?? nowMs, revision: sequence,
      told: before?.told ?? 'nothing', toldFlapping: before?.toldFlapping ?? false,
    }];
  }));
  return [...kept, ...told];
}
