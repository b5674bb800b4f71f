/** A certificate authority of its own for a test, made by openssl, and calls with its certificates. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { refusedOf } from '../../../cli/errors.js';
import { AgentServiceService, type HeartbeatResponse } from '../../../shared/gen/portlease/v1/agents.js';
import { CreateHostRequest, OperationsServiceService, type DeepPartial, type Gateway, type Host } from '../../../shared/gen/portlease/v1/operations.js';
import { AllocatePortsRequest, PortServiceService } from '../../../shared/gen/portlease/v1/ports.js';
import { TunnelServiceService, type Tunnel } from '../../../shared/gen/portlease/v1/tunnels.js';
import { CLIENT_OPTIONS } from '../../../shared/grpc.js';

export function authority(folder: string): void {
  openssl(folder, ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1', '-subj', '/CN=test', '-keyout', 'ca.key', '-out', 'ca.pem']);
}

/** `san` as openssl takes it: "URI:portlease://host/h1,IP:127.0.0.1". */
export function certificate(folder: string, name: string, san: string): void {
  writeFileSync(path.join(folder, `${name}.ext`), `subjectAltName=${san}\n`);
  openssl(folder, ['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`]);
  openssl(folder, ['x509', '-req', '-days', '1', '-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', `${name}.ext`, '-out', `${name}.pem`]);
}

function openssl(folder: string, args: string[]): void {
  execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
}

type Method<Request, Response> = { path: string; requestSerialize: (request: Request) => Buffer; responseDeserialize: (bytes: Buffer) => Response };

export type CertifiedCaller = {
  listGateways: () => Promise<Gateway[]>;
  createHost: (host: DeepPartial<Host>) => Promise<unknown>;
  heartbeat: (host: string) => Promise<HeartbeatResponse>;
  allocate: () => Promise<unknown>;
  listTunnels: () => Promise<Tunnel[]>;
  stopTunnel: () => Promise<unknown>;
  close: () => void;
};

export function callWith(folder: string, name: string, address: string): CertifiedCaller {
  const file = (suffix: string): Buffer => readFileSync(path.join(folder, suffix));
  const client = new Client(address, credentials.createSsl(file('ca.pem'), file(`${name}.key`), file(`${name}.pem`)), CLIENT_OPTIONS);
  const call = <Request, Response>(method: Method<Request, Response>, request: Request): Promise<Response> => new Promise((resolve, reject) => {
    const done = (error: ServiceError | null, response?: Response): void => { if (error === null) resolve(response as Response); else reject(refusedOf(error)); };
    client.makeUnaryRequest(method.path, method.requestSerialize, method.responseDeserialize, request, new Metadata(), { deadline: Date.now() + 5000 }, done);
  });
  return {
    listGateways: async () => (await call(OperationsServiceService.listGateways, {})).gateways,
    createHost: (host) => call(OperationsServiceService.createHost, CreateHostRequest.fromPartial({ host })),
    heartbeat: (host) => call(AgentServiceService.heartbeat, { host, session: 1, sequence: 1, acceptedRevision: 0, digest: '0'.repeat(16) }),
    allocate: () => call(PortServiceService.allocatePorts, AllocatePortsRequest.fromPartial({
      tenant: 't', environment: 'e', host: 'h1',
      wants: [{ name: 'ssh', source: { $case: 'pool', value: 'ssh-linux' }, target: { kind: { $case: 'address', value: '10.0.0.1' } } }],
    })),
    listTunnels: async () => (await call(TunnelServiceService.listTunnels, { gateway: '', host: '', pageSize: 0, pageToken: '' })).tunnels,
    stopTunnel: () => call(TunnelServiceService.stopTunnel, { host: 'h1', tunnel: 'absent', reason: '' }),
    close: () => { client.close(); },
  };
}
