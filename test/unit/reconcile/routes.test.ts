import assert from 'node:assert/strict';
import type { ProxiedRoutes } from '../../../agent/reconcile/rounds.js';
import { route } from '../../integration/reconcile/objects.js';
import { LoopBench } from './bench.js';

const PORTS = { first: 30_000, last: 30_003 };
const ROUTE = route(PORTS, ['10.2.0.9']);
const OPEN = [{ transport: 'tcp' as const, ports: PORTS }];

/** A proxy that the test steers. */
class FakeProxy {
  open: readonly { transport: 'tcp' | 'udp'; ports: typeof PORTS }[] = [];
  problem: string | undefined;
  asked = 0;
  order: string[] = [];
  change: () => void = () => undefined;
  readonly routes: ProxiedRoutes = {
    notify: onChange => { this.change = onChange; },
    admit: () => { this.order.push('admit'); return this.open; },
    serve: () => { this.order.push('serve'); return Promise.resolve(); },
    cuts: () => (this.asked++ === 0 ? [{ transport: 'tcp', ports: PORTS, from: [], dropMs: 0 }] : []),
    problems: () => (this.problem === undefined ? [] : [{ key: ROUTE.key, reason: this.problem, message: '' }]),
    isClosed: () => this.open.length === 0,
    isSettled: () => this.open.length > 0 || this.problem !== undefined,
    figures: () => ({ reloads: 1, failures: 0, served: 0, latency: undefined }),
  };
}

describe('the reconcile loop, with routes that a proxy serves', () => {
  let proxy: FakeProxy;
  let bench: LoopBench;
  beforeEach(() => {
    proxy = new FakeProxy();
    bench = new LoopBench(['gateway'], [], proxy.routes);
  });
  afterEach(() => bench.close());

  it('guards before the proxy is told, and lets in what it serves by the next rules (S1, S7)', async () => {
    bench.want(ROUTE);
    await bench.settle();
    assert.deepEqual(proxy.order, ['admit', 'serve']);
    assert.deepEqual([...bench.specs[0]?.spec.forwards ?? [], ...bench.specs[0]?.spec.proxied ?? []], []);
    proxy.open = OPEN;
    proxy.change();
    await bench.settle();
    assert.deepEqual(bench.specs.at(-1)?.spec.proxied, OPEN);
  });

  it('calls a state applied only when every route is served, or has a problem that it tells', async () => {
    bench.want(ROUTE);
    await bench.settle();
    assert.equal(bench.outcomes.length, 0);
    proxy.problem = 'PORT_CONFLICT';
    proxy.change();
    await bench.settle();
    assert.deepEqual([bench.last.applied.revision, bench.last.problems.map(({ reason }) => reason)], [1, ['PORT_CONFLICT']]);
    proxy.problem = undefined;
    proxy.open = OPEN;
    proxy.change();
    await bench.settle();
    assert.deepEqual([bench.last.problems, bench.last.routes?.reloads], [[], 1]);
  });

  it('has connections of what is to be opened ended, also those that lead to the proxy itself, and leaves them once it is open', async () => {
    bench.want(ROUTE);
    await bench.settle();
    const asked = bench.cuts.flatMap(({ cuts }) => cuts).filter(({ dropMs }) => dropMs === 0);
    assert.deepEqual(asked, [{ transport: 'tcp', ports: PORTS, from: [], dropMs: 0 }]);
    const standing = bench.cuts[0]?.standing;
    assert.deepEqual(standing?.endpoints('tcp', 30_001), []);
    proxy.open = OPEN;
    assert.deepEqual(standing?.endpoints('tcp', 30_001), [{ address: '10.0.0.1', port: undefined, through: '10.2.0.9' }]);
  });
});
