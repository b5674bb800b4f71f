/** Connections to the coordinator. Each client has one of its own, and closing the client ends it. */
import type { ChannelCredentials } from '@grpc/grpc-js';
import { AgentServiceClient } from '../../shared/gen/portlease/v1/agents.js';
import { CLIENT_OPTIONS } from '../../shared/grpc.js';

export type Coordinator = {
  /** As grpc-js takes it: "host:port" or "unix:/path". */
  address: string;
  /** Asked for each connection, so that renewed certificates are used. Throws when the files cannot be used. */
  credentials: () => ChannelCredentials;
};

export function connect({ address, credentials }: Coordinator): AgentServiceClient {
  return new AgentServiceClient(address, credentials(), CLIENT_OPTIONS);
}
