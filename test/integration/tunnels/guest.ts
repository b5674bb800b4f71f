/** An agent that has nothing but tunnels, asked line by line (AskedProcess): { id, op, … }. Started as: node guest.ts JSON, with what Tunnels.open needs. */
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { Helper } from '../../../agent/drivers/holders/helper.js';
import { readBootId, BOOT_ID_PATH } from '../../../agent/drivers/settings/boot.js';
import { tunnelsConfig } from '../../../agent/tunnels/config.js';
import { launcher } from '../../../agent/tunnels/launch.js';
import { Tunnels, type TunnelWish } from '../../../agent/tunnels/tunnels.js';
import type { HeldForward, Settings } from '../../../agent/tunnels/words.js';
import { systemClock } from '../../../shared/clock.js';
import { createLogger } from '../../../shared/log.js';

type Given = { host: string; config: unknown; directory: string; settings: Partial<Settings>; desired?: TunnelWish[] };
type Request = { id: number; op: string; wishes: TunnelWish[]; tunnel: string; forward: HeldForward; port: number };

const given = JSON.parse(process.argv[2] ?? '{}') as Given;
const holders = new Helper();
const log = createLogger({ name: 'tunnels', level: 'debug', destination: process.stderr });
let changes = 0;

const tunnels = await Tunnels.open({
  host: given.host, addresses: ['10.79.0.1'], config: z.parse(tunnelsConfig, given.config), stateDir: `${given.directory}/state`, controlDir: `${given.directory}/run`, bootId: readBootId(BOOT_ID_PATH),
  uid: 0, launch: launcher({ usesScopes: false, isRoot: true }), find: question => holders.find({ topic: 'tunnels', ...question }), onChange: () => { changes += 1; }, clock: systemClock(), random: Math.random, log, settings: given.settings, keepLogsMs: 200,
}, given.desired);

async function answer({ op, wishes, tunnel, forward, port }: Request): Promise<unknown> {
  switch (op) {
    case 'desire': tunnels.setDesired(wishes); return undefined;
    case 'lease': tunnels.setDesired([], wishes); return undefined;
    case 'standing': return tunnels.standing(tunnel).length;
    case 'reports': return tunnels.reports();
    case 'known': return [...tunnels.known()];
    case 'changes': return changes;
    case 'add': return tunnels.addForward(tunnel, forward);
    case 'cancel': return tunnels.cancelForward(tunnel, forward);
    case 'ask': return firstLine(port);
    default: throw new Error(`no op ${op}`);
  }
}

/** That comes from a port of 127.0.0.1. */
function firstLine(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.setTimeout(2_000, () => socket.destroy(new Error('silent')));
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => { resolve(text.trim()); socket.destroy(); });
    socket.on('error', reject);
    socket.on('end', () => reject(new Error('closed without a word')));
  });
}

createInterface({ input: process.stdin }).on('line', line => {
  const request = JSON.parse(line) as Request;
  void answer(request).then(
    result => process.stdout.write(`${JSON.stringify({ id: request.id, answer: result })}\n`),
    (error: unknown) => process.stdout.write(`${JSON.stringify({ id: request.id, error: (error as Error).message })}\n`),
  );
}).on('close', () => {
  void tunnels.close().then(() => holders.close()).then(() => process.exit(0));
});
