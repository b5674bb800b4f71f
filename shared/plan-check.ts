/** Whether a port plan suffices for a fleet: arithmetic on pools, nothing else. */
import { rangeSize, type PortRange } from './ports.js';

export type PlanPool = { pool: string; ranges: readonly PortRange[]; reserved: readonly PortRange[]; quarantineMs: number };

export type Fleet = {
  hosts: number;
  envsPerHost: number;
  /** Ports that each environment takes of a pool; a pool that is not named: none. */
  portsPerEnv: ReadonlyMap<string, number>;
  /** How long an environment lives: as often its ports rest. */
  lifetimeMs: number;
  /** shared: all hosts share one port space. host: each has its own. */
  scope: 'shared' | 'host';
};

/** tight: enough, but hosts have to give idle ports back to each other, so that some allocations wait for that. */
export type Verdict = 'enough' | 'tight' | 'short';

export type PoolCheck = {
  pool: string;
  verdict: Verdict;
  /** Ports that can be given out, in one port space. */
  usable: number;
  /** Ports in use when every host is full, in one port space. */
  needed: number;
  /** What these hosts lease for them: hosts get blocks. */
  inBlocks: number;
  /** Ports that rest at any time, for the environments that were just released. */
  resting: number;
  /** Ports that are missing; 0 unless short. */
  missing: number;
  /** How many environments fit on each host, as far as this pool goes. */
  envsPerHost: number;
};

/** What a host leases for `ports` ports in use: a block of 4, then as much again as it has, at most 1,024 a time. */
export function leasedFor(ports: number): number {
  if (ports === 0) return 0;
  let leased = FIRST_BLOCK;
  while (leased < ports) leased += Math.min(LARGEST_BLOCK, 2 ** Math.floor(Math.log2(leased)));
  return leased;
}

export function checkPlan(pools: readonly PlanPool[], fleet: Fleet): PoolCheck[] {
  return pools.map((pool) => checkPool(pool, fleet));
}

function checkPool({ pool, ranges, reserved, quarantineMs }: PlanPool, { hosts, envsPerHost, portsPerEnv, lifetimeMs, scope }: Fleet): PoolCheck {
  const perEnv = portsPerEnv.get(pool) ?? 0;
  const usable = sum(ranges) - sum(reserved);
  const spaceHosts = scope === 'shared' ? hosts : 1;
  const needed = spaceHosts * envsPerHost * perEnv;
  const inBlocks = scope === 'shared' ? spaceHosts * leasedFor(envsPerHost * perEnv) : needed;
  const restingShare = quarantineMs / lifetimeMs;
  const resting = Math.ceil(needed * restingShare);
  const missing = Math.max(0, needed + resting - usable);
  const verdict = missing > 0 ? 'short' : inBlocks + resting > usable ? 'tight' : 'enough';
  const fits = perEnv === 0 ? Infinity : Math.floor(usable / (spaceHosts * perEnv * (1 + restingShare)));
  return { pool, verdict, usable, needed, inBlocks, resting, missing, envsPerHost: fits };
}

/** As the lease book grows what a host has. */
const FIRST_BLOCK = 4;
const LARGEST_BLOCK = 1_024;

function sum(ranges: readonly PortRange[]): number {
  return ranges.reduce((ports, range) => ports + rangeSize(range), 0);
}
