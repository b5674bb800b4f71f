import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Event } from '../../shared/gen/portlease/v1/events.js';
import type { Mapping } from '../../shared/gen/portlease/v1/ports.js';
import { Talker } from '../integration/connections/talker.js';
import { AGENT_TIMING, GATEWAY, TIMING, type PoolSeed } from '../support/daemons.js';
import { benchOfEachTest } from '../support/describe.js';
import { GATEWAY_PUBLIC, vmAddress } from '../support/layout.js';
import { goOn, MappingState, portsOf, reachedOnAll, SSH_PORT, Wait, want } from '../support/requests.js';
import { eventually } from '../support/wait.js';
import { Watch } from '../support/watch.js';

const LIMIT_MS = 2_000;
const WARNING_MS = 3_000;

describe('a port without traffic', () => {
  const pool: PoolSeed = { pool: 'ssh', ranges: ['30000-30063'], protocol: 'tcp', defaultInternalPort: SSH_PORT };
  const bench = benchOfEachTest({
    agent: { timing: { ...AGENT_TIMING, idleInterval: '200ms' } },
    // A host that is silent for long begins anew: no machine is so slow that a restart of its agent is taken for that.
    coordinator: { timing: { ...TIMING, suspect: '10s', lost: '60s' } },
    pools: [
      { ...pool, idleLimit: `${LIMIT_MS}ms`, idleWarning: `${WARNING_MS}ms` },
      { ...pool, pool: 'slow', ranges: ['31000-31063'], idleLimit: `${LIMIT_MS}ms`, idleWarning: '1h' },
    ],
  });
  let watch: Watch;
  let client: Talker;

  beforeEach(async () => {
    watch = new Watch(`unix:${bench().coordinator.socket}`, { gateway: GATEWAY, afterRevision: 0 });
    client = new Talker(bench().topology.namespace('client'));
    // What has ended need not be waited for.
    for (const name of ['tcp_timeout_time_wait', 'tcp_timeout_close', 'tcp_timeout_last_ack']) await bench().topology.run('host-a', ['sysctl', '-qw', `net.netfilter.nf_conntrack_${name}=1`]);
    await bench().serve('host-a/env-1', [{ transport: 'tcp', port: SSH_PORT, address: vmAddress('host-a') }]);
  });
  afterEach(async () => {
    watch?.close();
    await client?.close();
  });

  const allocated = async (name = 'ssh'): Promise<Mapping> => {
    const { mappings: [mapping] } = await bench().api.allocate({ tenant: 'tenant-1', environment: 'env-1', host: 'host-a', wants: [want(name, vmAddress('host-a'))], wait: Wait.WAIT_LIVE });
    assert.ok(mapping !== undefined);
    return mapping;
  };
  const told = (kind: string): Event[] => watch.events.filter((event) => event.kind === kind);
  const until = (kind: string, count = 1) => watch.until(`${kind}, ${count}`, () => told(kind).length >= count, 20_000);
  const now = async ({ mappingId }: Mapping) => (await bench().api.mappings()).find((mapping) => mapping.mappingId === mappingId);
  const atMs = ({ at }: Event) => (at?.seconds ?? 0) * 1_000 + Math.floor((at?.nanos ?? 0) / 1e6);

  it('is told and shown as idle, then released after the warning, with the reason; its rules are gone (S12)', async () => {
    const mapping = await allocated();
    assert.equal(mapping.idleSince, undefined);
    assert.ok((await bench().leadsOf('host-a', mapping.publicPort)).length > 0);
    await until('PortIdle');
    const shown = await now(mapping);
    const [warned] = told('PortIdle') as [Event];
    assert.ok(Number(warned.detail['idleMs']) > LIMIT_MS);
    assert.deepEqual([warned.mappingId, warned.detail['limitMs'], warned.detail['lives'], warned.detail['port']], [mapping.mappingId, `${LIMIT_MS}`, 'false', `${mapping.publicPort}`]);
    assert.equal(Number(warned.detail['releaseAtMs']), atMs(warned) + WARNING_MS);
    assert.equal(shown?.state, MappingState.MAPPING_STATE_LIVE);
    assert.ok(shown.idleSince !== undefined && shown.idleReleaseAt !== undefined);
    await until('PortReleased');
    const [released] = told('PortReleased') as [Event];
    assert.ok(atMs(released) >= Number(warned.detail['releaseAtMs']));
    assert.deepEqual([released.mappingId, released.detail['reason']], [mapping.mappingId, 'IDLE']);
    assert.deepEqual((await bench().api.listEnvironments()).environments, []);
    assert.deepEqual(await bench().leadsOf('host-a', mapping.publicPort), []);
  });

  it('stays when a client comes through the gateway before the time is over, for as long as clients come', async () => {
    const mapping = await allocated();
    await until('PortIdle');
    const probe = await bench().probe(...portsOf([mapping]));
    await reachedOnAll(probe, [mapping], 'host-a/env-1');
    await until('PortActive');
    await goOn(probe, LIMIT_MS + WARNING_MS + 1_000);
    const served = await now(mapping);
    assert.deepEqual([served?.state, served?.idleSince, told('PortIdle').length, told('PortReleased').length], [MappingState.MAPPING_STATE_LIVE, undefined, 1, 0]);
    probe.unwatch(...portsOf([mapping]).map((port) => ({ address: GATEWAY_PUBLIC[4], ...port })));
    await until('PortReleased');
    assert.equal(told('PortIdle').length, 2, 'it was warned of again');
  });

  it('is not idle while a client keeps a silent connection open', async () => {
    const mapping = await allocated();
    assert.match(await client.openAndListen('silent', 'tcp', GATEWAY_PUBLIC[4], mapping.publicPort), /host-a\/env-1/);
    const other = await allocated('slow');
    await until('PortIdle');
    assert.deepEqual(told('PortIdle').map(({ mappingId, detail }) => [mappingId, detail['lives'], detail['releaseAtMs']]), [[other.mappingId, 'true', '0']], 'the other port of the environment is idle; that it lives the open connection shows');
    assert.deepEqual([(await now(mapping))?.idleSince, (await now(other))?.idleReleaseAt], [undefined, undefined]);
    await client.hangUp('silent');
    await watch.until('the port to be released', () => told('PortReleased').some(({ mappingId }) => mappingId === mapping.mappingId), 20_000);
  });

  it('stays idle over a restart of its agent and a flush of the nat table: neither is traffic', async () => {
    const mapping = await allocated('slow');
    await until('PortIdle');
    const agent = bench().agent('host-a');
    await bench().untilNewSession('host-a', () => agent.restart('SIGKILL'));
    await bench().topology.run('host-a', ['iptables', '-t', 'nat', '-F']);
    await eventually('the rule to be back', async () => (await bench().leadsOf('host-a', mapping.publicPort)).length > 0, { withinMs: 10_000 });
    const lookedAt = () => (JSON.parse(readFileSync(join(agent.stateDirectory, 'idle.json'), 'utf8')) as { sinceBootMs: number }).sinceBootMs;
    const flushedAtMs = lookedAt();
    await eventually('several looks', () => lookedAt() > flushedAtMs + 1_000, { withinMs: 10_000 });
    const shown = await now(mapping);
    assert.deepEqual([told('PortActive').length, told('PortIdle').length, shown?.state], [0, 1, MappingState.MAPPING_STATE_LIVE]);
    assert.ok(shown?.idleReleaseAt !== undefined);
  });
});
