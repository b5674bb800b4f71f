/**
 * A small model of a machine's kernel, as far as ports are concerned: DNAT rules and guard as the rules driver is asked for them,
 * connection tracking, and children that work on them slowly, stall, fail after the deed, or outlive the agent that started them.
 */
import type { Cut, CutResult, Standing } from '../../agent/drivers/connections/connections.js';
import type { RulesSpec } from '../../agent/drivers/rules/spec.js';
import type { Applied, Sighting } from '../../agent/drivers/rules/driver.js';
import { emptyFamily } from '../../agent/drivers/rules/parse.js';
import type { PortRange } from '../../shared/ports.js';
import type { Chance } from './random.js';
import type { Life, Time } from './time.js';

/** A tracked connection: client packets to `port` of this machine go to `to`:`toPort`. */
export type Flow = { readonly id: number; readonly port: number; readonly to: string; readonly toPort: number };

type Rules = Pick<RulesSpec, 'forwards' | 'leased'>;

const NO_RULES: Rules = { forwards: [], leased: [] };

export class Kernel {
  rules: Rules = NO_RULES;
  readonly flows = new Map<number, Flow>();
  /** Connections that began since a rule was made, by "id generation". */
  begun = new Map<string, number>();
  reserved: PortRange[] = [];
  /** No agent has ruled since the machine booted: what listens there is the machine's own affair. */
  isBare = true;
  /** Every rule that ever stood here: "id generation" and "port address". */
  readonly hadRules = new Set<string>();
  /** Children of an agent that have not ended. */
  children = 0;
  /** Where a new packet to a port goes, by port. */
  #places = new Map<number, { to: string; toPort: number; rule: string }>();

  constructor(private readonly onChange: () => void) {}

  /** Where a new connection to the port goes: to a target, to whatever listens on the machine itself, or nowhere. */
  placeOf(port: number): { kind: 'target'; to: string; toPort: number } | { kind: 'dropped' } | { kind: 'local' } {
    const place = this.#places.get(port);
    if (place !== undefined) return { kind: 'target', to: place.to, toPort: place.toPort };
    if (this.isBare) return { kind: 'dropped' };
    return this.rules.leased.some(({ ports, transport }) => transport === 'tcp' && ports.first <= port && ports.last >= port) ? { kind: 'dropped' } : { kind: 'local' };
  }

  setRules(rules: Rules): void {
    this.rules = rules;
    this.#places = new Map();
    const begun = new Map<string, number>();
    for (const { transport, ports, to, toPort, id, generation } of rules.forwards) {
      if (transport !== 'tcp') continue;
      const rule = `${id} ${generation}`;
      this.hadRules.add(rule);
      begun.set(rule, this.begun.get(rule) ?? 0);
      for (let port = ports.first; port <= ports.last; port += 1) {
        this.#places.set(port, { to, toPort: toPort ?? port, rule });
        this.hadRules.add(`${port} ${to}`);
      }
    }
    this.begun = begun;
    this.onChange();
  }

  connect(flow: Flow): void {
    const rule = this.#places.get(flow.port)?.rule;
    if (rule !== undefined) this.begun.set(rule, (this.begun.get(rule) ?? 0) + 1);
    this.flows.set(flow.id, flow);
    this.onChange();
  }

  end(flow: Flow): void {
    this.flows.delete(flow.id);
    this.onChange();
  }

  /** The machine was off. */
  boot(): void {
    this.flows.clear();
    this.reserved = [];
    this.setRules(NO_RULES);
    this.isBare = true;
  }
}

/** What a child saw. */
type Seen = Sighting & { readonly rules: Rules };

/** How children behave. */
export type Manners = { failOneIn: number; stallOneIn: number };

/** The drivers of one agent process on a kernel: its children go on when it is dead. */
/** On most days. */
export const USUAL: Manners = { failOneIn: 400, stallOneIn: 60 };

export class KernelDrivers {
  #known: RulesSpec | undefined;
  #writes = 0;

