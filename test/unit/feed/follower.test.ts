import assert from 'node:assert/strict';
import { upTo, type EventCursor } from '../../../coordinator/feed/cursor.js';
import { EventFeed, type Delivery } from '../../../coordinator/feed/feed.js';
import { EVERYTHING, eventFilter } from '../../../coordinator/feed/filter.js';
import { Follower, type FollowerOptions } from '../../../coordinator/feed/follower.js';
import { FeedRefused } from '../../../coordinator/feed/refusals.js';
import type { EventPage, EventsAfter, StoredEvent } from '../../../coordinator/journal/journal.js';
import type { EventRecord } from '../../../coordinator/book/types.js';
import { Life, Time } from '../../simulation/time.js';
import { event, events, GATEWAY, placesOf } from './events.js';

/** A feed on a journal in memory, on a time that the test steps. */
class World {
  readonly time = new Time();
  readonly stored: StoredEvent[] = [];
  purgedTo = 0;
  reads = 0;
  /** Steps of time until now. */
  readonly clock = { nowMs: () => this.time.nowMs };
  readonly timers = { after: (delayMs: number, act: () => void) => this.time.plan(delayMs, new Life(), act), soon: (act: () => void) => { this.time.plan(0, new Life(), act); } };
  feed: EventFeed;

  constructor(readonly capacity = 100, revision = 0) {
    this.feed = this.open(revision);
  }

  open(revision: number): EventFeed {
    return new EventFeed({ gateway: GATEWAY, revision, capacity: this.capacity, clock: this.clock, timers: this.timers, readEvents: (page) => this.read(page), readEventsBefore: () => Promise.reject(new Error('not asked for')) });
  }

  commit(list: readonly EventRecord[], revision = list.at(-1)?.sequence ?? this.feed.revision + 1): void {
    this.store(list);
    this.feed.committed(list, revision);
  }

  store(list: readonly EventRecord[]): void {
    for (const one of list) {
      const before = this.stored.at(-1);
      this.stored.push({ ...one, gateway: GATEWAY, position: before?.sequence === one.sequence ? before.position + 1 : 1 });
    }
  }

  follower(of: Partial<FollowerOptions> = {}): { follower: Follower; deliveries: Delivery[]; ended: Promise<unknown> } {
    const deliveries: Delivery[] = [];
    const follower = new Follower({
      feed: this.feed, after: upTo(0), filter: EVERYTHING, bookmarkMs: 10_000, clock: this.clock, timers: this.timers,
      deliver: (delivery) => { deliveries.push(delivery); return Promise.resolve(); }, ...of,
    });
    return { follower, deliveries, ended: follower.run().then(() => undefined, (error: unknown) => error) };
  }

  /** Lets `ms` pass. */
  async pass(ms: number): Promise<void> {
    const endMs = this.time.nowMs + ms;
    for (;;) {
      for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
      await new Promise<void>((resolve) => { setImmediate(resolve); });
      if (this.time.nextMs() > endMs) break;
      this.time.step();
    }
    this.time.nowMs = endMs;
  }

  private read({ after, upTo: until, limit }: EventsAfter): Promise<EventPage> {
    this.reads += 1;
    const wanted = this.stored.filter(({ sequence, position }) => sequence > this.purgedTo && sequence <= until
      && (sequence > after.revision || (sequence === after.revision && after.position > 0 && position > after.position)));
    return Promise.resolve({ events: wanted.slice(0, limit), purgedTo: this.purgedTo });
  }
}

