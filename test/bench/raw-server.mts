/** The plainest unary server that grpc-js makes: prints its port, answers an empty message with an empty message. */
import { Server, ServerCredentials, type ServiceDefinition } from '@grpc/grpc-js';

const method = {
  path: '/bench.Raw/Call', requestStream: false, responseStream: false,
  requestSerialize: () => Buffer.alloc(0), requestDeserialize: () => ({}), responseSerialize: () => Buffer.alloc(0), responseDeserialize: () => ({}),
};
const server = new Server();
server.addService({ call: method } satisfies ServiceDefinition, { call: (_call: unknown, callback: (error: null, value: object) => void) => { callback(null, {}); } });
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  process.stdout.write(`${port}\n`);
});
