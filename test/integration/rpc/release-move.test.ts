import assert from 'node:assert/strict';
import { MappingState, Protocol, Wait } from '../../../shared/gen/portlease/v1/common.js';
import { HostState } from '../../../shared/gen/portlease/v1/operations.js';
import { refusalOf, status } from '../../support/api.js';
import { targetText } from '../../../shared/target.js';
import { eventually } from '../../support/wait.js';
import { TestCoordinator } from './coordinator.js';

const target = (address: string) => ({ kind: { $case: 'address' as const, value: address } });
const allocation = (environment: string, more: object = {}) => ({
  tenant: 'acme', environment, host: 'h1', ...more,
  wants: [{ name: 'ssh', source: { $case: 'pool' as const, value: 'ssh' }, target: target('10.1.0.1') }],
});

describe('ReleasePorts and MoveEnvironment over the wire', () => {
  let coordinator: TestCoordinator;
  beforeEach(async () => {
    coordinator = await TestCoordinator.start();
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
  });
  afterEach(() => coordinator.close());

  it('releases by environment, by mapping and by port, and is done when the host confirms', async () => {
    const agent = await coordinator.agent({ host: 'h1' });
    const [a, b, c] = await Promise.all(['a', 'b', 'c'].map(async (name) => (await coordinator.api.allocate(allocation(name))).mappings[0]));
    const port = { space: 'gw', protocol: Protocol.PROTOCOL_TCP, port: c?.publicPort ?? 0 };
    const answers = await Promise.all([
      coordinator.api.release({ selector: { $case: 'environment', value: a?.environment ?? '' } }),
      coordinator.api.release({ selector: { $case: 'mappingId', value: b?.mappingId ?? '' } }),
      coordinator.api.release({ selector: { $case: 'port', value: port } }),
    ]);
    assert.deepEqual(answers.map(({ mappings, bound }) => [mappings.length, mappings[0]?.state, bound]), [a, b, c].map(() => [1, MappingState.MAPPING_STATE_RELEASED, undefined]));
    assert.deepEqual(agent.mappings(), []);
    assert.equal((await refusalOf(coordinator.api.environment('a'))).details.reason, 'ENVIRONMENT_UNKNOWN');
  });

  it('answers OK and empty for what is absent', async () => {
    for (const selector of [{ $case: 'environment' as const, value: 'absent' }, { $case: 'mappingId' as const, value: 'm00' }]) {
      assert.deepEqual(await coordinator.api.release({ selector }), { mappings: [], bound: undefined });
    }
  });

  it('says "releasing" at once when recorded is enough, and until when', async () => {
    const agent = await coordinator.agent({ host: 'h1' });
    await coordinator.api.allocate(allocation('a'));
    agent.reports = false;
    const { mappings, bound } = await coordinator.api.release({ selector: { $case: 'environment', value: 'a' }, wait: Wait.WAIT_RECORDED });
    assert.equal(mappings[0]?.state, MappingState.MAPPING_STATE_RELEASING);
    assert.ok((bound?.seconds ?? 0) + (bound?.nanos ?? 0) > 0);
    const waited = await coordinator.api.release({ selector: { $case: 'environment', value: 'a' } }, 500);
    assert.equal(waited.mappings[0]?.state ?? MappingState.MAPPING_STATE_RELEASING, MappingState.MAPPING_STATE_RELEASING);
  });

  it('moves an environment to another host with its numbers and new targets', async () => {
    await coordinator.agent({ host: 'h1' });
    const other = await coordinator.agent({ host: 'h2', addresses: ['10.9.0.2'] });
    const { mappings: [before] } = await coordinator.api.allocate(allocation('a'));
    const { environment } = await coordinator.api.move({ environment: 'a', host: 'h2', targets: [{ name: 'ssh', target: target('10.2.0.1') }] });
    const [after] = environment?.mappings ?? [];
    assert.deepEqual([after?.mappingId, after?.publicPort, after?.host, after?.state], [before?.mappingId, before?.publicPort, 'h2', MappingState.MAPPING_STATE_LIVE]);
    assert.deepEqual(other.mappings().map((mapping) => targetText(mapping.target)), ['10.2.0.1']);
  });

  it('moves the environment of a silent host once the gateway has confirmed the fence', async () => {
    const lost = await coordinator.agent({ host: 'h1' });
    await coordinator.agent({ host: 'h2', addresses: ['10.9.0.2'] });
    const { mappings: [before] } = await coordinator.api.allocate(allocation('a'));
    lost.silence();
    await coordinator.api.untilHost('h1', HostState.HOST_STATE_LOST);
    const { mappings: [held] } = await coordinator.api.environment('a');
    assert.equal(held?.state, MappingState.MAPPING_STATE_HELD);
    const { environment } = await coordinator.api.move({ environment: 'a', host: 'h2' });
    assert.deepEqual(environment?.mappings.map(({ publicPort, host, state }) => [publicPort, host, state]), [[before?.publicPort, 'h2', MappingState.MAPPING_STATE_LIVE]]);
  });

  it('refuses to move what is unknown, and to hosts that cannot take it', async () => {
    await coordinator.agent({ host: 'h1' });
    await coordinator.agent({ host: 'e1', gateway: 'edge', addresses: ['198.51.100.7'] });
    await coordinator.api.allocate(allocation('a'));
    const reasons = await Promise.all(([['absent', 'h1'], ['a', 'nobody'], ['a', 'e1'], ['a', 'g1']] as const).map(async ([environment, host]) =>
      (await refusalOf(coordinator.api.move({ environment, host }))).details.reason));
    assert.deepEqual(reasons, ['ENVIRONMENT_UNKNOWN', 'HOST_UNKNOWN', 'OTHER_GATEWAY', 'HOST_NOT_SERVING']);
  });

  it('lists environments and mappings over all gateways, page by page, with the revision of each', async () => {
    await coordinator.agent({ host: 'h1' });
    await coordinator.agent({ host: 'e1', gateway: 'edge', addresses: ['198.51.100.7'] });
    for (const [name, host] of [['a', 'h1'], ['b', 'e1'], ['c', 'h1'], ['d', 'e1'], ['e', 'h1']] as const) {
      await coordinator.api.allocate({ ...allocation(name, { host, wait: Wait.WAIT_RECORDED, labels: { odd: String('ace'.includes(name)) } }) });
    }
    const names: string[] = [];
    let pageToken = '';
    do {
      const page = await coordinator.api.listEnvironments({ pageSize: 2, pageToken });
      assert.deepEqual(Object.keys(page.revisions).sort(), ['edge', 'gw']);
      names.push(...page.environments.map(({ environment }) => environment));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    assert.deepEqual(names, ['a', 'b', 'c', 'd', 'e']);
    const odd = await coordinator.api.listEnvironments({ labels: { odd: 'true' } });
    assert.deepEqual(odd.environments.map(({ environment }) => environment), ['a', 'c', 'e']);
    assert.deepEqual((await coordinator.api.mappings({ gateway: 'edge' })).map(({ environment }) => environment), ['b', 'd']);
    const first = await coordinator.api.listEnvironments({ pageSize: 1 });
    for (const request of [{ pageToken: 'nonsense' }, { pageToken: `${first.nextPageToken}x` }, { pageToken: first.nextPageToken, tenant: 'other' }]) {
      const refused = await refusalOf(coordinator.api.listEnvironments(request));
      assert.deepEqual([refused.code, refused.details.reason], [status.INVALID_ARGUMENT, 'PAGE_TOKEN_INVALID']);
    }
    await eventually('leases to be listed in order', async () => {
      const leases = await coordinator.api.leases({ pageSize: 2 });
      return leases.length === 2 && leases[0]?.space === 'edge/e1';
    }, { withinMs: 1000 });
  });
});
