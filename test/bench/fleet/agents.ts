/**
 * Plays many agents in one process: node agents.js FILE, a JSON object { address, sharing, agents }. Reads commands, a line each, and answers each
 * with a line of JSON; ends with its input.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { systemClock } from '../../../shared/clock.js';
import { createLogger } from '../../../shared/log.js';
import type { SessionLink } from '../../../agent/session/link.js';
import { simulatedAgent } from './agent.js';
import { Meter } from './meter.js';
import type { PlannedAgent } from './plan.js';
import { Connections, type Sharing } from './transport.js';

export type AgentsFile = { address: string; sharing: Sharing; agents: PlannedAgent[] };
export type AgentsCommand = 'start' | 'mark' | 'progress' | 'heartbeats' | 'cpu';

/** The first hellos are spread, as when machines are brought up one after another. */
const STARTS_PER_SECOND = 150;

class Agents {
  readonly #links: SessionLink[];
  readonly #meter: Meter;

  constructor({ address, sharing, agents }: AgentsFile) {
    const connections = new Connections(address, sharing);
    const clock = systemClock();
    const log = createLogger({ name: 'agents', level: 'silent' });
    this.#meter = new Meter(agents.length);
    this.#links = agents.map((planned, index) =>
      simulatedAgent({ planned, transport: this.#meter.watch(index, connections.transportOf(index)), clock, random: Math.random, log }));
  }

  async answer(command: AgentsCommand): Promise<object> {
    switch (command) {
      case 'start': return this.#start();
      case 'mark': this.#meter.mark(); return {};
      case 'progress': return this.#meter.progress;
      case 'heartbeats': return this.#meter.takeHeartbeats();
      case 'cpu': return process.cpuUsage();
      default: return command satisfies never;
    }
  }

  async #start(): Promise<object> {
    for (const [index, link] of this.#links.entries()) {
      link.start();
      if (index % 20 === 19) await pause(20_000 / STARTS_PER_SECOND);
    }
    return {};
  }
}

async function main(file: string): Promise<void> {
  const agents = new Agents(JSON.parse(readFileSync(file, 'utf8')) as AgentsFile);
  for await (const line of createInterface({ input: process.stdin })) process.stdout.write(`${JSON.stringify(await agents.answer(line as AgentsCommand))}\n`);
}

await main(process.argv[2] ?? '');
process.exit();
