/** `portlease purge`. */
import type { Command } from 'commander';
import { OperationsServiceService, PurgeResponse } from '../../shared/gen/portlease/v1/operations.js';
import { isSet } from '../flags.js';
import type { Act, Flags, Job } from '../job.js';
import { jsonOf } from '../json.js';
import { properties } from '../table.js';
import { timeText } from '../words.js';

export function addPurge(program: Command, act: Act): void {
  program.command('purge')
    .description('delete records of ports released long ago, old events and old audit records now, instead of at the next time of day')
    .option('--dry-run', 'only say how many there are')
    .action(act(preparePurge));
}

function preparePurge(_args: readonly string[], flags: Flags): Job {
  const dryRun = isSet(flags, 'dryRun');
  return {
    what: dryRun ? 'count what a purge would delete' : 'purge',
    resume: 'portlease purge --dry-run tells what is left',
    run: async (coordinator) => {
      const answer = await coordinator.call(OperationsServiceService.purge, { dryRun });
      const { mappings, events, audits, owners, releasedBefore, eventsBefore, auditsBefore, finished } = answer;
      const rows = properties([
        ['released ports', `${mappings}, of before ${timeText(releasedBefore)}`], ['events', `${events}, of before ${timeText(eventsBefore)}`],
        ['audit records', `${audits}, of before ${timeText(auditsBefore)}`], ['former owners', `${owners}, of before ${timeText(auditsBefore)}`],
      ]);
      const head = dryRun ? 'dry run: nothing was deleted; there are\n' : finished ? 'deleted\n' : 'being deleted\n';
      return { json: jsonOf(PurgeResponse, answer), text: head + rows, next: finished ? [] : ['it goes on; portlease purge --dry-run tells what is left'] };
    },
  };
}
