/** How both ends of portlease's gRPC connections are set up. */
import type { ChannelOptions } from '@grpc/grpc-js';

/** A place to listen or connect: a unix socket by its absolute path, or a host and a port. */
export type Endpoint = { kind: 'unix'; path: string } | { kind: 'tcp'; host: string; port: number };

/** A snapshot of a host with 60,000 mappings is some 6 MiB. */
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

const COMMON = {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.keepalive_permit_without_calls': 1,
} as const satisfies ChannelOptions;

/** Channelz stays on: without its books grpc-js does not know its sessions, and a forced shutdown ends none of them.
 *  Agents ask for a sign of life more often than that; here it only ends connections of machines that are gone. */
export const SERVER_OPTIONS: ChannelOptions = { ...COMMON, 'grpc.keepalive_time_ms': 60_000, 'grpc.keepalive_timeout_ms': 20_000 };

/** Each client has a connection of its own: two to one address would share one otherwise. No channelz: counts for a debugging service. */
export const CLIENT_OPTIONS: ChannelOptions = { ...COMMON, 'grpc.use_local_subchannel_pool': 1, 'grpc.enable_http_proxy': 0, 'grpc.enable_channelz': 0 };

/** Address of a unix socket as grpc-js wants it; `path` is absolute. */
export function unixAddress(path: string): string {
  return `unix:${path}`;
}

export function endpointAddress(endpoint: Endpoint): string {
  switch (endpoint.kind) {
    case 'unix': return unixAddress(endpoint.path);
    case 'tcp': return `${endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host}:${endpoint.port}`;
    default: return endpoint satisfies never;
  }
}
