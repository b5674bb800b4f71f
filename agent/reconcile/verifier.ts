/** Finds out in the background which targets accept a TCP connection. A target of UDP alone counts as answering. */
import { connect } from 'node:net';
import { nextDelayMs } from '../../shared/backoff.js';
import { differences, PersistentMap } from '../persistent/map.js';
import type { VerifyTarget } from './plan.js';
import type { After } from '../../shared/timers.js';

/** True when the target accepted a TCP connection within the deadline. */
export type Reaches = (address: string, port: number, deadlineMs: number) => Promise<boolean>;

type VerifierOptions = { reaches: Reaches; after: After; random: () => number; onVerified(): void };

const AT_ONCE = 32;
const DEADLINE_MS = 1_000;
const RETRY_BASE_MS = 50;
const RETRY_MAX_MS = 2_000;

type Probe = { target: VerifyTarget; attempt: number; state: 'waiting' | 'asked' | 'resting' | 'verified' | 'dropped'; cancel: (() => void) | undefined };

export class Verifier {
  private targets: ReadonlyMap<string, VerifyTarget> = PersistentMap.empty();
  private readonly probes = new Map<string, Probe>();
  private readonly waiting = new Set<Probe>();
  private known: string[] | undefined;
  private asked = 0;
  private isClosed = false;

  constructor(private readonly options: VerifierOptions) {}

  /** From now on these targets, and no others. One that was verified and has not changed stays so. */
  set(targets: ReadonlyMap<string, VerifyTarget>): void {
    for (const key of differences(this.targets, targets)) {
      const target = targets.get(key);
      const probe = this.probes.get(key);
      if (probe !== undefined && target !== undefined && idOf(probe.target) === idOf(target)) continue;
      this.drop(key);
      if (target !== undefined) this.add(key, target);
    }
    this.targets = targets;
    this.ask();
  }

  /** Ids of the mappings whose target answered; the same list as long as these are the same. */
  verified(): string[] {
    this.known ??= [...this.probes.values()].filter(({ state }) => state === 'verified').map(({ target }) => target.mappingId);
    return this.known;
  }

  close(): void {
    this.isClosed = true;
    for (const key of this.probes.keys()) this.drop(key);
  }

  private add(key: string, target: VerifyTarget): void {
    const isUdp = target.transport === 'udp';
    const probe: Probe = { target, attempt: 0, state: isUdp ? 'verified' : 'waiting', cancel: undefined };
    this.probes.set(key, probe);
    if (isUdp) this.known = undefined;
    else this.waiting.add(probe);
  }

  private drop(key: string): void {
    const probe = this.probes.get(key);
    if (probe === undefined) return;
    if (probe.state === 'verified') this.known = undefined;
    probe.state = 'dropped';
    probe.cancel?.();
    this.waiting.delete(probe);
    this.probes.delete(key);
  }

  private ask(): void {
    if (this.isClosed) return;
    for (const probe of this.waiting) {
      if (this.asked >= AT_ONCE) return;
      this.waiting.delete(probe);
      void this.probe(probe);
    }
  }

  private async probe(probe: Probe): Promise<void> {
    probe.state = 'asked';
    this.asked++;
    const reached = await this.options.reaches(probe.target.address, probe.target.port, DEADLINE_MS).catch(() => false);
    this.asked--;
    if (!isDropped(probe)) this.note(probe, reached);
    this.ask();
  }

  private note(probe: Probe, reached: boolean): void {
    if (reached) {
      probe.state = 'verified';
      this.known = undefined;
      this.options.onVerified();
      return;
    }
    probe.state = 'resting';
    const delayMs = nextDelayMs({ attempt: probe.attempt++, baseMs: RETRY_BASE_MS, maxMs: RETRY_MAX_MS, random: this.options.random });
    probe.cancel = this.options.after(delayMs, () => {
      probe.state = 'waiting';
      this.waiting.add(probe);
      this.ask();
    });
  }
}

function isDropped({ state }: Probe): boolean {
  return state === 'dropped';
}

function idOf({ mappingId, generation, transport, address, port }: VerifyTarget): string {
  return `${mappingId} ${generation} ${transport} ${address} ${port}`;
}

/** Connects once and closes at once. Never rejects. */
export const reachesByTcp: Reaches = (address, port, deadlineMs) => new Promise(resolve => {
  const socket = connect({ host: address, port });
  const deadline = setTimeout(() => end(false), deadlineMs);
  const end = (reached: boolean): void => {
    clearTimeout(deadline);
    socket.destroy();
    resolve(reached);
  };
  socket.on('connect', () => end(true));
  socket.on('error', () => end(false));
});
