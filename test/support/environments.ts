/** Environments as tests ask for them, and what is left of them. */
import type { DeepPartial } from '../../shared/gen/portlease/v1/environments.js';
import type { CreateEnvironmentRequest } from '../../shared/gen/portlease/v1/environments.js';
import type { Bench, BenchOptions } from './bench.js';
import { IMAGE } from './docker.js';
import { WEB_PORT } from './image.js';
import { GATEWAY_PUBLIC } from './layout.js';

/** A bench whose hosts may run the image of the tests. */
export function environmentsBench(rules: Record<string, unknown> = {}): BenchOptions {
  const environments = { enabled: true, images: ['plbench/*'], volumes: ['test-*'], gpus: true, ...rules };
  return {
    agent: { environments },
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
