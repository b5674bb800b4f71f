/**
 * Small bugs that were, or could have been, in the engine: each replaces one piece of the compiled program. The simulation must find every
 * one of them within the stated number of steps, else it proves nothing when it finds none.
 */

export type Mutation = {
  name: string;
  /** Below dist/. */
  file: string;
  /** Each stands there exactly once. */
  edits: readonly { find: string; replace: string }[];
  /** Steps after which it is found at the latest. */
  within: number;
  scope?: 'shared' | 'host';
  /** First seed; others follow. 1 unless a bug is so rare that it would take minutes from there on. */
  seed?: number;
};

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'quarantine skipped', file: 'coordinator/book/mappings.js',
    edits: [{ find: 'const untilMs = state.nowMs + (pool?.spec.quarantineMs ?? 60_000);', replace: 'const untilMs = state.nowMs;' }], within: 100_000,
  },
  {
    name: 'generation not advanced by a grant', file: 'coordinator/book/leases.js',
    edits: [{ find: 'epoch: state.gateway.epoch, generation: state.sequence, grantedAtMs', replace: 'epoch: state.gateway.epoch, generation: 1_000 - state.sequence, grantedAtMs' }], within: 50_000,
  },
  {
    name: 'epoch not advanced by a start', file: 'coordinator/keeper/recovery.js',
    edits: [{ find: 'Math.max(epoch + 1, Math.floor(startMs))', replace: '(epoch > 2 ? epoch - 1 : epoch + 1)' }], within: 200_000,
  },
  {
    name: 'range granted before the gateway confirmed', file: 'coordinator/book/leases.js',
    edits: [{ find: "const next = makeLease(state, to, ports, { state: 'fencing', guards });", replace: "const next = makeLease(state, to, ports, { state: 'active', guards: [] });" }], within: 200_000,
  },
  {
    name: 'withdrawal counted as done at once', file: 'coordinator/book/leases.js',
    edits: [{ find: 'put(state, state.gatewayAgent, withdrawalObject(state, gone));', replace: 'finishWithdrawal(state, gone);' }], within: 200_000,
  },
  {
    name: 'confirmation of an older route taken for the new one', file: 'coordinator/book/hosts.js',
    edits: [{ find: 'lease.routeRevision > host.appliedRevision || ', replace: '' }], within: 200_000,
  },
  {
    name: 'reply before commit', file: 'coordinator/keeper/keeper.js',
    edits: [{ find: 'const changes = this.#book.takeChanges();\n', replace: 'const changes = this.#book.takeChanges();\n        for (const one of batch) if ("reply" in one && one.reply !== undefined) one.job.done(one.reply);\n' }], within: 50_000,
  },
  {
    name: 'desired state sent before commit', file: 'coordinator/keeper/keeper.js',
    edits: [{ find: 'const changes = this.#book.takeChanges();\n', replace: 'const changes = this.#book.takeChanges();\n        for (const one of batch) if ("pushes" in one) for (const push of one.pushes.splice(0)) this.sessions.push(push);\n' }], within: 300_000,
  },
  {
    name: 'retry answered from uncommitted state', file: 'coordinator/keeper/deciding.js',
    edits: [{ find: 'this.#progress ||= progress;\n', replace: 'this.#progress ||= progress;\n        if (reply.kind === "allocated" && reply.replayed) job.done(reply);\n' }], within: 300_000,
  },
  {
    name: 'delta applied to the wrong base', file: 'agent/state/accepted.js',
    edits: [{ find: "return base === undefined || base === accepted?.revision ? 'accepted' : 'wrongBase';", replace: "return 'accepted';" }], within: 300_000,
  },
  {
    name: 'older desired state accepted', file: 'agent/state/accepted.js',
    edits: [
      { find: "if (version.session < session || version.epoch < epoch)\n        return 'older';", replace: '' },
      { find: 'compareVersions(version, accepted) < 0', replace: 'false' },
    ], within: 300_000,
  },
  {
    name: 'leases expire right after a start', file: 'coordinator/book/hosts.js',
    edits: [{ find: 'heardAtMs: nowMs, heard: false', replace: 'heardAtMs: 0, heard: false' }], within: 50_000,
  },
  {
    name: "a second machine's hello accepted", file: 'coordinator/book/hosts.js',
    edits: [{ find: 'if (lastSession < confirmedSession)', replace: 'if (lastSession < 0)' }], within: 300_000, scope: 'shared',
  },
  {
    name: 'release confirmed before its connections are gone', file: 'agent/reconcile/cutter.js',
    edits: [{ find: 'const { remaining } = await this.options.connections.cut(jobs.flatMap(({ cuts }) => cuts), this.options.standing);', replace: 'const remaining = await Promise.resolve([]);' }], within: 300_000,
  },
  {
    name: 'split that loses a kept part', file: 'coordinator/book/leases.js',
    edits: [{ find: '{ first: ports.last + 1, last: record.last }];', replace: '];' }], within: 200_000, scope: 'shared',
  },
  {
    name: 'request ids forgotten by a restart', file: 'coordinator/book/restore.js',
    edits: [{ find: 'state.requests.set(record.requestId, request);', replace: '' }], within: 200_000,
  },
  {
    name: 'release confirmed by a host while its range is being fenced', file: 'coordinator/book/hosts.js',
    edits: [{ find: "if (lease?.record.state === 'withdrawing' || lease?.record.state === 'fencing')\n        return;\n", replace: '' }], within: 2_000_000, scope: 'shared', seed: 300,
  },
  {
    name: 'route told before the host guards its ports', file: 'coordinator/book/leases.js',
    edits: [{ find: 'if (!state.shared || !lease.record.guarded)\n        return;', replace: 'if (!state.shared)\n        return;' }], within: 300_000, scope: 'shared',
  },
  {
    name: 'events told before their commit', file: 'coordinator/keeper/keeper.js',
    edits: [
      { find: 'this.events.committed(changes.events, changes.gateway.sequence);', replace: '' },
      { find: 'const changes = this.#book.takeChanges();\n', replace: 'const changes = this.#book.takeChanges();\n        if (changes !== undefined) this.events.committed(changes.events, changes.gateway.sequence);\n' },
    ], within: 100_000,
  },
  {
    name: 'events of a commit of unknown outcome forgotten', file: 'coordinator/keeper/keeper.js',
    edits: [{ find: 'this.events.reset(book.sequence);', replace: '' }], within: 800_000,
  },
  {
    name: 'an older copy of the database taken for the newest', file: 'coordinator/book/hosts.js',
    edits: [{ find: 'const isAhead = isBehind(state, command, known);', replace: 'const isAhead = false;' }], within: 300_000,
  },
  {
    name: 'mappings forgotten that only agents know after a restore', file: 'coordinator/book/adopt.js',
    edits: [{ find: 'if ((isServed || isEnding) &&', replace: 'if (isEnding &&' }], within: 300_000,
  },
  {
    name: 'idle port released before its warning is over', file: 'coordinator/book/idle.js',
    edits: [{ find: 'state.nowMs >= idle.release.atMs && idle.idleMs >= idle.release.afterIdleMs', replace: 'state.nowMs > idle.release.atMs - 2_000' }], within: 200_000,
  },
  {
    name: 'open connection taken for none', file: 'agent/idle/quiet.js',
    edits: [{ find: 'if (hasBegun || traffic.isTracked || before.isTracked)', replace: 'if (hasBegun)' }], within: 300_000,
  },
];
