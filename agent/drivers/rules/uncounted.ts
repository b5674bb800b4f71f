/**
 * Connections of limited mappings that their rule does not count. A rule counts from the moment that it is written: what was connected before
 * (its number was changed, or somebody had flushed it) is known here, from the kernel's connection table, and taken off the rule's
 * number. When such a connection has ended the rule is written anew, and all that is connected then is uncounted. So there are never more
 * connections than the limit says, and room comes back with the next full round at the latest.
 */
import type { CheckedSpec } from './checked.js';
import { FAMILIES, TRANSPORTS, type Family, type Forward } from './spec.js';

/** Connections that lead by these forwards, by their id; each by a text that is its own for as long as it lives. */
export type CountConnections = (forwards: readonly Forward[]) => Promise<ReadonlyMap<string, ReadonlySet<string>>>;

type Entry = { readonly family: Family; readonly port: number; readonly connections: ReadonlySet<string> };

const NONE: ReadonlySet<string> = new Set();

export class Uncounted {
  private readonly entries = new Map<string, Entry>();
  private amended: { of: CheckedSpec; spec: CheckedSpec } | undefined;

  constructor(private readonly count: CountConnections) {}

  /** The spec with what is not counted taken off; the same spec again gives the same object, as long as nothing has changed. */
  applyTo(spec: CheckedSpec): CheckedSpec {
    if (this.entries.size === 0) return spec;
    if (this.amended?.of !== spec) this.amended = { of: spec, spec: this.amend(spec) };
    return this.amended.spec;
  }

  /** The rules of these mappings are about to be written: whatever is connected will not be counted. */
  async note(spec: CheckedSpec, ids: readonly string[]): Promise<void> {
    const found = ids.flatMap(id => placesOf(spec, id));
    const connections = await this.count(found.flatMap(({ forwards }) => forwards));
    for (const { id, family, port } of found) this.set(id, { family, port, connections: connections.get(id) ?? NONE });
  }

  /** Forgets connections that have ended. */
  async refresh(spec: CheckedSpec): Promise<void> {
    if (this.entries.size === 0) return;
    const found = [...this.entries.keys()].flatMap(id => placesOf(spec, id));
    const connections = await this.count(found.flatMap(({ forwards }) => forwards));
    for (const id of this.entries.keys()) if (!found.some(one => one.id === id)) this.set(id, undefined);
    for (const { id, family, port } of found) {
      const left = new Set([...this.entries.get(id)?.connections ?? NONE].filter(one => connections.get(id)?.has(one)));
      if (left.size !== this.entries.get(id)?.connections.size) this.set(id, { family, port, connections: left });
    }
  }

  private set(id: string, entry: Entry | undefined): void {
    this.amended = undefined;
    if (entry === undefined || entry.connections.size === 0) this.entries.delete(id);
    else this.entries.set(id, entry);
  }

  private amend(spec: CheckedSpec): CheckedSpec {
    const changes = Array.from(this.entries, ([id, { connections }]) => placesOf(spec, id).flatMap(({ forwards }) => forwards.map(forward => [forward, connections.size] as const))).flat();
    const now = changes.map(([forward, uncounted]) => (forward.limits === undefined ? forward : { ...forward, limits: { ...forward.limits, uncounted } }));
    return { ...spec, forwards: spec.forwards.amended(changes.map(([forward]) => forward), now) };
  }
}

/** Forwards of a mapping whose connections are limited, where it has any. */
function placesOf({ forwards }: CheckedSpec, id: string): { id: string; family: Family; port: number; forwards: Forward[] }[] {
  return FAMILIES.flatMap(family => {
    const port = forwards.of(family).counted.get(id);
    if (port === undefined) return [];
    const own = TRANSPORTS.map(transport => forwards.of(family).ports[transport].get(port)).filter(forward => forward?.id === id);
    return [{ id, family, port, forwards: own as Forward[] }];
  });
}
