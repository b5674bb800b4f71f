/** Schedulers that allocate, release, move, read and retry without a pause, until they are told to stop or the coordinator is gone. */
import assert from 'node:assert/strict';
import { Refused, status, type Api } from '../../support/api.js';
import { Wait } from '../../../shared/gen/portlease/v1/common.js';
import { OperationsServiceService, UpdatePoolRequest } from '../../../shared/gen/portlease/v1/operations.js';
import { GATEWAY } from './daemon.js';
import type { Ledger, Body } from './ledger.js';
import { pick } from './random.js';

export type LoadOptions = { ledger: Ledger; random: () => number; hosts: readonly string[]; pools: readonly string[] };

type Pending = { kind: 'allocate'; body: Body } | { kind: 'change'; environment: string } | { kind: 'read' };

/** Calls whose answer never came are given to `unanswered` at the end. */
export class Load {
  answers = 0;
  readonly refusals = new Map<string, number>();
  /** Called at each answer. */
  onAnswer: () => void = () => undefined;
  readonly #options: LoadOptions;
  readonly #retries: Body[] = [];
  readonly #idle: string[] = [];
  #count = 0;
  #describing = false;
  #stopped = false;

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  /** Resolves when all calls have an answer or an error, with those that were lost: their outcome is not known. */
  async run(apis: readonly Api[], inFlight: number): Promise<Pending[]> {
    this.#stopped = false;
    const lost: Pending[] = [];
    await Promise.all(apis.flatMap((api) => Array.from({ length: inFlight }, async () => {
      while (!this.#stopped) {
        const pending = await this.#one(api);
        if (pending === undefined) continue;
        lost.push(pending);
        return;
      }
    })));
    for (const pending of lost) if (pending.kind === 'allocate') this.#again(pending.body);
    return lost;
  }

  stop(): void {
    this.#stopped = true;
  }

  async #one(api: Api): Promise<Pending | undefined> {
    const { random } = this.#options;
    const dice = random();
    const retry = this.#retries.shift();
    if (retry !== undefined) return this.#allocate(api, retry);
    const environment = this.#idle.length > 8 ? this.#idle.splice(Math.floor(random() * this.#idle.length), 1)[0] : undefined;
    if (environment !== undefined && dice < 0.35) return this.#release(api, environment);
    if (environment !== undefined && dice < 0.5) return this.#move(api, environment);
    if (environment !== undefined) this.#idle.push(environment);
    if (dice < 0.53 && !this.#describing) return this.#describe(api);
    if (dice < 0.6) return this.#read(api);
    const known = this.#options.ledger.answers;
    if (dice < 0.65 && known.size > 0) return this.#allocate(api, pick(random, [...known.values()]).body);
    return this.#allocate(api, this.#body());
  }

  /** Recorded already, it may go on: only a retry tells. */
  #refused(body: Body, reason: string): void {
    if (OPEN.has(reason)) return this.#again(body);
    assert.equal(this.#options.ledger.expected.get(body.requestId), undefined, `S5: ${body.requestId} was durable, and its retry is refused: ${reason}`);
  }

  /** Once at a time, and only while it has no answer. */
  #again(body: Body): void {
    if (!this.#options.ledger.answers.has(body.requestId) && !this.#retries.includes(body)) this.#retries.push(body);
  }

  #body(): Body {
    const { random, hosts, pools } = this.#options;
    this.#count += 1;
    const wants = Array.from({ length: 1 + Math.floor(random() * 3) }, (_, i) => ({
      name: `p${i}`, source: { $case: 'pool' as const, value: pick(random, pools) }, count: 1 + Math.floor(random() * 2),
      target: { kind: { $case: 'address' as const, value: '10.1.0.1' } },
    }));
    return { requestId: `r-${this.#count}`, tenant: 'acme', environment: `env-${this.#count}`, host: pick(random, hosts), wants, wait: pick(random, [Wait.WAIT_RECORDED, Wait.WAIT_LIVE]) };
  }

  async #allocate(api: Api, body: Body): Promise<Pending | undefined> {
    const { ledger } = this.#options;
    const isFirst = !ledger.answers.has(body.requestId);
    return this.#ask({ kind: 'allocate', body }, async () => {
      const answer = await api.allocate(body);
      ledger.answered(body, answer);
      if (isFirst && !ledger.leaving.has(body.environment)) this.#idle.push(body.environment);
    });
  }

  #release(api: Api, environment: string): Promise<Pending | undefined> {
    const { ledger, random } = this.#options;
    ledger.leaving.add(environment);
    return this.#ask({ kind: 'change', environment }, async () => {
      await api.release({ selector: { $case: 'environment', value: environment }, wait: pick(random, [Wait.WAIT_RECORDED, Wait.WAIT_LIVE]) });
      ledger.left.add(environment);
    });
  }

  #move(api: Api, environment: string): Promise<Pending | undefined> {
    const { ledger, random, hosts } = this.#options;
    return this.#ask({ kind: 'change', environment }, async () => {
      try {
        const answer = await api.move({ environment, host: pick(random, hosts), wait: Wait.WAIT_RECORDED });
        for (const mapping of answer.environment?.mappings ?? []) ledger.saw(mapping);
      } finally {
        this.#idle.push(environment);
      }
    });
  }

  /** An operator changes a pool, one change after another. */
  async #describe(api: Api): Promise<Pending | undefined> {
    const { ledger, pools } = this.#options;
    const change = ++ledger.described.asked;
    this.#describing = true;
    const request = UpdatePoolRequest.fromPartial({ pool: { gateway: GATEWAY, pool: pools[0] ?? '', description: `change ${change}` }, updateMask: ['description'] });
    const pending = await this.#ask({ kind: 'change', environment: '' }, async () => {
      await api.call(OperationsServiceService.updatePool, request);
      ledger.described.answered = change;
    });
    this.#describing = false;
    return pending;
  }

  #read(api: Api): Promise<Pending | undefined> {
    const { ledger } = this.#options;
    return this.#ask({ kind: 'read' }, async () => {
      const { environments, revisions } = await api.listEnvironments({ pageSize: 50 });
      for (const { mappings, revision } of environments) {
        for (const mapping of mappings) ledger.saw(mapping);
        ledger.sawRevision(revision);
      }
      for (const revision of Object.values(revisions)) ledger.sawRevision(revision);
    });
  }

  /** The call itself when it got neither an answer nor a refusal of portlease. */
  async #ask(pending: Pending, call: () => Promise<void>): Promise<Pending | undefined> {
    try {
      await call();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      const { reason } = error.details;
      if (reason === undefined) {
        if (error.code === status.UNAVAILABLE || error.code === status.CANCELLED) return pending;
        throw error;
      }
      this.refusals.set(reason, (this.refusals.get(reason) ?? 0) + 1);
      if (pending.kind === 'allocate') this.#refused(pending.body, reason);
    }
    this.answers += 1;
    this.onAnswer();
    return undefined;
  }
}

const OPEN = new Set(['NOT_LIVE_IN_TIME', 'GATEWAY_NOT_READY', 'JOURNAL_UNAVAILABLE', 'STOPPING', 'HOST_NOT_READY', 'HOST_SUSPECT', 'HOST_LOST']);
