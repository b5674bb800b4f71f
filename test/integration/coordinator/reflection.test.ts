import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { Client, credentials } from '@grpc/grpc-js';
import { packageFile } from '../../../shared/package-files.js';
import { ErrorInfo } from '../../../shared/gen/google/rpc/error_details.js';
import { REASONS } from '../../../shared/reasons.js';
import { within } from '../../support/wait.js';
import { Daemon } from './daemon.js';

const run = promisify(execFile);
const BUF = packageFile('node_modules/.bin/buf');
const POOLS = [{ pool: 'ssh', ranges: ['30000-30099'], protocol: 'tcp', defaultInternalPort: 22, quarantine: '1s' }];
/** Well-known and foreign messages that fields of the contract have, or errors carry. */
const FOREIGN = ['google.protobuf.Duration', 'google.protobuf.Timestamp', 'google.protobuf.FieldMask', 'grpc.health.v1.HealthCheckRequest', 'google.rpc.ErrorInfo', 'google.rpc.BadRequest', 'google.rpc.RetryInfo'];
const METHOD = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';

describe('the coordinator to a client without its contract', function () {
  this.timeout(300_000);
  let daemon: Daemon;
  let client: Client;
  before(async () => {
    daemon = new Daemon({ pools: POOLS, timing: { heartbeat: '500ms', deadline: '1s', suspect: '30s', lost: '60s' } });
    await daemon.start();
    client = new Client(daemon.address, credentials.createInsecure());
  });
  after(async () => {
    client.close();
    await daemon.close();
  });

  const curl = (...args: string[]) => run(BUF, ['curl', '--protocol', 'grpc', '--http2-prior-knowledge', '--unix-socket', daemon.socket, ...args]);

  async function listed(what: '--list-services' | '--list-methods'): Promise<string[]> {
    return (await curl(what, 'http://localhost')).stdout.trim().split('\n').map((line) => line.trim()).filter((line) => line !== '');
  }

  /** The file that defines `symbol`, as ServerReflection gives it; an error when it does not. */
  function fileOf(symbol: string): Promise<Uint8Array> {
    const stream = client.makeBidiStreamRequest(METHOD, (name: string) => Buffer.from(new BinaryWriter().uint32(34).string(name).finish()), (bytes: Buffer) => bytes);
    const answer = new Promise<Uint8Array>((resolve, reject) => {
      stream.on('data', (bytes: Uint8Array) => {
        const described = bytesAt(bytes, 4)[0];
        if (described === undefined) reject(new Error(`${symbol} is not described`));
        else resolve(bytesAt(described, 1)[0] ?? new Uint8Array());
      });
      stream.on('error', reject);
    });
    stream.write(symbol);
    return within(`the description of ${symbol}`, answer, { withinMs: 30_000 }).finally(() => { stream.cancel(); });
  }

  it('describes each of its messages, each message that their fields have, and each service', async () => {
    const open = [...(await listed('--list-services')), ...FOREIGN];
    const described = new Set<string>();
    for (let symbol = open.pop(); symbol !== undefined; symbol = open.pop()) {
      if (described.has(symbol)) continue;
      described.add(symbol);
      open.push(...typesIn(await fileOf(symbol), symbol));
    }
    for (const name of ['Mapping', 'Pool', 'DesiredState', 'Want', 'Protocol', 'PortService']) assert.ok(described.has(`portlease.v1.${name}`), name);
    assert.ok(described.size > 80, `only ${described.size} symbols`);
  });

  it('answers every method that it lists, called by buf curl with nothing but what reflection says', async () => {
    const methods = (await listed('--list-methods')).filter((method) => !method.endsWith('/Watch') && !method.endsWith('.Watch'));
    assert.ok(methods.length >= 21, methods.join('\n'));
    for (const method of methods) {
      const outcome = await curl('-d', '{}', `http://localhost/${method}`).then(({ stdout }) => stdout, (error: unknown) => String((error as { stderr?: string }).stderr));
      assert.doesNotMatch(outcome, /failed to (?:find|resolve)|unimplemented|"code": "(?:internal|unknown)"/i, method);
      const reason = method.startsWith('portlease.') && outcome.includes('"code"') ? reasonOf(outcome) : 'INVALID_FIELD';
      assert.ok(Object.hasOwn(REASONS, reason), `${method}: ${outcome}`);
    }
  });

  it('says how it is by grpc.health.v1, once and as a stream', async () => {
    assert.match((await curl('http://localhost/grpc.health.v1.Health/Check')).stdout, /"SERVING"/);
    const unknown = await curl('-d', '{"service":"no.such.Service"}', 'http://localhost/grpc.health.v1.Health/Check').then(() => '', (error: unknown) => String((error as { stderr?: string }).stderr));
    assert.match(unknown, /not_found/);
    const watch = client.makeServerStreamRequest('/grpc.health.v1.Health/Watch', () => Buffer.alloc(0), (bytes: Buffer) => bytes, {});
    watch.on('error', () => undefined);
    const first = await within('the first health', new Promise<Buffer>((resolve) => { watch.once('data', resolve); }), { withinMs: 30_000 });
    assert.deepEqual([...first], [8, 1]);
    watch.cancel();
  });
});

/** Of an error as buf curl prints it: details are in base64. */
function reasonOf(outcome: string): string {
  const { details = [] } = JSON.parse(outcome) as { details?: { type: string; value: string }[] };
  return ErrorInfo.decode(Buffer.from(details.find(({ type }) => type === 'google.rpc.ErrorInfo')?.value ?? '', 'base64')).reason;
}

/** Length-delimited values of a field. */
function bytesAt(message: Uint8Array, field: number): Uint8Array[] {
  const reader = new BinaryReader(message);
  const found: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (number === field && wireType === WireType.LengthDelimited) found.push(reader.bytes());
    else reader.skip(wireType, number);
  }
  return found;
}

const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString();

/** All messages and enums of a FileDescriptorProto, and all types that their fields and methods name; `symbol` must be one of the file's. */
function typesIn(file: Uint8Array, symbol: string): string[] {
  const scope = text(bytesAt(file, 2)[0]);
  const named = (kind: number) => bytesAt(file, kind).map((bytes) => `${scope}.${text(bytesAt(bytes, 1)[0])}`);
  const messages = bytesAt(file, 4);
  const own = [...named(4), ...named(5), ...named(6)];
  assert.ok(own.some((name) => symbol === name || symbol.startsWith(`${name}.`)), `the file given for ${symbol} does not define it`);
  const fields = messages.flatMap((message) => bytesAt(message, 2).flatMap((field) => bytesAt(field, 6).map(text)));
  const methods = bytesAt(file, 6).flatMap((service) => bytesAt(service, 2).flatMap((method) => [...bytesAt(method, 2), ...bytesAt(method, 3)].map(text)));
  return [...own, ...[...fields, ...methods].map((name) => name.replace(/^\./, ''))];
}
