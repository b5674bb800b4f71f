/** An agent's loop with its real drivers on the host of a bench, and talkers in every place of it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RunChild } from '../../../agent/drivers/child.js';
import { ConnectionsDriver } from '../../../agent/drivers/connections/connections.js';
import { countConnections } from '../../../agent/drivers/connections/count.js';
import { ForeignListeners } from '../../../agent/drivers/holders/foreign.js';
import { Helper } from '../../../agent/drivers/holders/helper.js';
import { RulesDriver } from '../../../agent/drivers/rules/driver.js';
import { ReservedPorts } from '../../../agent/drivers/settings/reserved.js';
import { ReconcileLoop, type RoundOutcome } from '../../../agent/reconcile/loop.js';
import { systemClock } from '../../../shared/clock.js';
import type { PortObject, Role, StateVersion } from '../../../shared/desired.js';
import { createLogger } from '../../../shared/log.js';
import { parseCidr, type Cidr } from '../../../shared/names.js';
import { eventually } from '../../support/wait.js';
import { ADDRESS, Bench } from '../rules/bench.js';
import { Talker } from '../connections/talker.js';

export type Place = 'client' | 'host' | 'target' | 'other';
const LOCAL = [ADDRESS.host.v4, ADDRESS.host.v6, ADDRESS.bridge.v4, ADDRESS.bridge.v6];

export class Machine {
  readonly outcomes: { atMs: number; outcome: RoundOutcome }[] = [];
  readonly #talkers = new Map<Place, Talker>();
  #objects = new Map<string, PortObject>();
  #revision = 0;
  #loop: ReconcileLoop | undefined;
  readonly #helper = new Helper();

  /** Waited for after a program of the loop has ended, before the loop is told. */
  afterChild: (file: string) => Promise<void> = () => Promise.resolve();

  private constructor(readonly bench: Bench, private readonly directory: string, private readonly roles: Role[], private readonly dropMs: number | undefined) {}

  /** `dropMs`: of the loop, where no release, route or withdrawal says it. */
  static async start(roles: Role[], { dropMs }: { dropMs?: number } = {}): Promise<Machine> {
    const bench = await Bench.start();
    const machine = new Machine(bench, await mkdtemp(join(tmpdir(), 'plreconcile-')), roles, dropMs);
    await writeFile(machine.#path('reserved'), '\n');
    // What hosts do for their guests' own traffic: it gives a guest's packets the host's address, and its port number if that is free.
    await bench.rules('*nat\n-A POSTROUTING -s 10.80.2.0/24 -o h0 -j MASQUERADE\nCOMMIT\n');
    await bench.rules('*nat\n-A POSTROUTING -s fd80:2::/64 -o h0 -j MASQUERADE\nCOMMIT\n', 'ip6tables-restore');
    await machine.startLoop();
    return machine;
  }

  async startLoop(): Promise<void> {
    const log = createLogger({ name: 'test', level: 'silent' });
    const run: RunChild = async (file, argv, options) => {
      const result = await this.bench.onHost(file, argv, options);
      await this.afterChild(file);
      return result;
    };
    const host = this.talker('host');
    const foreign = new ForeignListeners({ addresses: [ADDRESS.host.v4, ADDRESS.host.v6], log, netDir: `/proc/${host.pid}/net`, helper: this.#helper });
    this.#loop = new ReconcileLoop({
      drivers: {
        rules: new RulesDriver({ run, count: forwards => countConnections(run, [ADDRESS.host.v4, ADDRESS.host.v6], forwards) }),
        connections: new ConnectionsDriver({ run, log, addresses: [ADDRESS.host.v4, ADDRESS.host.v6], isLocal: address => LOCAL.includes(address as never) }),
        reservedPorts: await ReservedPorts.open({ statePath: this.#path('ours'), bootId: 'boot', kernelPath: this.#path('reserved') }),
        listeners: wanted => foreign.find(wanted),
        reaches: (address, port, deadlineMs) => host.reaches(address, port, deadlineMs),
      },
      facts: {
        addresses: [ADDRESS.host.v4, ADDRESS.host.v6], roles: this.roles, snat: false,
        targetNetworks: ['10.80.0.0/16', 'fd80::/16'].map(text => parseCidr(text) as Cidr),
      },
      clock: systemClock(), log, ...this.dropMs === undefined ? {} : { dropMs: this.dropMs },
      onOutcome: outcome => this.outcomes.push({ atMs: performance.now(), outcome }),
    });
    if (this.#revision > 0) this.#loop.setDesired(this.#version(), this.#objects);
  }

  async stopLoop(): Promise<void> {
    await this.#loop?.close();
    await this.#helper.close();
    this.#loop = undefined;
    this.outcomes.length = 0;
  }

  talker(place: Place): Talker {
    const known = this.#talkers.get(place) ?? new Talker(this.bench.namespace(place));
    this.#talkers.set(place, known);
    return known;
  }

  /** Asks for these objects and waits until the rules stand. */
  async want(...objects: PortObject[]): Promise<RoundOutcome> {
    this.accept(...objects);
    this.#loop?.setDesired(this.#version(), this.#objects);
    return this.outcome('the rules stand', ({ applied }) => applied.revision === this.#revision);
  }

  /** What the loop is told when it starts. */
  accept(...objects: PortObject[]): void {
    this.#objects = new Map(objects.map(object => [object.key, object]));
    this.#revision++;
  }

  /** Where the loop leads public ports. */
  get standing(): Pick<ReconcileLoop, 'endpoints'> {
    return { endpoints: (transport, port) => this.#loop?.endpoints(transport, port) ?? [] };
  }

  /** What the loop was told. */
  get objects(): ReadonlyMap<string, PortObject> {
    return this.#objects;
  }

  /** Waits until the release, withdrawal or route is confirmed. */
  async confirmed(key: string): Promise<void> {
    await this.outcome(`${key} is confirmed`, ({ confirmations }) => confirmations.some(one => one.key === key));
  }

  async outcome(what: string, fits: (outcome: RoundOutcome) => boolean): Promise<RoundOutcome> {
    return eventually(what, () => {
      const last = this.outcomes.at(-1)?.outcome;
      return last !== undefined && fits(last) ? last : undefined;
    }, { withinMs: 10_000, everyMs: 1, hint: () => JSON.stringify(this.outcomes.at(-1)) });
  }

  /** Packets that the rule against revival has dropped. */
  async droppedByCut(tool = 'iptables'): Promise<number> {
    const { stdout } = await this.bench.onHost(tool, ['-t', 'mangle', '-nvxL', 'PORTLEASE-CUT']);
    return stdout.split('\n').map(line => line.trim().split(/\s+/)).filter(([, , target]) => target === 'DROP')
      .reduce((sum, [packets]) => sum + Number(packets), 0);
  }

  /** Members of a set, with their timeouts in seconds. */
  async members(set: string): Promise<Map<string, number>> {
    const { stdout } = await this.bench.onHost('ipset', ['save', set]);
    return new Map(Array.from(stdout.matchAll(/^add \S+ (\S+) timeout (\d+)/gm), ([, member, timeout]) => [member as string, Number(timeout)]));
  }

  async close(): Promise<void> {
    await this.stopLoop();
    await Promise.all(Array.from(this.#talkers.values(), talker => talker.close()));
    await this.bench.close();
    await rm(this.directory, { recursive: true });
  }

  #version(): StateVersion {
    return { epoch: 1, session: 1, revision: this.#revision };
  }

  #path(name: string): string {
    return join(this.directory, name);
  }
}
