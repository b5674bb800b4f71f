import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { reachesByTcp } from '../../../agent/reconcile/verifier.js';
import { lease, mapping } from '../../integration/reconcile/objects.js';
import { LoopBench } from './bench.js';

const RANGE = lease({ first: 30_000, last: 30_009 });
const ONE = mapping(30_001, '10.2.0.5', { internalPort: 22, verify: true });

describe('verified mappings', () => {
  let bench: LoopBench;
  beforeEach(() => { bench = new LoopBench(); });
  afterEach(() => bench.close());

  it('are those whose target answered, in an outcome of its own', async () => {
    bench.want(RANGE, ONE);
    await bench.pass(200);
    assert.deepEqual(bench.last.verified, []);
    bench.reachable.add('10.2.0.5:22');
    await bench.pass(2_000);
    assert.deepEqual(bench.last.verified, ['m30001']);
  });

  it('stay so while they are wanted, and are forgotten afterwards', async () => {
    bench.reachable.add('10.2.0.5:22');
    bench.want(RANGE, ONE);
    await bench.settle();
    bench.reachable.clear();
    await bench.pass(10_000);
    assert.deepEqual(bench.last.verified, ['m30001']);
    bench.want(RANGE);
    await bench.settle();
    assert.deepEqual(bench.last.verified, []);
  });

  it('are asked again when the target is another one', async () => {
    bench.reachable.add('10.2.0.5:22');
    bench.want(RANGE, ONE);
    await bench.settle();
    bench.want(RANGE, { ...ONE, version: 3, generation: 3, internalPort: 23 });
    await bench.settle();
    assert.deepEqual(bench.last.verified, []);
  });

  it('of UDP alone need no answer', async () => {
    bench.want(RANGE, { ...ONE, protocol: 'udp' });
    await bench.settle();
    assert.deepEqual(bench.last.verified, ['m30001']);
  });
});

describe('asking a target', () => {
  it('is true for one that accepts a connection and false for one that refuses', async () => {
    const server = createServer(socket => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    assert.equal(await reachesByTcp('127.0.0.1', port, 1_000), true);
    server.close();
    await once(server, 'close');
    assert.equal(await reachesByTcp('127.0.0.1', port, 1_000), false);
  });
});
