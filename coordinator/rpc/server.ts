/** The gRPC servers: one on TCP, one on the unix socket; the same services, another way to tell who calls. */
import { rmSync } from 'node:fs';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { HealthImplementation, type ServingStatus } from 'grpc-health-check';
import { AgentServiceService } from '../../shared/gen/portlease/v1/agents.js';
import { EnvironmentServiceService } from '../../shared/gen/portlease/v1/environments.js';
import { OperationsServiceService } from '../../shared/gen/portlease/v1/operations.js';
import { PortServiceService } from '../../shared/gen/portlease/v1/ports.js';
import { TunnelServiceService } from '../../shared/gen/portlease/v1/tunnels.js';
import { endpointAddress, SERVER_OPTIONS, unixAddress, type Endpoint } from '../../shared/grpc.js';
import { systemTimers } from '../../shared/timers.js';
import { serverCredentials, type TlsMaterial } from '../../shared/tls.js';
import { agentService, type AgentsOptions } from './agents.js';
import { checked } from './definitions.js';
import { environmentService } from './environments.js';
import { EVENT_SERVICE, eventService, type EventsOptions } from './events.js';
import { identifyBy, type Transport } from './identity.js';
import { operationsService, type OperationsOptions } from './operations.js';
import { portService } from './ports.js';
import { Listener } from './listener.js';
import { addReflection } from './reflection.js';
import { tunnelService } from './tunnels.js';
import { closeToOthers, prepareSocket } from './unix-socket.js';

export type ServerOptions = Omit<AgentsOptions & OperationsOptions & EventsOptions, 'identify' | 'ownPorts' | 'watches'> & {
  listen: { grpc: Endpoint; unix: string };
  tls: TlsMaterial | undefined;
  /** For reflection: a serialized FileDescriptorSet; undefined: no reflection. */
  descriptors: Uint8Array | undefined;
};

export type RunningServer = {
  /** Port of the TCP listener. */
  port: number;
  setServing: (serving: boolean) => void;
  /** Lets calls finish for at most `graceMs`, then cuts them. */
  close: (graceMs: number) => Promise<void>;
};

const SERVICES = ['', 'portlease.v1.PortService', 'portlease.v1.EnvironmentService', 'portlease.v1.AgentService', 'portlease.v1.OperationsService', 'portlease.v1.EventService', 'portlease.v1.TunnelService'];
/** A hello of a gateway names every route that it holds. */
const MAX_AGENT_BYTES = 16 * 1024 * 1024;
const MAX_CALLER_BYTES = 4 * 1024 * 1024;

export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { listen, tls } = options;
  const health = new HealthImplementation(statusMap('SERVING'));
  let port = portOf(listen.grpc);
  const parts = { ...options, ownPorts: () => [port], watches: { open: 0 } };
  const tcp = buildServer(parts, tls === undefined ? 'plaintext' : 'tls', health);
  const unix = buildServer(parts, 'unix', health);
  const servers = [tcp, unix];
  let listener: Listener | undefined;
  try {
    await prepareSocket(listen.unix);
    await bind(unix, unixAddress(listen.unix), ServerCredentials.createInsecure());
    closeToOthers(listen.unix);
    listener = await listenFor(tcp, options);
    port = listener.port;
    return {
      port,
      setServing: (serving) => { for (const service of SERVICES) health.setStatus(service, serving ? 'SERVING' : 'NOT_SERVING'); },
      close: async (graceMs) => {
        listener?.close();
        await Promise.all(servers.map((server) => shutdown(server, graceMs)));
        rmSync(listen.unix, { force: true });
      },
    };
  } catch (error) {
    listener?.close();
    for (const server of servers) server.forceShutdown();
    throw error;
  }
}

function statusMap(status: ServingStatus): Record<string, ServingStatus> {
  return Object.fromEntries(SERVICES.map((service) => [service, status]));
}

function portOf(endpoint: Endpoint): number {
  return endpoint.kind === 'tcp' ? endpoint.port : 0;
}

function buildServer(options: ServerOptions & Pick<OperationsOptions, 'ownPorts'> & Pick<EventsOptions, 'watches'>, transport: Transport, health: HealthImplementation): Server {
  const server = new Server({ ...SERVER_OPTIONS, 'grpc.max_receive_message_length': MAX_AGENT_BYTES });
  const services = { ...options, identify: identifyBy(transport) };
  server.addService(checked(PortServiceService, MAX_CALLER_BYTES), portService(services));
  server.addService(checked(EnvironmentServiceService, MAX_CALLER_BYTES), environmentService(services));
  server.addService(checked(OperationsServiceService, MAX_CALLER_BYTES), operationsService(services));
  server.addService(checked(EVENT_SERVICE, MAX_CALLER_BYTES), eventService(services));
  server.addService(checked(TunnelServiceService, MAX_CALLER_BYTES), tunnelService(services));
  server.addService(checked(AgentServiceService, MAX_AGENT_BYTES), agentService(services));
  health.addToServer(server);
  if (options.descriptors !== undefined) addReflection(server, options.descriptors);
  return server;
}

async function listenFor(server: Server, { listen: { grpc }, tls, timers = systemTimers }: ServerOptions): Promise<Listener> {
  if (grpc.kind !== 'tcp') throw new Error(`listen.grpc: ${endpointAddress(grpc)} is no TCP address`);
  const injector = server.createConnectionInjector(serverCredentials(tls));
  try {
    return await Listener.open({ host: grpc.host, port: grpc.port, timers, letIn: (connection) => { injector.injectConnection(connection); } });
  } catch (error) {
    throw new Error(`listen: ${endpointAddress(grpc)} cannot be served: ${(error as Error).message}`, { cause: error });
  }
}

function bind(server: Server, address: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (error, port) => {
      if (error === null) resolve(port);
      else reject(new Error(`listen: ${address} cannot be served: ${error.message}`, { cause: error }));
    });
  });
}

/** tryShutdown can hang (grpc-node 1458): it is given a bound. */
async function shutdown(server: Server, graceMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve) => {
    timer = setTimeout(resolve, graceMs);
    server.tryShutdown(() => { resolve(); });
  });
  clearTimeout(timer);
  server.forceShutdown();
}
