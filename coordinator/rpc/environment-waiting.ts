/** Waits for an environment: until it is ready and its credentials are at hand, until it is gone, or the time is up. */
import type { Credential } from '../../shared/container.js';
import type { Refusal, WorkloadFailure, WorkloadView } from '../book/types.js';
import type { Keeper } from '../keeper/keeper.js';
import { Refused } from '../keeper/refused.js';
import type { Caller } from './waiting.js';

/** What is waited for: its creation, its end, or credentials of this rotation. */
export type EnvironmentGoal = { kind: 'ready' } | { kind: 'gone' } | { kind: 'rotated'; rotation: number };

export type EnvironmentOutcome =
  /** `credentials` undefined: they were given to another caller. */
  | { kind: 'ready'; workload: WorkloadView; credentials: readonly Credential[] | undefined }
  | { kind: 'gone' }
  | { kind: 'failed'; failure: WorkloadFailure; isUndone: boolean }
  | { kind: 'notRotated'; workload: WorkloadView }
  | { kind: 'timeUp' }
  | { kind: 'lost'; refusal: Refusal };

type Waiting = { environment: string; goal: EnvironmentGoal; forMs: number; caller: Caller };

/** Never rejects. `forMs` from now on. */
export function waitForEnvironment(keeper: Keeper, { environment, goal, forMs, caller }: Waiting): Promise<EnvironmentOutcome> {
  return new Promise((resolve) => {
    let failure: WorkloadFailure | undefined;
    let isOver = false;
    const end = (outcome: EnvironmentOutcome): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      for (const stop of stops) stop();
      resolve(outcome);
    };
    const timer = setTimeout(() => { end(failure === undefined || goal.kind !== 'ready' ? { kind: 'timeUp' } : { kind: 'failed', failure, isUndone: false }); }, forMs);
    const look = (): void => {
      keeper.read((book) => ({ workload: book.workload(environment), isThere: book.hasEnvironment(environment) })).then(({ workload, isThere }) => {
        if (isOver) return;
        failure = workload?.failure ?? failure;
        const outcome = outcomeOf(keeper, goal, { workload, isThere, failure });
        if (outcome !== undefined) end(outcome);
      }, (error: unknown) => {
        if (error instanceof Refused) end({ kind: 'lost', refusal: error.refusal });
      });
    };
    const stops = [
      keeper.watch([`environment/${environment}`], { onSeen: look, onLost: (refusal) => { end({ kind: 'lost', refusal }); } }),
      keeper.vault.watch(environment, look),
    ];
    caller.once('cancelled', () => { end({ kind: 'timeUp' }); });
    if (caller.cancelled) end({ kind: 'timeUp' });
  });
}

type Sight = { workload: WorkloadView | undefined; isThere: boolean; failure: WorkloadFailure | undefined };

function outcomeOf(keeper: Keeper, goal: EnvironmentGoal, { workload, isThere, failure }: Sight): EnvironmentOutcome | undefined {
  if (goal.kind === 'gone') return isThere ? undefined : { kind: 'gone' };
  if (workload === undefined) return failure === undefined ? { kind: 'gone' } : { kind: 'failed', failure, isUndone: true };
  if (workload.phase !== 'ready') return undefined;
  if (goal.kind === 'ready') return withCredentials(keeper, workload);
  if (workload.rotation !== goal.rotation) return { kind: 'ready', workload, credentials: undefined };
  const { word } = workload;
  if (word?.step === 'rotate' && word.reason !== '' && word.rotation === goal.rotation) return { kind: 'notRotated', workload };
  return withCredentials(keeper, workload);
}

function withCredentials(keeper: Keeper, workload: WorkloadView): EnvironmentOutcome | undefined {
  if (workload.credentialsReturned) return { kind: 'ready', workload, credentials: undefined };
  const credentials = keeper.vault.take(workload);
  return credentials === undefined ? undefined : { kind: 'ready', workload, credentials };
}
