/** All gateways of the coordinator: which keeper answers for a host, an environment, a mapping or a port space. */
import type { Clock } from '../../shared/clock.js';
import type { Log } from '../../shared/log.js';
import type { Timers } from '../../shared/timers.js';
import { Book, type LeakPolicy } from '../book/book.js';
import type { Actor, GatewayRecord, Scope, StoredGateway, Timing } from '../book/types.js';
import { ConstraintViolated, type FormerOwner, type FormerOwnersOf, type Journal } from '../journal/journal.js';
import { noteOn } from './gateway-notes.js';
import { Keeper } from './keeper.js';
import { commitBarrier, loadStored } from './recovery.js';
import { journalUnavailable, notMade, Refused } from './refused.js';

export type GatewaysOptions = {
  journal: Journal;
  timing: Timing;
  /** Left out: report. */
  leakPolicy?: LeakPolicy;
  clock: Clock;
  random: () => number;
  log: Log;
  /** Told whether every gateway can make its decisions durable. */
  onHealth: (serving: boolean) => void;
  /** Of this process, unless others are given. */
  timers?: Timers;
};

export class Gateways {
  readonly #options: GatewaysOptions;
  readonly #keepers = new Map<string, Keeper>();
  /** Environments that are being allocated, by gateway: only while there are several gateways. */
  readonly #claims = new Map<string, { gateway: string; count: number }>();
  #nextOrdinal = 1;
  /** Gateways are created and deleted one after another. */
  #changes: Promise<unknown> = Promise.resolve();

  private constructor(options: GatewaysOptions) {
    this.#options = options;
  }

  /** Starts a keeper for every stored gateway, each in a new epoch that is durable. */
  static async open(options: GatewaysOptions): Promise<Gateways> {
    const gateways = new Gateways(options);
    for (const { gateway, ordinal } of await options.journal.gateways()) {
      gateways.#nextOrdinal = Math.max(gateways.#nextOrdinal, ordinal + 1);
      await gateways.#start(gateway);
    }
    return gateways;
  }

