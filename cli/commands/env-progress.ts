/** What happens to an environment while a command waits for it, on standard error. */
import { EventServiceService, WatchEventsRequest, type Event } from '../../shared/gen/portlease/v1/events.js';
import { OperationsServiceService } from '../../shared/gen/portlease/v1/operations.js';
import type { Coordinator } from '../coordinator.js';
import type { Show } from '../job.js';

const KINDS = ['EnvironmentCreating', 'EnvironmentProgress', 'EnvironmentFailed'];

/** Does `work` and shows its progress meanwhile; a watch that fails costs only that. */
export async function withProgress<T>(coordinator: Coordinator, show: Show, { environment, host }: { environment: string; host: string }, work: () => Promise<T>): Promise<T> {
  const follow = { isOver: false };
  void coordinator.call(OperationsServiceService.listHosts, { gateway: '', host }).then(({ hosts: [found] }) => {
    if (found === undefined || follow.isOver) return;
    const request = WatchEventsRequest.fromPartial({ gateway: found.gateway, filter: { environment, kinds: KINDS } });
    return coordinator.follow(EventServiceService.watchEvents, request, ({ events }) => {
      for (const event of events) if (!follow.isOver) show.note(progressText(event));
    });
  }).catch(() => undefined);
  try {
    return await work();
  } finally {
    follow.isOver = true;
  }
}

function progressText({ kind, environment, detail: { step, percent, reason, message, image } }: Event): string {
  const parts = [kind === 'EnvironmentCreating' ? `creating from ${image ?? ''}` : step, percent === undefined ? undefined : `${percent} %`, reason, message];
  return `${environment}: ${kind === 'EnvironmentFailed' ? 'failed: ' : ''}${parts.filter((part) => part !== undefined).join(' ')}`;
}
