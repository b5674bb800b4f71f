import assert from 'node:assert/strict';
import { isTranslated, parseEntry, type ConntrackEntry } from '../../../agent/drivers/connections/entry.js';

const CASES = [
  {
    name: 'an established TCP connection',
    line: 'tcp      6 431999 ESTABLISHED src=10.9.0.7 dst=10.9.0.1 sport=57176 dport=30000 src=10.2.0.5 dst=10.9.0.7 sport=22 dport=57176 [ASSURED] mark=0 use=1',
    entry: { transport: 'tcp', original: { source: '10.9.0.7', sourcePort: 57_176, destination: '10.9.0.1', destinationPort: 30_000 },
      reply: { source: '10.2.0.5', sourcePort: 22, destination: '10.9.0.7', destinationPort: 57_176 } },
  },
  {
    name: 'a UDP flow without an answer',
    line: 'udp      17 29 src=10.9.0.7 dst=10.9.0.1 sport=51132 dport=30000 [UNREPLIED] src=10.9.0.1 dst=10.9.0.7 sport=30000 dport=51132 mark=0 use=1',
    entry: { transport: 'udp', original: { source: '10.9.0.7', sourcePort: 51_132, destination: '10.9.0.1', destinationPort: 30_000 },
      reply: { source: '10.9.0.1', sourcePort: 30_000, destination: '10.9.0.7', destinationPort: 51_132 } },
  },
  {
    name: 'one that is over and only remembered, with counters, zone, and the family before it',
    line: 'ipv6     10 tcp      6 9 TIME_WAIT src=fd00::7 dst=fd00::1 sport=1 dport=65535 packets=4 bytes=300 src=fd00:2::5 dst=fd00::7 sport=22 dport=1 packets=2 bytes=100 [ASSURED] mark=0 zone=3 use=1',
    entry: { transport: 'tcp', isClosing: true, original: { source: 'fd00::7', sourcePort: 1, destination: 'fd00::1', destinationPort: 65_535 },
      reply: { source: 'fd00:2::5', sourcePort: 22, destination: 'fd00::7', destinationPort: 1 } },
  },
];

describe('an entry of the connection table', () => {
  for (const { name, line, entry } of CASES) {
    it(`is read: ${name}`, () => { assert.deepEqual(parseEntry(line), entry); });
  }

  it('is translated when the replies come from elsewhere', () => {
    assert.deepEqual(CASES.map(({ line }) => isTranslated(parseEntry(line) as ConntrackEntry)), [true, false, true]);
  });

  for (const line of ['icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=7 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=7',
    'ipv4     2 gre      47 59 src=1.1.1.1 dst=2.2.2.2 srckey=0x1 dstkey=0x2 src=2.2.2.2 dst=1.1.1.1 srckey=0x2 dstkey=0x1', 'unknown  99 9 src=1.1.1.1 dst=2.2.2.2']) {
    it(`of another protocol is none: ${line.slice(0, 8).trim()}`, () => { assert.equal(parseEntry(line), undefined); });
  }

  for (const line of ['', 'tcp 6 src=10.0.0.1', 'ipv6     10 tcp      6 9 src=10.0.0.1', 'ipv4     2 udp      17 9 src=10.0.0.1']) {
    it(`that is not understood is an error, not an absent one: ${JSON.stringify(line.slice(0, 20))}`, () => {
      assert.throws(() => parseEntry(line), /not understood in the output of conntrack/);
    });
  }
});
