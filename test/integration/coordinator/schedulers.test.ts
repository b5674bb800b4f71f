import assert from 'node:assert/strict';
import { MappingState, Wait } from '../../../shared/gen/portlease/v1/common.js';
import { AllocatePortsRequest, PortServiceService, ReleasePortsRequest } from '../../../shared/gen/portlease/v1/ports.js';
import { Refused, refusalOf, status, type Api } from '../../support/api.js';
import { eventually } from '../../support/wait.js';
import type { FakeAgent } from '../rpc/fake-agent.js';
import { Daemon, GATEWAY } from './daemon.js';
import { Ledger, type Body } from './ledger.js';
import { chosenSeed, pick, seeded } from './random.js';
import { checkQuarantine, checkTables } from './tables.js';

const CONNECTIONS = 8;
const IN_FLIGHT = 16;
const ROUNDS = 6;
const HOSTS = ['h1', 'h2', 'h3'];
const QUARANTINE_MS = 100;
const POOLS = [
  { pool: 'ssh', ranges: ['30000-30095'], protocol: 'tcp', defaultInternalPort: 22, quarantine: `${QUARANTINE_MS}ms` },
  { pool: 'game', ranges: ['31000-31031'], protocol: 'tcp+udp', defaultInternalPort: 7000, quarantine: `${QUARANTINE_MS}ms` },
];
/** What is recorded, or may be: the same request goes on. */
const OPEN = new Set(['NOT_LIVE_IN_TIME', 'GATEWAY_NOT_READY']);

type MappingRow = { mapping_id: string; environment: string; port: number };

