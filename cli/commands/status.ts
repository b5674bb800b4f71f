/** `portlease status`. */
import type { Command } from 'commander';
import { GetStatusResponse, OperationsServiceService } from '../../shared/gen/portlease/v1/operations.js';
import type { Act, Job } from '../job.js';
import { jsonOf } from '../json.js';
import { statusScreen } from '../status-screen.js';

export function addStatus(program: Command, act: Act): void {
  program.command('status')
    .description('one screen: the coordinator, its gateways, pools and hosts, and what needs attention')
    .action(act(prepareStatus));
}

function prepareStatus(): Job {
  return {
    what: 'status',
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.getStatus, {});
      return { json: jsonOf(GetStatusResponse, response), text: statusScreen(response) };
    },
  };
}
