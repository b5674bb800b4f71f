/** What a pool has when nothing is said, over RPC and in the config alike. */
export const POOL_DEFAULTS = {
  quarantineMs: 60_000,
  holdMs: 86_400_000,
  idleLimitMs: 86_400_000,
  idleWarningMs: 3_600_000,
  /** No limit. */
  connectionTimeoutMs: 0,
} as const;
