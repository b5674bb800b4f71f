/** Finds out in the background which targets accept a TCP connection. A target of UDP alone counts as answering. */
import { connect } from 'node:net';
import { nextDelayMs } from '../../shared/backoff.js';
import type { VerifyTarget } from './plan.js';
import type { After } from './timers.js';

/** True when the target accepted a TCP connection within the deadline. */
export type Reaches = (address: string, port: number, deadlineMs: number) => Promise<boolean>;

type VerifierOptions = { reaches: Reaches; after: After; random: () => number; onVerified(): void };

const AT_ONCE = 32;
const DEADLINE_MS = 1_000;
const RETRY_BASE_MS = 50;
const RETRY_MAX_MS = 2_000;

type Probe = { target: VerifyTarget; attempt: number; state: 'waiting' | 'asked' | 'resting' | 'verified'; cancel: (() => void) | undefined };

export class Verifier {
  private readonly probes = new Map<string, Probe>();
  private asked = 0;
  private isClosed = false;

  constructor(private readonly options: VerifierOptions) {}

  /** From now on these targets, and no others. One that was verified and has not changed stays so. */
  set(targets: readonly VerifyTarget[]): void {
    const wanted = new Map(targets.map(target => [idOf(target), target]));
    for (const [id, probe] of this.probes) if (!wanted.has(id)) this.drop(id, probe);
    for (const [id, target] of wanted) {
      if (!this.probes.has(id)) this.probes.set(id, { target, attempt: 0, state: target.transport === 'udp' ? 'verified' : 'waiting', cancel: undefined });
    }
    this.ask();
  }

  /** Ids of the mappings whose target answered. */
  verified(): string[] {
    return [...this.probes.values()].filter(({ state }) => state === 'verified').map(({ target }) => target.mappingId);
  }

  close(): void {
    this.isClosed = true;
    for (const [id, probe] of this.probes) this.drop(id, probe);
  }

  private drop(id: string, probe: Probe): void {
    probe.cancel?.();
    this.probes.delete(id);
  }

  private ask(): void {
    if (this.isClosed) return;
    for (const [id, probe] of this.probes) {
      if (this.asked >= AT_ONCE) return;
      if (probe.state === 'waiting') void this.probe(id, probe);
    }
  }

  private async probe(id: string, probe: Probe): Promise<void> {
    probe.state = 'asked';
    this.asked++;
    const reached = await this.options.reaches(probe.target.address, probe.target.port, DEADLINE_MS).catch(() => false);
    this.asked--;
    if (this.probes.get(id) === probe) this.note(probe, reached);
    this.ask();
  }

  private note(probe: Probe, reached: boolean): void {
    if (reached) {
      probe.state = 'verified';
      this.options.onVerified();
      return;
    }
    probe.state = 'resting';
    const delayMs = nextDelayMs({ attempt: probe.attempt++, baseMs: RETRY_BASE_MS, maxMs: RETRY_MAX_MS, random: this.options.random });
    probe.cancel = this.options.after(delayMs, () => {
      probe.state = 'waiting';
      this.ask();
    });
  }
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