const seen = (deliveries: readonly Delivery[]): string => placesOf(deliveries.flatMap((delivery) => delivery.events));
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('a follower of an event stream', () => {
  it('says first where it begins, then gives what is committed', async () => {
    const world = new World();
    const { deliveries } = world.follower();
    await world.pass(0);
    assert.deepEqual(deliveries, [{ events: [], cursor: upTo(0) }]);
    world.commit(events(1, 1));
    world.commit(events(2));
    await world.pass(0);
    assert.equal(seen(deliveries), '1.1 1.2 2.1');
    assert.deepEqual(deliveries.at(-1)?.cursor, upTo(2));
    assert.equal(world.reads, 0);
  });

  it('S5: gives exactly what was missed, wherever an earlier one stopped, from the journal and then from memory', async () => {
    const world = new World(10);
    for (const sequence of range(1, 300)) world.commit(events(...Array.from({ length: sequence % 4 }, () => sequence)), sequence);
    const all = world.stored.map((one) => placesOf([one]));
    for (let at = 0; at < all.length; at += 7) {
      const { sequence = 0, position = 0 } = world.stored[at - 1] ?? {};
      const { deliveries, follower } = world.follower({ after: { revision: sequence, position } });
      await world.pass(0);
      assert.deepEqual(seen(deliveries).split(' '), all.slice(at));
      follower.stop();
    }
    assert.ok(world.reads > 0);
  });

  it('S5: gives exactly what was missed after every one of its messages, across a start of the coordinator', async () => {
    const world = new World(10);
    world.commit(range(1, 40).flatMap((sequence) => events(...Array.from({ length: 17 }, () => sequence))));
    const { deliveries } = world.follower();
    await world.pass(0);
    const all = world.stored.map((one) => placesOf([one]));
    assert.deepEqual(seen(deliveries).split(' '), all);
    assert.ok(deliveries.length > 3);
    for (const [at, { cursor }] of deliveries.entries()) {
      world.feed = world.open(40);
      const before = seen(deliveries.slice(0, at + 1));
      const after = world.follower({ after: cursor });
      await world.pass(0);
      assert.equal([before, seen(after.deliveries)].filter((part) => part !== '').join(' '), all.join(' '));
    }
  });

  it('S5: reads nothing above what is known to be committed, and all of it once that is known', async () => {
    const world = new World();
    world.commit(events(1));
    world.store(events(2, 3));
    world.feed.reset(1);
    const { deliveries } = world.follower();
    await world.pass(0);
    assert.equal(seen(deliveries), '1.1');
    world.feed.reset(4);
    await world.pass(0);
    assert.equal(seen(deliveries), '1.1 2.1 3.1');
    assert.deepEqual(deliveries.at(-1)?.cursor, upTo(4));
  });

  it('sends bookmarks when nothing happens, and after what does not fit', async () => {
    const world = new World();
    const { deliveries } = world.follower({ filter: eventFilter({ kinds: ['HostLost'], host: '', environment: '' }), bookmarkMs: 1_000 });
    await world.pass(0);
    world.commit(events(1, 2, 3));
    await world.pass(900);
    assert.equal(deliveries.length, 1);
    await world.pass(100);
    assert.deepEqual(deliveries.at(-1), { events: [], cursor: upTo(3) });
    await world.pass(3_000);
    assert.equal(deliveries.length, 5);
    world.commit([event(4), event(5, { kind: 'HostLost' })]);
    await world.pass(0);
    assert.deepEqual([seen(deliveries), deliveries.at(-1)?.cursor], ['5.1', upTo(5)]);
  });

  it('sends a bookmark at once after a long stretch that does not fit', async () => {
    const world = new World(10);
    world.commit(events(...range(1, 10_000)));
    const { deliveries } = world.follower({ filter: eventFilter({ kinds: [], host: 'other', environment: '' }), bookmarkMs: 3_600_000 });
    await world.pass(0);
    const bookmarks = deliveries.map(({ cursor }) => cursor.revision);
    assert.deepEqual(bookmarks, [0, 2_000, 4_000, 6_000, 8_000, 10_000]);
  });

  it('filters by kind, host and environment', async () => {
    const world = new World();
    world.commit([event(1), event(2, { host: 'host-b' }), event(3, { environment: 'env-2' }), event(4, { kind: 'PortReleased' }), event(5, { kind: 'HostLost', environment: '' })]);
    const places = async (of: { kinds?: EventRecord['kind'][]; host?: string; environment?: string }): Promise<string> => {
      const { deliveries } = world.follower({ filter: eventFilter({ kinds: [], host: '', environment: '', ...of }) });
      await world.pass(0);
      return seen(deliveries);
    };
    assert.equal(await places({ kinds: ['HostLost', 'PortReleased'] }), '4.1 5.1');
    assert.equal(await places({ host: 'host-b' }), '2.1');
    assert.equal(await places({ environment: 'env-1', host: 'host-a' }), '1.1 4.1');
  });

  it('falls behind when its receiver is slow, and holds one piece at a time', async () => {
    const world = new World(10);
    const received: Delivery[] = [];
    let free: () => void = () => undefined;
    world.follower({ deliver: (delivery) => { received.push(delivery); return new Promise((resolve) => { free = resolve; }); } });
    await world.pass(0);
    for (const sequence of range(1, 2_000)) world.commit(events(sequence));
    await world.pass(60_000);
    assert.equal(received.length, 1);
    for (let turn = 0; turn < 20; turn += 1) {
      free();
      await world.pass(0);
    }
    assert.deepEqual(seen(received).split(' '), range(1, 2_000).map((sequence) => `${sequence}.1`));
    assert.ok(received.every((delivery) => delivery.events.length <= 250));
  });

  it('shares pages and batches: a thousand at the tail read nothing from the journal, a thousand that start at one place read it once', async () => {
    const world = new World();
    world.commit(events(...range(1, 50)));
    world.feed = world.open(50);
    const late = range(1, 1_000).map(() => world.follower({ after: upTo(10) }));
    await world.pass(0);
    assert.equal(world.reads, 1);
    for (const sequence of range(51, 150)) world.commit(events(sequence));
    await world.pass(0);
    assert.equal(world.reads, 1);
    const messages = new Set(late.map(({ deliveries }) => deliveries.at(-1)));
    assert.equal(messages.size, 1);
    for (const { deliveries } of late) assert.equal(seen(deliveries), range(11, 150).map((sequence) => `${sequence}.1`).join(' '));
  });

  it('starts at the oldest event that is kept when it is to start at 0', async () => {
    const world = new World(10);
    world.commit(events(...range(1, 100)));
    world.feed = world.open(100);
    world.purgedTo = 90;
    const { deliveries } = world.follower();
    await world.pass(0);
    assert.equal(seen(deliveries), range(91, 100).map((sequence) => `${sequence}.1`).join(' '));
  });

  it('ends with the reason when what it has to read was purged', async () => {
    const world = new World(10);
    world.commit(events(...range(1, 100)));
    world.purgedTo = 50;
    const refusalOf = async (after: EventCursor): Promise<string | undefined> => {
      const { ended, deliveries } = world.follower({ after });
      await world.pass(0);
      if (deliveries.length > 0) return undefined;
      const error = await ended;
      return error instanceof FeedRefused ? error.refusal.reason : String(error);
    };
    assert.equal(await refusalOf(upTo(49)), 'REVISION_TOO_OLD');
    assert.equal(await refusalOf({ revision: 50, position: 1 }), 'REVISION_TOO_OLD');
    assert.equal(await refusalOf(upTo(50)), undefined);
    assert.equal(await refusalOf(upTo(101)), 'REVISION_AHEAD');
  });

  it('ends with the reason of the feed when that is closed', async () => {
    const world = new World();
    const { ended } = world.follower();
    await world.pass(0);
    world.feed.close({ kind: 'refused', reason: 'STOPPING', message: 'the coordinator is stopping' });
    await world.pass(0);
    assert.match(String(await ended), /STOPPING/);
  });

  it('ends when it is stopped, resting or not', async () => {
    const world = new World();
    const resting = world.follower();
    await world.pass(0);
    resting.follower.stop();
    assert.equal(await resting.ended, undefined);
    assert.equal(world.time.nextMs(), Infinity);
  });

  it('does the same work for a commit however many follow', () => {
    const world = new World();
    let wakes = 0;
    for (let i = 0; i < 1_000; i += 1) world.feed.onMore(upTo(0), () => { wakes += 1; });
    for (const sequence of range(1, 100)) world.commit(events(sequence));
    assert.equal(wakes, 0);
    assert.equal(world.time.size, 1);
  });
});
