import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { EXIT } from '../../../cli/exit.js';
import { portlease, type Outcome } from '../../unit/cli/world.js';
import { eventually, within } from '../../support/wait.js';
import { TestCoordinator } from '../rpc/coordinator.js';

const WANT = '--want=name=ssh,pool=ssh,target=10.1.0.1';

/** A command line that follows, what it has printed, and Ctrl-C. */
class Following {
  out = '';
  err = '';
  readonly outcome: Promise<Outcome>;
  readonly #interrupt = new AbortController();

  constructor(argv: readonly string[]) {
    this.outcome = portlease(argv, { out: (text) => { this.out += text; }, err: (text) => { this.err += text; }, signal: this.#interrupt.signal });
  }

  get lines(): string[] {
    return this.out.split('\n').filter((line) => line !== '');
  }

  until(what: string, fits: (following: this) => boolean): Promise<boolean> {
    return eventually(what, () => fits(this), { withinMs: 10_000, hint: () => `${this.out}\n${this.err}` });
  }

  async interrupt(): Promise<number> {
    this.#interrupt.abort();
    return (await within('the command to end', this.outcome, { withinMs: 5_000 })).exitCode;
  }
}

describe('portlease events', () => {
  let coordinator: TestCoordinator;
  let following: Following | undefined;
  beforeEach(async () => { coordinator = await TestCoordinator.start(); });
  afterEach(async () => {
    await following?.interrupt();
    following = undefined;
    await coordinator.close();
  });

  const run = (...argv: string[]): Promise<Outcome> => portlease([...argv, '--server', `unix:${coordinator.socket}`], { newId: randomUUID });
  const follow = (...argv: string[]): Following => (following = new Following(['events', '--follow', ...argv, '--server', `unix:${coordinator.socket}`]));
  const allocate = (environment: string): Promise<Outcome> => run('allocate', environment, '--host=h1', '--tenant=acme', WANT, '--wait=recorded');

  it('lists the newest events of all gateways, one line each, the newest last', async () => {
    await coordinator.agent({ host: 'h1' });
    await allocate('env-1');
    const { out, exitCode } = await run('events');
    assert.equal(exitCode, EXIT.ok);
    const lines = out.trimEnd().split('\n');
    assert.match(lines.at(-1) ?? '', /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ {2}gw \d+\.\d+ {2}PortAllocated {3}env-1 on h1 {2}m\w+ {2}.*pool=ssh port=30\d{3} protocol=tcp reason=NOT_CONFIRMED_BY_HOST space=gw state=pending tenant=acme$/);
    assert.ok(lines.some((line) => line.includes('edge 1.1  GatewayCreated')));
    const newest = await run('events', '--limit=1');
    assert.equal(newest.out, `${lines.at(-1)}\n`);
  });

  it('lists what came after a revision, and of one kind, host or environment', async () => {
    await coordinator.agent({ host: 'h1' });
    await allocate('env-1');
    await allocate('env-2');
    const json = async (...flags: string[]) => (JSON.parse((await run('events', '--gateway=gw', '--json', ...flags)).out) as { events: { revision: number; kind: string; environment: string; detail: Record<string, string> }[] }).events;
    const [first, second] = await json('--kind=PortAllocated', '--after=0');
    assert.deepEqual([first?.environment, second?.environment], ['env-1', 'env-2']);
    assert.deepEqual((await json(`--after=${first?.revision}`, '--kind=PortAllocated')).map(({ environment }) => environment), ['env-2']);
    assert.deepEqual((await json('--environment=env-1')).map(({ kind }) => kind), ['PortAllocated']);
    assert.ok((await json('--host=h1')).length > 2);
  });

  it('follows, across a restart of the coordinator, each event once, until Ctrl-C', async () => {
    await coordinator.agent({ host: 'h1' });
    const events = follow('--gateway=gw', '--after=0', '--kind=PortAllocated', '--json');
    await allocate('env-1');
    await events.until('the first', ({ lines }) => lines.length === 1);
    await coordinator.shutdown();
    await events.until('that it is away', ({ err }) => err.includes('trying again'));
    await coordinator.boot();
    await coordinator.agent({ host: 'h1', lastSession: 1 });
    await allocate('env-2');
    await events.until('the second', ({ lines }) => lines.length === 2);
    assert.deepEqual(events.lines.map((line) => (JSON.parse(line) as { environment: string }).environment), ['env-1', 'env-2']);
    assert.match(events.err, /the coordinator is back/);
    assert.equal(await events.interrupt(), EXIT.ok);
  });

  it('follows all gateways, from now on, and says after Ctrl-C how to go on', async () => {
    const events = follow();
    await coordinator.agent({ host: 'h1' });
    await coordinator.agent({ host: 'e1', gateway: 'edge', addresses: ['198.51.100.1'] });
    for (let i = 0; !/ gw .* h1/.test(events.out) || !/ edge .* e1/.test(events.out); i += 1) {
      assert.ok(i < 100, `${events.out}\n${events.err}`);
      await allocate(`env-${i % 20}`);
      await run('allocate', `edge-${i % 10}`, '--host=e1', '--tenant=acme', WANT, '--wait=recorded');
      await run('release', `env-${i % 20}`, '--wait=recorded');
      await run('release', `edge-${i % 10}`, '--wait=recorded');
    }
    assert.ok(!events.out.includes('GatewayCreated'));
    assert.equal(await events.interrupt(), EXIT.ok);
    assert.match(events.err, /next: portlease events --follow --gateway gw --after \d+ goes on where this ended/);
  });

  it('ends with what to do when it cannot go on', async () => {
    const ahead = await run('events', '--follow', '--gateway=gw', '--after=999999');
    assert.deepEqual([ahead.exitCode, ahead.out], [EXIT.refused, '']);
    assert.match(ahead.err, /reason: REVISION_AHEAD/);
    assert.match(ahead.err, /next: {3}List again/);
    assert.match((await run('events', '--after=5')).err, /there are several[^]*--gateway: edge, gw/);
    assert.match((await run('events', '--kind=Nonsense')).err, /filter.kinds\[0\].*is no kind of event: PortAllocated/);
    assert.equal((await run('events', '--follow', '--gateway=absent')).exitCode, EXIT.refused);
    await coordinator.shutdown();
    assert.equal((await run('events', '--follow', '--gateway=gw')).exitCode, EXIT.unreachable);
  });

  it('refuses flags that make no sense', async () => {
    for (const flags of [['--after=x'], ['--after=-1'], ['--after=0.1'], ['--after=1.0'], ['--kind=portAllocated'], ['--host=Upper'], ['--environment=$(id)'], ['--follow', '--limit=3'], ['--limit=0']]) {
      assert.equal((await run('events', ...flags)).exitCode, EXIT.usage, flags.join(' '));
    }
  });
});
