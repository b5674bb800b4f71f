/** `portlease release ENV | --mapping ID | --port SPACE/PROTOCOL/PORT`. */
import type { Command } from 'commander';
import { PortServiceService, ReleasePortsResponse, type ReleasePortsRequest } from '../../shared/gen/portlease/v1/ports.js';
import { MappingState, Wait, type PortRef } from '../../shared/gen/portlease/v1/common.js';
import { choice, dnsLabel, mappingId, port, refuse } from '../fields.js';
import { optional } from '../flags.js';
import type { Act, Flags, Job, Result } from '../job.js';
import { jsonOf } from '../json.js';
import { UsageError } from '../usage.js';
import { durationText, PROTOCOLS } from '../words.js';
import { mappingsTable } from './mappings.js';

const WAITS = { recorded: Wait.WAIT_RECORDED, released: Wait.WAIT_LIVE } as const;

type Selector = { given: string; value: NonNullable<ReleasePortsRequest['selector']> };

export function addRelease(program: Command, act: Act): void {
  program.command('release')
    .description('give ports back: all of an environment, or one')
    .argument('[env]', 'environment: every port of it')
    .option('--mapping <id>', 'only this mapping')
    .option('--port <space/protocol/port>', 'only the mapping with this port, for example gw-1/tcp/30022')
    .option('--wait <until>', 'recorded, or released: rule and connections are gone (default: released)')
    .action(act(prepareRelease));
}

function prepareRelease([name]: readonly string[], flags: Flags): Job {
  const { given, value: selector } = selectorOf(name, flags);
  const wait = optional(flags, 'wait', (flag, value) => choice(flag, value, WAITS)) ?? Wait.WAIT_UNSPECIFIED;
  return {
    what: `release ${given}`,
    run: async (coordinator) => resultOf(given, await coordinator.call(PortServiceService.releasePorts, { selector, wait })),
    resume: 'run the same command again to go on waiting: releasing twice is safe',
  };
}

function selectorOf(name: string | undefined, flags: Flags): Selector {
  const mapping = optional(flags, 'mapping', mappingId);
  const ref = optional(flags, 'port', portRef);
  const given: Selector[] = [];
  if (name !== undefined) given.push({ given: name, value: { $case: 'environment', value: dnsLabel('ENV', name) } });
  if (mapping !== undefined) given.push({ given: mapping, value: { $case: 'mappingId', value: mapping } });
  if (ref !== undefined) given.push({ given: `port ${ref.port} of ${ref.space}`, value: { $case: 'port', value: ref } });
  const [selector, ...others] = given;
  if (selector !== undefined && others.length === 0) return selector;
  throw new UsageError(selector === undefined ? 'nothing to release is named' : 'ENV, --mapping and --port exclude each other',
    'Name one of them: portlease release ENV, or --mapping ID, or --port SPACE/PROTOCOL/PORT.');
}

/** "gw-1/tcp/30022", in scope host "gw-1/host-a/tcp/30022". */
function portRef(flag: string, value: string): PortRef {
  const parts = value.split('/');
  const [portText = '', protocol = '', ...space] = parts.reverse();
  if (space.length < 1 || space.length > 2) throw refuse(flag, value, 'does not name a port', 'Write SPACE/PROTOCOL/PORT, for example gw-1/tcp/30022 or gw-1/host-a/tcp/30022.');
  return {
    space: space.reverse().map((label) => dnsLabel(flag, label)).join('/'),
    protocol: choice(flag, protocol, PROTOCOLS),
    port: port(flag, portText),
  };
}

function resultOf(given: string, response: ReleasePortsResponse): Result {
  const json = jsonOf(ReleasePortsResponse, response);
  if (response.mappings.length === 0) return { json, text: `${given} has no ports: nothing to release\n` };
  const releasing = response.mappings.filter((mapping) => mapping.state === MappingState.MAPPING_STATE_RELEASING).length;
  return { json, text: mappingsTable(response.mappings), next: releasing === 0 ? [] : [releasingHint(releasing, response)] };
}

function releasingHint(releasing: number, response: ReleasePortsResponse): string {
  const bound = response.bound === undefined ? 'when their host returns, or is reclaimed: portlease hosts reclaim HOST' : `within ${durationText(response.bound)}`;
  return `${releasing} still releasing; done ${bound}`;
}
