/** What is told of a phase. */
import type { TunnelState } from '../../shared/tunnel.js';
import type { Phase } from './words.js';

export function stateOf(phase: Phase): TunnelState {
  switch (phase.kind) {
    case 'waiting': return 'waiting';
    case 'clearing': return phase.isBlocked ? 'blocked' : 'ending';
    case 'starting':
    case 'connecting':
    case 'proving': return 'connecting';
    case 'up': return 'up';
    case 'backoff': return 'backoff';
    case 'refused': return 'refused';
    case 'stopped':
    case 'gone': return 'stopped';
    default: return phase satisfies never;
  }
}
