import assert from 'node:assert/strict';
import { Monitor } from '../../../agent/drivers/watch/monitor.js';
import { systemClock } from '../../../shared/clock.js';
import { createLogger } from '../../../shared/log.js';
import { eventually } from '../../support/wait.js';

const WITHIN = { withinMs: 5_000 };

describe('the monitor of netfilter changes', () => {
  let monitor: Monitor | undefined;
  let logged: { msg: string; problem: string }[] = [];
  let lines: string[] = [];
  afterEach(async () => { await monitor?.close(); });

  function start(...command: [string, ...string[]]): void {
    logged = [];
    lines = [];
    const destination = { write: (line: string) => { logged.push(JSON.parse(line) as { msg: string; problem: string }); } };
    monitor = new Monitor({
      command, onLine: line => lines.push(line), clock: systemClock(), random: () => 0, log: createLogger({ name: 'test', level: 'info', destination }),
    });
  }

  for (const command of [['setpriv', '--pdeathsig', 'KILL', 'portlease-no-such-program'], ['portlease-no-such-program']] as [string, ...string[]][]) {
    it(`is said to be missing, once, and is not tried again: ${command.join(' ')}`, async () => {
      start(...command);
      await eventually('the warning', () => logged.length > 0, WITHIN);
      assert.match(logged[0]?.msg ?? '', /package nftables.*is missing/);
      assert.match(logged[0]?.problem ?? '', /portlease-no-such-program/);
      await monitor?.close();
      assert.equal(logged.length, 1);
    });
  }

  it('is started again after its end, and what it says on stderr is logged once', async () => {
    start('find', '/proc/self/comm', '/no/such/path');
    await eventually('three lives', () => lines.length >= 3, WITHIN);
    assert.equal(logged.length, 1);
    assert.match(logged[0]?.problem ?? '', /exit status 1: find: .*No such file or directory/);
  });

  it('is not started again once it is closed, not even while it waits for that', async () => {
    start('find', '/proc/self/comm', '/no/such/path');
    await eventually('the first end', () => logged.length > 0, WITHIN);
    await monitor?.close();
    const lives = lines.length;
    start('find', '/proc/self/comm', '/no/such/path');
    await eventually('a second life of another one', () => lines.length >= 2, WITHIN);
    assert.equal(lives, 1);
  });

  it('ends at once when it is closed, also before it could be started', async () => {
    start('sleep', '60');
    await monitor?.close();
    start('portlease-no-such-program');
    await monitor?.close();
    assert.deepEqual(logged, []);
  });
});
