/** Calls to a coordinator as schedulers and operators make them. A refusal is thrown as Refused, with code, reason and fields. */
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { Refused, refusedOf } from '../../cli/errors.js';
import { CLIENT_OPTIONS } from '../../shared/grpc.js';
import { HealthCheckRequest, HealthCheckResponse_ServingStatus, HealthService } from '../../shared/gen/grpc/health/v1/health.js';
import * as environments from '../../shared/gen/portlease/v1/environments.js';
import * as events from '../../shared/gen/portlease/v1/events.js';
import * as operations from '../../shared/gen/portlease/v1/operations.js';
import * as tunnels from '../../shared/gen/portlease/v1/tunnels.js';
import * as ports from '../../shared/gen/portlease/v1/ports.js';
import { eventually } from './wait.js';

export { Refused } from '../../cli/errors.js';
export { status } from '@grpc/grpc-js';

type Method<Request, Response> = {
  path: string;
  requestSerialize: (request: Request) => Buffer;
  responseDeserialize: (bytes: Buffer) => Response;
};

const OPTIONS = { ...CLIENT_OPTIONS, 'grpc.initial_reconnect_backoff_ms': 50, 'grpc.max_reconnect_backoff_ms': 200 };

const OPERATIONS = operations.OperationsServiceService;
const PORTS = ports.PortServiceService;
const TUNNELS = tunnels.TunnelServiceService;
const ENVIRONMENTS = environments.EnvironmentServiceService;

export class Api {
  readonly #client: Client;
  readonly #deadlineMs: number;

  /** `address` as grpc-js takes it: "unix:/path" or "host:port". */
  constructor(address: string, deadlineMs = 10_000) {
    this.#client = new Client(address, credentials.createInsecure(), OPTIONS);
    this.#deadlineMs = deadlineMs;
  }

  call<Request, Response>(method: Method<Request, Response>, request: Request, deadlineMs = this.#deadlineMs): Promise<Response> {
    return new Promise((resolve, reject) => {
      const done = (error: ServiceError | null, response?: Response) => (error === null ? resolve(response as Response) : reject(refusedOf(error)));
      this.#client.makeUnaryRequest(method.path, method.requestSerialize, method.responseDeserialize, request, { deadline: Date.now() + deadlineMs }, done);
    });
  }

  /** A call that may be cancelled; `done` is told of its end, whatever that is. */
  begin<Request, Response>(method: Method<Request, Response>, request: Request, done: () => void): { cancel: () => void } {
    return this.#client.makeUnaryRequest(method.path, method.requestSerialize, method.responseDeserialize, request, { deadline: Date.now() + this.#deadlineMs }, () => { done(); });
  }

  allocate(request: ports.DeepPartial<ports.AllocatePortsRequest>, deadlineMs?: number): Promise<ports.AllocatePortsResponse> {
    return this.call(PORTS.allocatePorts, ports.AllocatePortsRequest.fromPartial(request), deadlineMs);
  }

  async allocateBatch(requests: readonly ports.DeepPartial<ports.AllocatePortsRequest>[], deadlineMs?: number): Promise<ports.BatchAllocateResult[]> {
    const request = ports.BatchAllocatePortsRequest.fromPartial({ requests: [...requests] });
    return (await this.call(PORTS.batchAllocatePorts, request, deadlineMs)).results;
  }

  release(request: ports.DeepPartial<ports.ReleasePortsRequest>, deadlineMs?: number): Promise<ports.ReleasePortsResponse> {
    return this.call(PORTS.releasePorts, ports.ReleasePortsRequest.fromPartial(request), deadlineMs);
  }

  move(request: ports.DeepPartial<ports.MoveEnvironmentRequest>, deadlineMs?: number): Promise<ports.MoveEnvironmentResponse> {
    return this.call(PORTS.moveEnvironment, ports.MoveEnvironmentRequest.fromPartial(request), deadlineMs);
  }

  updateMapping(request: ports.DeepPartial<ports.UpdateMappingRequest>, deadlineMs?: number): Promise<ports.UpdateMappingResponse> {
    return this.call(PORTS.updateMapping, ports.UpdateMappingRequest.fromPartial(request), deadlineMs);
  }

  createEnvironment(request: environments.DeepPartial<environments.CreateEnvironmentRequest>, deadlineMs = 30_000): Promise<environments.CreateEnvironmentResponse> {
    return this.call(ENVIRONMENTS.createEnvironment, environments.CreateEnvironmentRequest.fromPartial(request), deadlineMs);
  }

  deleteEnvironment(request: environments.DeepPartial<environments.DeleteEnvironmentRequest>, deadlineMs = 30_000): Promise<environments.DeleteEnvironmentResponse> {
    return this.call(ENVIRONMENTS.deleteEnvironment, environments.DeleteEnvironmentRequest.fromPartial(request), deadlineMs);
  }

  rotateCredentials(environment: string, deadlineMs = 30_000): Promise<environments.RotateCredentialsResponse> {
    return this.call(ENVIRONMENTS.rotateCredentials, { environment }, deadlineMs);
  }

  /** Events of an environment of the gateway of the tests, in order. */
  async events(environment: string, gateway = 'edge'): Promise<events.Event[]> {
    const request = events.ListEventsRequest.fromPartial({ gateway, filter: { environment }, pageSize: 1_000 });
    return (await this.call(events.EventServiceService.listEvents, request)).events;
  }

