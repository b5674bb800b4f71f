/** Ports that containers publish, as listeners: Docker may lead there without a process that listens (userland-proxy: false). Pure. */
import type { Listener } from '../connections/listeners.js';
import { hasProcesses } from './containers.js';
import type { DockerView } from './watch.js';

export function publishedListeners(view: DockerView): Listener[] {
  if (view.kind !== 'known') return [];
  return [...view.containers.all].filter(hasProcesses).flatMap(({ published }) =>
    published.map(({ transport, port, hostAddress }) => ({ transport, port, address: hostAddress === '' ? '0.0.0.0' : hostAddress })));
}
