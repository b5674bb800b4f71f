import assert from 'node:assert/strict';
import type { Command } from '../../../coordinator/book/types.js';
import type { TunnelReport, TunnelSpec, TunnelState } from '../../../shared/tunnel.js';
import { tunnelReport, tunnelSpec } from '../../support/tunnels.js';
import { checkInvariants } from './invariants.js';
import { sharedWorld, type FakeAgent, type World } from './world.js';

const HOSTS = ['a', 'b'];
const NAMES = ['t-1', 't-2', 't-3'];
const SERVERS = ['one', 'two'];
const STATES: TunnelState[] = ['waiting', 'ending', 'connecting', 'up', 'up', 'backoff', 'blocked', 'refused'];

/** Keeps what the config of its host and the coordinator say; which connections it has outlives its agent's sessions. */
class Supervisor {
  readonly config = new Map<string, TunnelSpec>();
  readonly connections = new Map<string, { restart: number; spec: TunnelSpec; state: TunnelState; isFromConfig: boolean }>();

  constructor(readonly agent: FakeAgent) {}

  /** Applies what was accepted; each tunnel is in the state that `stateOf` says. */
  turn(stateOf: () => TunnelState): void {
    const told = [...this.agent.objects.values()].filter((object) => object.kind === 'tunnel');
    const wanted = new Map(told.filter(({ isOfConfig }) => isOfConfig !== true).map((object) => [object.spec.tunnel, { ...object, isFromConfig: false }]));
    for (const [tunnel, spec] of this.config) {
      const order = told.find((object) => object.spec.tunnel === tunnel && object.isOfConfig === true);
      wanted.set(tunnel, { kind: 'tunnel', key: '', version: 0, spec, restart: order?.restart ?? 0, isStopped: order?.isStopped ?? false, isFromConfig: true });
    }
    this.connections.clear();
    for (const [tunnel, { spec, restart, isStopped, isFromConfig }] of wanted) this.connections.set(tunnel, { restart, spec, isFromConfig, state: isStopped ? 'stopped' : stateOf() });
    this.agent.tunnels = [...this.connections.values()].map((connection): TunnelReport => tunnelReport({ ...connection, reason: connection.state === 'up' ? '' : 'WHY' }));
  }
}

/** `starts`: how many events there were at each start of the coordinator. */
type Run = { world: World; supervisors: Supervisor[]; starts: number[] };

function begin(seed: number): Run {
  const world = sharedWorld({}, seed);
  return { world, starts: [], supervisors: HOSTS.map((host) => new Supervisor(world.agents.get(host) as FakeAgent)) };
}

function step({ world, supervisors, starts }: Run): string {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(world.random() * items.length)] as T;
  const supervisor = pick(supervisors);
  const { agent } = supervisor;
  const tunnel = pick(NAMES);
  const spec = tunnelSpec({ tunnel, host: agent.host, server: pick(SERVERS) });
  const decide = (command: Command): string => `${command.kind} ${agent.host}/${tunnel}: ${world.decide(command).kind}`;
  const dice = world.random();
  if (dice < 0.2) return decide({ kind: 'createTunnel', actor: 'o', spec });
  if (dice < 0.45) return decide({ kind: pick(['restartTunnel', 'stopTunnel', 'startTunnel', 'removeTunnel'] as const), actor: 'o', host: agent.host, tunnel, reason: '' });
  if (dice < 0.5) return `config of ${agent.host}: ${tunnel} ${supervisor.config.delete(tunnel) ? 'gone' : String(supervisor.config.set(tunnel, spec).size)}`;
  if (dice < 0.85) {
    supervisor.turn(() => pick(STATES));
    return `report ${agent.host}: ${agent.online ? world.report(agent).kind : 'away'}`;
  }
  if (dice < 0.88) return `hello ${agent.host}: ${agent.online ? world.hello(agent).kind : 'away'}`;
  if (dice < 0.92) return `${agent.host} ${(agent.online = !agent.online) ? 'online' : 'offline'}`;
  if (dice < 0.94) {
    starts.push(world.tables.events.length);
    world.restart();
    for (const each of world.agents.values()) if (each.online) world.hello(each);
    return 'restart';
  }
  if (dice < 0.95) return decide({ kind: 'forgetHost', actor: 'o', host: agent.host, reason: '', hostIsOff: false, gatewayIsOff: false });
  world.pass(Math.floor(world.random() * 2_500));
  return 'time';
}

