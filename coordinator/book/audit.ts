/** Audit records of commands. */
import type { State } from './state.js';
import type { Command, Reply } from './types.js';

/** Commands that leave an audit record. */
const AUDITED = {
  allocate: 'AllocatePorts', createEnvironment: 'CreateEnvironment', deleteEnvironment: 'DeleteEnvironment', rotateCredentials: 'RotateCredentials', release: 'ReleasePorts', move: 'MoveEnvironment', updateMapping: 'UpdateMapping', createPool: 'CreatePool', updatePool: 'UpdatePool',
  deletePool: 'DeletePool', createHost: 'CreateHost', replaceHost: 'ReplaceHost', reclaimHost: 'ReclaimHost', waiveHost: 'WaiveHost', hello: 'Session',
  cordonHost: 'CordonHost', uncordonHost: 'UncordonHost', drainHost: 'DrainHost', holdHost: 'HoldHost',
  forgetHost: 'ForgetHost', overrideMassLoss: 'OverrideMassLoss', resolveLeak: 'ResolveLeak', notePurge: 'Purge',
  createTunnel: 'CreateTunnel', restartTunnel: 'RestartTunnel', stopTunnel: 'StopTunnel', startTunnel: 'StartTunnel', removeTunnel: 'RemoveTunnel',
} as const;

/** One record for each mutation, accepted or refused, in the same transaction (S11). A replay, a dry run and waiting change nothing. */
export function audit(state: State, command: Command, reply: Reply): void {
  if (command.kind === 'noteRefusal') {
    const { actor, action, reason, environment, requestId, detail } = command;
    state.audit({ actor, action, outcome: reason, environment, requestId, detail });
    return;
  }
  if (!(command.kind in AUDITED) || reply.kind === 'waiting' || changesNothing(state, command, reply)) return;
  const { actor } = command as { actor: string };
  const action = AUDITED[command.kind as keyof typeof AUDITED];
  const outcome = reply.kind === 'refused' ? reply.reason : 'ok';
  const requestId = command.kind === 'allocate' ? command.requestId : '';
  state.audit({ actor, action, outcome, environment: environmentOf(command), requestId, detail: detailOf(command) });
}

function changesNothing(state: State, command: Command, reply: Reply): boolean {
  if ('replayed' in reply && reply.replayed) return true;
  if (command.kind === 'allocate' || command.kind === 'resolveLeak') return command.dryRun;
  return command.kind === 'createPool' && command.seed && !state.changed;
}

function environmentOf(command: Command): string {
  switch (command.kind) {
    case 'createEnvironment': return command.allocation.environment;
    case 'allocate':
    case 'move':
    case 'deleteEnvironment':
    case 'rotateCredentials': return command.environment;
    default: break;
  }
  return command.kind === 'release' && command.selector.kind === 'environment' ? command.selector.environment : '';
}

function detailOf(command: Command): string {
  switch (command.kind) {
    case 'allocate':
    case 'createHost':
    case 'move': return `{"host":"${command.host}"}`;
    case 'release': return JSON.stringify(command.selector);
    case 'createPool': return `{"pool":"${command.pool.pool}"}`;
    case 'updatePool': return JSON.stringify({ pool: command.pool, change: command.change, drain: command.drain });
    case 'deletePool': return `{"pool":"${command.pool}"}`;
    case 'hello': return JSON.stringify({ host: command.host, bootId: command.bootId, lastSession: command.lastSession });
    case 'notePurge': return command.detail;
    case 'createEnvironment': return JSON.stringify({ host: command.allocation.host, image: command.container.image });
    default: return plain(command);
  }
}

/** All that was said. */
function plain(command: Command): string {
  return JSON.stringify({ ...command, kind: undefined, actor: undefined, environment: undefined });
}
