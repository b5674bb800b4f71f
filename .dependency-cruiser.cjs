// The import table of docs/architecture.md, checked.

/** Whatever touches the world: files, processes, sockets, the database. Timers and crypto hashes are not among them. */
const EFFECTS = [
  '^(?:node:)?(?:fs|fs/promises|child_process|net|dgram|http|http2|https|tls|os|cluster|worker_threads|readline)$',
  'node_modules/(?:@grpc/grpc-js|sqlite3|pino)/',
];

/** Rule: files of `from` import nothing of `to`. */
function forbid(name, from, to, extra = {}) {
  return { name, severity: 'error', from: { path: from }, to: { path: to, ...extra } };
}

module.exports = {
  forbidden: [
    { name: 'no cycles', severity: 'error', from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } } },
    { name: 'nothing unresolved', severity: 'error', from: { pathNot: '^shared/gen/' }, to: { couldNotResolve: true } },
    forbid('agent imports shared only', '^agent/', '^(?:coordinator|cli|test|scripts)/'),
    forbid('coordinator imports shared only', '^coordinator/', '^(?:agent|cli|test|scripts)/'),
    forbid('cli imports shared only', '^cli/', '^(?:agent|coordinator|test|scripts)/'),
    forbid('shared imports nothing of the others', '^shared/', '^(?:agent|coordinator|cli|test|scripts)/'),
    forbid('the lease book has no effects', '^coordinator/book/', EFFECTS, { dependencyTypesNot: ['type-only'] }),
    forbid('the lease book knows ports, desired state and reasons only', '^coordinator/book/', '^(?:coordinator/(?!book/)|shared/(?!(?:ports|desired|container|reasons|digest|names|invalid|target|tunnel|leak)\\.ts$))'),
    forbid('the session machine has no effects', '^agent/session/machine\\.ts$', EFFECTS, { dependencyTypesNot: ['type-only'] }),
    forbid('planners have no effects', '/plan\\.ts$', EFFECTS, { dependencyTypesNot: ['type-only'] }),
    forbid('what is pure takes pure parts of shared', '(?:^agent/session/machine|/plan)\\.ts$', '^shared/(?:tls|grpc|notify|log|config)\\.ts$', { dependencyTypesNot: ['type-only'] }),
    forbid('the journal knows the types of the book only', '^coordinator/journal/', '^coordinator/(?!journal/|book/types\\.ts$)'),
    forbid('services do not reach around the keeper', '^coordinator/rpc/', '^coordinator/journal/', { dependencyTypesNot: ['type-only'] }),
    forbid('drivers do not know the loop', '^agent/drivers/', '^agent/(?:session|reconcile)/', { dependencyTypesNot: ['type-only'] }),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(?:dist|node_modules/typescript)/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'require', 'node', 'default', 'types'] },
  },
};
