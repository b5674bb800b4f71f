import assert from 'node:assert/strict';
import { Connection } from '../../../coordinator/journal/sqlite/connection.js';
import { EventServiceService, ListEventsRequest, type DeepPartial, type Event, type ListEventsResponse, type WatchEventsRequest } from '../../../shared/gen/portlease/v1/events.js';
import { Wait } from '../../../shared/gen/portlease/v1/common.js';
import { refusalOf, status } from '../../support/api.js';
import { eventLine, Watch } from '../../support/watch.js';
import { within } from '../../support/wait.js';
import { TestCoordinator } from './coordinator.js';

const allocation = (environment: string, host = 'h1') => ({
  tenant: 'acme', environment, host, wait: Wait.WAIT_RECORDED,
  wants: [{ name: 'p', source: { $case: 'pool' as const, value: 'ssh' }, count: 2, target: { kind: { $case: 'address' as const, value: '10.1.0.1' } } }],
});
const kinds = (events: readonly Event[]): string[] => events.map(({ kind }) => kind);

describe('EventService over the wire', () => {
  let coordinator: TestCoordinator;
  const watches: Watch[] = [];
  beforeEach(async () => { coordinator = await TestCoordinator.start(); });
  afterEach(async () => {
    for (const watch of watches.splice(0)) watch.close();
    await coordinator.close();
  });

  function watch(request: DeepPartial<WatchEventsRequest> = {}): Watch {
    const one = new Watch(coordinator.address, request);
    watches.push(one);
    return one;
  }

  const list = (request: DeepPartial<ListEventsRequest> = {}): Promise<ListEventsResponse> =>
    coordinator.api.call(EventServiceService.listEvents, ListEventsRequest.fromPartial({ gateway: 'gw', ...request }));

  async function stored(): Promise<string[]> {
    const database = await Connection.open(`${coordinator.folder}/c.db`, 'readOnly');
    const rows = await database.all<{ sequence: number; kind: string; environment: string; host: string; mapping_id: string }>("SELECT * FROM event WHERE gateway = 'gw' ORDER BY id");
    await database.close();
    let position = 0;
    return rows.map(({ sequence, mapping_id: mappingId, ...row }, at) => {
      position = rows[at - 1]?.sequence === sequence ? position + 1 : 1;
      return eventLine({ ...row, revision: sequence, position, mappingId });
    });
  }

  it('tells of the life of an environment, in order, with host, environment, mapping and port', async () => {
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    await coordinator.agent({ host: 'h1' });
    const events = watch({ filter: { environment: 'env' } });
    await events.until('the first bookmark', ({ messages }) => messages.length > 0);
    const { mappings } = await coordinator.api.allocate({ ...allocation('env'), wait: Wait.WAIT_LIVE });
    await coordinator.api.release({ selector: { $case: 'environment', value: 'env' }, wait: Wait.WAIT_LIVE });
    await events.until('eight events', () => events.events.length >= 8);
    assert.deepEqual(kinds(events.events).slice(0, 8), ['PortAllocated', 'PortAllocated', 'PortChanged', 'PortChanged', 'PortChanged', 'PortChanged', 'PortReleased', 'PortReleased']);
    assert.deepEqual(events.events.slice(0, 8).filter((_, at) => at % 2 === 0).map(({ detail }) => detail['state']), ['pending', 'live', 'releasing', 'quarantined']);
    const [first] = events.events;
    assert.deepEqual([first?.gateway, first?.host, first?.environment, first?.mappingId, first?.position], ['gw', 'h1', 'env', mappings[0]?.mappingId, first?.position]);
    assert.deepEqual(first?.detail, { tenant: 'acme', space: 'gw', pool: 'ssh', protocol: 'tcp', port: `${mappings[0]?.publicPort}`, state: 'pending', reason: 'NOT_CONFIRMED_BY_HOST' });
    assert.ok(Math.abs((first.at?.seconds ?? 0) - Date.now() / 1_000) < 60);
  });

  it('begins where a list was read, and shows what came after it', async () => {
    await coordinator.agent({ host: 'h1' });
    await coordinator.api.allocate(allocation('before'));
    const { revisions } = await coordinator.api.listEnvironments({ gateway: 'gw' });
    await coordinator.api.allocate(allocation('after'));
    const events = watch({ afterRevision: revisions['gw'] ?? 0, filter: { kinds: ['PortAllocated'] } });
    await events.until('two events', () => events.events.length === 2);
    assert.deepEqual(events.events.map(({ environment }) => environment), ['after', 'after']);
  });

  it('begins now when nothing is said, and at the oldest event with 0', async () => {
    await coordinator.agent({ host: 'h1' });
    const now = watch();
    const all = watch({ afterRevision: 0 });
    await now.until('the first bookmark', ({ messages }) => messages.length > 0);
    await coordinator.api.allocate(allocation('env'));
    await now.until('an allocation', ({ events }) => events.some(({ kind }) => kind === 'PortAllocated'));
    await all.until('an allocation', ({ events }) => events.some(({ kind }) => kind === 'PortAllocated'));
    const seen = all.events.map(eventLine);
    assert.deepEqual(seen, (await stored()).slice(0, seen.length));
    assert.equal(all.events[0]?.kind, 'GatewayCreated');
    assert.ok(!kinds(now.events).includes('GatewayCreated'));
  });

  it('S5: resumes exactly at every message of an earlier watch', async () => {
    await coordinator.agent({ host: 'h1' });
    for (let i = 0; i < 8; i += 1) await coordinator.api.allocate(allocation(`env-${i}`));
    const whole = await stored();
    const first = watch({ afterRevision: 0 });
    await first.until('all events', ({ events }) => events.length === whole.length);
    for (const [at, event] of first.events.entries()) {
      const rest = watch({ afterRevision: event.revision, afterPosition: event.position });
      if (at + 1 < whole.length) await rest.until('the rest', ({ events }) => events.length === whole.length - at - 1);
      assert.deepEqual(rest.events.map(eventLine), whole.slice(at + 1));
      rest.close();
    }
  });

  it('sends bookmarks while nothing that fits happens, so that a resume reads little again', async () => {
    await coordinator.agent({ host: 'h1' });
    const events = watch({ bookmarkInterval: { seconds: 0, nanos: 100_000_000 }, filter: { kinds: ['GatewayDeleted'] } });
    await events.until('the first bookmark', ({ messages }) => messages.length > 0);
    const begin = events.cursor?.afterRevision ?? 0;
    await coordinator.api.allocate(allocation('env'));
    await events.until('a later bookmark', () => (events.cursor?.afterRevision ?? 0) > begin);
    assert.deepEqual([events.events, events.messages.length >= 2], [[], true]);
  });

  it('lists events in pages, by filter, and says where a watch goes on', async () => {
    await coordinator.agent({ host: 'h1' });
    for (let i = 0; i < 3; i += 1) await coordinator.api.allocate(allocation(`env-${i}`));
    const filter = { kinds: ['PortAllocated'] };
    const whole = await list({ filter });
    assert.deepEqual([whole.events.length, whole.nextPageToken], [6, '']);
    const pages: Event[] = [];
    let token = '';
    do {
      const page = await list({ filter, pageSize: 4, pageToken: token });
      assert.ok(page.events.length <= 4);
      pages.push(...page.events);
      token = page.nextPageToken;
    } while (token !== '');
    assert.deepEqual(pages, whole.events);
    const from = whole.events[2];
    const rest = await list({ filter, afterRevision: from?.revision ?? 0, afterPosition: from?.position ?? 0 });
    assert.deepEqual(rest.events, whole.events.slice(3));
    await coordinator.api.allocate(allocation('next'));
    const next = watch({ afterRevision: whole.revision, afterPosition: whole.position, filter });
    await next.until('what came after the list', ({ events }) => events.length === 2);
    assert.deepEqual(next.events.map(({ environment }) => environment), ['next', 'next']);
  });

  it('lists the newest events first, in pages', async () => {
    await coordinator.agent({ host: 'h1' });
    for (let i = 0; i < 3; i += 1) await coordinator.api.allocate(allocation(`env-${i}`));
    const before = await stored();
    const whole = await list({ newestFirst: true, pageSize: 1_000 });
    assert.deepEqual(whole.events.map(eventLine).slice(-before.length), before.toReversed());
    assert.ok(whole.events.every((event) => event.revision <= whole.revision));
    const pages: Event[] = [];
    let token = '';
    do {
      const page = await list({ filter: { kinds: ['PortAllocated'] }, newestFirst: true, pageSize: 1, pageToken: token });
      pages.push(...page.events);
      token = page.nextPageToken;
    } while (token !== '');
    assert.deepEqual(pages, whole.events.filter(({ kind }) => kind === 'PortAllocated'));
    assert.deepEqual((await refusalOf(list({ newestFirst: true, afterRevision: 1 }))).details.fields.map(({ field }) => field), ['newest_first']);
  });

  it('refuses a revision that is not there yet, a gateway that is not there, and a page token of another list', async () => {
    const ahead = await within('the watch to be refused', watch({ afterRevision: 1_000_000 }).ended, { withinMs: 5_000 });
    assert.deepEqual([ahead?.code, ahead?.details.reason], [status.OUT_OF_RANGE, 'REVISION_AHEAD']);
    assert.match(ahead?.remedy ?? '', /List again/);
    const absent = await within('the watch to be refused', watch({ gateway: 'absent' }).ended, { withinMs: 5_000 });
    assert.equal(absent?.details.reason, 'GATEWAY_UNKNOWN');
    assert.equal((await refusalOf(list({ afterRevision: 1_000_000 }))).details.reason, 'REVISION_AHEAD');
    assert.equal((await refusalOf(list({ pageToken: 'abc' }))).details.reason, 'PAGE_TOKEN_INVALID');
  });

  it('keeps the streams of two gateways apart', async () => {
    const edge = watch({ gateway: 'edge', afterRevision: 0 });
    await coordinator.agent({ host: 'h1' });
    await coordinator.agent({ host: 'e1', gateway: 'edge', addresses: ['198.51.100.1'] });
    await edge.until('the host of the edge', ({ events }) => events.some(({ host }) => host === 'e1'));
    assert.ok(edge.events.every(({ gateway, host }) => gateway === 'edge' && host !== 'h1'));
  });

  it('ends with STOPPING when the coordinator stops, and goes on at the same place after its start', async () => {
    await coordinator.agent({ host: 'h1' });
    const before = watch({ afterRevision: 0 });
    await before.until('the host', ({ events }) => events.some(({ host }) => host === 'h1'));
    await coordinator.shutdown();
    const end = await within('the watch to end', before.ended, { withinMs: 5_000 });
    assert.deepEqual([end?.code, end?.details.reason], [status.UNAVAILABLE, 'STOPPING']);
    await coordinator.boot();
    await coordinator.agent({ host: 'h2' });
    const after = watch(before.cursor);
    await after.until('the next host', ({ events }) => events.some(({ host }) => host === 'h2'));
    const seen = [...before.events, ...after.events].map(eventLine);
    assert.deepEqual(seen, (await stored()).slice(0, seen.length));
  });

  it('gives a watcher that reads nothing for a while all that it missed', async () => {
    await coordinator.agent({ host: 'h1' });
    const slow = watch({ afterRevision: 0 });
    await slow.until('the first bookmark', ({ messages }) => messages.length > 0);
    const goOn = slow.pause();
    for (let i = 0; i < 40; i += 1) {
      await coordinator.api.allocate(allocation(`env-${i}`));
      await coordinator.api.release({ selector: { $case: 'environment', value: `env-${i}` }, wait: Wait.WAIT_RECORDED });
    }
    goOn();
    await slow.until('all of it', ({ events }) => events.filter(({ kind }) => kind === 'PortAllocated').length === 80);
    const seen = slow.events.map(eventLine);
    assert.deepEqual(seen, (await stored()).slice(0, seen.length));
  });
});
