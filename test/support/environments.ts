/** Environments as tests ask for them, and what is left of them. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DeepPartial } from '../../shared/gen/portlease/v1/environments.js';
import type { CreateEnvironmentRequest } from '../../shared/gen/portlease/v1/environments.js';
import type { Bench, BenchOptions } from './bench.js';
import { IMAGE, type Dockerd } from './docker.js';
import { GATE_SOCKET } from './docker-gate.js';
import { WEB_PORT } from './image.js';
import { GATEWAY_PUBLIC } from './layout.js';
import { MappingState } from './requests.js';
import { eventually } from './wait.js';

const STANDING = [MappingState.MAPPING_STATE_RELEASED, MappingState.MAPPING_STATE_UNSPECIFIED];

/** What there is on host-a besides environments: has to be the same afterwards. */
export type Before = { containers: string; volumes: string };

export async function lookAround(docker: Dockerd): Promise<Before> {
  return { containers: await docker.run(['ps', '--all', '--quiet', '--no-trunc']), volumes: await docker.run(['volume', 'ls', '--quiet']) };
}

/** Nothing of any environment is left on either side: container, volume, rule, mapping, environment. */
export async function assertNothingLeft(bench: Bench, docker: Dockerd, before: Before): Promise<void> {
  assert.deepEqual(await lookAround(docker), before);
  assert.deepEqual((await bench.api.listEnvironments()).environments.map(({ environment }) => environment), []);
  assert.deepEqual((await bench.api.mappings()).filter(({ state }) => !STANDING.includes(state)), []);
  for (const node of ['host-a', 'gateway'] as const) {
    await eventually(`the rules of ${node} to lead nowhere`, async () => {
      const rules = await bench.rules(node, 'nat');
      return rules.filter((rule) => rule.includes('PORTLEASE') && rule.includes('-j DNAT') && rule.includes('172.')).length === 0;
    }, { withinMs: 10_000, everyMs: 50 });
  }
}

/** Files of the coordinator and of the agents, their logs and state, that have one of these texts in them. Docker's own are left out.
 *  A daemon writes a file beside the old one and renames it: one that went between list and reading is read under its other name. */
export function filesWith(bench: Bench, texts: readonly string[]): string[] {
  const files = readdirSync(bench.directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const own = files.filter((file) => !file.includes('/docker/'));
  if (own.length < 5) throw new Error(`only ${own.length} files: that cannot be all of them`);
  return own.filter((file) => {
    const content = contentOf(file) ?? contentOf(file.replace(/\.new$/, ''));
    return content !== undefined && texts.some((text) => content.includes(text));
  });
}

/** undefined when there is no such file (any more). */
function contentOf(file: string): Buffer | undefined {
  try { return readFileSync(file); } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** A bench whose hosts may run the image of the tests. */
export function environmentsBench({ rules = {}, gated = false }: { rules?: Record<string, unknown>; gated?: boolean } = {}): BenchOptions {
  const environments = { enabled: true, images: ['plbench/*'], volumes: ['test-*'], gpus: true, ...rules };
  return {
    agent: { environments, ...(gated ? { docker: { socket: GATE_SOCKET } } : {}) },
    pools: [
      { pool: 'ssh', serviceType: 'ssh', ranges: ['30000-30063'], protocol: 'tcp', defaultInternalPort: 22 },
      { pool: 'web', serviceType: 'web', ranges: ['32000-32063'], protocol: 'tcp', defaultInternalPort: WEB_PORT },
    ],
  };
}

type Request = DeepPartial<CreateEnvironmentRequest>;

/** ssh and a web server, on host-a. */
export function requestOf(environment: string, container: Request['container'] = {}, of: Request = {}): Request {
  return {
    environment, tenant: 'tenant-1', host: 'host-a', container: { image: IMAGE, ...container }, startTimeout: { seconds: 20, nanos: 0 },
    wants: [{ name: 'ssh', source: { $case: 'pool', value: 'ssh' } }, { name: 'web', source: { $case: 'pool', value: 'web' } }], ...of,
  };
}

/** What the web server says through the gateway; '' when nobody answers. */
export async function page(bench: Bench, port: number): Promise<string> {
  const argv = ['curl', '--silent', '--max-time', '2', `http://${GATEWAY_PUBLIC[4]}:${port}/`];
  return (await bench.topology.run('client', argv, { accept: [7, 28, 52, 56] })).stdout.trim();
}
