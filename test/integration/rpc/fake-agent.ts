/** An agent without a kernel: speaks AgentService for real, keeps the desired state, and reports what the test lets it. */
import { credentials, Metadata, type ClientDuplexStream, type ServiceError } from '@grpc/grpc-js';
import { refusedOf, type Refused } from '../../../cli/errors.js';
import type { Leak } from '../../../shared/leak.js';
import { conflictSentence } from '../../../shared/conflict-text.js';
import { CAPABILITIES, type Confirmation, type Conflict, type Delta, type DesiredObject, type HeldGrant, type ObjectProblem, type Role, type StateVersion } from '../../../shared/desired.js';
import { StateDigest } from '../../../shared/digest.js';
import { AgentServiceClient, type HeartbeatResponse, type SessionRequest, type SessionResponse } from '../../../shared/gen/portlease/v1/agents.js';
import type { TunnelReport } from '../../../shared/tunnel.js';
import { CLIENT_OPTIONS } from '../../../shared/grpc.js';
import { deltaFromWire, helloToWire, reportToWire } from '../../../shared/wire.js';
import { within } from '../../support/wait.js';

export type FakeAgentOptions = {
  address: string;
  host: string;
  gateway?: string;
  roles?: Role[];
  addresses?: string[];
  lastSession?: number;
  /** Reports nothing by itself when false. */
  reports?: boolean;
  heartbeatMs?: number;
  /** Objects that it cannot bring about. */
  problemOf?: (object: DesiredObject) => Omit<ObjectProblem, 'key'> | undefined;
};

type TunnelObject = Extract<DesiredObject, { kind: 'tunnel' }>;

export class FakeAgent {
  readonly objects = new Map<string, DesiredObject>();
  /** Every state that arrived, in order. */
  readonly deltas: Delta[] = [];
  session = 0;
  version = { epoch: 0, session: 0, revision: 0 };
  reports: boolean;
  verified: string[] = [];
  /** Foreign processes on its ports. */
  conflicts: Conflict[] = [];
  /** What it found that is there without what it is for. */
  leaks: Leak[] = [];
  /** Leaks that it was asked to repair. */
  readonly resolves = new Set<string>();
  /** What it says of its tunnels. */
  tunnels: (objects: readonly TunnelObject[]) => TunnelReport[] = () => [];
  /** Why the stream ended. */
  readonly ended: Promise<Refused | undefined>;
  lastHeartbeat: HeartbeatResponse | undefined;
  readonly #options: FakeAgentOptions;
  readonly #client: AgentServiceClient;
  #stream: ClientDuplexStream<SessionRequest, SessionResponse> | undefined;
  #end!: (error: Refused | undefined) => void;
  #arrived: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sequence = 0;

