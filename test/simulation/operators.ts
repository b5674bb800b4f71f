/** Operators: what they do with hosts and pools while everything goes on. */
import type { Command, PortRange } from '../../coordinator/book/types.js';
import type { Callers } from './callers.js';
import type { Chance } from './random.js';

const GATEWAY = 'gateway';
const BY = { actor: 'operator', reason: 'simulated' };

export class Operators {
  constructor(private readonly of: { callers: Callers; hosts: readonly string[]; pool: string; ports: PortRange }) {}

  reclaim(chance: Chance): string {
    const host = chance.pick(this.of.hosts);
    this.#ask({ kind: 'reclaimHost', ...BY, host, override: chance.oneIn(2) });
    return `reclaim ${host}`;
  }

  /** Mostly open, so that there is always somebody to serve. */
  setDuty(chance: Chance): string {
    const host = chance.pick(this.of.hosts);
    const kind = chance.pick(['cordonHost', 'drainHost', 'uncordonHost', 'uncordonHost', 'uncordonHost'] as const);
    this.#ask({ kind, ...BY, host });
    return `${kind} ${host}`;
  }

  hold(chance: Chance): string {
    const host = chance.pick(this.of.hosts);
    const forMs = chance.oneIn(3) ? 0 : chance.between(1_000, 20_000);
    this.#ask({ kind: 'holdHost', ...BY, host, forMs });
    return `hold ${host} for ${forMs} ms`;
  }

  /** A lost host is removed; one of its name is created some time later, and may be the same machine with all that it remembers. */
  forget(chance: Chance): string {
    const host = chance.pick(this.of.hosts);
    this.#ask({ kind: 'forgetHost', ...BY, host, hostIsOff: false, gatewayIsOff: false });
    return `forget ${host}`;
  }

  /** What is said of a machine that is off: a host, or the gateway. */
  forgetWhatIsOff(host: string): void {
    this.#ask({ kind: 'forgetHost', ...BY, host, hostIsOff: true, gatewayIsOff: host === GATEWAY });
  }

  create(host: string): void {
    this.#ask({ kind: 'createHost', actor: 'operator', host, roles: [host === GATEWAY ? 'gateway' : 'host'], failureDomain: '', publicHost: '' });
  }

  createOne(chance: Chance): string {
    const host = chance.pick(this.of.hosts);
    this.create(host);
    return `create ${host}`;
  }

  override(chance: Chance): string {
    const forMs = chance.oneIn(3) ? 0 : chance.between(1_000, 20_000);
    this.#ask({ kind: 'overrideMassLoss', ...BY, failureDomain: '', forMs });
    return `override a mass loss for ${forMs} ms`;
  }

  /** Shrinks the pool to a part of its ports, reserves some, or gives it all of them again. */
  resize(chance: Chance): string {
    const { pool, ports } = this.of;
    const part = (): PortRange => {
      const first = chance.between(ports.first, ports.last);
      return { first, last: chance.between(first, ports.last) };
    };
    const ranges = chance.oneIn(2) ? [ports] : [part()];
    const reserved = chance.oneIn(3) ? ranges.map(({ first }) => ({ first, last: first })) : [];
    const drain = !chance.oneIn(3);
    this.#ask({ kind: 'updatePool', actor: 'operator', pool, change: { ranges, reserved }, drain });
    return `${drain ? 'drain' : 'change'} the pool to ${JSON.stringify({ ranges, reserved })}`;
  }

  /** Everybody and everything may serve again. */
  reopen(): void {
    const { hosts, pool, ports } = this.of;
    for (const host of hosts) this.#ask({ kind: 'uncordonHost', ...BY, host });
    this.#ask({ kind: 'updatePool', actor: 'operator', pool, change: { ranges: [ports], reserved: [] }, drain: true });
  }

  #ask(command: Command): void {
    this.of.callers.ask(command);
  }
}
