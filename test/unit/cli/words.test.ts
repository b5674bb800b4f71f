import assert from 'node:assert/strict';
import { Role } from '../../../shared/gen/portlease/v1/agents.js';
import { MappingState, Protocol, Wait } from '../../../shared/gen/portlease/v1/common.js';
import { GatewayScope, HostState, IdleAction, LeaseState, Strategy } from '../../../shared/gen/portlease/v1/operations.js';
import { duration, targetWithPort } from '../../../cli/fields.js';
import {
  durationText, endpoint, hostStateWord, IDLE_ACTIONS, leaseStateWord, mappingStateWord, protocolWord, PROTOCOLS, ROLES, roleWord, SCOPES, scopeWord,
  STRATEGIES, timeText, WAITS,
} from '../../../cli/words.js';

/** Numbers of an enum but for "unspecified". */
function valuesOf(names: object): number[] {
  return Object.values(names).filter((value): value is number => typeof value === 'number' && value !== 0);
}

describe('the words of the command line', () => {
  it('name every value of the enums that can be typed', () => {
    const typed: [words: object, names: object][] = [
      [PROTOCOLS, Protocol], [SCOPES, GatewayScope], [ROLES, Role], [IDLE_ACTIONS, IdleAction], [WAITS, Wait], [STRATEGIES, Strategy],
    ];
    for (const [words, names] of typed) assert.deepEqual(Object.values(words).toSorted(), valuesOf(names).toSorted());
  });

  it('are read back as they are typed', () => {
    for (const [word, value] of Object.entries(PROTOCOLS)) assert.equal(protocolWord(value), word);
    for (const [word, value] of Object.entries(SCOPES)) assert.equal(scopeWord(value), word);
    for (const [word, value] of Object.entries(ROLES)) assert.equal(roleWord(value), word);
  });

  it('leave out what is unspecified', () => {
    assert.deepEqual([protocolWord(0), scopeWord(0), hostStateWord(0), leaseStateWord(0), mappingStateWord(0), roleWord(0)], ['', '', '', '', '', '']);
  });

  it('name states', () => {
    assert.deepEqual([hostStateWord(HostState.HOST_STATE_SUSPECT), leaseStateWord(LeaseState.LEASE_STATE_FENCING), mappingStateWord(MappingState.MAPPING_STATE_HELD)],
      ['suspect', 'fencing', 'held']);
  });

  it('show times by their two largest units', () => {
    const shown = { '0ms': '0ms', '850ms': '850ms', '59s': '59s', '60s': '1m', '3601s': '1h', '7500s': '2h 5m', '25h': '1d 1h', '90m': '1h 30m', '1.5s': '2s' };
    for (const [typed, text] of Object.entries(shown)) assert.equal(durationText(duration('--hold', typed)), text, typed);
    assert.equal(durationText(undefined), '');
    assert.equal(timeText({ seconds: 1_700_000_000, nanos: 5 }), '2023-11-14 22:13:20Z');
    assert.equal(timeText(undefined), '');
  });

  it('put IPv6 addresses with a port in brackets, and read them so', () => {
    assert.deepEqual([endpoint('10.0.0.1', 22), endpoint('2001:db8::1', 22), endpoint('', 22)], ['10.0.0.1:22', '[2001:db8::1]:22', '']);
    assert.deepEqual(targetWithPort('--target', '[2001:db8::1]:22'), { target: { kind: 'address', address: '2001:db8::1' }, internalPort: 22 });
    assert.deepEqual(targetWithPort('--target', '2001:db8::1'), { target: { kind: 'address', address: '2001:db8::1' }, internalPort: 0 });
    assert.deepEqual(targetWithPort('--target', '10.0.0.1'), { target: { kind: 'address', address: '10.0.0.1' }, internalPort: 0 });
  });
});
