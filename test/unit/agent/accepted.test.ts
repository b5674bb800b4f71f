import assert from 'node:assert/strict';
import fc from 'fast-check';
import { applyDelta, applyWelcome, digestOf, NO_STATE, type AcceptedState } from '../../../agent/state/accepted.js';
import { differences } from '../../../agent/persistent/map.js';
import { compareVersions, type Delta } from '../../../shared/desired.js';
import { change, lease, snapshot, version } from './deltas.js';

function accepted(...deltas: Delta[]): AcceptedState {
  return deltas.reduce((state, delta) => {
    const result = applyDelta(state, delta);
    assert.equal(result.kind, 'accepted');
    return result.kind === 'accepted' ? result.state : state;
  }, NO_STATE);
}

describe('what an agent accepts', () => {
  it('takes a snapshot as the whole state', () => {
    const state = accepted(snapshot(version(1, 1, 5), [lease('a', 1)]), snapshot(version(1, 1, 6), [lease('b', 2)]));
    assert.deepEqual([...state.objects.keys()], ['lease/b']);
    assert.equal(state.digest, digestOf([lease('b', 2)]));
  });

  it('keeps the objects that a snapshot repeats', () => {
    const before = accepted(snapshot(version(1, 1, 5), [lease('a', 1), lease('b', 2), lease('c', 2)]));
    const result = applyDelta(before, snapshot(version(1, 2, 6), [lease('a', 1), lease('b', 3), lease('d', 4), lease('d', 5)]));
    assert.ok(result.kind === 'accepted');
    const { objects } = result.state;
    assert.deepEqual([...objects.values()].sort((a, b) => a.version - b.version), [lease('a', 1), lease('b', 3), lease('d', 5)]);
    assert.equal(objects.get('lease/a'), before.objects.get('lease/a'));
    assert.deepEqual(differences(before.objects, objects).sort(), ['lease/b', 'lease/c', 'lease/d']);
  });

  it('takes a change to the state that it has', () => {
    const state = accepted(snapshot(version(1, 1, 5), [lease('a', 1), lease('b', 2)]), change(version(1, 1, 9), 5, [lease('b', 9), lease('c', 9)], ['lease/a']));
    assert.deepEqual([...state.objects.keys()].sort(), ['lease/b', 'lease/c']);
    assert.equal(state.digest, digestOf([lease('b', 9), lease('c', 9)]));
  });

  it('refuses a change to another state', () => {
    assert.equal(applyDelta(NO_STATE, change(version(1, 1, 6), 5, [])).kind, 'wrongBase');
    assert.equal(applyDelta(accepted(snapshot(version(1, 1, 5), [])), change(version(1, 1, 7), 6, [])).kind, 'wrongBase');
  });

  for (const [what, older] of [['revision', version(2, 5, 8)], ['session', version(2, 4, 99)], ['epoch', version(1, 9, 99)]] as const) {
    it(`S4: refuses a snapshot of an earlier ${what} than it accepted`, () => {
      assert.equal(applyDelta(accepted(snapshot(version(2, 5, 9), [])), snapshot(older, [])).kind, 'older');
    });
  }

  it('S4: refuses desired state of a session before the one that it was welcomed to', () => {
    const welcomed = applyWelcome(NO_STATE, 7, 2);
    assert.ok(welcomed.kind === 'accepted');
    assert.equal(applyDelta(welcomed.state, snapshot(version(2, 6, 50), [])).kind, 'older');
    assert.equal(applyDelta(welcomed.state, snapshot(version(1, 7, 50), [])).kind, 'older');
    assert.equal(applyDelta(welcomed.state, snapshot(version(2, 7, 50), [])).kind, 'accepted');
  });

  it('S4: refuses a welcome whose number was used before, or whose epoch is past', () => {
    const welcomed = applyWelcome(NO_STATE, 7, 2);
    assert.ok(welcomed.kind === 'accepted');
    assert.equal(applyWelcome(welcomed.state, 7, 2).kind, 'older');
    assert.equal(applyWelcome(welcomed.state, 6, 3).kind, 'older');
    assert.equal(applyWelcome(welcomed.state, 8, 1).kind, 'older');
    assert.equal(applyWelcome(welcomed.state, 8, 2).kind, 'accepted');
  });

  it('is not changed by a change that comes twice', () => {
    const first = snapshot(version(1, 1, 5), [lease('a', 1)]);
    assert.deepEqual(accepted(first, first), accepted(first));
  });

  it('leaves the state that it started from as it was', () => {
    const before = accepted(snapshot(version(1, 1, 5), [lease('a', 1)]));
    applyDelta(before, change(version(1, 1, 6), 5, [lease('b', 6)], ['lease/a']));
    assert.deepEqual([...before.objects.keys()], ['lease/a']);
  });

  it('keeps the digest of its objects, and never goes back, whatever comes', () => {
    const ids = fc.constantFrom('a', 'b', 'c', 'd');
    const objects = fc.uniqueArray(fc.record({ id: ids, at: fc.nat(20) }), { selector: ({ id }) => id }).map(all => all.map(({ id, at }) => lease(id, at)));
    const versions = fc.record({ epoch: fc.nat(2), session: fc.nat(3), revision: fc.nat(6) });
    const deltas = fc.record({ version: versions, base: fc.option(fc.nat(6), { nil: undefined }), upserts: objects, removals: fc.array(ids.map(id => `lease/${id}`)) });
    fc.assert(fc.property(fc.array(deltas, { maxLength: 30 }), all => {
      let state = NO_STATE;
      for (const delta of all) {
        const result = applyDelta(state, delta);
        if (result.kind !== 'accepted') continue;
        if (state.version !== undefined) assert.ok(compareVersions(result.state.version ?? state.version, state.version) >= 0);
        assert.equal(result.state.digest, digestOf(result.state.objects.values()));
        state = result.state;
      }
    }), { numRuns: 500 });
  });
});
