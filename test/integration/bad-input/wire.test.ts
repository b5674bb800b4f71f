import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { connect as connectHttp2, constants, type IncomingHttpHeaders } from 'node:http2';
import path from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import { refusedOf, type Refused } from '../../../cli/errors.js';
import { Connection } from '../../../coordinator/journal/sqlite/connection.js';
import { CLIENT_OPTIONS } from '../../../shared/grpc.js';
import { status } from '../../support/api.js';
import { eventually, within } from '../../support/wait.js';
import { TestCoordinator } from '../rpc/coordinator.js';
import { GOOD, methodOf } from '../rpc/good-requests.js';

/** Bytes that are no message of the contract: https://protobuf.dev/programming-guides/encoding/ tells how one is made. */
const NO_MESSAGE: Record<string, Buffer> = {
  'a tag that does not end': Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
  'a length beyond the end': Buffer.from([0x0a, 0x7f, 0x61]),
  'a length of 4 GiB': Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
  'a group that does not end': Buffer.from([0x0b]),
  'a wire type that there is not': Buffer.from([0x0f]),
};
const UNARY = Object.keys(GOOD).filter((name) => !name.includes(' '));

describe('what arrives on the wire and is no request', () => {
  let coordinator: TestCoordinator;
  let client: Client;
  let database: Connection;
  before(async () => {
    coordinator = await TestCoordinator.start();
    client = new Client(coordinator.address, credentials.createInsecure(), { ...CLIENT_OPTIONS, 'grpc.max_send_message_length': -1 });
    database = await Connection.open(path.join(coordinator.folder, 'c.db'), 'readOnly');
  });
  after(async () => {
    client.close();
    await database.close();
    await coordinator.close();
  });
  afterEach(() => eventually('the coordinator to serve as before', () => coordinator.api.isServing(), { withinMs: 20_000 }));

  function send(methodPath: string, bytes: Buffer): Promise<Refused | Buffer> {
    return within('an answer', new Promise((resolve) => {
      client.makeUnaryRequest(methodPath, (all: Buffer) => all, (all: Buffer) => all, bytes, (error, answer) => { resolve(error === null ? answer ?? Buffer.alloc(0) : refusedOf(error)); });
    }), { withinMs: 20_000 });
  }

  async function audits(): Promise<{ action: string; outcome: string }[]> {
    return database.all<{ action: string; outcome: string }>(`SELECT action, outcome FROM audit ORDER BY id`);
  }

  for (const name of UNARY) {
    it(`is refused as INVALID_FIELD, and noted when it would have been a change: ${name}`, async () => {
      for (const [what, bytes] of Object.entries(NO_MESSAGE)) {
        const known = (await audits()).length;
        const answer = await send(methodOf(name).path, bytes);
        assert.ok(!Buffer.isBuffer(answer), `${what} was accepted`);
        assert.deepEqual([answer.code, answer.details.reason, answer.details.fields.map(({ field }) => field)], [status.INVALID_ARGUMENT, 'INVALID_FIELD', ['request']], what);
        const isChange = !/\/(?:Get|List|Watch|Explain|Heartbeat)/.test(name);
        assert.deepEqual((await audits()).slice(known), isChange ? [{ action: name.split('/')[1], outcome: 'INVALID_FIELD' }] : [], what);
      }
    });
  }

  it('is no name when it is no UTF-8', async () => {
    const answer = await send(methodOf('PortService/GetEnvironment').path, Buffer.from([0x0a, 0x03, 0x61, 0xff, 0x62]));
    assert.ok(!Buffer.isBuffer(answer));
    assert.deepEqual([answer.code, answer.details.reason], [status.INVALID_ARGUMENT, 'INVALID_FIELD']);
  });

  it('may have fields of a newer contract, which are passed over', async () => {
    assert.ok(Buffer.isBuffer(await send(methodOf('OperationsService/ListPools').path, Buffer.from([0xfa, 0x3f, 0x01, 0x61]))));
  });

  it('is too long beyond 16 MB', async () => {
    const answer = await send(methodOf('PortService/AllocatePorts').path, Buffer.alloc(17 << 20));
    assert.ok(!Buffer.isBuffer(answer));
    assert.equal(answer.code, status.RESOURCE_EXHAUSTED);
  });

  it('is no method of the contract', async () => {
    for (const unknown of ['/portlease.v1.PortService/DropTables', '/portlease.v2.PortService/AllocatePorts', '/', '/../etc/passwd', '/portlease.v1.PortService/__proto__', '/portlease.v1.PortService/constructor']) {
      const answer = await send(unknown, Buffer.alloc(0));
      assert.ok(!Buffer.isBuffer(answer), unknown);
      assert.equal(answer.code, status.UNIMPLEMENTED, unknown);
    }
  });

  for (const [what, bytes] of Object.entries({
    'an HTTP/1.1 request': Buffer.from('GET /portlease.v1.PortService/ListMappings HTTP/1.1\r\nHost: x\r\n\r\n'),
    'a TLS hello': Buffer.from('16030100a5010000a10303', 'hex'),
    'noise': Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7919) % 251)),
    'a preface and then noise': Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.alloc(4096, 0x7f)]),
  })) {
    it(`costs a connection and nothing else: ${what}`, async () => {
      const [host = '', port = ''] = coordinator.address.split(':');
      await within('the connection to be closed', new Promise<void>((resolve) => {
        const socket = connect(Number(port), host, () => { socket.end(bytes); });
        socket.on('error', () => undefined).on('close', () => { resolve(); }).resume();
      }), { withinMs: 10_000 });
    });
  }

  for (const [what, bytes] of Object.entries({
    'a frame that is said to be longer than it is': Buffer.from([0, 0, 0, 1, 0, 0x0a]),
    'a frame that is said to be 4 GiB long': Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 0x0a]),
    'a frame that is said to be compressed': Buffer.from([1, 0, 0, 0, 2, 0x0a, 0x00]),
    'no frame': Buffer.alloc(0),
    'two frames for a method that takes one': Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
  })) {
    it(`is answered with an error: ${what}`, async () => {
      const code = await within('a status', rawCall(coordinator.address, '/portlease.v1.PortService/ReleasePorts', bytes), { withinMs: 10_000 });
      assert.ok(code !== '' && code !== '0', `grpc-status ${code}`);
    });
  }
});

/** grpc-status of a call whose request is these bytes as they are, the five of the frame's head among them; '' when the stream was reset. */
function rawCall(address: string, method: string, bytes: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const session = connectHttp2(`http://${address}`);
    session.on('error', reject);
    const stream = session.request({ [constants.HTTP2_HEADER_METHOD]: 'POST', [constants.HTTP2_HEADER_PATH]: method, 'content-type': 'application/grpc', te: 'trailers' });
    let code = '';
    const note = (headers: IncomingHttpHeaders): void => { code = headers['grpc-status']?.toString() ?? code; };
    stream.on('response', note).on('trailers', note).on('error', () => undefined).resume();
    stream.on('close', () => {
      session.close();
      resolve(code);
    });
    stream.end(bytes);
  });
}