  async environment(environment: string): Promise<ports.Environment> {
    const response = await this.call(PORTS.getEnvironment, { environment });
    if (response.environment === undefined) throw new Error(`the answer about ${environment} is empty`);
    return response.environment;
  }

  listEnvironments(request: ports.DeepPartial<ports.ListEnvironmentsRequest> = {}): Promise<ports.ListEnvironmentsResponse> {
    return this.call(PORTS.listEnvironments, ports.ListEnvironmentsRequest.fromPartial(request));
  }

  async mappings(filter: ports.DeepPartial<ports.ListMappingsRequest> = {}): Promise<ports.Mapping[]> {
    return (await this.call(PORTS.listMappings, ports.ListMappingsRequest.fromPartial({ pageSize: 1_000, ...filter }))).mappings;
  }

  status(): Promise<operations.GetStatusResponse> {
    return this.call(OPERATIONS.getStatus, {});
  }

  createGateway(gateway: operations.DeepPartial<operations.Gateway>): Promise<operations.CreateGatewayResponse> {
    return this.call(OPERATIONS.createGateway, operations.CreateGatewayRequest.fromPartial({ gateway }));
  }

  createPool(pool: operations.DeepPartial<operations.Pool>): Promise<operations.CreatePoolResponse> {
    return this.call(OPERATIONS.createPool, operations.CreatePoolRequest.fromPartial({ pool }));
  }

  async pools(gateway = ''): Promise<operations.Pool[]> {
    return (await this.call(OPERATIONS.listPools, { gateway })).pools;
  }

  async gateways(): Promise<operations.Gateway[]> {
    return (await this.call(OPERATIONS.listGateways, {})).gateways;
  }

  async host(host: string): Promise<operations.Host | undefined> {
    return (await this.call(OPERATIONS.listHosts, { gateway: '', host })).hosts.find((entry) => entry.host === host);
  }

  replaceHost(host: string, reason: string): Promise<operations.ReplaceHostResponse> {
    return this.call(OPERATIONS.replaceHost, { host, reason });
  }

  forgetHost(host: string, of: Partial<operations.ForgetHostRequest> = {}): Promise<operations.ForgetHostResponse> {
    return this.call(OPERATIONS.forgetHost, { host, reason: 'test', hostIsOff: false, gatewayIsOff: false, ...of });
  }

  reclaimHost(host: string, reason: string): Promise<operations.ReclaimHostResponse> {
    return this.call(OPERATIONS.reclaimHost, { host, reason, override: false });
  }

  async conflicts(filter: Partial<operations.ListConflictsRequest> = {}): Promise<operations.PortConflict[]> {
    return (await this.call(OPERATIONS.listConflicts, operations.ListConflictsRequest.fromPartial({ pageSize: 1_000, ...filter }))).conflicts;
  }

  createTunnel(spec: tunnels.DeepPartial<tunnels.TunnelSpec>, { wait = false, deadlineMs }: { wait?: boolean; deadlineMs?: number } = {}): Promise<tunnels.CreateTunnelResponse> {
    return this.call(TUNNELS.createTunnel, tunnels.CreateTunnelRequest.fromPartial({ spec, wait }), deadlineMs);
  }

  async tunnels(filter: Partial<tunnels.ListTunnelsRequest> = {}): Promise<tunnels.Tunnel[]> {
    return (await this.call(TUNNELS.listTunnels, tunnels.ListTunnelsRequest.fromPartial({ pageSize: 1_000, ...filter }))).tunnels;
  }

  async tunnel(host: string, tunnel: string): Promise<tunnels.Tunnel> {
    const response = await this.call(TUNNELS.getTunnel, { host, tunnel });
    if (response.tunnel === undefined) throw new Error(`the answer about ${host}/${tunnel} is empty`);
    return response.tunnel;
  }

  restartTunnel(host: string, tunnel: string, deadlineMs?: number): Promise<tunnels.RestartTunnelResponse> {
    return this.call(TUNNELS.restartTunnel, { host, tunnel, reason: 'test' }, deadlineMs);
  }

  async leases(filter: operations.DeepPartial<operations.ListLeasesRequest> = {}): Promise<operations.Lease[]> {
    return (await this.call(OPERATIONS.listLeases, operations.ListLeasesRequest.fromPartial({ pageSize: 1_000, ...filter }))).leases;
  }

  async isServing(): Promise<boolean> {
    const { status } = await this.call(HealthService.check, HealthCheckRequest.fromPartial({}), 1_000);
    return status === HealthCheckResponse_ServingStatus.SERVING;
  }

  /** Waits until the coordinator sees the host so. */
  async untilHost(host: string, state: operations.HostState, options: { withinMs?: number; hint?: () => string } = {}): Promise<operations.Host> {
    let last = 'never listed';
    return await eventually(`${host} to be ${operations.HostState[state]}`, async () => {
      const found = await this.host(host);
      last = found === undefined ? 'not listed' : operations.HostState[found.state];
      return found?.state === state ? found : undefined;
    }, { withinMs: options.withinMs ?? 15_000, hint: () => `last seen: ${last}\n${options.hint?.() ?? ''}` });
  }

  close(): void {
    this.#client.close();
  }
}

/** The refusal that this call comes to; an error when it succeeds or fails otherwise. */
export async function refusalOf(call: Promise<unknown>): Promise<Refused> {
  try {
    const answer = await call;
    throw new Error(`a refusal was expected, the answer was ${JSON.stringify(answer)}`);
  } catch (error) {
    if (error instanceof Refused) return error;
    throw error;
  }
}
