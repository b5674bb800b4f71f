import assert from 'node:assert/strict';
import { closeRanges, localPorts, rangeFilter } from '../../../agent/drivers/nginx/sockets.js';

const LEFT = 'ESTAB     0      0       203.0.113.1:30001  198.51.100.2:50000\nCLOSE-WAIT 1     0      [2001:db8::1]:30007 [2001:db8::2]:50001\n';

describe('connections that nginx carries', () => {
  it('are asked for by lease address and port, of all ranges at once', () => {
    assert.equal(rangeFilter(['203.0.113.1', '2001:db8::1'], [{ first: 30_000, last: 30_003 }, { first: 30_007, last: 30_007 }]).join(' '),
      '( src 203.0.113.1 or src [2001:db8::1] ) and ( ( sport >= :30000 and sport <= :30003 ) or ( sport >= :30007 and sport <= :30007 ) )');
  });

  it('are told by their public ports', () => {
    assert.deepEqual(localPorts(LEFT), [30_001, 30_007]);
    assert.deepEqual(localPorts(''), []);
  });

  it('are closed and read back: what is still there is told', async () => {
    const calls: string[] = [];
    const run = (file: string, argv: readonly string[]) => {
      calls.push([file, ...argv].join(' '));
      return Promise.resolve({ stdout: argv[0] === '-K' ? '' : LEFT, stderr: '' });
    };
    assert.deepEqual([...await closeRanges(run, ['203.0.113.1'], [{ first: 30_000, last: 30_003 }])], [30_001, 30_007]);
    assert.deepEqual(calls.map(call => call.slice(0, 9)), ['ss -K -H ', 'ss -H -n ']);
    assert.deepEqual([...await closeRanges(run, ['203.0.113.1'], [])], []);
    assert.equal(calls.length, 2);
  });
});
