/** Schedulers, operators and clients: what they ask, and whether what they are told is true (S5, S6). */
import type { Command, MappingRecord, Reply, WantSpec } from '../../coordinator/book/types.js';
import type { CoordinatorMachine } from './coordinator.js';
import type { Chance } from './random.js';
import type { Truth, World } from './truth.js';

type Allocate = Extract<Command, { kind: 'allocate' }>;
/** `told`: numbers that the caller knows, by name and index in the environment. */
type Asked = { command: Allocate; answer: string | undefined; told: Map<string, string> };

const ENVIRONMENTS = 10;
const REMEMBERED = 60;

export class Callers {
  #count = 0;
  readonly #asked: Asked[] = [];
  /** Owners of containers, by address. */
  readonly #containers = new Map<string, string>();
  /** Commands by what came of them. */
  readonly outcomes = new Map<string, number>();

  constructor(private readonly of: { world: World; truth: Truth; coordinator: CoordinatorMachine; hosts: readonly string[]; pool: string }) {}

  readonly isOf = (address: string, { environment, tenant }: { environment: string; tenant: string }): boolean =>
    this.#containers.get(address) === `${environment}.${tenant}`;

  allocate(chance: Chance): string {
    const environment = `env-${chance.between(1, ENVIRONMENTS)}`;
    const tenant = chance.oneIn(15) ? 'tenant-b' : 'tenant-a';
    const host = chance.pick(this.of.hosts);
    const target = { kind: 'address' as const, address: this.#container(environment, tenant) };
    const { first, last } = this.of.world.ports;
    const want = (name: string): WantSpec => ({
      name, source: { kind: 'pool', pool: this.of.pool }, protocol: undefined, target, internalPort: 22, contiguous: chance.oneIn(6),
      count: chance.oneIn(5) ? chance.between(2, 3) : 1,
      choice: chance.oneIn(6) ? { kind: chance.oneIn(2) ? 'exact' : 'preferred', port: chance.between(first, last) } : { kind: 'any' },
    });
    const requestId = `request-${this.#count}`;
    this.#count += 1;
    const wants = chance.oneIn(4) ? [want('ssh'), want('web')] : [want('ssh')];
    const command: Allocate = { kind: 'allocate', actor: 'scheduler', requestId, bodyHash: requestId, tenant, environment, host, labels: {}, wants, dryRun: chance.oneIn(40), verify: chance.oneIn(4) };
    const asked: Asked = { command, answer: undefined, told: new Map() };
    if (!command.dryRun) this.#asked.push(asked);
    if (this.#asked.length > REMEMBERED) this.#asked.shift();
    this.#submit(asked, chance.oneIn(3) ? 0 : chance.between(100, 6_000));
    return `allocate ${wants.length} wants of ${environment} (${tenant}) on ${host} as ${requestId}`;
  }

  /** One port, which may be exchanged: until it is live, or whenever a process takes it. */
  allocateFlexibly(chance: Chance): string {
    const environment = `env-${chance.between(1, ENVIRONMENTS)}`;
    const host = chance.pick(this.of.hosts);
    const target = { kind: 'address' as const, address: this.#container(environment, 'tenant-a') };
    const requestId = `request-${this.#count}`;
    this.#count += 1;
    const onConflict = chance.pick(['block', 'renumber', undefined] as const);
    const want: WantSpec = { name: 'flexible', source: { kind: 'pool', pool: this.of.pool }, protocol: undefined, target, internalPort: 22, contiguous: false, count: 1, choice: { kind: 'any' }, onConflict };
    const command: Allocate = {
      kind: 'allocate', actor: 'scheduler', requestId, bodyHash: requestId, tenant: 'tenant-a', environment, host, labels: {}, wants: [want], dryRun: false, verify: false, tellsWhenLive: chance.oneIn(2),
    };
    const asked: Asked = { command, answer: undefined, told: new Map() };
    this.#asked.push(asked);
    if (this.#asked.length > REMEMBERED) this.#asked.shift();
    this.#submit(asked, chance.between(100, 6_000));
    return `allocate a port of ${environment} on ${host} as ${requestId}, ${onConflict ?? 'as the pool says'}${command.tellsWhenLive === true ? ', told when live' : ''}`;
  }

  /** Requests of one turn, which share a commit; now and then one of them is the retry of another. */
  batch(chance: Chance): string {
    const size = chance.between(2, 6);
    const asked = Array.from({ length: size }, () => (chance.oneIn(8) ? this.retry(chance) : this.allocate(chance)));
    return `batch: ${asked.join('; ')}`;
  }

  /** The same request id once more; sometimes with another body. */
  retry(chance: Chance): string {
    if (this.#asked.length === 0) return 'nothing to retry';
    const asked = chance.pick(this.#asked);
    const isForged = chance.oneIn(5);
    if (isForged) this.#forge(asked);
    else this.#submit(asked, chance.between(0, 3_000));
    return `retry ${asked.command.requestId}${isForged ? ' with another body' : ''}`;
  }

  release(chance: Chance): string {
    const environment = `env-${chance.between(1, ENVIRONMENTS)}`;
    const port = chance.between(this.of.world.ports.first, this.of.world.ports.last);
    const space = this.of.world.scope === 'shared' ? 'gw' : `gw/${chance.pick(this.of.hosts)}`;
    const selector = chance.oneIn(4) ? { kind: 'port' as const, space, protocol: 'tcp' as const, port } : { kind: 'environment' as const, environment };
    this.ask({ kind: 'release', actor: 'scheduler', selector });
    return `release ${JSON.stringify(selector)}`;
  }

  move(chance: Chance): string {
    const environment = `env-${chance.between(1, ENVIRONMENTS)}`;
    const host = chance.pick(this.of.hosts);
    const tenant = this.#tenantOf(environment);
    const address = this.#container(environment, tenant);
    this.ask({ kind: 'move', actor: 'scheduler', environment, host, targets: ['ssh', 'web'].map((name) => ({ name, target: { kind: 'address', address }, internalPort: 0 })), verify: false });
    return `move ${environment} to ${host}`;
  }

  /** What is read is committed already. */
  look(): string {
    const { keeper, database } = this.of.coordinator;
    keeper?.read((book) => book.sequence).then((sequence) => {
      if (sequence > database.stored.gateway.sequence) this.of.truth.note(`S5: sequence ${sequence} was read, and ${database.stored.gateway.sequence} is on the disk`);
    }, () => undefined);
    return 'read';
  }

  /** The database does not know any more what was answered lately. */
  forgetAnswers(): void {
    this.#asked.length = 0;
  }

  waive(chance: Chance): string {
    // There is no fence that would cut the host off.
    if (this.of.world.scope === 'host') return 'nothing';
    // Of the gateway's agent it would say that the gateway routes nothing any more.
    const host = chance.pick(this.of.hosts);
    this.ask({ kind: 'waiveHost', actor: 'operator', host, reason: 'simulated' });
    return `waive ${host}`;
  }

  releaseAll(): void {
    for (let n = 1; n <= ENVIRONMENTS; n += 1) this.ask({ kind: 'release', actor: 'scheduler', selector: { kind: 'environment', environment: `env-${n}` } });
  }

  ask(command: Command, waitMs = 0): void {
    this.of.coordinator.keeper?.ask({ command, waitMs, done: (reply) => { this.#note(command, reply); } });
  }

  #tenantOf(environment: string): string {
    return this.of.world.database.stored.environments.get(environment)?.tenant ?? 'tenant-a';
  }

  #container(environment: string, tenant: string): string {
    const number = this.#containers.size + 1;
    const address = `10.${100 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`;
    this.#containers.set(address, `${environment}.${tenant}`);
    return address;
  }

  #submit(asked: Asked, waitMs: number): void {
    this.of.coordinator.keeper?.ask({ command: asked.command, waitMs, done: (reply) => {
      this.#note(asked.command, reply);
      if (reply.kind === 'allocated' && !asked.command.dryRun) this.#checkAnswer(asked, reply.mappings);
    } });
  }

  #forge({ command, answer }: Asked): void {
    this.of.coordinator.keeper?.ask({ command: { ...command, bodyHash: 'forged' }, waitMs: 0, done: (reply) => {
      if (answer !== undefined && reply.kind === 'allocated') this.of.truth.note(`S6: ${command.requestId} was answered with another body`);
    } });
  }

  #checkAnswer(asked: Asked, mappings: readonly MappingRecord[]): void {
    const { requestId } = asked.command;
    this.#checkTold(asked, mappings);
    const answer = mappings.map(({ name, index }) => `${name}:${index}`).join(' ');
    const { stored } = this.of.coordinator.database;
    const missing = mappings.find(({ mappingId, port }) => stored.mappings.get(mappingId)?.port !== port);
    if (missing !== undefined) this.of.truth.note(`S5: ${requestId} was told port ${missing.port} (${missing.mappingId}), which is not on the disk`);
    if (asked.answer !== undefined && asked.answer !== answer) this.of.truth.note(`S6: ${requestId} was told ${asked.answer}, and now ${answer}`);
    asked.answer = answer;
  }

  /** A number that was told stays, unless its want said otherwise; whoever waits until it is live is told then. */
  #checkTold({ command: { requestId, tellsWhenLive }, told }: Asked, mappings: readonly MappingRecord[]): void {
    for (const { name, index, mappingId, port, state, onConflict } of mappings) {
      const number = `${mappingId}:${port}`;
      const before = told.get(`${name}:${index}`);
      if (before !== undefined && before !== number && onConflict !== 'renumber') this.of.truth.note(`S6: ${requestId} was told ${before}, and now ${number}`);
      if (tellsWhenLive !== true || state === 'live') told.set(`${name}:${index}`, number);
    }
  }

  #note({ kind }: Command, reply: Reply): void {
    const outcome = `${kind}: ${reply.kind === 'refused' ? reply.reason : reply.kind}`;
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
  }
}

/** Clients that connect to ports and stay connected. */
export class Clients {
  #ids = 0;

  constructor(private readonly world: World, private readonly truth: Truth, private readonly now: () => number) {}

  connect(chance: Chance): string {
    const { scope, machines, ports } = this.world;
    const port = chance.between(ports.first, ports.last);
    const entry = scope === 'shared' ? machines.find(({ options }) => options.roles.includes('gateway')) : chance.pick(machines);
    const reached = entry === undefined ? undefined : this.truth.reach(entry, port);
    if (entry === undefined || reached?.kind !== 'target') return `connect to ${port}: nobody`;
    const id = ++this.#ids;
    const flow = { id, port, to: reached.to, toPort: reached.toPort };
    const atGateway = scope === 'shared' ? { machine: entry, flow: { id, port, to: reached.machine.address, toPort: port } } : undefined;
    this.world.connections.add({ id, port, atGateway, atHost: { machine: reached.machine, flow }, sinceMs: this.now() });
    atGateway?.machine.kernel.connect(atGateway.flow);
    reached.machine.kernel.connect(flow);
    return `connect to ${port}: ${reached.to}`;
  }

  /** A client hangs up. */
  leave(chance: Chance): string {
    if (this.world.connections.size === 0) return 'nobody is connected';
    const connection = chance.pick([...this.world.connections]);
    connection.atGateway?.machine.kernel.end(connection.atGateway.flow);
    connection.atHost.machine.kernel.end(connection.atHost.flow);
    return `hang up on ${connection.port}`;
  }
}

