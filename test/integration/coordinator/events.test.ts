import assert from 'node:assert/strict';
import { setTimeout as moment } from 'node:timers/promises';
import { eventLine, Watch } from '../../support/watch.js';
import type { FakeAgent, FakeAgentOptions } from '../rpc/fake-agent.js';
import { Daemon, GATEWAY } from './daemon.js';
import { Ledger } from './ledger.js';
import { chosenSeed, seeded } from './random.js';
import { Load } from './schedulers.js';

const KILLS = 15;
const WATCHERS = 8;
const POOLS = [{ pool: 'ssh', ranges: ['30000-30299'], protocol: 'tcp', defaultInternalPort: 22, quarantine: '200ms' }];
const AGENTS: Omit<FakeAgentOptions, 'address'>[] = [
  { host: 'g1', gateway: GATEWAY, roles: ['gateway'], addresses: ['203.0.113.1'] },
  { host: 'h1', gateway: GATEWAY, addresses: ['10.9.0.1'] },
];

type Row = { sequence: number; kind: string; environment: string; host: string; mapping_id: string };

/** One that watches, and goes on after each kill where its last message said. */
type Watcher = { watch: Watch; seen: string[] };

describe('watchers of a coordinator that is killed again and again while it commits', function () {
  this.timeout(300_000);
  const seed = chosenSeed();
  const random = seeded(seed);
  let daemon: Daemon;
  let agents: FakeAgent[] = [];
  let watchers: Watcher[] = [];

  before(() => {
    daemon = new Daemon({ pools: POOLS, timing: { heartbeat: '200ms', deadline: '200ms', suspect: '1500ms', lost: '3s' }, slowWalUs: 600 });
  });
  after(async () => {
    for (const { watch } of watchers) watch.close();
    for (const agent of agents) agent.close();
    await daemon.close();
  });

  it(`see every committed event once and in order, and none that is not committed (S5; seed ${seed})`, async () => {
    const load = new Load({ ledger: new Ledger(), random, hosts: ['h1'], pools: ['ssh'] });
    for (let kills = 0; kills < KILLS; kills += 1) {
      await daemon.start();
      watchers = Array.from({ length: WATCHERS }, (_, at) => ({ seen: watchers[at]?.seen ?? [], watch: new Watch(daemon.address, watchers[at]?.watch.cursor ?? { afterRevision: 0 }) }));
      agents = await Promise.all(AGENTS.map((options, at) => daemon.agent(options, agents[at])));
      await runUntilKilled(load);
      const committed = await stored();
      for (const watcher of watchers) {
        watcher.seen.push(...watcher.watch.events.map(eventLine));
        assert.deepEqual(watcher.seen, committed.slice(0, watcher.seen.length));
      }
    }
    await daemon.start();
    await catchUp();
  });

  async function runUntilKilled(load: Load): Promise<void> {
    const apis = Array.from({ length: 3 }, () => daemon.api());
    let left = 1 + Math.floor(random() * 100);
    const reached = new Promise<void>((resolve) => { load.onAnswer = () => { if (--left === 0) resolve(); }; });
    const running = load.run(apis, 5);
    await Promise.race([reached, running]);
    await moment(random() * 20);
    daemon.process.signal('SIGKILL');
    await running;
    await daemon.kill();
    for (const agent of agents) agent.close();
    for (const { watch } of watchers) {
      await watch.ended;
      watch.close();
    }
  }

  async function catchUp(): Promise<void> {
    const committed = await stored();
    for (const { seen, watch } of watchers) {
      const rest = new Watch(daemon.address, { ...watch.cursor, bookmarkInterval: { seconds: 0, nanos: 100_000_000 } });
      await rest.until('the rest', ({ events }) => seen.length + events.length >= committed.length, 10_000);
      rest.close();
      assert.deepEqual([...seen, ...rest.events.map(eventLine)].slice(0, committed.length), committed);
    }
    console.log(`      ${committed.length} events, ${WATCHERS} watchers, ${KILLS} kills`);
    assert.ok(committed.length > 20 * KILLS, 'too little happened to prove anything');
  }

  async function stored(): Promise<string[]> {
    const rows = await daemon.select<Row>('SELECT sequence, kind, environment, host, mapping_id FROM event ORDER BY id');
    let position = 0;
    return rows.map(({ sequence, mapping_id: mappingId, ...row }, at) => {
      position = rows[at - 1]?.sequence === sequence ? position + 1 : 1;
      return eventLine({ ...row, revision: sequence, position, mappingId });
    });
  }
});
