import assert from 'node:assert/strict';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { refusedOf, refusedOfStatus, type Refused } from '../../../cli/errors.js';
import { Connection } from '../../../coordinator/journal/sqlite/connection.js';
import type { BatchAllocatePortsResponse } from '../../../shared/gen/portlease/v1/ports.js';
import { CLIENT_OPTIONS } from '../../../shared/grpc.js';
import { REASONS, type Reason } from '../../../shared/reasons.js';
import { within } from '../../support/wait.js';
import { BAD_VALUES, FREE, type Row } from '../rpc/bad-values.js';
import { TestCoordinator } from '../rpc/coordinator.js';
import { GOOD, methodOf, put, type Method } from '../rpc/good-requests.js';
import { REFUSED, type World } from './refused.js';

/** Hostile text besides what the table of the field has; text for people, and what a service says, may be anything that is one line. */
const HOSTILE = ['a\0b', 'a\nb', '-j', '$(id)', '../x', '10.0.0.1;id', 'x'.repeat(10_000_000)];
const FOR_PEOPLE = /\.description$| reason$|\.banner$/;
/** Reads, and what agents say. */
const UNNOTED = /\/(?:Get|List|Watch|Explain|Heartbeat|Session)/;
const TABLES = ['pool', 'host', 'lease', 'environment', 'mapping', 'request'];

type Audit = { action: string; outcome: string };

