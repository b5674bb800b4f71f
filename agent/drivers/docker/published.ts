/** Listeners with what Docker knows of them: ports that it publishes, and of which container docker-proxy is. Pure. */
import type { Listener } from '../connections/listeners.js';
import { ENVIRONMENT_LABEL, hasProcesses, type Container, type Containers } from './containers.js';
import type { DockerView } from './watch.js';

/** The same list again for the same listeners and the same view; the listeners themselves where Docker publishes nothing. */
export class PublishedListeners {
  private last: { found: readonly Listener[]; view: DockerView; all: Listener[] } | undefined;

  /** A published port is one where somebody listens, also where Docker leads there by rules alone (userland-proxy: false). */
  among(found: Listener[], view: DockerView): Listener[] {
    if (this.last?.found !== found || this.last.view !== view) this.last = { found, view, all: withPublished(found, view) };
    return this.last.all;
  }
}

function withPublished(found: Listener[], view: DockerView): Listener[] {
  if (view.kind !== 'known') return found;
  const publishers = new Map<string, { container: Container; hostAddress: string }>();
  for (const container of view.containers.all) {
    if (!hasProcesses(container)) continue;
    for (const { transport, port, hostAddress } of container.published) publishers.set(`${transport} ${port}`, { container, hostAddress });
  }
  const heard = new Set(found.map(({ transport, port }) => `${transport} ${port}`));
  const silent = [...publishers].filter(([place]) => !heard.has(place)).map(([place, { hostAddress }]): Listener => {
    const [transport, port] = place.split(' ') as ['tcp' | 'udp', string];
    return { transport, port: Number(port), address: hostAddress === '' ? '0.0.0.0' : hostAddress };
  });
  const all = found.map(one => named(one, view.containers, publishers.get(`${one.transport} ${one.port}`)?.container));
  return silent.length === 0 && all.every((one, index) => one === found[index]) ? found : [...all, ...silent];
}

/** With the environment of its container; docker-proxy, which is in none itself, counts as in the one that it works for. */
function named(listener: Listener, containers: Containers, publisher: Container | undefined): Listener {
  const { holder } = listener;
  if (holder === undefined) return listener;
  const container = holder.program === 'docker-proxy' ? publisher : containers.get(holder.containerId);
  if (container === undefined) return listener;
  return { ...listener, holder: { ...holder, containerId: container.id, environment: container.labels[ENVIRONMENT_LABEL] ?? '' } };
}
