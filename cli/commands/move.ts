/** `portlease move ENV --to HOST`. */
import type { Command } from 'commander';
import { MoveEnvironmentResponse, PortServiceService, type MoveEnvironmentRequest } from '../../shared/gen/portlease/v1/ports.js';
import { Wait } from '../../shared/gen/portlease/v1/common.js';
import { choice, dnsLabel } from '../fields.js';
import { collect, needed, optional, texts } from '../flags.js';
import type { Act, Flags, Job } from '../job.js';
import { jsonOf } from '../json.js';
import { parseMoveTargets } from '../wants.js';
import { WAITS } from '../words.js';
import { environmentHints, environmentText } from './environments.js';

export function addMove(program: Command, act: Act): void {
  program.command('move')
    .description('move an environment to another host of its gateway; it keeps its port numbers')
    .argument('<env>', 'environment')
    .option('--to <host>', 'the new host')
    .option('--target <name=target>', 'where a port leads there: NAME=ADDRESS[:PORT], NAME=container:CONTAINER… (repeatable); those left out keep their target', collect)
    .option('--wait <until>', `how far to wait: ${Object.keys(WAITS).join(', ')} (default: live)`)
    .action(act(prepareMove));
}

function prepareMove([name = '']: readonly string[], flags: Flags): Job {
  const request: MoveEnvironmentRequest = {
    environment: dnsLabel('ENV', name),
    host: needed(flags, 'to', dnsLabel, 'Say where it goes: --to HOST; `portlease hosts` lists them.'),
    targets: parseMoveTargets(texts(flags, 'target')),
    wait: optional(flags, 'wait', (flag, value) => choice(flag, value, WAITS)) ?? Wait.WAIT_UNSPECIFIED,
  };
  return {
    what: `move ${request.environment} to ${request.host}`,
    run: async (coordinator) => {
      const response = await coordinator.call(PortServiceService.moveEnvironment, request);
      const moved = response.environment;
      if (moved === undefined) throw new Error('the coordinator answered without an environment');
      return { json: jsonOf(MoveEnvironmentResponse, response), text: environmentText(moved), next: environmentHints(moved) };
    },
    resume: 'run the same command again to go on waiting: moving twice is safe',
  };
}
