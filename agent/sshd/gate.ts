/**
 * The way in for hosts behind NAT: the gateway's sshd asks here who may listen for what, and what a host listens for ends before anything is confirmed that
 * takes it away. A cut has succeeded only when no session is left that could lead clients of its ports to a host that does not have them any more.
 */
import { join } from 'node:path';
import type { DesiredObject } from '../../shared/desired.js';
import type { Log } from '../../shared/log.js';
import { overlaps } from '../../shared/ports.js';
import type { RunChild } from '../drivers/child.js';
import type { ConnectionsDriver, Cut, CutResult, Standing } from '../drivers/connections/connections.js';
import { fencedRoutes, grantsOf, lostPorts, type Grants } from './grants.js';
import { KeyServer } from './server.js';
import { Sessions } from './sessions.js';

type Cutting = Pick<ConnectionsDriver, 'cut'>;

export type HostGateOptions = { readonly stateDir: string; readonly bootId: string; readonly socket: string; readonly run: RunChild; readonly log: Log };

export class HostGate {
  private grants: Grants = new Map();
  /** By lease and generation. */
  private fenced: ReadonlySet<string> = new Set();
  private server: Promise<KeyServer | undefined> | undefined;
  private keeping: Promise<unknown> = Promise.resolve();

  private constructor(private readonly sessions: Sessions, private readonly options: HostGateOptions) {}

  /** Nobody is let in before setDesired(). Throws when its files cannot be used. */
  static async open(options: HostGateOptions): Promise<HostGate> {
    const { stateDir, bootId, run, log } = options;
    return new HostGate(await Sessions.open({ path: join(stateDir, 'host-sessions.json'), bootId, run, log }), options);
  }

  /** What hosts may listen for from now on; sessions that may do more are ended. */
  setDesired(objects: ReadonlyMap<string, DesiredObject>): void {
    this.grants = grantsOf(objects.values());
    const fenced = fencedRoutes(objects.values());
    const doomed = new Set([...fenced].filter(([route]) => !this.fenced.has(route)).map(([, { key }]) => key));
    this.fenced = new Set(fenced.keys());
    this.server ??= this.open();
    this.keeping = this.keeping.then(() => Promise.all([...doomed].map(key => this.sessions.doom(key)))).then(() => this.sessions.keepTo(this.grants)).catch((error: unknown) => { this.options.log.error({ err: error }, 'sessions of hosts could not be ended'); });
  }

  /** Ends sessions first: a client's connection is not to come back through one. */
  cutting(connections: Cutting): Cutting {
    return {
      cut: async (cuts: readonly Cut[], standing: Standing): Promise<CutResult> => {
        await this.keeping;
        const left = await this.sessions.keepTo(this.grants);
        const lost = left.flatMap(session => (session.isDoomed === true ? session.ports : lostPorts(session, this.grants)));
        const { ended, remaining } = await connections.cut(cuts, standing);
        const isHeld = ({ transport, ports }: Cut): boolean => transport === 'tcp' && lost.some(range => overlaps(range, ports));
        return { ended: ended.filter(cut => !isHeld(cut)), remaining: [...remaining, ...ended.filter(isHeld)] };
      },
    };
  }

  /** Sessions stay. */
  async close(): Promise<void> {
    await (await this.server)?.close();
    await this.keeping;
  }

  private async open(): Promise<KeyServer | undefined> {
    const { socket, log } = this.options;
    try {
      return await KeyServer.open({ path: socket, grants: () => this.grants, sessions: this.sessions, log });
    } catch (error) {
      log.error({ problem: (error as Error).message, socket }, 'hosts behind NAT cannot be let in: put that right and restart the agent');
      return undefined;
    }
  }
}
