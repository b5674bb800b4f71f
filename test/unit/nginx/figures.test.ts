import assert from 'node:assert/strict';
import { Figures } from '../../../agent/drivers/nginx/figures.js';
import type { ProxiedRoute } from '../../../agent/drivers/nginx/route.js';

const route = (id: string): ProxiedRoute => ({ key: `route/${id}`, id, ports: { first: 1, last: 2 }, transports: ['tcp'], hosts: { v4: '10.0.0.1' }, isFenced: false });
const routes = (...all: ProxiedRoute[]) => new Map(all.map(one => [one.key, one]));

describe('figures of a gateway with nginx', () => {
  it('count what nginx took and refused, and how long a route waited to be served', () => {
    const figures = new Figures();
    const [a, b] = [route('a'), route('b')];
    figures.want(routes(a, b), 1_000);
    figures.look(one => one === a, 1_080);
    figures.took();
    figures.refused();
    figures.look(() => true, 1_200);
    figures.look(() => true, 9_000);
    assert.deepEqual(figures.read(), { reloads: 1, failures: 1, served: 2, latency: { p50Ms: 200, p99Ms: 200 } });
    assert.equal(figures.read(), figures.read());
  });

  it('forget a route that goes before it was served, and count one anew that leads elsewhere', () => {
    const figures = new Figures();
    figures.want(routes(route('a')), 0);
    figures.want(routes(), 10);
    figures.look(() => true, 20);
    assert.deepEqual(figures.read(), { reloads: 0, failures: 0, served: 0, latency: undefined });
    figures.want(routes(route('a')), 30);
    figures.look(() => true, 40);
    figures.want(routes(route('a')), 50);
    figures.look(() => true, 75);
    assert.deepEqual(figures.read(), { reloads: 0, failures: 0, served: 2, latency: { p50Ms: 25, p99Ms: 25 } });
  });
});
