import assert from 'node:assert/strict';
import { setTimeout as moment } from 'node:timers/promises';
import { Refused } from '../../support/api.js';
import { eventually } from '../../support/wait.js';
import { Wait } from '../../../shared/gen/portlease/v1/common.js';
import type { FakeAgent, FakeAgentOptions } from '../rpc/fake-agent.js';
import { Daemon, GATEWAY } from './daemon.js';
import { Ledger, type Body } from './ledger.js';
import { chosenSeed, seeded } from './random.js';
import { Load } from './schedulers.js';
import { checkQuarantine, checkTables } from './tables.js';

const KILLS = 50;
const LOST_MS = 3_000;
const QUARANTINE_MS = 200;
const POOLS = [
  { pool: 'ssh', ranges: ['30000-30299'], protocol: 'tcp', defaultInternalPort: 22, quarantine: `${QUARANTINE_MS}ms` },
  { pool: 'game', ranges: ['31000-31299'], protocol: 'tcp+udp', defaultInternalPort: 7000, quarantine: `${QUARANTINE_MS}ms` },
];
const AGENTS: Omit<FakeAgentOptions, 'address'>[] = [
  { host: 'g1', gateway: GATEWAY, roles: ['gateway'], addresses: ['203.0.113.1'] },
  { host: 'h1', gateway: GATEWAY, addresses: ['10.9.0.1'] },
  { host: 'h2', gateway: GATEWAY, addresses: ['10.9.0.2'] },
];
const SILENT = { host: 'h3', gateway: GATEWAY, addresses: ['10.9.0.3'] };

type Grant = { id: string; epoch: number; generation: number };
type LeaseRow = { lease_id: string; host: string; first: number; last: number; epoch: number; generation: number; state: string; expired_at_ms: number; guards: string };

/** Leases of a host that went silent, as they were granted. */
type Silent = { leases: LeaseRow[]; expired: boolean };

const HALF_RELEASED = `SELECT environment FROM mapping GROUP BY environment
  HAVING count(DISTINCT state IN ('pending','live','blocked','held')) > 1`;
const LEASES = 'SELECT lease_id, host, first, last, epoch, generation, state, expired_at_ms, guards FROM lease ORDER BY lease_id';

