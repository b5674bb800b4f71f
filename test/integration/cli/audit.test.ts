import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Connection } from '../../../coordinator/journal/sqlite/connection.js';
import { portlease } from '../../unit/cli/world.js';
import { TestCoordinator } from '../rpc/coordinator.js';

const WANT = '--want=name=ssh,pool=ssh,target=10.1.0.1';
const ALLOCATE = ['allocate', 'env-1', '--host=h1', '--tenant=acme', WANT, '--request-id=r1'];

/** What an operator does, and how the audit tells it. */
const STEPS: [argv: string[], action: string, outcome: string][] = [
  [ALLOCATE, 'AllocatePorts', 'ok'],
  [['allocate', 'env-2', '--host=h1', '--tenant=acme', '--want=name=ssh,pool=none,target=10.1.0.1'], 'AllocatePorts', 'POOL_UNKNOWN'],
  [['move', 'env-1', '--to=h2'], 'MoveEnvironment', 'ok'],
  [['move', 'nobody', '--to=h2'], 'MoveEnvironment', 'ENVIRONMENT_UNKNOWN'],
  [['release', 'env-1'], 'ReleasePorts', 'ok'],
  [['pools', 'create', 'web', '--gateway=gw', '--range=20000-20009', '--protocol=tcp'], 'CreatePool', 'ok'],
  [['pools', 'create', 'web', '--gateway=gw', '--range=21000-21009', '--protocol=tcp'], 'CreatePool', 'POOL_EXISTS'],
  [['pools', 'update', 'web', '--gateway=gw', '--hold=1h'], 'UpdatePool', 'ok'],
  [['pools', 'delete', 'web', '--gateway=gw'], 'DeletePool', 'ok'],
  [['hosts', 'create', 'h9', '--gateway=gw'], 'CreateHost', 'ok'],
  [['hosts', 'replace', 'h9', '--reason=new board'], 'ReplaceHost', 'ok'],
  [['hosts', 'reclaim', 'h1', '--reason=it is off'], 'ReclaimHost', 'HOST_NOT_LOST'],
  [['purge'], 'Purge', 'ok'],
];
/** Changes nothing, so it leaves nothing. */
const SILENT = [['status'], ['list'], ['show', 'env-1'], ['events'], ['purge', '--dry-run'], ['allocate', 'env-3', '--host=h1', '--tenant=acme', WANT, '--dry-run']];

type Row = { action: string; outcome: string };

describe('the audit of what operators do', () => {
  let coordinator: TestCoordinator;
  beforeEach(async () => {
    coordinator = await TestCoordinator.start();
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    await coordinator.agent({ host: 'h1' });
    await coordinator.agent({ host: 'h2', addresses: ['10.9.0.2'] });
  });
  afterEach(() => coordinator.close());

  async function auditRows(): Promise<Row[]> {
    const connection = await Connection.open(join(coordinator.folder, 'c.db'), 'readOnly');
    try {
      return await connection.all<Row>("SELECT action, outcome FROM audit WHERE action <> 'hello' ORDER BY id");
    } finally {
      await connection.close();
    }
  }

  it('S11: has one record for each mutation, accepted or refused, and none for what changes nothing', async () => {
    const before = (await auditRows()).length;
    const run = (argv: readonly string[]) => portlease([...argv, '--server', `unix:${coordinator.socket}`], { newId: randomUUID });
    for (const [argv, , outcome] of STEPS) assert.equal((await run(argv)).exitCode, outcome === 'ok' ? 0 : 1, argv.join(' '));
    for (const argv of SILENT) await run(argv);
    assert.deepEqual((await auditRows()).slice(before), STEPS.map(([, action, outcome]) => ({ action, outcome })));
  });
});