describe('many schedulers at once, on pools that run full', function () {
  this.timeout(300_000);
  let daemon: Daemon;
  let agents: FakeAgent[] = [];
  const seed = chosenSeed();
  const random = seeded(seed);
  const tally: Record<string, number> = {};
  const count = (what: string) => { tally[what] = (tally[what] ?? 0) + 1; };

  before(async () => {
    daemon = new Daemon({ pools: POOLS, timing: { heartbeat: '500ms', deadline: '1s', suspect: '30s', lost: '120s' } });
    await daemon.start();
    agents = await Promise.all([
      daemon.agent({ host: 'g1', gateway: GATEWAY, roles: ['gateway'], addresses: ['203.0.113.1'] }),
      ...HOSTS.map((host, i) => daemon.agent({ host, gateway: GATEWAY, addresses: [`10.9.0.${i + 1}`] })),
    ]);
  });
  after(async () => {
    for (const agent of agents) agent.close();
    await daemon.close();
  });

  const single = (requestId: string, host: string, pool: string, more: object = {}): Body => ({
    requestId, tenant: 'acme', environment: `env-${requestId}`, host, wait: Wait.WAIT_LIVE,
    wants: [{ name: 'p', source: { $case: 'pool', value: pool }, target: { kind: { $case: 'address', value: '10.1.0.1' } }, ...more }],
  });

  it(`never share a port, get the same answer again, and are refused only when the pool is full (S2, S6, S12; seed ${seed})`, async () => {
    const ledger = new Ledger();
    await Promise.all(Array.from({ length: CONNECTIONS }, async (_, connection) => {
      const api = daemon.api();
      await Promise.all(Array.from({ length: IN_FLIGHT }, (__, worker) => schedule({ api, ledger, name: `${connection}-${worker}` })));
    }));
    for (const what of ['POOL_EXHAUSTED', 'allocate twice at once', 'allocate cancelled', 'release cancelled']) assert.ok((tally[what] ?? 0) > 10, `${what}: ${JSON.stringify(tally)}`);
    await compare(ledger);
    for (const { pool } of POOLS) await fill(ledger, pool);
    await compare(ledger);
    console.log(`      ${JSON.stringify(tally)}`);
  });

  type Scheduler = { api: Api; ledger: Ledger; name: string };

  /** All of it on one connection: what is cancelled reaches the coordinator before its retry, or never. */
  async function schedule({ api, ledger, name }: Scheduler): Promise<void> {
    for (let round = 0; round < ROUNDS; round += 1) {
      const body: Body = { ...single(`${name}-${round}`, pick(random, HOSTS), pick(random, ['ssh', 'ssh', 'game']), { count: pick(random, [1, 1, 2]) }), wait: pick(random, [Wait.WAIT_RECORDED, Wait.WAIT_LIVE]) };
      const way = pick(random, ['allocate', 'allocate twice at once', 'allocate cancelled']);
      count(way);
      if (way === 'allocate cancelled') await cancelSoon((done) => api.begin(PortServiceService.allocatePorts, AllocatePortsRequest.fromPartial(body), done));
      const answers = await Promise.all(Array.from({ length: way === 'allocate twice at once' ? 2 : 1 }, () => untilAnswered(api, ledger, body)));
      // Refusals are not recorded: of two at once the first may be refused, and the second find a port that came back meanwhile.
      if (!answers.includes(true)) continue;
      if (random() < 0.2) continue;
      if (random() < 0.3) await replay(api, ledger, body);
      await release({ api, ledger, name }, body.environment);
      if (random() < 0.3) await replay(api, ledger, body);
    }
  }

  /** False when it was refused for want of ports. */
  async function untilAnswered(api: Api, ledger: Ledger, body: Body): Promise<boolean> {
    for (;;) {
      try {
        ledger.answered(body, await api.allocate(body));
        return true;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        count(error.details.reason ?? `code ${error.code}`);
        if (error.details.reason === 'POOL_EXHAUSTED') return false;
        if (!OPEN.has(error.details.reason ?? '')) throw error;
      }
    }
  }

  /** S6, also when its ports are gone. */
  async function replay(api: Api, ledger: Ledger, body: Body): Promise<void> {
    const answer = await api.allocate({ ...body, wait: Wait.WAIT_RECORDED });
    assert.equal(answer.replayed, true, `${body.requestId} was answered anew`);
    ledger.answered(body, answer);
  }

  async function release({ api, ledger }: Scheduler, environment: string): Promise<void> {
    ledger.leaving.add(environment);
    const request = { selector: { $case: 'environment' as const, value: environment }, wait: pick(random, [Wait.WAIT_RECORDED, Wait.WAIT_LIVE]) };
    if (random() < 0.3) {
      count('release cancelled');
      await cancelSoon((done) => api.begin(PortServiceService.releasePorts, ReleasePortsRequest.fromPartial(request), done));
    }
    const { mappings } = await api.release(request);
    for (const { state } of mappings) assert.ok(state === MappingState.MAPPING_STATE_RELEASING || state === MappingState.MAPPING_STATE_RELEASED);
    ledger.left.add(environment);
  }

  /** Cancels the call: before it was sent, while it is on its way, or too late. */
  async function cancelSoon(call: (done: () => void) => { cancel: () => void }): Promise<void> {
    const turns = Math.floor(random() * 20);
    await new Promise<void>((resolve) => {
      const running = call(resolve);
      let left = turns;
      const cancelAfterTurns = (): void => {
        if (left-- > 0) setImmediate(cancelAfterTurns);
        else running.cancel();
      };
      cancelAfterTurns();
    });
  }

  /** One host gets every free port, those that idle on the others among them, before anybody is refused. */
  async function fill(ledger: Ledger, pool: string): Promise<void> {
    const greedy = pick(random, HOSTS);
    const api = daemon.api();
    const { free, total } = await eventually(`the ports of ${pool} to have rested`, async () => {
      const { figures } = (await api.pools(GATEWAY)).find((one) => one.pool === pool) ?? {};
      const held = [...ledger.answers.values()].filter(({ body }) => !ledger.leaving.has(body.environment)).flatMap(({ mappingIds }) => mappingIds)
        .filter((id) => isOf(pool, ledger.seen.get(id)?.port ?? 0)).length;
      return figures !== undefined && figures.quarantined === 0 && figures.allocated === held && { free: figures.free, total: figures.total - held };
    }, { withinMs: 60_000 });
    assert.equal(free, total, 'the figures call every port free that nobody has');
    assert.ok(free > 0);
    const bodies = Array.from({ length: free }, (_, i) => single(`fill-${pool}-${i}`, greedy, pool));
    await Promise.all(bodies.map(async (body) => { assert.ok(await untilAnswered(api, ledger, body), `${pool} was exhausted with free ports`); }));
    for (const host of HOSTS) {
      const refused = await refusalOf(api.allocate(single(`one-more-${pool}-${host}`, host, pool)));
      assert.deepEqual([refused.code, refused.details.reason], [status.RESOURCE_EXHAUSTED, 'POOL_EXHAUSTED']);
    }
  }

  /** What is stored is what was answered and not released: no more, no less. */
  async function compare(ledger: Ledger): Promise<void> {
    await ledger.compare(daemon);
    await checkTables(daemon);
    await checkQuarantine(daemon, QUARANTINE_MS);
    const rows = await daemon.select<MappingRow>(`SELECT mapping_id, environment, port FROM mapping WHERE state IN ('pending','live','blocked','held') ORDER BY mapping_id`);
    const answered = [...ledger.answers.values()].filter(({ body }) => !ledger.leaving.has(body.environment))
      .flatMap(({ body, mappingIds }) => mappingIds.map((id) => ({ mapping_id: id, environment: body.environment, port: ledger.seen.get(id)?.port ?? 0 })));
    const names = (all: { mapping_id: string; environment: string; port: number }[]) => new Set(all.map((row) => `${row.mapping_id} ${row.environment} ${row.port}`));
    const [stored, shown] = [names(rows), names(answered)];
    assert.deepEqual({ unknown: [...stored].filter((row) => !shown.has(row)), missing: [...shown].filter((row) => !stored.has(row)) }, { unknown: [], missing: [] });
    for (const agent of agents) for (const mapping of agent.mappings()) ledger.saw({ ...mapping, publicPort: mapping.port });
  }
});

function isOf(pool: string, port: number): boolean {
  return (pool === 'ssh') === port < 31_000;
}
