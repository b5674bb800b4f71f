/** How the routes fared since the agent started: configs that nginx took and refused, and how long it took until routes were served. */
import type { RouteFigures } from '../../../shared/desired.js';
import type { ProxiedRoute } from './route.js';

const KEPT = 1_000;

export class Figures {
  private reloads = 0;
  private failures = 0;
  private served = 0;
  /** Of the newest. */
  private latencies: number[] = [];
  private readonly waiting = new Map<string, { route: ProxiedRoute; sinceMs: number }>();
  private readonly known = new Map<string, ProxiedRoute>();
  private last: RouteFigures | undefined;

  took(): void {
    this.reloads++;
    this.last = undefined;
  }

  refused(): void {
    this.failures++;
    this.last = undefined;
  }

  /** What is wanted now: what is new waits to be served. */
  want(routes: ReadonlyMap<string, ProxiedRoute>, nowMs: number): void {
    for (const key of this.known.keys()) if (!routes.has(key)) this.forget(key);
    for (const [key, route] of routes) {
      if (this.known.get(key) === route) continue;
      this.known.set(key, route);
      this.waiting.set(key, { route, sinceMs: nowMs });
    }
  }

  /** Asks of each route that waits whether it is served. */
  look(isServed: (route: ProxiedRoute) => boolean, nowMs: number): void {
    for (const [key, { route, sinceMs }] of this.waiting) {
      if (!isServed(route)) continue;
      this.waiting.delete(key);
      this.served++;
      this.latencies = [...this.latencies.slice(1 - KEPT), nowMs - sinceMs];
      this.last = undefined;
    }
  }

  /** The same object for as long as it says the same. */
  read(): RouteFigures {
    const { reloads, failures, served } = this;
    const sorted = [...this.latencies].sort((a, b) => a - b);
    const at = (quantile: number): number => sorted[Math.min(sorted.length - 1, Math.floor(quantile * sorted.length))] ?? 0;
    this.last ??= { reloads, failures, served, latency: sorted.length === 0 ? undefined : { p50Ms: at(0.5), p99Ms: at(0.99) } };
    return this.last;
  }

  private forget(key: string): void {
    this.known.delete(key);
    this.waiting.delete(key);
  }
}
