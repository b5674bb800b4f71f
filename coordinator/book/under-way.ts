/** Environments that are being made or deleted: nothing else is done to them. */
import type { State } from './state.js';
import type { Refusal } from './types.js';

/** Of a command about the ports of an environment whose container is on its way. */
export function refuseUnderWay(state: State, environment: string): Refusal | undefined {
  const phase = state.workloads.get(environment)?.record.phase;
  if (phase === undefined || phase === 'ready') return undefined;
  return { kind: 'refused', reason: 'ENVIRONMENT_NOT_READY', message: `environment ${environment} is ${phase}`, field: 'environment', metadata: { environment, phase } };
}
