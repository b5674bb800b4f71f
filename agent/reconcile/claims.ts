/** Which mapping or route has a port. Pure. */
import { transportsOf, type PortRange, type Transport } from '../../shared/ports.js';
import type { ObjectProblem } from '../../shared/desired.js';
import { editPorts, type Ports, type PortsEdit } from '../persistent/ports.js';
import type { Made, MakeForwards } from './forwards.js';
import type { MappingObject, RouteObject } from './objects.js';
import { PortSet } from './portset.js';

export type Forwarded = MappingObject | RouteObject;

/** All that claim a port, whether they can be served or not. */
export type Claims = Ports<readonly Forwarded[]>;

type Place = { transport: Transport; ports: PortRange };

export class ClaimsEdit {
  readonly edit: PortsEdit<readonly Forwarded[]>;
  private readonly touched = new Set<Forwarded>();

  constructor(before: Claims, private readonly make: MakeForwards) {
    this.edit = editPorts(before);
  }

  add(object: Forwarded): void {
    this.touched.add(object);
    this.change(object, there => (there === undefined ? [object] : [...there, object]));
  }

  remove(object: Forwarded): void {
    this.touched.delete(object);
    this.change(object, there => {
      const others = there?.filter(one => one !== object) ?? [];
      return others.length === 0 ? undefined : others;
    });
  }

  /** All that claim these ports are to be looked at again. */
  touch({ transport, ports }: Place): void {
    for (let port = ports.first; port <= ports.last; port++) {
      for (const other of this.edit[transport].get(port) ?? []) this.touched.add(other);
    }
  }

  /** All that what was touched may take ports from, or give ports to, and so on. `isContested`: two of them claim one port. */
  affected(): { objects: Forwarded[]; isContested: boolean } {
    const queue = [...this.touched];
    const found = new Set(queue);
    let isContested = false;
    for (const object of queue) {
      for (const { transport, ports } of placesOf(object, this.make)) {
        for (let port = ports.first; port <= ports.last; port++) {
          const claimants = this.edit[transport].get(port) ?? [];
          if (claimants.length < 2) continue;
          isContested = true;
          for (const other of claimants.filter(each => !found.has(each))) {
            queue.push(other);
            found.add(other);
          }
        }
      }
    }
    return { objects: queue, isContested };
  }

  private change(object: Forwarded, to: (there: readonly Forwarded[] | undefined) => readonly Forwarded[] | undefined): void {
    for (const { transport, ports } of placesOf(object, this.make)) {
      const edit = this.edit[transport];
      let known: { there: readonly Forwarded[] | undefined; value: readonly Forwarded[] | undefined } | undefined;
      for (let port = ports.first; port <= ports.last; port++) {
        const there = edit.get(port);
        for (const other of there ?? []) if (other !== object) this.touched.add(other);
        if (known === undefined || known.there !== there) known = { there, value: to(there) };
        edit.set(port, known.value);
      }
    }
  }
}

function placesOf(object: Forwarded, make: MakeForwards): readonly Place[] {
  if (object.kind === 'mapping') return transportsOf(object.protocol).map(transport => ({ transport, ports: { first: object.port, last: object.port } }));
  const made = make(object);
  return 'served' in made ? made.served : [];
}

export type Decision = { object: Forwarded; result: Made | ObjectProblem };

type Contest = { objects: readonly Forwarded[]; isContested: boolean; isLeased: (transport: Transport, port: number) => boolean; make: MakeForwards };

/** Of two that claim a port the later grant has it; mappings go before routes. */
export function decide({ objects, isContested, isLeased, make }: Contest): Decision[] {
  const taken = isContested ? new PortSet() : undefined;
  return (isContested ? [...objects].sort(byPrecedence) : objects).map(object => {
    const one = notLeased(object, isLeased) ?? make(object);
    if (taken === undefined || 'reason' in one) return { object, result: one };
    return { object, result: claimedTwice(object.key, one, taken) ?? one };
  });
}

function byPrecedence(a: Forwarded, b: Forwarded): number {
  if (a.kind !== b.kind) return a.kind === 'mapping' ? -1 : 1;
  return b.generation - a.generation || (a.key < b.key ? -1 : 1);
}

function notLeased(object: Forwarded, isLeased: Contest['isLeased']): ObjectProblem | undefined {
  if (object.kind === 'route') return undefined;
  const { key, port, protocol } = object;
  const outside = transportsOf(protocol).filter(transport => !isLeased(transport, port));
  if (outside.length === 0) return undefined;
  return { key, reason: 'NOT_LEASED', message: `${outside.join(' and ')} port ${port} is in no lease of this host` };
}

/** Takes the ports, unless one of them is taken. */
function claimedTwice(key: string, { served }: Made, taken: PortSet): ObjectProblem | undefined {
  for (const { transport, ports } of served) {
    for (let port = ports.first; port <= ports.last; port++) {
      if (taken.has(transport, port)) return { key, reason: 'PORT_CLAIMED_TWICE', message: `${transport} port ${port} belongs to a later grant` };
    }
  }
  for (const { transport, ports } of served) taken.add(transport, ports);
  return undefined;
}
