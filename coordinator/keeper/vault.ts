/**
 * Generated credentials between the agent that reports them and the caller that gets them: in this process' memory and nowhere else. Taken
 * once; what is replaced or not wanted any more is dropped.
 */
import type { Credential, EnvironmentReport } from '../../shared/container.js';

/** Which ones: of this container, rotated so often. */
export type Key = { readonly environment: string; readonly host: string; readonly generation: number; readonly rotation: number };

type Kept = Key & { readonly credentials: readonly Credential[] };

export class CredentialVault {
  readonly #kept = new Map<string, Kept>();
  readonly #watches = new Map<string, Set<() => void>>();

  /** What a host says of its environments: those without credentials are dropped. */
  hear(host: string, reports: readonly EnvironmentReport[]): void {
    for (const { environment, generation, rotation, credentials } of reports) {
      const before = this.#kept.get(environment);
      if (credentials.length > 0) {
        this.#kept.set(environment, { environment, host, generation, rotation, credentials });
        for (const watch of [...this.#watches.get(environment) ?? []]) watch();
      } else if (before?.host === host && before.generation === generation) this.#kept.delete(environment);
    }
  }

  /** Gives them out, and forgets them. */
  take({ environment, host, generation, rotation }: Key): readonly Credential[] | undefined {
    const kept = this.#kept.get(environment);
    if (kept?.host !== host || kept.generation !== generation || kept.rotation !== rotation) return undefined;
    this.#kept.delete(environment);
    return kept.credentials;
  }

  /** Told when some have come; call the result to end that. */
  watch(environment: string, onCome: () => void): () => void {
    const watches = this.#watches.get(environment) ?? new Set();
    watches.add(onCome);
    this.#watches.set(environment, watches);
    return () => {
      watches.delete(onCome);
      if (watches.size === 0) this.#watches.delete(environment);
    };
  }
}
