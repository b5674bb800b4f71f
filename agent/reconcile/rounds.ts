/** One round: from desired state to the kernel's rules and settings, and what must be cut because of it. */
import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../../shared/log.js';
import type { DesiredObject, ObjectProblem } from '../../shared/desired.js';
import { transportsOf, type PortRange, type Transport } from '../../shared/ports.js';
import type { Ports } from '../persistent/ports.js';
import type { BridgeGuard } from '../drivers/bridge/guard.js';
import type { Listener, Wanted } from '../drivers/connections/listeners.js';
import type { NginxRoutes } from '../drivers/nginx/driver.js';
import { union } from '../drivers/rules/ranges.js';
import type { RulesDriver, Sighting } from '../drivers/rules/driver.js';
import type { ReservedPorts } from '../drivers/settings/reserved.js';
import { forwardMaker, type MakeForwards } from './forwards.js';
import { differences } from '../persistent/map.js';
import { nextPlan, type HostFacts, type Objects, type Plan, type Planned } from './plan.js';
import { merge, Serving } from './serving.js';

export type RoundDrivers = {
  rules: Pick<RulesDriver, 'apply' | 'look' | 'isCurrent'>;
  /** Left out: nothing leads to containers. */
  bridges?: Pick<BridgeGuard, 'hold' | 'admit' | 'problems'>;
  /** Left out: no proxy serves routes. */
  routes?: ProxiedRoutes;
  reservedPorts: Pick<ReservedPorts, 'set' | 'ours'>;
  /** At least those on these ports. The same array as before when nothing has changed costs least. */
  listeners(wanted: Wanted): Promise<Listener[]>;
};

/** Serves routes in a process of this machine. */
export type ProxiedRoutes = Pick<NginxRoutes, 'admit' | 'serve' | 'cuts' | 'problems' | 'isClosed' | 'isSettled' | 'notify' | 'figures'>;

type RoundsOptions = { drivers: RoundDrivers; facts: HostFacts; log: Log };

export type RoundResult = {
  plan: Plan;
  /** Mappings that the plan serves and the driver does not. */
  unserved: ObjectProblem[];
  /** What may have stood before. */
  before: Serving;
  /** What happened before this round is not known. */
  isFirst: boolean;
  repaired: number;
};

type Grant = Extract<DesiredObject, { kind: 'lease' | 'route' }>;

/** What a full round compares with. */
export type Seen = { readonly sighting: Sighting; readonly listeners: Listener[] };

export class Rounds {
  /** Whatever may stand in the kernel: more than the plan during an attempt, and after one that did not succeed. */
  private mayStand = Serving.nothing;
  private mustSweep = true;
  private guarded: readonly PortRange[];
  private listeners: Listener[] = [];
  private planned: Planned | undefined;
  private plannedFor: { listeners: readonly Listener[]; guarded: readonly PortRange[] } | undefined;
  private wanted: { of: Ports<true> | undefined; ranges: Wanted } = { of: undefined, ranges: { tcp: [], udp: [] } };
  private settingsProblem: string | undefined;
  private proxied: { of: Plan['rules']; rules: Plan['rules'] } | undefined;
  private readonly make: MakeForwards;

  constructor(private readonly options: RoundsOptions) {
    this.guarded = options.drivers.reservedPorts.ours;
    this.make = forwardMaker(options.facts);
  }

  get standing(): Serving {
    return this.mayStand;
  }

  /** The next round must be a full one: the first, and one after a failure. */
  get needsFull(): boolean {
    return this.mustSweep;
  }

  /** Looks at what a full round compares with. Only reads. When it fails nothing is taken for granted any more. */
  async look(): Promise<Seen> {
    const { drivers, facts } = this.options;
    try {
      const [sighting, listeners] = await Promise.all([drivers.rules.look(facts), this.planned === undefined ? [] : drivers.listeners(this.leased())]);
      return { sighting, listeners };
    } catch (error) {
      this.mustSweep = true;
      throw error;
    }
  }

  /** False: a round has changed rules since it began to look. */
  isCurrent({ sighting }: Seen): boolean {
    return this.options.drivers.rules.isCurrent(sighting);
  }

