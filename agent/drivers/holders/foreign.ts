/**
 * Listeners of foreign processes on the ports that matter, with who holds them. Those of one network namespace: where the lease addresses
 * are, which is the agent's own. A container with a namespace of its own has other addresses; with that of the host it is found like
 * any process of the host.
 */
import type { Log } from '../../../shared/log.js';
import { isReachable, isWanted, readListeners, type Listener, type Wanted } from '../connections/listeners.js';
import type { Helper } from './helper.js';

export type ForeignOptions = {
  addresses: readonly string[];
  log: Log;
  helper: Pick<Helper, 'find'>;
  /** Default: /proc/self/net. */
  netDir?: string;
  /** Listeners that are no conflict, besides those of this process: what portlease itself, or a mapping's own container, needs. */
  isOwn?: (listener: Listener) => boolean;
};

export class ForeignListeners {
  readonly #options: Required<ForeignOptions>;
  #last: { found: readonly Listener[]; foreign: Listener[] } = { found: [], foreign: [] };
  #problem: string | undefined;

  constructor(options: ForeignOptions) {
    this.#options = { netDir: '/proc/self/net', isOwn: () => false, ...options };
  }

  /** Without a helper the ports are found all the same, but not who holds them. Rejects when the tables of the kernel cannot be read. */
  async find(wanted: Wanted): Promise<Listener[]> {
    const found = await this.#look(wanted);
    if (found !== this.#last.found) this.#last = { found, foreign: found.filter(one => one.holder?.pid !== process.pid && !this.#options.isOwn(one)) };
    return this.#last.foreign;
  }

  async #look(wanted: Wanted): Promise<Listener[]> {
    const { netDir, addresses, log, helper } = this.#options;
    if (wanted.tcp.length === 0 && wanted.udp.length === 0) return [];
    try {
      const found = await helper.find({ topic: 'leasedPorts', netDir, addresses, wanted });
      if (this.#problem !== undefined) log.info('it is known again who listens on leased ports');
      this.#problem = undefined;
      return found;
    } catch (error) {
      const problem = (error as Error).message;
      if (problem !== this.#problem) log.warn({ problem }, 'it is not known who listens on leased ports, only that somebody does');
      this.#problem = problem;
      return (await readListeners(netDir)).filter(one => isWanted(wanted, one) && isReachable(one.address, addresses));
    }
  }
}