  constructor(options: FakeAgentOptions) {
    this.#options = options;
    this.reports = options.reports ?? true;
    this.ended = new Promise((resolve) => { this.#end = resolve; });
    this.#client = new AgentServiceClient(options.address, credentials.createInsecure(), CLIENT_OPTIONS);
  }

  get host(): string {
    return this.#options.host;
  }

  /** Resolves with the first state, or rejects with the refusal. */
  async open(held: { leases?: HeldGrant[]; routes?: HeldGrant[]; accepted?: StateVersion } = {}): Promise<void> {
    const { host, gateway = 'gw', roles = ['host'], addresses = ['10.9.0.1'], lastSession = 0 } = this.#options;
    const stream = this.#client.session();
    this.#stream = stream;
    stream.on('data', ({ message }: SessionResponse) => {
      if (message?.$case === 'welcome') this.session = message.value.session;
      else if (message !== undefined) this.#take(deltaFromWire(message.value));
    });
    stream.on('error', (error: ServiceError) => { this.#finish(refusedOf(error)); });
    stream.on('end', () => { this.#finish(undefined); });
    const hello = { host, gateway, roles, addresses, lastSession, bootId: `boot-${host}`, agentVersion: '0.0.0', capabilities: CAPABILITIES, accepted: undefined, leases: [], routes: [], ...held };
    stream.write({ message: { $case: 'hello', value: helloToWire(hello) } });
    await within(`${host} to be welcomed`, Promise.race([this.#next(), this.ended.then((error) => { throw error ?? new Error('the stream ended'); })]), { withinMs: 30_000 });
    if (this.#options.heartbeatMs !== 0) this.#timer = setInterval(() => { void this.heartbeat().catch(() => undefined); }, this.#options.heartbeatMs ?? 200);
  }

  heartbeat(session = this.session): Promise<HeartbeatResponse> {
    const digest = new StateDigest();
    for (const { key, version } of this.objects.values()) digest.add(key, version);
    this.#sequence += 1;
    const request = { host: this.host, session, sequence: this.#sequence, acceptedRevision: this.version.revision, digest: digest.hex() };
    return new Promise((resolve, reject) => {
      this.#client.heartbeat(request, new Metadata(), { deadline: Date.now() + 1000 }, (error, answer) => {
        if (error !== null) return reject(refusedOf(error));
        this.lastHeartbeat = answer;
        for (const id of answer?.resolveLeaks ?? []) this.resolves.add(id);
        resolve(answer);
      });
    });
  }

  silence(): void {
    clearInterval(this.#timer);
  }

  send(message: NonNullable<SessionRequest['message']>): void {
    this.#stream?.write({ message });
  }

  /** Says that everything is done, but for what the test calls a problem. */
  report(): void {
    const problems: ObjectProblem[] = [];
    const confirmations: Confirmation[] = [];
    for (const object of this.objects.values()) {
      const problem = this.#options.problemOf?.(object) ?? this.#conflictOf(object);
      if (problem !== undefined) problems.push({ key: object.key, ...problem });
      else confirmations.push(...confirmationOf(object));
    }
    const value = reportToWire({ session: this.session, applied: this.version, problems, confirmations, verified: this.verified, driftRepairs: 0, occupied: this.#leased(), conflicts: this.#leased(), leaks: this.leaks, tunnels: this.tunnels(this.tunnelObjects()) });
    this.send({ $case: 'report', value });
  }

  /** Conflicts on ports that it has leased. */
  #leased(): Conflict[] {
    const leases = [...this.objects.values()].filter((object) => object.kind === 'lease');
    return this.conflicts.filter(({ port }) => leases.some(({ ports }) => ports.first <= port && port <= ports.last));
  }

  #conflictOf(object: DesiredObject): Omit<ObjectProblem, 'key'> | undefined {
    const conflict = object.kind === 'mapping' ? this.conflicts.find(({ port }) => port === object.port) : undefined;
    return conflict && { reason: 'PORT_CONFLICT', message: conflictSentence(conflict) };
  }

  mappings(): Extract<DesiredObject, { kind: 'mapping' }>[] {
    return [...this.objects.values()].filter((object) => object.kind === 'mapping');
  }

  tunnelObjects(): TunnelObject[] {
    return [...this.objects.values()].filter((object) => object.kind === 'tunnel');
  }

  /** Stops reading, as a process that hangs. */
  hang(): void {
    this.#stream?.pause();
  }

  goOn(): void {
    this.#stream?.resume();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#stream?.cancel();
    this.#client.close();
  }

  #take(delta: Delta): void {
    this.deltas.push(delta);
    if (delta.base === undefined) this.objects.clear();
    else if (delta.base !== this.version.revision) throw new Error(`${this.host}: a change to revision ${delta.base} came on top of ${this.version.revision}`);
    for (const object of delta.upserts) this.objects.set(object.key, object);
    for (const key of delta.removals) this.objects.delete(key);
    this.version = delta.version;
    for (const resolve of this.#arrived.splice(0)) resolve();
    if (this.reports) this.report();
  }

  #next(): Promise<void> {
    return new Promise((resolve) => { this.#arrived.push(resolve); });
  }

  #finish(error: Refused | undefined): void {
    clearInterval(this.#timer);
    this.#end(error);
  }
}

function confirmationOf(object: DesiredObject): Confirmation[] {
  const { key } = object;
  switch (object.kind) {
    case 'release': return [{ key, generation: object.generation, ports: { first: object.port, last: object.port }, protocol: object.protocol }];
    case 'withdrawal': return [{ key, generation: object.generation, ports: object.ports, protocol: object.protocol }];
    case 'route': return object.fence ? [{ key, generation: object.generation, ports: object.ports, protocol: object.protocol }] : [];
    case 'lease':
    case 'environment':
    case 'removal':
    case 'tunnel':
    case 'mapping': return [];
    default: return object satisfies never;
  }
}
