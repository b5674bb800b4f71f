/**
 * Chains of forwards that are limited. A port with client networks has a chain of its own (PORTLEASE-T7531), where each network leads on; who
 * comes from none of them returns, is led nowhere, and meets the guard. Each limited mapping has a chain (PORTLEASE-ID) for all its
 * transports, so that they share one count: beyond the limit a connection returns, too. That rule counts what it lets pass, and begins at
 * nothing when it is written: then what is connected already is taken off its number (uncounted.ts). Pure.
 */
import type { Change } from '../../persistent/map.js';
import { differingPorts, type Ports } from '../../persistent/ports.js';
import { targetChain, treeChain } from './layout.js';
import { TRANSPORTS, type Forward, type Limits } from './spec.js';

type Limited = Forward & { readonly limits: Limits };

/** Chains that are not the same for `after` as for `before`, in their new form; undefined: no chain any more. */
export function limitedChanges(before: Ports<Forward>, after: Ports<Forward>): Change<readonly string[]>[] {
  const changes: Change<readonly string[]>[] = [];
  const places = new Map<string, Set<number>>();
  for (const transport of TRANSPORTS) {
    for (const port of differingPorts(before[transport], after[transport])) {
      const now = limited(after[transport].get(port));
      const known = [limited(before[transport].get(port)), now].filter(one => one !== undefined);
      if (known.length > 0) changes.push([treeChain(transport, port, 1), now?.limits.networks?.map(network => `-s ${network} -g ${targetChain(now.id)}`)]);
      for (const { id } of known) places.set(id, (places.get(id) ?? new Set()).add(port));
    }
  }
  return [...changes, ...Array.from(places, ([id, ports]) => [targetChain(id), rulesOf(after, ports, id)] as const)];
}

/** The chain that a limited forward begins with. */
export function entryOf({ id, transport, ports, limits }: Forward): string | undefined {
  if (limits === undefined) return undefined;
  return limits.networks === undefined ? targetChain(id) : treeChain(transport, ports.first, 1);
}

/** How many connections the rule lets pass that it counts itself. */
function roomOf({ maxConnections, uncounted }: Limits): number {
  return Math.max(0, maxConnections - uncounted);
}

/** Lets so many pass, whoever they are. */
export function countRule(room: number): string {
  return `-m connlimit --connlimit-above ${room} --connlimit-mask 0 --connlimit-saddr -j RETURN`;
}

function destination({ to, toPort }: Forward): string {
  return toPort === undefined ? to : to.includes(':') ? `[${to}]:${toPort}` : `${to}:${toPort}`;
}

export function dnatTarget(forward: Forward): string {
  return `-m comment --comment "portlease:${forward.id}:g${forward.generation}" -j DNAT --to-destination ${destination(forward)}`;
}

function limited(forward: Forward | undefined): Limited | undefined {
  return forward?.limits === undefined ? undefined : forward as Limited;
}

function rulesOf(forwards: Ports<Forward>, ports: ReadonlySet<number>, id: string): string[] | undefined {
  const own = [...ports].flatMap(port => TRANSPORTS.flatMap(transport => limited(forwards[transport].get(port)) ?? [])).filter(forward => forward.id === id);
  const [first] = own;
  if (first === undefined) return undefined;
  const count = first.limits.maxConnections === 0 ? [] : [countRule(roomOf(first.limits))];
  return [...count, ...own.map(forward => `-p ${forward.transport} ${dnatTarget(forward)}`)];
}
