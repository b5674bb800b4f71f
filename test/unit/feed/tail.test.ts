import assert from 'node:assert/strict';
import fc from 'fast-check';
import { upTo, type EventCursor } from '../../../coordinator/feed/cursor.js';
import { Tail } from '../../../coordinator/feed/tail.js';
import type { EventRecord } from '../../../coordinator/book/types.js';
import { event, events, GATEWAY, placesOf } from './events.js';

function tailWith(capacity: number, ...commits: EventRecord[][]): Tail {
  const tail = new Tail(capacity, 10);
  for (const commit of commits) tail.add(commit, { gateway: GATEWAY, revision: commit.at(-1)?.sequence ?? tail.revision + 1 });
  return tail;
}

describe('the tail of an event stream', () => {
  it('numbers the events of a decision', () => {
    const batch = tailWith(100, events(11, 11, 12), events(13)).after(upTo(10), 10);
    assert.equal(placesOf(batch?.events ?? []), '11.1 11.2 12.1 13.1');
    assert.deepEqual([batch?.cursor, batch?.isEnd], [upTo(13), true]);
  });

  it('goes on in the midst of a decision', () => {
    const tail = tailWith(100, events(11, 11, 11, 12));
    const first = tail.after(upTo(10), 2);
    assert.deepEqual([placesOf(first?.events ?? []), first?.cursor, first?.isEnd], ['11.1 11.2', { revision: 11, position: 2 }, false]);
    assert.equal(placesOf(tail.after({ revision: 11, position: 2 }, 10)?.events ?? []), '11.3 12.1');
  });

  it('calls a decision done when its last event was the last of a batch', () => {
    assert.deepEqual(tailWith(100, events(11, 11, 12)).after(upTo(10), 2)?.cursor, upTo(11));
  });

  it('counts commits without events', () => {
    const tail = tailWith(100, events(11), []);
    assert.deepEqual(tail.after(upTo(11), 10), { events: [], cursor: upTo(12), isEnd: true });
  });

  it('says when it may not have all that comes after a cursor', () => {
    const tail = tailWith(100, events(11));
    assert.equal(tail.after(upTo(9), 10), undefined);
    assert.equal(tail.after({ revision: 10, position: 1 }, 10), undefined);
    tail.reset(20);
    assert.equal(tail.after(upTo(11), 10), undefined);
    assert.deepEqual(tail.after(upTo(20), 10), { events: [], cursor: upTo(20), isEnd: true });
  });

  it('forgets the oldest decisions as a whole', () => {
    const tail = tailWith(2, events(11, 11), events(12, 12, 12));
    assert.equal(tail.after(upTo(11), 10), undefined);
    assert.equal(placesOf(tail.after(upTo(12), 10)?.events ?? []), '');
    const wider = tailWith(2, events(11, 11), events(12, 13, 14));
    assert.equal(wider.after(upTo(11), 10), undefined);
    assert.equal(placesOf(wider.after(upTo(12), 10)?.events ?? []), '13.1 14.1');
  });

  it('gives every event once and in order, whatever is asked for at a time, or says that it does not have it', () => {
    const commits = fc.array(fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 4 }), { maxLength: 20 });
    fc.assert(fc.property(commits, fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 5 }), (shape, capacity, limit) => {
      const tail = new Tail(capacity, 0);
      const all: string[] = [];
      let seen: string[] = [];
      let cursor: EventCursor = upTo(0);
      let sequence = 0;
      for (const decisions of shape) {
        const commit = decisions.flatMap((count) => { sequence += 1; return Array.from({ length: count }, () => event(sequence)); });
        tail.add(commit, { gateway: GATEWAY, revision: sequence });
        let position = 0;
        for (const [at, one] of commit.entries()) { position = commit[at - 1]?.sequence === one.sequence ? position + 1 : 1; all.push(`${one.sequence}.${position}`); }
        for (let isEnd = false; !isEnd;) {
          const batch = tail.after(cursor, limit);
          if (batch === undefined) { seen = [...all]; cursor = upTo(sequence); break; }
          seen.push(...batch.events.map((one) => placesOf([one])));
          ({ cursor, isEnd } = batch);
        }
        assert.deepEqual(seen, all);
      }
    }));
  });
});
