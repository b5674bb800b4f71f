import assert from 'node:assert/strict';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Metadata, status } from '@grpc/grpc-js';
import { EXIT } from '../../../cli/exit.js';
import { portlease } from '../../unit/cli/world.js';
import { environment, mapping } from './answers.js';
import { bare, refusal, silence, startCoordinator, type FakeCoordinator } from './coordinator.js';

const ALLOCATE = ['allocate', 'env-1', '--host=host-a', '--tenant=acme', '--want=name=ssh,pool=ssh,target=10.88.1.2', '--request-id=retry-1'];

describe('a command that fails', () => {
  let coordinator: FakeCoordinator;
  beforeEach(async () => { coordinator = await startCoordinator({}); });
  afterEach(() => coordinator.close());

  async function fail(argv: readonly string[], error: Error): Promise<{ exitCode: number; err: string }> {
    coordinator.answers['allocatePorts'] = () => { throw error; };
    const { exitCode, out, err } = await portlease([...argv, '--server', coordinator.address]);
    assert.equal(out, '', 'nothing on standard output');
    return { exitCode, err };
  }

  it('says what failed, the reason, the fields, when to retry and the remedy', async () => {
    const { exitCode, err } = await fail(ALLOCATE, refusal(status.RESOURCE_EXHAUSTED, 'pool ssh of gw-1 has no free port', {
      reason: 'POOL_EXHAUSTED', metadata: { pool: 'ssh', free: '0' }, fields: [{ field: 'wants[0].pool', description: 'is full' }], retryAfterMs: 12_000,
    }));
    assert.equal(exitCode, EXIT.refused);
    assert.equal(err, [
      'portlease: allocate ports for env-1: pool ssh of gw-1 has no free port',
      'reason: POOL_EXHAUSTED (pool=ssh, free=0)',
      'field:  wants[0].pool: is full',
      'next:   Retry after the time in RetryInfo, release ports, or grow the pool.',
      'next:   a retry may succeed after 12s',
      '',
    ].join('\n'));
  });

  it('says the same to scripts, as one JSON document on standard error', async () => {
    const { err } = await fail([...ALLOCATE, '--json'], refusal(status.ALREADY_EXISTS, 'port 30022 is taken', {
      reason: 'PORT_TAKEN', metadata: { port: '30022' }, fields: [{ field: 'wants[0].exact_port', description: 'belongs to another environment' }],
    }));
    assert.deepEqual(JSON.parse(err), { error: {
      message: 'allocate ports for env-1: port 30022 is taken', code: 'ALREADY_EXISTS', reason: 'PORT_TAKEN', metadata: { port: '30022' },
      fields: [{ field: 'wants[0].exact_port', description: 'belongs to another environment' }], next: ['Ask for another port, or for any. `portlease explain PORT` says who has it.'], exitCode: EXIT.refused,
    } });
  });

  it('gives the remedy that the coordinator sends rather than its own', async () => {
    const { err } = await fail(ALLOCATE, refusal(status.FAILED_PRECONDITION, 'too warm', { reason: 'PORT_RESERVED', metadata: { remedy: 'Open a window.', port: '1' } }));
    assert.match(err, /^reason: PORT_RESERVED \(port=1\)\nnext: {3}Open a window\.$/m);
  });

  it('keeps apart what refuses, what is late and what is broken', async () => {
    const cases: [Error, number][] = [
      [refusal(status.UNAVAILABLE, 'host-a is lost', { reason: 'HOST_LOST' }), EXIT.refused],
      [refusal(status.UNAVAILABLE, 'the disk is full', { reason: 'JOURNAL_UNAVAILABLE', retryAfterMs: 1_000 }), EXIT.refused],
      [refusal(status.DEADLINE_EXCEEDED, 'not live in time', { reason: 'NOT_LIVE_IN_TIME' }), EXIT.deadline],
      [refusal(status.INTERNAL, 'refused by the journal', { reason: 'NOT_MADE' }), EXIT.internal],
      [bare(status.INTERNAL, 'internal error'), EXIT.internal],
      [bare(status.PERMISSION_DENIED, 'this certificate is of a host'), EXIT.refused],
      [bare(status.UNAVAILABLE, 'going down'), EXIT.unreachable],
    ];
    for (const [error, expected] of cases) assert.equal((await fail(ALLOCATE, error)).exitCode, expected, error.message);
  });

  it('tells how to go on waiting for what is recorded already', async () => {
    const { err } = await fail(ALLOCATE, refusal(status.DEADLINE_EXCEEDED, 'not live in time', { reason: 'NOT_LIVE_IN_TIME' }));
    assert.match(err, /^next: {3}wait on until live with the same command and --request-id retry-1$/m);
  });

  it('shows reasons that it does not know yet, and lets details of other domains and broken ones be', async () => {
    assert.match((await fail(ALLOCATE, refusal(status.FAILED_PRECONDITION, 'too warm', { reason: 'TOO_WARM' }))).err, /^reason: TOO_WARM$/m);
    assert.doesNotMatch((await fail(ALLOCATE, refusal(status.FAILED_PRECONDITION, 'x', { reason: 'OTHER', domain: 'proxy' }))).err, /^reason/m);
    const broken = new Metadata();
    broken.set('grpc-status-details-bin', Buffer.from([0xff, 0xff, 0xff]));
    const { exitCode, err } = await fail(ALLOCATE, bare(status.NOT_FOUND, 'no such pool', broken));
    assert.deepEqual([exitCode, err.split('\n')[0]], [EXIT.refused, 'portlease: allocate ports for env-1: no such pool']);
  });

  it('names another version when the coordinator does not know the method', async () => {
    const { exitCode, err } = await portlease(['status', '--server', coordinator.address]);
    assert.equal(exitCode, EXIT.internal);
    assert.match(err, /^next: {3}the coordinator is of another version/m);
  });

  it('has printed nothing of a list whose second page fails', async () => {
    coordinator.answers['listMappings'] = (request: { pageToken: string }) => {
      if (request.pageToken !== '') throw refusal(status.INVALID_ARGUMENT, 'the token is not one of this list', { reason: 'PAGE_TOKEN_INVALID' });
      return { mappings: [mapping()], nextPageToken: 'second', revisions: {} };
    };
    const { exitCode, out } = await portlease(['mappings', '--server', coordinator.address]);
    assert.deepEqual([exitCode, out], [EXIT.refused, '']);
  });

  it('ends at its deadline, and says that the request may go on', async () => {
    coordinator.answers['allocatePorts'] = silence;
    const { exitCode, out, err } = await portlease([...ALLOCATE, '--timeout=300ms', '--server', coordinator.address]);
    assert.deepEqual([exitCode, out], [EXIT.deadline, '']);
    assert.match(err, /^next: {3}what was recorded goes on; .*--request-id retry-1$/m);
  });

  it('has one deadline for all of its calls', async () => {
    let asked = 0;
    coordinator.answers['listEnvironments'] = async () => {
      asked += 1;
      await new Promise((resolve) => setTimeout(resolve, 100));
      return { environments: [environment()], nextPageToken: 'next', revisions: {} };
    };
    const { exitCode } = await portlease(['list', '--timeout=550ms', '--server', coordinator.address]);
    assert.equal(exitCode, EXIT.deadline);
    assert.ok(asked >= 2 && asked <= 6, `${asked} pages were asked for`);
  });

  it('stops when the caller gives up, and says how to go on', async () => {
    const caller = new AbortController();
    coordinator.answers['allocatePorts'] = () => { caller.abort(); return silence(); };
    const { exitCode, out, err } = await portlease([...ALLOCATE, '--server', coordinator.address], { signal: caller.signal });
    assert.deepEqual([exitCode, out], [EXIT.interrupted, '']);
    assert.match(err, /interrupted\nnext: {3}what was recorded goes on; wait on until live with the same command and --request-id retry-1\n$/);
  });

  it('says on a terminal what it waits for, and cleans the line', async () => {
    coordinator.answers['allocatePorts'] = silence;
    const { err } = await portlease([...ALLOCATE, '--timeout=1300ms', '--server', coordinator.address], { errIsTerminal: true });
    assert.match(err, /\r\x1b\[Kallocate ports for env-1: 1s \(Ctrl-C stops waiting\)\r\x1b\[Kportlease: /);
  });
});

describe('a coordinator that is not there', () => {
  it('is told apart from one that refuses', async () => {
    for (const server of ['unix:/nonexistent/c.sock', '127.0.0.1:1']) {
      const { exitCode, out, err } = await portlease(['status', '--server', server]);
      assert.deepEqual([exitCode, out], [EXIT.unreachable, '']);
      assert.match(err, new RegExp(`^portlease: status: no answer from ${server}: connect E[A-Z]+ `));
      assert.match(err, /^next: {3}\S/m);
    }
  });

  describe('behind a port that accepts and says nothing', () => {
    let mute: Server;
    const sockets = new Set<Socket>();
    beforeEach((done) => { mute = createServer((socket) => sockets.add(socket.on('error', () => undefined))).listen(0, '127.0.0.1', done); });
    afterEach(() => {
      mute.close();
      for (const socket of sockets) socket.destroy();
    });

    it('is not waited for longer than the deadline', async () => {
      const startedMs = performance.now();
      const { exitCode } = await portlease(['status', '--timeout=400ms', '--server', `127.0.0.1:${(mute.address() as AddressInfo).port}`]);
      assert.ok(exitCode === EXIT.unreachable || exitCode === EXIT.deadline, `exit code ${exitCode}`);
      assert.ok(performance.now() - startedMs < 3_000);
    });
  });
});
