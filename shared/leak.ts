/** Things that are there without what they are for, as agents report them. */
import type { Transport } from './ports.js';

export const LEAK_KINDS = ['mappingWithoutContainer', 'containerWithoutEnvironment', 'publishedPort', 'listener', 'foreignRule', 'tunnelProcess'] as const;
export type LeakKind = (typeof LEAK_KINDS)[number];

/** What puts a leak right. 'none': it is somebody else's, and never touched. */
export type LeakRepair = 'none' | 'release' | 'endProcess' | 'removeContainer';

/** One leak, seen in so many looks in a row as the config of the agent asks for. */
export type Leak = {
  /** The same in each report of this host, and of no other leak there. */
  readonly id: string;
  readonly kind: LeakKind;
  /** A sentence for people. Others may have chosen some of its words. */
  readonly message: string;
  /** Looks in a row that saw it. */
  readonly sightings: number;
  readonly repair: LeakRepair;
  /** The agent repairs it by itself; for a mapping that is left to the coordinator, which may when this says so. */
  readonly isAutomatic: boolean;
  /** '' and 0 where it is no mapping. */
  readonly mappingId: string;
  readonly generation: number;
  /** undefined: it is at no port. */
  readonly at: { readonly transport: Transport; readonly port: number } | undefined;
};

const LEAK_ID = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/;

export function isLeakId(text: string): boolean {
  return LEAK_ID.test(text);
}

/** Leaks in one report. */
export const MAX_LEAKS = 1_024;
