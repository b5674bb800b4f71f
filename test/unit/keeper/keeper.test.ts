import assert from 'node:assert/strict';
import { pino } from 'pino';
import type { AllocateCommand, Changes, Command, Delta, HelloCommand, PoolSpec, Refusal, Reply } from '../../../coordinator/book/types.js';
import { ConstraintViolated, OutcomeUnknown } from '../../../coordinator/journal/journal.js';
import { Gateways } from '../../../coordinator/keeper/gateways.js';
import type { Keeper } from '../../../coordinator/keeper/keeper.js';
import { Refused } from '../../../coordinator/keeper/refused.js';
import { systemClock } from '../../../shared/clock.js';
import { eventually } from '../../support/wait.js';
import { MemoryJournal } from './memory-journal.js';

const POOL: PoolSpec = {
  pool: 'p', description: '', serviceType: 'p', aliases: [], ranges: [{ first: 30000, last: 30099 }], protocol: 'tcp', defaultInternalPort: 22,
  strategy: 'sequential', reserved: [], quarantineMs: 1000, holdMs: 60_000, idleLimitMs: 0, idleAction: 'report', idleWarningMs: 3_600_000, connectionTimeoutMs: 0, domainTemplate: '', onConflict: 'block', tls: 'none',
};

function allocate(environment: string): AllocateCommand {
  return {
    kind: 'allocate', actor: 'test', requestId: `r-${environment}`, bodyHash: environment, tenant: 't', environment, host: 'h1', labels: {}, dryRun: false, verify: false,
    wants: [{ name: 'ssh', source: { kind: 'pool', pool: 'p' }, protocol: undefined, count: 1, contiguous: false, target: { kind: 'address', address: '10.0.0.1' }, internalPort: 0, choice: { kind: 'any' } }],
  };
}

const hello = (lastSession = 0): HelloCommand => ({
  kind: 'hello', actor: 'test', host: 'h1', bootId: 'b', agentVersion: '1', roles: ['host'], addresses: ['10.9.0.1'], lastSession,
  accepted: undefined, leases: [], routes: [], admit: true,
});

/** An agent that applies at once whatever it is pushed. */
class Host {
  session = 0;
  closed: Refusal | undefined;
  readonly pushed: Delta[] = [];
  constructor(private readonly keeper: Keeper) {}

  async greet(): Promise<void> {
    this.closed = undefined;
    await new Promise<void>((resolve, reject) => {
      this.keeper.ask({
        command: hello(this.session),
        done: (reply) => {
          if (reply.kind !== 'welcome') return reject(new Error(JSON.stringify(reply)));
          this.session = reply.session;
          this.keeper.sessions.attach('h1', {
            session: reply.session,
            push: (delta) => { this.pushed.push(delta); },
            close: (refusal) => { this.closed = refusal; },
          });
          this.apply(reply.state);
          resolve();
        },
      });
    });
  }

  apply({ version }: Delta): void {
    const report: Command = { kind: 'report', host: 'h1', session: this.session, applied: version, problems: [], confirmations: [], verified: [], driftRepairs: 0, occupied: [] };
    void this.keeper.submit(report);
  }
}

