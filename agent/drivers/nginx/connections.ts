/** Ends connections where nginx serves routes: a cut has succeeded when also no earlier worker can accept a client any more. */
import type { ConnectionsDriver, Cut, CutResult, Standing } from '../connections/connections.js';
import type { NginxRoutes } from './driver.js';

export function proxiedConnections(connections: Pick<ConnectionsDriver, 'cut'>, routes: Pick<NginxRoutes, 'readyNow' | 'settle'>): Pick<ConnectionsDriver, 'cut'> {
  return {
    cut: async (cuts: readonly Cut[], standing: Standing): Promise<CutResult> => {
      const ready = routes.readyNow();
      const result = await connections.cut(cuts, standing);
      const misled = new Set(await routes.settle(result.ended, ready));
      return { ended: result.ended.filter(cut => !misled.has(cut)), remaining: [...result.remaining, ...misled] };
    },
  };
}