describe('a coordinator that is killed again and again while it commits', function () {
  this.timeout(500_000);
  let daemon: Daemon;
  let agents: FakeAgent[] = [];
  const known = new Set<string>();
  let newest = { epoch: 0, generation: 0 };
  const seed = chosenSeed();
  const random = seeded(seed);

  before(() => {
    daemon = new Daemon({ pools: POOLS, timing: { heartbeat: '200ms', deadline: '200ms', suspect: '1500ms', lost: `${LOST_MS}ms` }, slowWalUs: 600 });
  });
  after(async () => {
    for (const agent of agents) agent.close();
    await daemon.close();
  });

  it(`keeps all that it answered and showed, does nothing by half, and shortens no lease (S2, S3, S5, S6, S9; seed ${seed})`, async () => {
    const ledger = new Ledger();
    const load = new Load({ ledger, random, hosts: ['h1', 'h2'], pools: ['ssh', 'game'] });
    await daemon.start();
    const silent = await leaveSilentHost();
    let kills = 0;
    let durable = 0;
    while (kills < KILLS) {
      const lost = await runUntilKilled(load);
      if (lost.some(({ kind }) => kind !== 'read')) kills += 1;
      durable += await checkStored(ledger, lost.flatMap((call) => (call.kind === 'allocate' ? [call.body] : [])));
      const leases = await daemon.select<LeaseRow>(LEASES);
      checkSilent(leases, silent);
      if (kills % 5 === 0) await dieYoung();
      await daemon.start();
      await checkLeasesAreKept(leases);
    }
    console.log(`      killed ${kills} times, ${kills} with commits in flight; ${durable} allocations were durable without having been answered; in all ${ledger.answers.size} allocations and `
      + `${ledger.left.size} releases answered, refused: ${JSON.stringify(Object.fromEntries(load.refusals))}`);
    assert.ok(ledger.answers.size > KILLS, 'too little was asked for to prove anything');
    await expiresInTheEnd(silent);
  });

  /** A host that gets ports, and is never heard of again. */
  async function leaveSilentHost(): Promise<Silent> {
    const opened = await Promise.all([...AGENTS, SILENT].map((options) => daemon.agent(options)));
    const target = { kind: { $case: 'address' as const, value: '10.1.0.9' } };
    await daemon.api().allocate({ tenant: 'acme', environment: 'quiet', host: SILENT.host, wait: Wait.WAIT_LIVE, wants: [{ name: 'p', source: { $case: 'pool', value: 'ssh' }, count: 4, target }] });
    for (const agent of opened) agent.close();
    agents = opened.slice(0, AGENTS.length);
    const leases = (await daemon.select<LeaseRow>(LEASES)).filter(({ host }) => host === SILENT.host);
    assert.ok(leases.length > 0);
    return { leases, expired: false };
  }

  /** A start that is cut off at a random moment; it may have got as far as to serve. */
  async function dieYoung(): Promise<void> {
    await Promise.race([daemon.start().catch(() => undefined), moment(random() * 500)]);
    await daemon.kill();
    await checkTables(daemon);
  }

  /** Agents say hello and schedulers ask at once; after a random number of answers, and some ms, the process is gone. */
  async function runUntilKilled(load: Load) {
    const apis = Array.from({ length: 4 }, () => daemon.api());
    const greeted = sayHello();
    let left = 1 + Math.floor(random() * 80);
    const reached = new Promise<void>((resolve) => {
      load.onAnswer = () => { if (--left === 0) resolve(); };
    });
    const running = load.run(apis, 6);
    await Promise.race([reached, running]);
    await moment(random() * 20);
    daemon.process.signal('SIGKILL');
    const lost = await running;
    await greeted;
    await daemon.kill();
    for (const agent of agents) agent.close();
    return lost;
  }

  /** Each agent with what it has kept; one whose welcome did not come stays as it was. */
  async function sayHello(): Promise<void> {
    const before = agents;
    await Promise.all(AGENTS.map(async (options, i) => {
      try {
        agents[i] = await daemon.agent(options, before[i]);
      } catch (error) {
        if (error instanceof Refused) assert.equal(error.details.reason ?? 'the connection is gone', 'the connection is gone', `${options.host}: ${error.message}`);
      }
    }));
  }

  /** Returns how many of the unanswered allocations are durable. */
  async function checkStored(ledger: Ledger, unanswered: readonly Body[]): Promise<number> {
    for (const agent of agents) for (const { version, upserts } of agent.deltas) {
      ledger.sawRevision(version.revision);
      for (const object of upserts) if (object.kind === 'mapping') ledger.saw({ ...object, publicPort: object.port });
    }
    await ledger.compare(daemon);
    await ledger.noteUnanswered(daemon, unanswered);
    await checkTables(daemon);
    await checkQuarantine(daemon, QUARANTINE_MS);
    assert.deepEqual(await daemon.select(HALF_RELEASED), [], 'an environment was released as a whole or not at all');
    for (const agent of agents) await checkLeasesOf(agent);
    await checkOrder();
    return unanswered.filter(({ requestId }) => ledger.expected.get(requestId) !== undefined).length;
  }

  /** S5: what an agent was told of is stored so, and leased to it or guarded by it, unless more was decided after that. */
  async function checkLeasesOf({ host, objects, version }: FakeAgent): Promise<void> {
    const stored = new Map((await daemon.select<LeaseRow>(LEASES)).map((row) => [row.lease_id, row]));
    const [{ sequence } = { sequence: 0 }] = await daemon.select<{ sequence: number }>('SELECT sequence FROM gateway');
    for (const object of objects.values()) {
      if (object.kind !== 'lease') continue;
      const row = stored.get(object.leaseId);
      const isSame = row === undefined || (row.first === object.ports.first && row.last === object.ports.last && row.generation === object.generation);
      const isTold = row !== undefined && (row.host === host || (JSON.parse(row.guards) as string[]).includes(host));
      assert.ok(isSame && (isTold || sequence > version.revision), `S5: ${host} was told of ${JSON.stringify(object)}, stored is ${JSON.stringify(row)}`);
    }
  }

  /** S3: whatever was granted since the last kill comes after all that was granted before. */
  async function checkOrder(): Promise<void> {
    const rows = await daemon.select<Grant>('SELECT lease_id AS id, epoch, generation FROM lease UNION ALL SELECT mapping_id, epoch, generation FROM mapping');
    const fresh = rows.filter(({ id, epoch, generation }) => !known.has(`${id} ${epoch} ${generation}`));
    for (const grant of fresh) {
      assert.ok(grant.epoch > newest.epoch && grant.generation > newest.generation, `S3: ${JSON.stringify(grant)} came after ${JSON.stringify(newest)}`);
      known.add(`${grant.id} ${grant.epoch} ${grant.generation}`);
    }
    const [{ epoch } = { epoch: 0 }] = await daemon.select<{ epoch: number }>('SELECT epoch FROM gateway');
    newest = { epoch, generation: fresh.reduce((max, { generation }) => Math.max(max, generation), newest.generation) };
  }

  /** S9: no lease of the silent host ends earlier than T after the start of the process that ended it. */
  function checkSilent(rows: readonly LeaseRow[], silent: Silent): void {
    if (silent.expired) return;
    const now = rows.filter(({ host }) => host === SILENT.host);
    silent.expired = now.some(({ state }) => state === 'expired');
    for (const { expired_at_ms: atMs, state } of now) {
      if (state === 'expired') assert.ok(atMs >= daemon.startedAtMs + LOST_MS, `S9: a lease expired ${atMs - daemon.startedAtMs} ms after the process was started`);
    }
    if (!silent.expired) assert.deepEqual(now, silent.leases);
  }

  async function checkLeasesAreKept(before: readonly LeaseRow[]): Promise<void> {
    const now = await daemon.api().leases();
    const shown = now.map(({ leaseId, host, ports, epoch, generation }) => ({ leaseId, host, first: ports?.first, last: ports?.last, epoch, generation }));
    const stored = before.map(({ lease_id: leaseId, host, first, last, epoch, generation }) => ({ leaseId, host, first, last, epoch, generation }));
    assert.deepEqual(shown.sort(byId), stored.sort(byId), 'a lease vanished, or was changed by a start');
  }

  async function expiresInTheEnd(silent: Silent): Promise<void> {
    await eventually('the leases of the silent host to expire', async () => {
      checkSilent(await daemon.select<LeaseRow>(LEASES), silent);
      return silent.expired;
    }, { withinMs: 10 * LOST_MS, everyMs: 100 });
  }
});

function byId(a: { leaseId: string }, b: { leaseId: string }): number {
  return a.leaseId < b.leaseId ? -1 : 1;
}
