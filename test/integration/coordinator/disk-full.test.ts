import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { MappingState, Wait } from '../../../shared/gen/portlease/v1/common.js';
import { HostState } from '../../../shared/gen/portlease/v1/operations.js';
import { Refused, refusalOf, status, type Api } from '../../support/api.js';
import { eventually, within } from '../../support/wait.js';
import type { FakeAgent } from '../rpc/fake-agent.js';
import { Daemon, GATEWAY } from './daemon.js';
import { Ledger, type Body } from './ledger.js';
import { checkTables } from './tables.js';

const POOLS = [{ pool: 'ssh', ranges: ['30000-39999'], protocol: 'tcp', defaultInternalPort: 22, quarantine: '1s' }];
const AGENTS = [
  { host: 'g1', gateway: GATEWAY, roles: ['gateway' as const], addresses: ['203.0.113.1'] },
  { host: 'h1', gateway: GATEWAY, addresses: ['10.9.0.1'] },
];

describe('a coordinator whose disk fills up', function () {
  this.timeout(180_000);
  let disk: string;
  let ballast: string;
  let daemon: Daemon;
  let agents: FakeAgent[] = [];
  let api: Api;
  let count = 0;

  beforeEach(async () => {
    disk = mkdtempSync(path.join(tmpdir(), 'portlease-disk-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'portlease-test', disk]);
    ballast = path.join(disk, 'ballast');
    daemon = new Daemon({ pools: POOLS, timing: { heartbeat: '500ms', deadline: '1s', suspect: '30s', lost: '60s' }, databaseFolder: path.join(disk, 'db') });
    await daemon.start();
    api = daemon.api();
    agents = await Promise.all(AGENTS.map((options) => daemon.agent(options)));
  });
  afterEach(async () => {
    for (const agent of agents) agent.close();
    await daemon.close();
    execFileSync('umount', [disk]);
    rmdirSync(disk);
  });

  function nextBody(): Body {
    count += 1;
    const target = { kind: { $case: 'address' as const, value: '10.1.0.1' } };
    return { requestId: `r-${count}`, tenant: 'acme', environment: `env-${count}`, host: 'h1', wait: Wait.WAIT_RECORDED, wants: [{ name: 'p', source: { $case: 'pool', value: 'ssh' }, count: 8, target }] };
  }

  async function allocateSome(ledger: Ledger): Promise<void> {
    for (let i = 0; i < 20; i += 1) {
      const body = nextBody();
      ledger.answered(body, await api.allocate(body));
    }
  }

  /** Eight schedulers at once, until each was refused; all that was answered is in the ledger. */
  async function allocateUntilRefused(ledger: Ledger): Promise<{ bodies: Body[]; refusals: Refused[] }> {
    const bodies: Body[] = [];
    const refusals: Refused[] = [];
    await Promise.all(Array.from({ length: 8 }, async () => {
      for (;;) {
        const body = nextBody();
        try {
          ledger.answered(body, await api.allocate(body));
        } catch (error) {
          assert.ok(error instanceof Refused, String(error));
          bodies.push(body);
          refusals.push(error);
          return;
        }
      }
    }));
    return { bodies, refusals };
  }

  it('says so, goes on showing what is committed, serves again when there is space, and has done nothing by half (S5)', async () => {
    const ledger = new Ledger();
    await allocateSome(ledger);
    await eventually('health to say SERVING', () => api.isServing(), { withinMs: 20_000 });
    fill(ballast);
    const { bodies, refusals } = await allocateUntilRefused(ledger);
    for (const { code, details, remedy } of refusals) {
      assert.deepEqual([code, details.reason], [status.UNAVAILABLE, 'JOURNAL_UNAVAILABLE']);
      assert.ok((details.retryAfterMs ?? 0) > 0, 'RetryInfo says when to come back');
      assert.match(remedy ?? '', /disk/);
    }
    await eventually('health to say NOT_SERVING', async () => !(await api.isServing()), { withinMs: 30_000 });
    assert.match((await api.status()).journal, /SQLITE_FULL|SQLITE_IOERR/);
    await checkReads(ledger);
    assert.equal((await refusalOf(api.release({ selector: { $case: 'environment', value: 'env-1' } }))).details.reason, 'JOURNAL_UNAVAILABLE');
    assert.equal((await refusalOf(api.createPool({ gateway: GATEWAY, pool: 'late', ranges: [{ first: 40_000, last: 40_001 }], protocol: 1 }))).details.reason, 'JOURNAL_UNAVAILABLE');
    await ledger.compare(daemon);

    rmSync(ballast);
    await eventually('health to say SERVING', () => api.isServing(), { withinMs: 30_000 });
    assert.equal((await api.status()).journal, 'ok');
    await ledger.noteUnanswered(daemon, bodies);
    agents = await Promise.all(agents.map((agent, i) => daemon.agent(AGENTS[i] ?? assert.fail(), agent)));
    for (const body of bodies) ledger.answered(body, await api.allocate(body));
    await checkReads(ledger);
    await ledger.compare(daemon);
    await checkTables(daemon);
    await eventually('the host to be told of everything', () => agents[1]?.mappings().length === ledger.seen.size, { withinMs: 20_000 });
    const { mappings } = await api.allocate({ ...bodies[0], wait: Wait.WAIT_LIVE });
    assert.ok(mappings.every(({ state }) => state === MappingState.MAPPING_STATE_LIVE));
  });

  it('ends the sessions of its agents, lets them in again when there is space, and expires no lease for the time between', async () => {
    const ledger = new Ledger();
    const ends = agents.map((agent) => agent.ended);
    await allocateSome(ledger);
    fill(ballast);
    await allocateUntilRefused(ledger);
    for (const end of ends) assert.equal((await within('the session to end', end, { withinMs: 30_000 }))?.details.reason, 'JOURNAL_UNAVAILABLE');
    const leases = await api.leases();
    assert.ok(leases.length > 0);
    rmSync(ballast);
    await eventually('health to say SERVING', () => api.isServing(), { withinMs: 30_000 });
    agents = await Promise.all(agents.map((agent, i) => daemon.agent(AGENTS[i] ?? assert.fail(), agent)));
    await api.untilHost('h1', HostState.HOST_STATE_ALIVE);
    const held = new Set((await api.leases()).map(({ leaseId }) => leaseId));
    for (const { leaseId } of leases) assert.ok(held.has(leaseId), `${leaseId} has vanished`);
    await ledger.compare(daemon);
    await checkTables(daemon);
  });

  it('does nothing by half when it is killed while the disk is full, and started when there is space', async () => {
    const ledger = new Ledger();
    fill(ballast);
    const { bodies } = await allocateUntilRefused(ledger);
    await daemon.kill();
    rmSync(ballast);
    await daemon.start();
    api = daemon.api();
    await ledger.compare(daemon);
    await ledger.noteUnanswered(daemon, bodies);
    agents = await Promise.all(agents.map((agent, i) => daemon.agent(AGENTS[i] ?? assert.fail(), agent)));
    for (const body of bodies) ledger.answered(body, await api.allocate(body));
    await ledger.compare(daemon);
    await checkTables(daemon);
  });

  it('does not serve when it is started on a full disk, and says which file it cannot write', async () => {
    const ledger = new Ledger();
    await allocateSome(ledger);
    fill(ballast);
    await allocateUntilRefused(ledger);
    await daemon.kill();
    await assert.rejects(daemon.start(), /ended \([1-9]/);
    assert.match(daemon.process.tail(), /coordinator\.db.*(?:SQLITE_FULL|SQLITE_IOERR|disk)/);
    rmSync(ballast);
    await daemon.start();
    api = daemon.api();
    await checkReads(ledger);
    await checkTables(daemon);
  });

  async function checkReads(ledger: Ledger): Promise<void> {
    for (const { body, mappingIds } of ledger.answers.values()) {
      const { mappings } = await api.environment(body.environment);
      assert.deepEqual(mappings.map(({ mappingId }) => mappingId), mappingIds);
    }
    const { environments } = await api.listEnvironments({ pageSize: 1000 });
    assert.deepEqual(environments.map(({ environment }) => environment).sort(), [...ledger.answers.values()].map(({ body }) => body.environment).sort());
    assert.ok((await api.leases()).length > 0);
  }
});

/** Writes into `file` until there is no space left. */
function fill(file: string): void {
  const descriptor = openSync(file, 'w');
  try {
    for (let size = 1 << 20; size >= 4096;) {
      try {
        writeSync(descriptor, Buffer.alloc(size));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
        size /= 2;
      }
    }
  } finally {
    closeSync(descriptor);
  }
}