  /**
   * With `seen`: a full round, which compares with what the kernel held; without, it trusts what the last round left. Throws when the kernel
   * could not be brought to the plan; the next round then takes nothing for granted. `isQuiet`: nothing that led elsewhere is connected.
   */
  async run(objects: Objects, seen: Seen | undefined, isQuiet: boolean): Promise<RoundResult> {
    const { drivers } = this.options;
    const granted = this.grantedSince(objects);
    if (granted.length > 0) this.note(await drivers.listeners(this.leased(granted)));
    else if (seen !== undefined) this.note(seen.listeners);
    const plan = this.plan(objects);
    await this.reserve(plan, seen !== undefined);
    const before = this.mayStand;
    const isFirst = this.mustSweep;
    const guardRepairs = await drivers.bridges?.hold(plan.containers, { isQuiet: isQuiet && !isFirst, mustLook: seen !== undefined }) ?? 0;
    this.mustSweep = true;
    if (before !== plan.serving) this.mayStand = merge(before, plan.serving);
    const { repaired, unserved = [] } = await drivers.rules.apply(this.rulesOf(plan), { observe: seen?.sighting ?? false });
    this.mustSweep = false;
    this.mayStand = plan.serving;
    this.guarded = plan.reserved;
    await drivers.routes?.serve();
    return { plan, unserved: [...unserved.map(({ id, reason, message }) => ({ key: `mapping/${id}`, reason, message })), ...this.keptOut()], before, isFirst, repaired: repaired + guardRepairs };
  }

  /** What a proxy serves is let through the guard, as far as it leads where it should. */
  private rulesOf({ rules, routes, occupied, own }: Plan): Plan['rules'] {
    const proxied = this.options.drivers.routes?.admit({ routes, occupied, own });
    if (proxied === undefined) return rules;
    if (this.proxied?.of !== rules || this.proxied.rules.proxied !== proxied) this.proxied = { of: rules, rules: { ...rules, proxied } };
    return this.proxied.rules;
  }

  /** Nothing that led elsewhere is connected any more. */
  async admit({ containers }: Plan): Promise<void> {
    await this.options.drivers.bridges?.admit(containers);
  }

  /** Mappings to containers whose bridge port is not known yet: each round looks for it again. */
  private keptOut(): ObjectProblem[] {
    const problems = this.options.drivers.bridges?.problems() ?? new Map<string, string>();
    if (problems.size === 0) return [];
    return [...this.planned?.basis.containers ?? []].flatMap(([key, { address }]) => {
      const message = problems.get(address);
      return message === undefined ? [] : [{ key, reason: 'CONTAINER_ADDRESS_UNSETTLED', message }];
    });
  }

  /** Leases and routes that the last plan did not know: nobody has looked who listens there. */
  private grantedSince(objects: Objects): Grant[] {
    const before: Objects = this.planned?.objects ?? new Map();
    return differences(before, objects).flatMap(key => {
      const object = objects.get(key);
      return (object?.kind === 'lease' || object?.kind === 'route') && before.get(key)?.version !== object.version ? [object] : [];
    });
  }

  /** Ports that the last plan guards, and those of `granted`. */
  private leased(granted: readonly Grant[] = []): Wanted {
    const covered = this.planned?.basis.guards.covered;
    if (covered !== this.wanted.of && covered !== undefined) this.wanted = { of: covered, ranges: { tcp: covered.tcp.ranges(), udp: covered.udp.ranges() } };
    const { ranges } = this.wanted;
    if (granted.length === 0) return ranges;
    const also = (transport: Transport): PortRange[] =>
      union([...ranges[transport], ...granted.filter(({ protocol }) => transportsOf(protocol).includes(transport)).map(({ ports }) => ports)]);
    return { tcp: also('tcp'), udp: also('udp') };
  }

  private note(listeners: Listener[]): void {
    if (listeners !== this.listeners && !isDeepStrictEqual(listeners, this.listeners)) this.listeners = listeners;
  }

  /** The last plan, as long as nothing that it depends on has changed. */
  private plan(objects: Objects): Plan {
    const { planned, plannedFor, listeners, guarded } = this;
    if (planned?.objects === objects && plannedFor?.listeners === listeners && plannedFor.guarded === guarded) return planned.plan;
    // If it throws, the next one is made from nothing.
    this.planned = undefined;
    this.planned = nextPlan(planned, { objects, facts: this.options.facts, make: this.make, listeners, guarded });
    this.plannedFor = { listeners, guarded: this.planned.plan.reserved };
    return this.planned.plan;
  }

  /** A kernel that refuses the setting is no reason to serve nothing: the guard does not depend on it. */
  private async reserve({ reserved }: Plan, isFull: boolean): Promise<void> {
    if (!isFull && isSame(reserved, this.guarded)) return;
    try {
      await this.options.drivers.reservedPorts.set(reserved);
      if (this.settingsProblem !== undefined) this.options.log.info('leased ports are reserved again');
      this.settingsProblem = undefined;
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (problem !== this.settingsProblem) this.options.log.warn({ problem }, 'leased ports could not be put in ip_local_reserved_ports');
      this.settingsProblem = problem;
    }
  }
}

function isSame(a: readonly PortRange[], b: readonly PortRange[]): boolean {
  return a === b || a.length === b.length && a.every(({ first, last }, index) => b[index]?.first === first && b[index].last === last);
}
