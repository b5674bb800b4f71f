/** The open streams of one gateway's agents: at most one a host, the newest session wins. */
import type { Delta, Push, Refusal } from '../book/types.js';

/** The coordinator's end of an agent's stream. */
export type SessionSink = {
  readonly session: number;
  push(delta: Delta): void;
  /** Ends the stream; the agent says hello again. */
  close(refusal: Refusal): void;
};

export class Sessions {
  readonly #sinks = new Map<string, SessionSink>();

  attach(host: string, sink: SessionSink): void {
    const older = this.#sinks.get(host);
    this.#sinks.set(host, sink);
    older?.close(staleSession(`session ${sink.session} of ${host} has taken the place of session ${older.session}`));
  }

  /** Forgets the sink, unless a newer one has taken its place. */
  detach(host: string, sink: SessionSink): void {
    if (this.#sinks.get(host) === sink) this.#sinks.delete(host);
  }

  push({ host, session, delta }: Push): void {
    const sink = this.#sinks.get(host);
    if (sink?.session === session) sink.push(delta);
  }

  closeAll(refusal: Refusal): void {
    const sinks = [...this.#sinks.values()];
    this.#sinks.clear();
    for (const sink of sinks) sink.close(refusal);
  }
}

export function staleSession(message: string): Refusal {
  return { kind: 'refused', reason: 'STALE_SESSION', message };
}