  constructor(
    private readonly kernel: Kernel,
    /** `machine`: whose end alone ends children. `agent`: to whom they answer. */
    private readonly of: { time: Time; machine: Life; agent: Life; chance: Chance; manners: Manners; onApply: (spec: RulesSpec) => void },
  ) {}

  readonly rules = {
    look: async (): Promise<Seen> => {
      const writes = this.#writes;
      let rules = this.kernel.rules;
      await this.#child(() => { rules = this.kernel.rules; });
      return { rules, writes, families: [], state: { v4: emptyFamily(), v6: emptyFamily(), sets: new Map() } };
    },
    isCurrent: ({ writes }: Sighting): boolean => writes === this.#writes,
    apply: async (spec: RulesSpec, { observe }: { observe: boolean | Sighting }): Promise<Applied> => {
      this.of.onApply(spec);
      const before = this.#known;
      if (observe === false && before === spec) return { changed: 0, repaired: 0 };
      const there = await this.#there(before, observe);
      const isDrifted = before !== undefined && !isSame(there, before);
      this.#known = undefined;
      if (!isSame(there, spec)) {
        this.#writes += 1;
        await this.#child(() => {
          this.kernel.setRules({ forwards: spec.forwards, leased: spec.leased });
          this.kernel.isBare = false;
        });
      }
      this.#known = spec;
      return { changed: 1, repaired: isDrifted ? 1 : 0 };
    },
  };

  /** What the agent takes for the kernel's rules. */
  async #there(known: RulesSpec | undefined, observe: boolean | Sighting): Promise<Rules> {
    if (observe === false && known !== undefined) return known;
    if (typeof observe === 'object' && this.rules.isCurrent(observe)) return (observe as Seen).rules;
    return (await this.rules.look()).rules;
  }

  readonly connections = {
    cut: async (cuts: readonly Cut[], standing: Standing): Promise<CutResult> => {
      for (let pass = 0; pass < 5; pass += 1) {
        const doomed = cuts.flatMap((cut) => this.#doomedBy(cut, standing));
        await this.#child(() => { for (const flow of doomed) this.kernel.end(flow); });
        await this.#child(() => undefined);
        if (!cuts.some((cut) => this.#doomedBy(cut, standing).length > 0)) return { ended: [...cuts], remaining: [] };
      }
      const remaining = cuts.filter((cut) => this.#doomedBy(cut, standing).length > 0);
      return { ended: cuts.filter((cut) => !remaining.includes(cut)), remaining };
    },
  };

  get reservedPorts() {
    return {
      ours: this.kernel.reserved,
      set: (ports: readonly PortRange[]): Promise<boolean> => {
        this.kernel.reserved = [...ports];
        return Promise.resolve(true);
      },
    };
  }

  #doomedBy({ transport, ports }: Cut, standing: Standing): Flow[] {
    if (transport !== 'tcp') return [];
    return [...this.kernel.flows.values()].filter(({ port, to, toPort }) => port >= ports.first && port <= ports.last
      && !standing.endpoints('tcp', port).some((end) => end.address === to && (end.port ?? port) === toPort));
  }

  /** Starts a child that does `deed` after a while, and answers when it has ended. Nobody is answered who is dead by then. */
  #child(deed: () => void): Promise<void> {
    const { time, machine, agent, chance, manners } = this.of;
    this.kernel.children += 1;
    const doneMs = chance.oneIn(manners.stallOneIn) ? chance.between(500, 4_000) : chance.between(1, 20);
    const fails = chance.oneIn(manners.failOneIn);
    const isDone = !fails || chance.oneIn(2);
    return new Promise((resolve, reject) => {
      time.plan(doneMs, machine, () => {
        this.kernel.children -= 1;
        if (isDone) deed();
        time.plan(0, agent, () => {
          if (fails) reject(new Error('a child was ended at its deadline'));
          else resolve();
        });
      });
    });
  }
}

function isSame(a: Rules, b: Rules): boolean {
  return a.forwards === b.forwards && a.leased === b.leased;
}
