import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { HostState } from '../../../shared/gen/portlease/v1/operations.js';
import { MappingState, Protocol, Wait, want } from '../../support/requests.js';
import { refusalOf } from '../../support/api.js';
import { within, eventually } from '../../support/wait.js';
import { Laptop, type Program, LEASE, LEASE_V6, SILENT, TARGET, TARGET_V6 } from './laptop.js';

const MEGABYTE = 1_048_576;
const SERVICE = 7_000;

describe('driver: userspace, as an ordinary user, with the coordinator as it is built', function () {
  this.timeout(120_000);
  let laptop: Laptop;

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(laptop.logs());
    await laptop.close();
  });

  /** An agent with a session, and a service to lead to. */
  async function serving(...args: Parameters<Laptop['agent']>): Promise<Program> {
    laptop = await Laptop.start();
    await laptop.guest.listen({ address: TARGET, port: SERVICE, who: 'service' });
    return laptop.connected(...args);
  }

  const at = (port: number) => ({ address: LEASE, port });

  async function stateOf(environment: string) {
    const { mappings } = await laptop.api.environment(environment);
    return mappings.map(({ state, reason }) => ({ state, reason }));
  }

  it('has no privilege, and keeps its state in a folder of its user', async () => {
    const agent = await serving();
    const status = readFileSync(`/proc/${agent.pid}/status`, 'utf8');
    const field = (name: string): string => new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(status)?.[1] ?? '';
    assert.match(field('Uid'), /^65534\s/);
    // None, or, where only root may read the project: CAP_DAC_READ_SEARCH.
    assert.match(field('CapEff'), /^0{15}[04]$/);
    assert.ok(readFileSync(join(laptop.directory, 'home/.local/state/portlease/laptop/agent.state')).length > 0);
  });

  it('leads a client to its target, on IPv4 and IPv6, and on the host named in the answer', async () => {
    await serving();
    await laptop.guest.listen({ address: TARGET_V6, port: SERVICE, who: 'six' });
    const [four, six] = await laptop.allocate('env', [want('tcp', TARGET, { name: 'a', internalPort: SERVICE }), want('tcp', TARGET_V6, { name: 'b', internalPort: SERVICE })], { wait: Wait.WAIT_VERIFIED });
    assert.equal((await laptop.guest.ask({ address: four!.publicHost, port: four!.publicPort, name: 'hello' })).answer, 'service hello');
    assert.equal((await laptop.guest.ask({ address: LEASE_V6, port: six!.publicPort, name: 'hello' })).answer, 'six hello');
  });

  it('carries much both ways, each direction to its own end, without a wrong byte', async () => {
    await serving();
    const bytes = 48 * MEGABYTE;
    await laptop.guest.listen({ address: TARGET, port: SERVICE + 1, bytes });
    const port = await laptop.port('env', SERVICE + 1);
    assert.deepEqual(await laptop.guest.transfer({ ...at(port), bytes }), { up: true, down: true, received: bytes });
  });

  it('serves 200 clients at the same time, each with its own answer', async () => {
    await serving();
    const port = await laptop.port('env', SERVICE);
    assert.deepEqual(await laptop.guest.askMany({ ...at(port), count: 200 }), { own: 200, open: 200 });
  });

  it('S12: has cut every connection of a released port when the release is answered, and gives it to nobody before its quarantine', async () => {
    await serving();
    const port = await laptop.port('env', SERVICE);
    assert.equal((await laptop.guest.ask({ ...at(port), name: 'kept' })).answer, 'service kept');
    await laptop.api.release({ selector: { $case: 'environment', value: 'env' } });
    await eventually('the client to learn it', async () => !await laptop.guest.isOpen('kept'), { withinMs: 500, everyMs: 5 });
    assert.equal((await laptop.guest.ask(at(port))).answer, 'ECONNREFUSED');
    const refusal = await refusalOf(laptop.allocate('other', [want('tcp', TARGET, { internalPort: SERVICE, choice: { $case: 'exactPort', value: port } })]));
    assert.equal(refusal.details.reason, 'PORT_QUARANTINED');
  });

  it('cuts what leads to the former target when an environment has moved to other targets, and leads new clients there', async () => {
    await serving();
    await laptop.guest.listen({ address: TARGET, port: SERVICE + 1, who: 'next' });
    await laptop.guest.listen({ address: LEASE, port: SERVICE, who: 'moved' });
    const port = await laptop.port('env', SERVICE);
    await laptop.guest.ask({ ...at(port), name: 'kept' });
    await laptop.api.move({ environment: 'env', host: 'laptop', targets: [{ name: 'tcp', target: { kind: { $case: 'address', value: LEASE } } }], wait: Wait.WAIT_LIVE });
    await eventually('the client of the former target to be cut', async () => !await laptop.guest.isOpen('kept'), { withinMs: 5_000 });
    assert.equal((await laptop.guest.ask({ ...at(port), name: 'hello' })).answer, 'moved hello');
  });

  it('gives another port than one that a foreign process has, found when it was to be served', async () => {
    await serving();
    await laptop.guest.listen({ ...at(20_000), who: 'foreign' });
    const port = await laptop.port('env', SERVICE);
    assert.notEqual(port, 20_000);
    assert.equal((await laptop.guest.ask({ ...at(port), name: 'hello' })).answer, 'service hello');
    assert.equal((await laptop.guest.ask({ ...at(20_000), name: 'hello' })).answer, 'foreign hello');
  });

  it('blocks a mapping whose port a foreign process took while the agent was away, serves the others, and heals it by itself', async () => {
    const agent = await serving();
    const [taken, other] = [await laptop.port('taken', SERVICE), await laptop.port('other', SERVICE)];
    await agent.stop('SIGKILL');
    await laptop.guest.listen({ ...at(taken), who: 'foreign' });
    await laptop.connected();
    await eventually('the mapping to be blocked', async () => {
      const [mapping] = await stateOf('taken');
      return mapping?.state === MappingState.MAPPING_STATE_BLOCKED && /^PORT_CONFLICT: .*user \S+\) listens on tcp/.test(mapping.reason);
    }, { withinMs: 10_000, hint: () => laptop.logs() });
    assert.equal((await laptop.guest.ask({ ...at(other), name: 'hello' })).answer, 'service hello');
    await laptop.guest.stop(at(taken));
    await eventually('the mapping to be live', async () => (await stateOf('taken'))[0]?.state === MappingState.MAPPING_STATE_LIVE, { withinMs: 5_000, hint: () => laptop.logs() });
    assert.equal((await laptop.guest.ask({ ...at(taken), name: 'hello' })).answer, 'service hello');
  });

  it('resets clients of a target that is down, and serves them once it is up', async () => {
    await serving();
    const port = await laptop.port('env', SERVICE + 1);
    assert.equal((await laptop.guest.ask(at(port))).answer, 'ECONNRESET');
    await laptop.guest.listen({ address: TARGET, port: SERVICE + 1, who: 'late' });
    assert.equal((await laptop.guest.ask({ ...at(port), name: 'hello' })).answer, 'late hello');
  });

  it('gives a target that does not answer the time of the config', async () => {
    await serving({ userspace: { connectTimeout: '700ms' } });
    const { answer, afterMs } = await laptop.guest.ask(at(await laptop.port('env', SERVICE, SILENT)));
    assert.equal(answer, 'ECONNRESET');
    assert.ok(afterMs >= 650 && afterMs < 3_000, `${afterMs} ms`);
  });

  it('S13: is killed, and serves everything again from its state while the coordinator is away', async () => {
    const agent = await serving();
    const [first, second] = [await laptop.port('first', SERVICE), await laptop.port('second', SERVICE)];
    await laptop.guest.ask({ ...at(first), name: 'kept' });
    await agent.stop('SIGKILL');
    await eventually('its connections to end', async () => !await laptop.guest.isOpen('kept'), { withinMs: 5_000 });
    await laptop.stopCoordinator();
    await laptop.agent().line(/no session with the coordinator/, 20_000);
    for (const port of [first, second]) {
      await eventually(`${port} to be served`, async () => (await laptop.guest.ask({ ...at(port), name: 'hello' })).answer === 'service hello', { withinMs: 5_000 });
    }
  });

  it('opens a listener again that somebody has closed under it, and reports the drift', async () => {
    await serving();
    const port = await laptop.port('env', SERVICE);
    await laptop.asRoot('ss', '-K', '-l', '-t', '-n', 'src', `${LEASE}:${port}`);
    await eventually('it is served again', async () => (await laptop.guest.ask({ ...at(port), name: 'hello' })).answer === 'service hello', { withinMs: 3_000 });
    await eventually('the drift to be reported', async () => (await laptop.api.host('laptop'))?.driftRepairs === 1, { withinMs: 5_000 });
  });

  it('refuses a mapping with UDP as a whole, with the reason, and undoes the allocation', async () => {
    await serving();
    for (const protocol of [Protocol.PROTOCOL_UDP, Protocol.PROTOCOL_TCP_UDP]) {
      const refusal = await refusalOf(laptop.allocate('env', [want('both', TARGET, { internalPort: SERVICE, protocol }), want('tcp', TARGET, { internalPort: SERVICE })]));
      assert.equal(refusal.details.reason, 'PORT_BLOCKED');
      assert.match(refusal.message, /UDP_NOT_SERVED.*driver: iptables/);
    }
    assert.deepEqual((await laptop.api.mappings({ host: 'laptop', state: MappingState.MAPPING_STATE_LIVE })), []);
    assert.equal((await laptop.guest.ask(at(21_000))).answer, 'ECONNREFUSED');
  });

  it('turns clients away when it may open no more files, goes on, and takes them again', async () => {
    const agent = await serving({}, { files: 170 });
    const port = await laptop.port('env', SERVICE);
    const { own } = await laptop.guest.askMany({ ...at(port), count: 200 });
    assert.ok(own >= 10 && own <= 37, `${own} of 200 were served`);
    assert.match(await agent.line(/connections are refused/), /ulimit -n/);
    await eventually('there to be room again', async () => (await laptop.guest.ask({ ...at(port), name: 'hello' })).answer === 'service hello', { withinMs: 5_000 });
    assert.equal(await laptop.port('later', SERVICE) > 0, true);
    assert.equal(agent.isRunning, true);
  });

  it('does not start with too few files, beside another agent on the same state, or without a folder for it', async () => {
    await serving();
    const few = laptop.agent({ paths: { state: join(laptop.directory, 'few') } }, { files: 150 });
    assert.equal((await within('it to end', few.ended, { withinMs: 10_000 })).code, 78);
    assert.match(few.tail(), /may open 150 files.*ulimit -n/);
    const second = laptop.agent();
    assert.equal((await within('it to end', second.ended, { withinMs: 10_000 })).code, 75);
    assert.match(second.tail(), /another agent works on .*paths\.state/);
    const elsewhere = laptop.agent({ paths: { state: '/nowhere/else' } });
    assert.equal((await within('it to end', elsewhere.ended, { withinMs: 10_000 })).code, 78);
    assert.match(elsewhere.tail(), /paths\.state: .*a folder that this user can write/);
  });

  it('does not start in scope shared: it says which key is wrong and what to do, and the coordinator keeps it out (S7)', async () => {
    laptop = await Laptop.start({ scope: 'shared' });
    const agent = laptop.agent();
    assert.equal((await within('it to end', agent.ended, { withinMs: 20_000 })).code, 78);
    assert.match(agent.tail(), /driver: userspace is for gateways with scope host.*Set driver: iptables/);
    const host = await laptop.api.host('laptop');
    assert.ok(host === undefined || host.state === HostState.HOST_STATE_UNKNOWN, JSON.stringify(host));
  });
});
