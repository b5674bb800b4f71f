/** Ways to make two tenants meet on one port, or to lose what was answered, that were found by looking for them. */
import assert from 'node:assert/strict';
import { agentOf, checkWorldsAfterEach, comeBack, shared } from './checked.js';
import { portsOf, reasonOf, want, type World } from './world.js';

/** The database as it is, to be put back later. */
function backUp(world: World): () => void {
  const copy = structuredClone(world.tables.stored());
  return () => {
    const { tables } = world;
    tables.gateway = copy.gateway;
    for (const table of ['pools', 'hosts', 'leases', 'environments', 'mappings', 'requests'] as const) tables[table].clear();
    const { gateway, ...rows } = copy;
    tables.apply({ ...rows, gateway, removedPools: [], removedHosts: [], removedLeases: [], removedEnvironments: [], removedRequests: [], events: [], audits: [] });
    world.restart();
  };
}

describe('an old copy of the database', () => {
  checkWorldsAfterEach();

  it('is noticed by what an agent accepted also once as many decisions were made on it as had been lost (S9)', () => {
    const world = shared();
    portsOf(world.allocate('e-1', 'b', [want()]));
    world.settle();
    const putBack = backUp(world);
    portsOf(world.allocate('e-2', 'b', [want()]));
    world.settle();
    putBack();
    for (let n = 0; n < 20; n += 1) comeBack(world, 'a');
    assert.ok(world.book.sequence > (agentOf(world, 'b').accepted?.revision ?? 0));
    assert.equal(reasonOf(world.hello(agentOf(world, 'b'))), 'DATABASE_IS_OLDER');
    world.agents.delete('b');
  });
});