describe('keeper', () => {
  let journal: MemoryJournal;
  let gateways: Gateways;
  let keeper: Keeper;
  let host: Host;
  const health: boolean[] = [];

  beforeEach(async () => {
    health.length = 0;
    journal = new MemoryJournal();
    gateways = await Gateways.open({
      journal, clock: systemClock(), random: Math.random, log: pino({ level: 'silent' }), onHealth: (serving) => { health.push(serving); },
      timing: { heartbeatMs: 60_000, deadlineMs: 1000, suspectMs: 120_000, lostMs: 240_000 },
    });
    keeper = await gateways.create({ gateway: 'g', scope: 'shared', publicHost: '203.0.113.1', actor: 'test' });
    await keeper.submit({ kind: 'createPool', actor: 'test', pool: POOL, seed: false });
    host = new Host(keeper);
    await host.greet();
    await keeper.read(() => undefined);
  });
  afterEach(() => gateways.close());

  const portOf = (reply: Reply): number => {
    assert.equal(reply.kind, 'allocated', JSON.stringify(reply));
    return reply.kind === 'allocated' ? reply.mappings[0]?.port ?? 0 : 0;
  };

  it('lets nothing out before it is committed: replies, reads, refusals, pushes', async () => {
    const open = journal.hold();
    const seen: string[] = [];
    const pushedBefore = host.pushed.length;
    const all = [
      keeper.submit(allocate('e1')).then(() => seen.push('reply')),
      keeper.submit({ kind: 'deletePool', actor: 'test', pool: 'absent' }).then(() => seen.push('refusal')),
      keeper.read((book) => book.counts()).then(() => seen.push('read')),
    ];
    await new Promise((resolve) => { setTimeout(resolve, 30); });
    assert.deepEqual([seen, host.pushed.length], [[], pushedBefore]);
    open();
    await Promise.all(all);
    assert.deepEqual(seen, ['reply', 'refusal', 'read']);
    assert.equal(host.pushed.length, pushedBefore + 1);
  });

  it('shares one commit among all that was decided while the last one ran', async () => {
    const open = journal.hold();
    const before = journal.appended.length;
    const first = keeper.submit(allocate('first'));
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    const others = Array.from({ length: 50 }, (_, i) => keeper.submit(allocate(`e${i}`)));
    open();
    const ports = (await Promise.all([first, ...others])).map(portOf);
    assert.equal(new Set(ports).size, 51);
    assert.equal(journal.appended.length - before, 2);
  });

  it('refuses only the command that the journal refuses, and makes the others of its batch', async () => {
    journal.faultOf = (changes) => (has(changes, 'bad') ? { error: new ConstraintViolated('UNIQUE') } : undefined);
    const replies = Promise.all(['e1', 'bad', 'e2'].map((name) => keeper.submit(allocate(name))));
    await eventually('the session to be closed', () => host.closed !== undefined, { withinMs: 1000 });
    assert.equal(host.closed?.reason, 'STALE_SESSION');
    const again = setInterval(() => { if (host.closed !== undefined) void host.greet(); }, 5);
    const [one, bad, two] = await replies;
    clearInterval(again);
    assert.deepEqual([one?.kind, bad?.kind === 'refused' ? bad.reason : bad?.kind, two?.kind], ['allocated', 'NOT_MADE', 'allocated']);
    assert.deepEqual(await keeper.read((book) => ['e1', 'bad', 'e2'].map((name) => book.environment(name) !== undefined)), [true, false, true]);
  });

  it('refuses a command that makes the book throw, and decides the others again on a new one', async () => {
    const broken = { ...allocate('broken'), wants: undefined } as unknown as AllocateCommand;
    const replies = Promise.all([keeper.submit(allocate('e1')), keeper.submit(broken), keeper.submit(allocate('e2'))]);
    const again = setInterval(() => { if (host.closed !== undefined) void host.greet(); }, 5);
    const [one, bad, two] = await replies;
    clearInterval(again);
    assert.deepEqual([one?.kind, bad?.kind === 'refused' ? bad.reason : bad?.kind, two?.kind], ['allocated', 'NOT_MADE', 'allocated']);
  });

  for (const lands of [false, true]) {
    it(`tells everybody UNAVAILABLE when the outcome of a commit is unknown, and goes on with what is stored (it ${lands ? 'was' : 'was not'} written)`, async () => {
      let barriers = 0;
      journal.faultOf = (changes) => {
        if (changes !== undefined) return { error: new OutcomeUnknown('disk full'), lands };
        barriers += 1;
        return barriers < 3 ? { error: new OutcomeUnknown('still full') } : undefined;
      };
      const pushedBefore = host.pushed.length;
      const failed = await keeper.submit(allocate('e1'));
      assert.equal(failed.kind === 'refused' && failed.reason, 'JOURNAL_UNAVAILABLE');
      assert.equal(host.closed?.reason, 'JOURNAL_UNAVAILABLE');
      assert.deepEqual([keeper.serving, health], [false, [false]]);
      const refused = await keeper.submit(allocate('e2'));
      assert.equal(refused.kind === 'refused' && refused.reason, 'JOURNAL_UNAVAILABLE');
      assert.equal(await keeper.read((book) => book.environment('e1') !== undefined), lands, 'reads of what is stored go on');
      await eventually('commits to work again', () => keeper.serving, { withinMs: 3000 });
      journal.faultOf = () => undefined;
      assert.deepEqual([health, barriers], [[false, true], 3]);
      await host.greet();
      const [e1, e2] = await Promise.all([keeper.submit(allocate('e1'), 2000), keeper.submit(allocate('e2'), 2000)]);
      assert.notEqual(portOf(e1), portOf(e2));
      assert.equal(e1.kind === 'allocated' && e1.replayed, lands);
      assert.ok(host.pushed.length >= pushedBefore);
    });
  }

  it('refuses reads while nothing can be read either, and comes back when it can', async () => {
    journal.failingLoads = 2;
    let failed = false;
    journal.faultOf = (changes) => {
      if (changes === undefined || failed) return undefined;
      failed = true;
      return { error: new OutcomeUnknown('disk I/O error') };
    };
    await keeper.submit(allocate('e1'));
    await assert.rejects(keeper.read((book) => book.sequence), (error) => error instanceof Refused && error.refusal.reason === 'JOURNAL_UNAVAILABLE');
    await eventually('commits to work again', () => keeper.serving, { withinMs: 3000 });
    assert.equal(await keeper.read((book) => book.environment('e1')), undefined);
  });

  it('tells who waits for a mapping that the journal failed', async () => {
    const reply = await keeper.submit(allocate('e1'));
    assert.ok(reply.kind === 'allocated');
    const ids = reply.mappings.map(({ mappingId }) => mappingId);
    const lost = new Promise<Refusal>((resolve) => { keeper.watch(ids, { onSeen: () => undefined, onLost: resolve }); });
    journal.faultOf = (changes) => (changes === undefined ? undefined : { error: new OutcomeUnknown('I/O error') });
    await keeper.submit(allocate('e2'));
    assert.equal((await lost).reason, 'JOURNAL_UNAVAILABLE');
  });

  it('shows watchers a change only when it is committed', async () => {
    const reply = await keeper.submit(allocate('e1'));
    assert.ok(reply.kind === 'allocated');
    const [mapping] = reply.mappings;
    const states: string[] = [];
    keeper.watch([mapping?.mappingId ?? ''], { onSeen: (seen) => { states.push(seen.mapping?.state ?? 'gone'); }, onLost: () => undefined });
    await eventually('the first look', () => states.length === 1, { withinMs: 1000 });
    const open = journal.hold();
    const released = keeper.submit({ kind: 'release', actor: 'test', selector: { kind: 'environment', environment: 'e1' } });
    await new Promise((resolve) => { setTimeout(resolve, 20); });
    assert.deepEqual(states, ['pending']);
    open();
    await released;
    assert.deepEqual(states, ['pending', 'releasing']);
  });

  it('decides a waiting command again when there is progress, and answers it when its time is up', async () => {
    const other: HelloCommand = { ...hello(), host: 'h2', addresses: ['10.9.0.2'] };
    const welcome = await keeper.submit(other);
    assert.equal(welcome.kind, 'welcome');
    const tooLate = await keeper.submit({ ...allocate('e9'), host: 'h2' }, 30);
    assert.equal(tooLate.kind === 'refused' && tooLate.reason, 'GATEWAY_NOT_READY');
    const waiting = keeper.submit({ ...allocate('e10'), host: 'h2' }, 5000);
    assert.ok(welcome.kind === 'welcome');
    await keeper.submit({ kind: 'report', host: 'h2', session: welcome.session, applied: welcome.state.version, problems: [], confirmations: [], verified: [], driftRepairs: 0, occupied: [] });
    assert.ok(portOf(await waiting) >= 30000);
  });

  it('begins each start in an epoch of its own, durable before anything is served', async () => {
    const before = await keeper.read((book) => book.gateway.epoch);
    await gateways.close();
    gateways = await Gateways.open({
      journal, clock: systemClock(), random: Math.random, log: pino({ level: 'silent' }), onHealth: () => undefined,
      timing: { heartbeatMs: 60_000, deadlineMs: 1000, suspectMs: 120_000, lostMs: 240_000 },
    });
    assert.ok(((await journal.gateways())[0]?.epoch ?? 0) > before);
  });

  it('refuses everything after it was closed', async () => {
    await gateways.close();
    const reply = await keeper.submit(allocate('e1'));
    assert.equal(reply.kind === 'refused' && reply.reason, 'STOPPING');
    await assert.rejects(keeper.read(() => 1), Refused);
  });
});

function has(changes: Changes | undefined, environment: string): boolean {
  return changes?.environments.some((row) => row.environment === environment) === true;
}
