import assert from 'node:assert/strict';
import { lineReader, OwnWrites, parseLine, type Heard } from '../../../agent/drivers/watch/generations.js';

function linesOf(...chunks: string[]): string[] {
  const lines: string[] = [];
  const read = lineReader(line => lines.push(line));
  for (const chunk of chunks) read(chunk);
  return lines;
}

const by = (pid: number, process: string): Heard => ({ kind: 'generation', pid, process });

describe('lines of nft monitor', () => {
  it('are put together from pieces', () => {
    assert.deepEqual(linesOf('# new gener', 'ation 2\nadd', ' table\n', '\n', 'rest'), ['# new generation 2', 'add table', '']);
  });

  it('that are too long are dropped, and what follows is read', () => {
    const long = 'x'.repeat(200);
    assert.deepEqual(linesOf(`a\n${long}${long}\nb\n`), ['a', 'b']);
    assert.deepEqual(linesOf('a\n', ...Array.from({ length: 50 }, () => long), '\nb\n'), ['a', 'b']);
    assert.deepEqual(linesOf(long, `${long}\n# new generation 3\n`), ['# new generation 3']);
  });

  it('tell generations with their process, whatever it is called', () => {
    assert.deepEqual(parseLine('# new generation 5 by process 24859 (iptables-restor)'), by(24_859, 'iptables-restor'));
    assert.deepEqual(parseLine('# new generation 5 by process 7 (a (b) c)'), by(7, 'a (b) c'));
    assert.deepEqual(parseLine('# new generation 5'), { kind: 'generation', pid: undefined, process: undefined });
  });

  it('tell that events were lost', () => {
    assert.deepEqual(parseLine('# ERROR: We lost some netlink events!'), { kind: 'lost' });
  });

  it('about rules are of no interest, even if a comment looks like a generation', () => {
    for (const line of ['add rule ip nat FOO tcp dport 80 counter packets 0 bytes 0 dnat to 10.0.0.1:80', 'delete rule ip nat FOO handle 2', '',
      'add rule ip nat FOO comment "# new generation 5"', '# new generation 5 by somebody', '# new generation x']) assert.equal(parseLine(line), undefined, line);
  });
});

describe('own transactions', () => {
  it('are all generations of one process for one run of the program', () => {
    const own = new OwnWrites();
    own.begin('iptables-restore');
    assert.deepEqual([1, 2, 3].map(() => own.isOwn(by(10, 'iptables-restor'), 0)), [true, true, true]);
  });

  it('leave those of a foreign run of the same program, whichever is heard first', () => {
    const own = new OwnWrites();
    own.begin('iptables-restore');
    assert.deepEqual([10, 11, 10, 11].map(pid => own.isOwn(by(pid, 'iptables-restor'), 0)), [true, false, true, false]);
  });

  it('of two families or at once are counted one by one', () => {
    const own = new OwnWrites();
    own.begin('iptables-restore');
    own.begin('ip6tables-restore');
    own.begin('iptables-restore');
    const heard = [by(1, 'iptables-restor'), by(2, 'ip6tables-resto'), by(3, 'iptables-restor'), by(4, 'ip6tables-resto'), by(5, 'iptables-restor')];
    assert.deepEqual(heard.map(each => own.isOwn(each, 0)), [true, true, true, false, false]);
  });

  it('are heard of until a second after their end, not later', () => {
    const own = new OwnWrites();
    const end = own.begin('iptables-restore');
    assert.equal(own.isOwn(by(1, 'iptables-restor'), 100_000), true);
    end(100_000);
    assert.equal(own.isOwn(by(1, 'iptables-restor'), 100_999), true);
    assert.equal(own.isOwn(by(1, 'iptables-restor'), 101_000), false);
  });

  it('are no cover for iptables, nft, lost events or programs that write nothing', () => {
    const own = new OwnWrites();
    own.begin('iptables-restore');
    assert.equal(own.isOwn(by(1, 'iptables'), 0), false);
    assert.equal(own.isOwn(by(1, 'nft'), 0), false);
    assert.equal(own.isOwn({ kind: 'lost' }, 0), false);
    const reading = new OwnWrites();
    reading.begin('iptables-save')(0);
    reading.begin('ipset')(0);
    assert.equal(reading.isOwn(by(1, 'iptables-save'), 0), false);
  });

  it('are assumed where the kernel names no process, as long as one runs', () => {
    const own = new OwnWrites();
    const heard: Heard = { kind: 'generation', pid: undefined, process: undefined };
    assert.equal(own.isOwn(heard, 0), false);
    own.begin('iptables-restore')(0);
    assert.equal(own.isOwn(heard, 999), true);
    assert.equal(own.isOwn(heard, 1_000), false);
  });
});
