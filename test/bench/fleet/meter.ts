/** Looks at what an agent says and hears, from between its session and its connections. */
import type { Transport } from '../../../agent/session/transport.js';

/** Of the agents of one process. */
export class Meter {
  /** By agent: the newest session whose heartbeat the coordinator took. */
  readonly #confirmed: number[];
  readonly #marked: number[];
  #missing = 0;
  #lastMs = 0;
  #heartbeatMs: number[] = [];
  #failures = 0;
  #streams = 0;

  constructor(agents: number) {
    this.#confirmed = new Array<number>(agents).fill(0);
    this.#marked = new Array<number>(agents).fill(0);
    this.#missing = agents;
  }

  /** From now on agents count once a session that is newer than their present one is confirmed. */
  mark(): void {
    for (const [index, session] of this.#confirmed.entries()) this.#marked[index] = session;
    this.#missing = this.#confirmed.length;
    this.#streams = 0;
  }

  /** `lastMs`: when the last one was confirmed, in milliseconds since 1970. `streams`: opened since the mark. */
  get progress(): { missing: number; lastMs: number; streams: number } {
    return { missing: this.#missing, lastMs: this.#lastMs, streams: this.#streams };
  }

  /** Round trips and failures of heartbeats since it was last asked. */
  takeHeartbeats(): { ms: number[]; failures: number } {
    const taken = { ms: this.#heartbeatMs, failures: this.#failures };
    this.#heartbeatMs = [];
    this.#failures = 0;
    return taken;
  }

  watch(index: number, transport: Transport): Transport {
    return {
      ...transport,
      openStream: (listener) => {
        this.#streams += 1;
        return transport.openStream(listener);
      },
      heartbeat: async (request, deadlineMs) => {
        const startMs = performance.now();
        try {
          const answer = await transport.heartbeat(request, deadlineMs);
          this.#heartbeatMs.push(Math.round((performance.now() - startMs) * 100) / 100);
          if (!answer.staleSession && !answer.rebuild) this.#confirm(index, request.session);
          return answer;
        } catch (error) {
          this.#failures += 1;
          throw error;
        }
      },
    };
  }

  #confirm(index: number, session: number): void {
    const marked = this.#marked[index] ?? 0;
    if (session > marked && (this.#confirmed[index] ?? 0) <= marked) {
      this.#missing -= 1;
      this.#lastMs = performance.timeOrigin + performance.now();
    }
    this.#confirmed[index] = session;
  }
}
