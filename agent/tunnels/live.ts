/** Other forwards on a connection that stands, without connecting anew. */
import { forwardArgument, isSameSpec } from './argv.js';
import type { HeldForward, HeldSpec, Wanted } from './words.js';

type Wish = { readonly spec: HeldSpec; readonly restart: number; readonly wanted: Wanted; readonly isFromConfig: boolean };

/** In nothing else. */
export function differsInForwards(a: Wish, b: Wish): boolean {
  return isSameSpec({ ...a.spec, forwards: [] }, { ...b.spec, forwards: [] }) && a.restart === b.restart && a.wanted === b.wanted && a.isFromConfig === b.isFromConfig;
}

export function forwardChanges(before: readonly HeldForward[], after: readonly HeldForward[]): { gone: HeldForward[]; added: HeldForward[] } {
  const textOf = (forward: HeldForward): string => forwardArgument(forward).join(' ');
  const old = new Set(before.map(textOf));
  const now = new Set(after.map(textOf));
  return { gone: before.filter(one => !now.has(textOf(one))), added: after.filter(one => !old.has(textOf(one))) };
}

type Link = { addForward(forward: HeldForward): Promise<unknown>; cancelForward(forward: HeldForward): Promise<unknown> };

/** `onChange`: told what the connection has after each step. Rejects when the server does not take one. */
export async function changeForwards(link: Link, { before, after, onChange }: { before: readonly HeldForward[]; after: readonly HeldForward[]; onChange: (forwards: readonly HeldForward[]) => void }): Promise<void> {
  const { gone, added } = forwardChanges(before, after);
  let now = before;
  for (const forward of gone) {
    await link.cancelForward(forward);
    now = now.filter(one => one !== forward);
    onChange(now);
  }
  for (const forward of added) {
    await link.addForward(forward);
    now = [...now, forward];
    onChange(now);
  }
}
