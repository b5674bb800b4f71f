/** Which container a process is in, from the text of /proc/PID/cgroup. */

/** Docker, containerd, CRI-O and Podman name the group of a container by its id of 64 digits: /docker/ID, docker-ID.scope, cri-containerd-ID.scope, …/podUID/ID. */
const ID = /(?:^|[/:-])([0-9a-f]{64})(?=\.scope|[/:]|$)/;
/** LXC: /lxc/NAME, lxc.payload.NAME. */
const LXC = /\/lxc(?:\/|\.payload\.)([A-Za-z0-9][A-Za-z0-9._-]{0,63})(?=\/|$)/;

/** The container as this machine's engine knows it, the outermost one; '' for a process in none. Reads cgroup v1 and v2. */
export function containerOf(cgroup: string): string {
  for (const line of cgroup.split('\n')) {
    // ID:CONTROLLERS:PATH
    const path = line.slice(line.indexOf(':', line.indexOf(':') + 1) + 1);
    const id = ID.exec(path)?.[1] ?? LXC.exec(path)?.[1];
    if (id !== undefined) return id;
  }
  return '';
}
