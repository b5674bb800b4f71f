/** Why the agent ends, as sysexits.h numbers it. */

export const EXIT = {
  ok: 0,
  /** Flags that are not understood. */
  usage: 64,
  /** The state on disk is damaged, or another host's. */
  state: 65,
  /** A program that the kernel is driven with is missing or does not work. */
  tools: 69,
  /** A defect of portlease. */
  defect: 70,
  /** The writer's lock is not held. */
  lock: 75,
  /** The config, or a file that it names. */
  config: 78,
} as const;

/** The agent does not start; the message says what to do. Rules of this host stay as they are. */
export class StartRefused extends Error {
  override readonly name = 'StartRefused';

  constructor(readonly exitCode: (typeof EXIT)[keyof typeof EXIT], message: string, options?: ErrorOptions) {
    super(message, options);
  }
}
