/** `portlease allocate [ENV]`. */
import type { Command } from 'commander';
import { AllocatePortsResponse, PortServiceService, type AllocatePortsRequest } from '../../shared/gen/portlease/v1/ports.js';
import { Wait } from '../../shared/gen/portlease/v1/common.js';
import { choice, dnsLabel, labels, requestId } from '../fields.js';
import { collect, isSet, needed, optional, text, texts } from '../flags.js';
import type { Act, Flags, Job, Result } from '../job.js';
import { jsonOf } from '../json.js';
import { properties } from '../table.js';
import { parseWants } from '../wants.js';
import { WAITS } from '../words.js';
import { prepareBatch } from './allocate-batch.js';
import { environmentHints } from './environments.js';
import { mappingsTable } from './mappings.js';

const WANT_HELP = 'what the environment needs (repeatable): name=ssh,pool=ssh,target=10.88.1.2,internal-port=22' +
  '[,protocol=tcp|udp|tcp+udp][,count=2][,contiguous][,port=30022|prefer=30022][,client-networks=198.51.100.0/24+2001:db8::/32][,max-connections=50]; ' +
  'service=TYPE instead of pool=; target=container:NAME[@NETWORK][/4|/6] or published:NAME for Docker';

export function addAllocate(program: Command, act: Act, newId: () => string): void {
  program.command('allocate')
    .description('give an environment all the ports that it wants, or none')
    .argument('[env]', 'environment; a name is made up when it is left out')
    .option('--host <name>', 'host that runs it')
    .option('--tenant <name>', 'who pays')
    .option('--want <parts>', WANT_HELP, collect)
    .option('--label <key=value>', 'label of the environment (repeatable)', collect)
    .option('--wait <until>', `how far to wait: ${Object.keys(WAITS).join(', ')} (default: live)`)
    .option('--dry-run', 'decide and answer, change nothing')
    .option('--request-id <id>', 'makes a retry safe: the same id gets the same answer')
    .option('--batch <file>', 'YAML or JSON list of requests, each with the keys env, host, tenant, want, label, wait, dry-run, request-id; what one leaves out is taken from the flags')
    .action(act((args, flags) => {
      const batch = text(flags, 'batch');
      return batch === undefined ? prepareAllocate(args, flags, newId) : prepareBatch(batch, args, flags, newId);
    }));
}

function prepareAllocate([name]: readonly string[], flags: Flags, newId: () => string): Job {
  const environment = name === undefined ? '' : dnsLabel('ENV', name);
  const request: AllocatePortsRequest = {
    requestId: optional(flags, 'requestId', requestId) ?? `cli-${newId()}`,
    tenant: needed(flags, 'tenant', dnsLabel, 'Say whose environment it is: --tenant NAME'),
    environment,
    host: needed(flags, 'host', dnsLabel, 'Say where it runs: --host NAME; `portlease hosts` lists them.'),
    wants: parseWants(texts(flags, 'want')),
    labels: labels('--label', texts(flags, 'label')),
    wait: optional(flags, 'wait', (flag, value) => choice(flag, value, WAITS)) ?? Wait.WAIT_UNSPECIFIED,
    dryRun: isSet(flags, 'dryRun'),
  };
  const until = text(flags, 'wait') ?? 'live';
  return {
    what: environment === '' ? 'allocate ports' : `allocate ports for ${environment}`,
    run: async (coordinator) => resultOf(await coordinator.call(PortServiceService.allocatePorts, request), request),
    ...(request.dryRun ? {} : { resume: `wait on until ${until} with the same command and --request-id ${request.requestId}` }),
  };
}

function resultOf(response: AllocatePortsResponse, request: AllocatePortsRequest): Result {
  const remark = request.dryRun ? 'dry run: nothing was changed' : response.replayed ? 'answered before: nothing was changed' : 'allocated';
  const next = request.dryRun ? ['leave out --dry-run to do it'] : allocatedHints(response, request);
  return {
    json: jsonOf(AllocatePortsResponse, response),
    text: properties([['result', remark], ['environment', nameOf(response)], ['request id', response.requestId]]) + '\n' + mappingsTable(response.mappings),
    next,
  };
}

function allocatedHints(response: AllocatePortsResponse, request: AllocatePortsRequest): string[] {
  const hints = response.environment === undefined ? [] : environmentHints(response.environment);
  if (request.wait === Wait.WAIT_RECORDED) hints.push(`see whether it is live: portlease show ${nameOf(response)}`);
  return [...hints, `give the ports back: portlease release ${nameOf(response)}`];
}

function nameOf({ environment }: AllocatePortsResponse): string {
  return environment?.environment ?? '';
}
