/**
 * Whose a port was last: an environment that comes back gets its old numbers while they are free. Nothing is kept free for it: the
 * memory never makes anybody wait or be refused. It is bounded by the ports, each of which remembers one owner, until it has
 * another one.
 */
import type { Space, State } from './state.js';
import type { MappingRecord } from './types.js';

/** A port that an environment had under a name; `index` as in its mapping. */
export type Former = { readonly environment: string; readonly tenant: string; readonly name: string; readonly index: number; readonly port: number };

/** The ports of each environment that owns them no more, by its name; the newest last. */
export type Formers = Map<string, Former[]>;

/** The port rests, or rested, and nobody has had it since. */
export function rememberOwner(state: State, { environment, tenant, name, index, port, space }: MappingRecord): void {
  const { formerAt } = state.space(space);
  forgetOwner(state, state.space(space), port);
  const former: Former = { environment, tenant, name, index, port };
  formerAt.set(port, former);
  const known = state.formers.get(environment);
  if (known === undefined) state.formers.set(environment, [former]);
  else known.push(former);
}

/** The port has an owner again. */
export function forgetOwner(state: State, { formerAt }: Space, port: number): void {
  const former = formerAt.get(port);
  if (former === undefined) return;
  formerAt.delete(port);
  const known = state.formers.get(former.environment);
  if (known === undefined) return;
  known.splice(known.indexOf(former), 1);
  if (known.length === 0) state.formers.delete(former.environment);
}

/** What the environment had last, if anything: of its tenant only, as names are free for others once their environment is gone. */
export function formersOf(state: State, { environment, tenant }: { environment: string; tenant: string }): readonly Former[] {
  return state.formers.get(environment)?.filter((former) => former.tenant === tenant) ?? NONE;
}

/** The number that it had last under this name and position. */
export function formerPort(formers: readonly Former[], name: string, index: number): number | undefined {
  return formers.findLast((former) => former.name === name && former.index === index)?.port;
}

const NONE: readonly Former[] = [];