/** `up` is said of the connection alone that was made for what is ordered now, as far as its host is heard. */
function checkViews({ world, supervisors }: Run): void {
  for (const view of world.book.tunnels()) {
    const { agent } = supervisors.find((one) => one.agent.host === view.host) as Supervisor;
    const said = agent.tunnels.find(({ spec }) => spec.tunnel === view.spec.tunnel);
    const record = world.tables.tunnels.get(`${view.host}/${view.spec.tunnel}`);
    const isOrdered = record !== undefined && record.isOfConfig === view.isFromConfig;
    if (view.state === 'up' && isOrdered && said !== undefined) assert.ok(view.report !== undefined && view.report.restart >= record.restart && !record.isStopped, `${view.host}/${view.spec.tunnel} is up`);
  }
}

/** No tunnel comes up twice without going down between, and what the database has is what the book has. */
function checkDurable({ world, starts }: Run): void {
  const last = new Map<string, { kind: string; at: number }>();
  for (const [at, { kind, host, detail }] of world.tables.events.entries()) {
    if (kind !== 'TunnelUp' && kind !== 'TunnelDown') continue;
    const name = `${host}/${(JSON.parse(detail) as { tunnel: string }).tunnel}`;
    const before = last.get(name);
    // What was told of tunnels in a config is not stored. Down may follow down: that of a new tunnel of the name.
    const isTold = kind === 'TunnelUp' && before?.kind === kind && !starts.some((start) => before.at < start && start <= at);
    assert.ok(!isTold, `${name}: ${kind} twice`);
    last.set(name, { kind, at });
  }
  const inMemory = [...world.book.inside.hosts.values()].flatMap(({ tunnels }) => [...tunnels.values()]);
  const sorted = (rows: Iterable<object>): string[] => [...rows].map((row) => JSON.stringify(row)).sort();
  assert.deepEqual(sorted(structuredClone(inMemory)), sorted(world.tables.tunnels.values()));
}

/** Everybody is back and does as it is told: each tunnel is what was ordered. */
function wrapUp(run: Run): void {
  const { world, supervisors } = run;
  for (const { agent } of supervisors) {
    agent.online = true;
    world.hello(agent);
  }
  for (let round = 0; round < 3; round += 1) {
    for (const supervisor of supervisors) {
      supervisor.turn(() => 'up');
      world.report(supervisor.agent);
    }
  }
  for (const view of world.book.tunnels()) {
    const orders = world.tables.tunnels.get(`${view.host}/${view.spec.tunnel}`);
    const isLeftBehind = orders?.isOfConfig === true && view.report === undefined;
    assert.equal(view.state, isLeftBehind ? 'pending' : view.isStopped ? 'stopped' : 'up', `${view.host}/${view.spec.tunnel}`);
  }
  checkDurable(run);
}

describe('seeded runs of tunnels', () => {
  it('keep every invariant, tell each change once, and call no connection up that was made for another restart', () => {
    for (let seed = 1; seed <= 60; seed += 1) {
      const run = begin(seed);
      const trace: string[] = [];
      try {
        for (let n = 0; n < 300; n += 1) {
          trace.push(step(run));
          checkInvariants(run.world.book.inside);
          checkViews(run);
        }
        wrapUp(run);
      } catch (error) {
        throw new Error(`seed ${seed}, step ${trace.length}: ${(error as Error).message}\n${trace.slice(-25).join('\n')}`, { cause: error });
      }
    }
  });
});