describe('what is refused', () => {
  let coordinator: TestCoordinator;
  let client: Client;
  let database: Connection;
  let world: World;
  let atFirst: string;

  before(async () => {
    const ownPort = await freePort();
    coordinator = await TestCoordinator.start({ 'listen.grpc': `127.0.0.1:${ownPort}` });
    client = new Client(coordinator.address, credentials.createInsecure(), { ...CLIENT_OPTIONS, 'grpc.max_send_message_length': -1 });
    database = await Connection.open(path.join(coordinator.folder, 'c.db'), 'readOnly');
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    await coordinator.agent({ host: 'h1' });
    await coordinator.agent({ host: 'e1', gateway: 'edge', addresses: ['198.51.100.7'] });
    const target = { kind: { $case: 'address' as const, value: '10.1.0.1' } };
    const wants = [{ name: 'a', source: { $case: 'pool' as const, value: 'tiny' }, choice: { $case: 'exactPort' as const, value: 32_000 }, target }];
    await coordinator.api.allocate({ requestId: 'known', tenant: 'acme', environment: 'taken', host: 'h1', wants });
    world = { ownPort };
    atFirst = await everything();
  });
  after(async () => {
    client.close();
    await database.close();
    await coordinator.close();
  });

  async function everything(): Promise<string> {
    const tables = TABLES.map(async (table) => database.all(`SELECT * FROM ${table} ORDER BY 1, 2`));
    return JSON.stringify([await database.all('SELECT gateway, ordinal, scope, public_host, epoch FROM gateway'), ...await Promise.all(tables)]);
  }

  async function auditsAfter(id: number): Promise<Audit[]> {
    return database.all<Audit>('SELECT action, outcome FROM audit WHERE id > ?', id);
  }

  async function lastAudit(): Promise<number> {
    const [row] = await database.all<{ id: number }>('SELECT coalesce(max(id), 0) AS id FROM audit');
    return row?.id ?? 0;
  }

  function send(name: string, request: object): Promise<Refused> {
    const method = methodOf(name);
    if (method.requestStream) return greet(method, request);
    if (method.responseStream) return watch(method, request);
    return within('a refusal', new Promise((resolve, reject) => {
      client.makeUnaryRequest(method.path, method.requestSerialize, method.responseDeserialize, request as never, (error, response) => {
        const refused = error === null ? refusedResult(response) : refusedOf(error);
        if (refused === undefined) reject(new Error(`was accepted: ${JSON.stringify(response)}`));
        else resolve(refused);
      });
    }), { withinMs: 20_000 });
  }

  function greet({ path: method, requestSerialize, responseDeserialize }: Method, request: object): Promise<Refused> {
    return within('a refusal', new Promise((resolve, reject) => {
      const stream = client.makeBidiStreamRequest(method, requestSerialize, responseDeserialize);
      stream.on('error', (error: ServiceError) => { resolve(refusedOf(error)); }).on('data', () => { reject(new Error('was welcomed')); });
      stream.write(request as never);
    }), { withinMs: 20_000 });
  }

  function watch({ path: method, requestSerialize, responseDeserialize }: Method, request: object): Promise<Refused> {
    return within('a refusal', new Promise((resolve, reject) => {
      const stream = client.makeServerStreamRequest(method, requestSerialize, responseDeserialize, request as never);
      stream.on('error', (error: ServiceError) => { resolve(refusedOf(error)); }).on('data', () => { reject(new Error('was accepted')); });
    }), { withinMs: 20_000 });
  }

  /** Refused with a reason of the table, its code and the field, noted once (S11), and nothing else has changed. */
  async function isRefused(name: string, request: object, { field, reason }: { field: string; reason: Reason }, what: string): Promise<void> {
    const last = await lastAudit();
    const { code, details } = await send(name, request);
    assert.deepEqual([code, details.reason], [REASONS[reason].code, reason], what);
    if (field !== '') assert.ok(details.fields.some((one) => one.field.startsWith(field) || one.field === 'request'), `${what}: ${JSON.stringify(details.fields)}`);
    // A request of a batch is noted as it is when it comes alone, a batch that cannot be read as what it is.
    const action = name.endsWith('/BatchAllocatePorts') && field !== 'request' && !isWholeBatch(details.fields) ? 'AllocatePorts' : name.split('/')[1];
    assert.deepEqual(await auditsAfter(last), UNNOTED.test(name) ? [] : [{ action, outcome: reason }], `S11: ${what}`);
  }

  const rows = Object.entries(BAD_VALUES).filter((entry): entry is [string, Row] => entry[1] !== FREE && !entry[0].includes(' report.'));

  for (const [key, { bad, field, reason = 'INVALID_FIELD' }] of rows) {
    const [method = '', at = ''] = key.split(' ');
    const isText = field !== 'request' && bad.some((value) => typeof value === 'string');
    const values = [...bad, ...isText ? hostileFor(key) : []];
    it(`is noted once when it was a change, and changes nothing: ${values.length} values of ${key}`, async () => {
      for (const value of values) {
        const request = (GOOD[method] ?? GOOD[`${method} hello`])?.() ?? assert.fail(method);
        put(request, at, value);
        const reached = typeof value === 'string' && value.length > 4 << 20 ? 'INVALID_FIELD' : reason as Reason;
        await isRefused(method, request, { field, reason: reached }, `${key} = ${JSON.stringify(value)?.slice(0, 60)}`);
      }
    }).timeout(120_000);
  }

  for (const [title, { method, request, reason, field = '' }] of Object.entries(REFUSED)) {
    it(`is noted once: ${title}`, async () => isRefused(method, request(world), { field, reason }, title));
  }

  it('has changed nothing in all of this', async () => {
    assert.equal(await everything(), atFirst);
  });
});

/** What the only request of a batch was refused with. */
function refusedResult(response: unknown): Refused | undefined {
  const outcome = (response as Partial<BatchAllocatePortsResponse>).results?.[0]?.outcome;
  return outcome?.$case === 'refused' ? refusedOfStatus(outcome.value) : undefined;
}

function isWholeBatch(fields: readonly { field: string }[]): boolean {
  return fields.some(({ field }) => field === 'requests' || field === 'request');
}

function hostileFor(key: string): readonly string[] {
  return FOR_PEOPLE.test(key) ? HOSTILE.filter((text) => text.length > 1000 || /\p{Cc}/u.test(text)) : HOSTILE;
}

/** One that is in none of the ranges that the requests ask for. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = await anyFreePort();
    if (port > 45_100 && port < 65_000) return port;
  }
}

function anyFreePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => { resolve(port); });
    });
  });
}
