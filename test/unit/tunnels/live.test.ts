import assert from 'node:assert/strict';
import { pino } from 'pino';
import { LiveForwards } from '../../../agent/tunnels/live.js';
import type { HeldForward } from '../../../agent/tunnels/words.js';

const forward = (port: number): HeldForward => ({ direction: 'reverse', listen: { host: '127.64.0.1', port }, to: { host: '10.0.0.1', port } });

describe('forwards of a connection that stands, and that its server may refuse', () => {
  /** Ports that the server refuses at the moment. */
  let refused: Set<number>;
  let wanted: number[];
  let asked: string[];
  let timers: { delayMs: number; act: () => void; isOff: boolean }[];
  let isUp: boolean;
  let anew: number;
  let live: LiveForwards;

  beforeEach(() => {
    [refused, wanted, asked, timers, isUp, anew] = [new Set(), [1, 2], [], [], true, 0];
    const link = {
      addForward: ({ to: { port } }: HeldForward) => {
        asked.push(`+${port}`);
        return refused.has(port) ? Promise.reject(new Error(`no ${port}`)) : Promise.resolve();
      },
      cancelForward: ({ to: { port } }: HeldForward) => Promise.resolve(asked.push(`-${port}`)),
    };
    live = new LiveForwards({
      id: 'host-a.lease-l1', log: pino({ level: 'silent' }), link: () => (isUp ? link : undefined), wanted: () => wanted.map(forward), onChange: () => undefined, connectAnew: () => { anew++; },
      timers: {
        after: (delayMs, act) => {
          const timer = { delayMs, act, isOff: false };
          timers.push(timer);
          return () => { timer.isOff = true; };
        },
        soon: (act) => { setImmediate(act); },
      },
    });
  });

  const ports = (): number[] => live.standing.map(({ to }) => ('port' in to ? to.port : 0));
  const due = () => timers.filter(({ isOff }) => !isOff);

  it('are added one by one; a refused one is named and tried again, and the others stand', async () => {
    refused.add(1);
    await live.catchUp();
    assert.deepEqual([ports(), live.refusal, due().map(({ delayMs }) => delayMs)], [[2], 'no 1', [1_000]]);
    refused.clear();
    due()[0]?.act();
    await live.catchUp();
    assert.deepEqual([ports(), live.refusal, anew], [[2, 1], '', 0]);
    assert.deepEqual(asked, ['+1', '+2', '+1']);
  });

  it('need another connection when the server takes none: what it allows was fixed when this one began', async () => {
    refused = new Set([1, 2]);
    await live.catchUp();
    due()[0]?.act();
    assert.deepEqual([ports(), anew], [[], 1]);
  });

  it('are all added once more to another connection, whatever the former one is told meanwhile', async () => {
    const first = live.catchUp();
    live.begin([]);
    await Promise.all([first, live.catchUp()]);
    assert.deepEqual([ports(), asked.slice(-2)], [[1, 2], ['+1', '+2']]);
  });

  it('wait while none stands, and are tried no more once it is closed', async () => {
    isUp = false;
    await live.catchUp();
    assert.deepEqual(asked, []);
    isUp = true;
    refused.add(1);
    live.close();
    await live.catchUp();
    assert.deepEqual(due(), []);
  });
});
