import assert from 'node:assert/strict';
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { refusedOf, refusedOfStatus, type Refused } from '../../../cli/errors.js';
import type * as agents from '../../../shared/gen/portlease/v1/agents.js';
import * as ports from '../../../shared/gen/portlease/v1/ports.js';
import { CLIENT_OPTIONS } from '../../../shared/grpc.js';
import { status } from '../../support/api.js';
import { within } from '../../support/wait.js';
import { BAD_VALUES, FREE, type Row } from './bad-values.js';
import { TestCoordinator } from './coordinator.js';
import { GOOD, methodOf, put } from './good-requests.js';
import { requestFields } from './request-fields.js';

const shown = (value: unknown): string => (JSON.stringify(value) ?? 'undefined').slice(0, 60);

/** Of a batch of one request. */
function refusedResult(response: unknown): Refused | undefined {
  const outcome = (response as Partial<ports.BatchAllocatePortsResponse>).results?.[0]?.outcome;
  return outcome?.$case === 'refused' ? refusedOfStatus(outcome.value) : undefined;
}

describe('bad values', () => {
  let coordinator: TestCoordinator;
  let client: Client;
  before(async () => {
    coordinator = await TestCoordinator.start();
    client = new Client(coordinator.address, credentials.createInsecure(), { ...CLIENT_OPTIONS, 'grpc.max_send_message_length': -1 });
    await coordinator.agent({ host: 'h1' });
  });
  after(async () => {
    client.close();
    await coordinator.close();
  });

  function send(name: string, request: object): Promise<Refused> {
    const method = methodOf(name);
    const answer = new Promise<Refused>((resolve, reject) => {
      const fail = (error: ServiceError): void => { resolve(refusedOf(error)); };
      if (method.responseStream && !method.requestStream) {
        const watch = client.makeServerStreamRequest(method.path, method.requestSerialize, method.responseDeserialize, request as never);
        watch.on('error', fail).on('end', () => { reject(new Error('was accepted')); }).on('data', (message) => { reject(new Error(`was accepted: ${JSON.stringify(message)}`)); watch.cancel(); });
        return;
      }
      if (!method.requestStream) {
        client.makeUnaryRequest(method.path, method.requestSerialize, method.responseDeserialize, request as never, (error, response) => {
          const refused = error === null ? refusedResult(response) : refusedOf(error);
          if (refused === undefined) reject(new Error(`was accepted: ${JSON.stringify(response)}`));
          else resolve(refused);
        });
        return;
      }
      const stream = client.makeBidiStreamRequest(method.path, method.requestSerialize, method.responseDeserialize);
      stream.on('error', fail).on('end', () => { reject(new Error('was accepted')); }).on('data', () => undefined);
      stream.write(request as never);
    });
    return within('a refusal', answer, { withinMs: 5000 });
  }

  /** A report is read only after a welcome. */
  async function sendReport(request: agents.SessionRequest, at: number): Promise<Refused> {
    const agent = await coordinator.agent({ host: `reporter-${at}`, reports: false, heartbeatMs: 0 });
    agent.send(request.message as NonNullable<agents.SessionRequest['message']>);
    const refused = await within('the stream to be refused', agent.ended, { withinMs: 5000 });
    assert.ok(refused !== undefined);
    return refused;
  }

  const rows = Object.entries(BAD_VALUES).filter((entry): entry is [string, Row] => entry[1] !== FREE);

  it('has a row for every field of every request, and none besides', () => {
    assert.deepEqual(Object.keys(BAD_VALUES).sort(), requestFields().sort());
  });

  let reporter = 0;
  for (const [key, { bad, field, reason = 'INVALID_FIELD' }] of rows) {
    it(`${key} refuses ${bad.length} values, each by its field`, async () => {
      const [method = '', path = ''] = key.split(' ');
      const isReport = path.startsWith('report.');
      const good = GOOD[method] ?? GOOD[`${method} ${path.split('.')[0]}`];
      assert.ok(good !== undefined);
      for (const value of bad) {
        const request: object = good();
        put(request, path, value);
        reporter += 1;
        const { code, details }: Refused = await (isReport ? sendReport(request as agents.SessionRequest, reporter) : send(method, request));
        assert.deepEqual([code, details.reason], [status.INVALID_ARGUMENT, reason], shown(value));
        assert.ok(details.fields.some((one) => one.field.startsWith(field)), `${shown(value)}: ${JSON.stringify(details.fields)}`);
      }
    });
  }

  it('refuses messages of 10 MB, and bytes that are no message', async () => {
    const large = ports.AllocatePortsRequest.fromPartial({ tenant: 'x'.repeat(10_000_000) });
    const refused = await send('PortService/AllocatePorts', large);
    assert.deepEqual([refused.code, refused.details.fields.map(({ field }) => field)], [status.INVALID_ARGUMENT, ['request']]);
    const method = methodOf('PortService/AllocatePorts');
    const garbage = await new Promise<Refused>((resolve) => {
      client.makeUnaryRequest(method.path, () => Buffer.from([0xff, 0xff, 0xff]), method.responseDeserialize, {}, (error) => { resolve(refusedOf(error as ServiceError)); });
    });
    assert.deepEqual([garbage.code, garbage.details.reason], [status.INVALID_ARGUMENT, 'INVALID_FIELD']);
  });

  it('names every violation of a request at once', async () => {
    const request = ports.AllocatePortsRequest.fromPartial({ tenant: 'T', wants: [{ name: 'a', count: 300 }, { name: 'a' }] });
    const { details } = await send('PortService/AllocatePorts', request);
    assert.deepEqual(details.fields.map(({ field }) => field), [
      'tenant', 'host', 'wants[0].count', 'wants[0].pool', 'wants[0].target', 'wants[1].pool', 'wants[1].target', 'wants[1].name',
    ]);
  });

  it('keeps the trailers small when everything is wrong', async () => {
    const request = ports.AllocatePortsRequest.fromPartial({ wants: Array.from({ length: 64 }, () => ({ name: 'Bad Name', target: { kind: { $case: 'address' as const, value: 'x'.repeat(500) } } })) });
    const { code, details } = await send('PortService/AllocatePorts', request);
    assert.equal(code, status.INVALID_ARGUMENT);
    assert.ok(details.fields.length > 5 && Number(details.metadata['not_shown']) > 5);
  });
});