  /** In order of name. */
  all(): Keeper[] {
    return [...this.#keepers.values()].sort((a, b) => (a.gateway < b.gateway ? -1 : 1));
  }

  get serving(): boolean {
    return [...this.#keepers.values()].every((keeper) => keeper.serving);
  }

  get(gateway: string): Keeper | undefined {
    return this.#keepers.get(gateway);
  }

  /** Throws Refused. */
  need(gateway: string, field = 'gateway'): Keeper {
    const keeper = this.#keepers.get(gateway);
    if (keeper !== undefined) return keeper;
    throw new Refused({ kind: 'refused', reason: 'GATEWAY_UNKNOWN', message: `there is no gateway ${gateway}`, field, metadata: { gateway } });
  }

  ofHost(host: string): Keeper | undefined {
    return this.#find((book) => book.hasHost(host));
  }

  /** The gateway that has the host; unlike `ofHost` never a guess. */
  homeOf(host: string): Keeper | undefined {
    return [...this.#keepers.values()].find((keeper) => keeper.undecided.hasHost(host));
  }

  ofEnvironment(environment: string): Keeper | undefined {
    return this.#find((book) => book.hasEnvironment(environment));
  }

  ofMapping(mappingId: string): Keeper | undefined {
    return this.#find((book) => book.mapping(mappingId) !== undefined);
  }

  ofSpace(space: string): Keeper | undefined {
    return this.#keepers.get(space.split('/')[0] ?? '');
  }

  /** The only keeper answers for everything, and says itself what it does not know. */
  #find(knows: (book: Book) => boolean): Keeper | undefined {
    const keepers = this.#keepers.values();
    if (this.#keepers.size === 1) return keepers.next().value;
    return [...keepers].find((keeper) => knows(keeper.undecided));
  }

  /** Resolves when all that was decided until now is durable: what is absent then is absent. Throws Refused. */
  async settled(): Promise<void> {
    await Promise.all(this.all().map((keeper) => keeper.read(() => undefined)));
  }

  /**
   * Keeps an environment to one gateway while it is being allocated; call the result when that is answered.
   * Returns the other keeper instead when that one has it, or is about to.
   */
  claim(environment: string, keeper: Keeper): (() => void) | { elsewhere: Keeper } {
    if (this.#keepers.size < 2) return NOTHING_TO_RELEASE;
    const claimed = this.#claims.get(environment);
    const other = claimed === undefined ? undefined : this.#keepers.get(claimed.gateway);
    if (other !== undefined && other !== keeper) return { elsewhere: other };
    const owner = [...this.#keepers.values()].find((one) => one !== keeper && one.undecided.hasEnvironment(environment));
    if (owner !== undefined) return { elsewhere: owner };
    const claim = claimed ?? { gateway: keeper.gateway, count: 0 };
    claim.count += 1;
    this.#claims.set(environment, claim);
    return () => {
      claim.count -= 1;
      if (claim.count === 0) this.#claims.delete(environment);
    };
  }

  /** Throws Refused when there is one of this name. */
  create({ gateway, scope, publicHost, actor }: { gateway: string; scope: Scope; publicHost: string; actor: Actor }): Promise<Keeper> {
    return this.#inTurn(async () => {
      if (this.#keepers.has(gateway)) {
        throw new Refused({ kind: 'refused', reason: 'GATEWAY_EXISTS', message: `there is a gateway ${gateway}`, field: 'gateway.gateway', metadata: { gateway } });
      }
      const { journal, clock } = this.#options;
      const record: GatewayRecord = { gateway, ordinal: this.#nextOrdinal, scope, publicHost, epoch: 0, sequence: 0, restoring: 'no' };
      await orUnavailable(async () => {
        await journal.createGateway(record);
        this.#nextOrdinal += 1;
        await journal.append(gateway, 0, noteOn(record, { action: 'CreateGateway', event: 'GatewayCreated', actor, nowMs: clock.nowMs() }));
      });
      return this.#start(gateway);
    });
  }

  /** Throws Refused when it is not there, or while pools or hosts belong to it. */
  delete(gateway: string, actor: Actor): Promise<void> {
    return this.#inTurn(async () => {
      const keeper = this.need(gateway);
      const inUse = await keeper.read((book) => ({ pools: book.poolSpecs().length, hosts: book.hosts().length }));
      if (inUse.pools > 0 || inUse.hosts > 0) {
        throw new Refused({
          kind: 'refused', reason: 'GATEWAY_IN_USE', message: `gateway ${gateway} has ${inUse.pools} pools and ${inUse.hosts} hosts`,
          metadata: { gateway, pools: String(inUse.pools), hosts: String(inUse.hosts) },
        });
      }
      await keeper.close();
      this.#keepers.delete(gateway);
      const { journal, clock } = this.#options;
      await orUnavailable(async () => {
        const { gateway: record } = await loadStored(journal, gateway);
        await journal.append(gateway, record.sequence, noteOn(record, { action: 'DeleteGateway', event: 'GatewayDeleted', actor, nowMs: clock.nowMs() }));
        await journal.deleteGateway(gateway);
      }).catch(async (error: unknown) => {
        await this.#start(gateway).catch((again: unknown) => { this.#options.log.error({ err: again, gateway }, 'the gateway could not be deleted, nor be served again'); });
        throw error;
      });
    });
  }

  /** Throws Refused when the journal cannot be read. */
  formerOwners(of: FormerOwnersOf): Promise<FormerOwner[]> {
    return orUnavailable(() => this.#options.journal.listFormerOwners(of));
  }

  /** Ends every session, and answers those who wait for an agent; decisions go on. */
  dismiss(): void {
    for (const keeper of this.#keepers.values()) keeper.dismiss();
  }

  async close(): Promise<void> {
    await this.#changes;
    await Promise.all(this.all().map((keeper) => keeper.close()));
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const turn = this.#changes.then(change);
    this.#changes = turn.catch(() => undefined);
    return turn;
  }

  async #start(gateway: string): Promise<Keeper> {
    const { journal, timing, clock, random, onHealth, leakPolicy = 'report' } = this.#options;
    const found = await loadStored(journal, gateway);
    const restore = (stored: StoredGateway): Book =>
      Book.restore(stored, { timing, leakPolicy, epoch: stored.gateway.epoch, nowMs: clock.nowMs(), random });
    const book = restore(await commitBarrier(journal, found, { startMs: clock.nowMs() }));
    const keeper = new Keeper(book, { ...this.#options, restore, onHealth: () => { onHealth(this.serving); } });
    this.#keepers.set(gateway, keeper);
    return keeper;
  }
}

/** Failures of the journal as the refusal that callers are told. */
async function orUnavailable<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ConstraintViolated) throw new Refused(notMade(error.message));
    throw new Refused(journalUnavailable(String(error)));
  }
}

const NOTHING_TO_RELEASE = (): void => undefined;
