/** What a reader can try while the demo is left running. */
import { join } from 'node:path';
import { ROOT } from '../../test/support/daemons.js';
import { GATEWAY_PUBLIC, vmAddress } from '../../test/support/layout.js';
import { ENVIRONMENT, type Ports, type World } from './world.js';

export function commandsToPlayWith(world: World, ports: Ports): string {
  const { topology, coordinator } = world.bench;
  const inside = (node: Parameters<typeof topology.namespace>[0], command: string) => `ip netns exec ${topology.namespace(node)} ${command}`;
  const portlease = `node ${join(ROOT, 'dist/cli/main.js')} --server unix:${coordinator.socket}`;
  const curl = `${join(ROOT, 'node_modules/.bin/buf')} curl --protocol grpc --http2-prior-knowledge --unix-socket ${coordinator.socket}`;
  const grpcurl = `grpcurl -plaintext -unix ${coordinator.socket}`;
  const request = `'{"tenant": "demo", "environment": "env-2", "host": "host-a", "wants": [{"name": "ssh", "pool": "ssh-linux", "target": {"address": "${vmAddress('host-a', 1)}"}}]}'`;
  const sections: [string, string[]][] = [
    ['As the client outside:', [
      inside('client', `curl --silent http://${GATEWAY_PUBLIC[4]}:${ports.web}/`),
      inside('client', `curl --silent --max-time 1 telnet://${GATEWAY_PUBLIC[4]}:${ports.ssh}`),
    ]],
    ['As an operator:', [`${portlease} status`, `${portlease} show ${ENVIRONMENT}`, `${portlease} leases`, `sqlite3 ${coordinator.database} .tables`]],
    ['As a scheduler, through reflection (buf curl comes with the build; grpcurl takes the same):', [
      `${curl} --list-methods http://localhost`,
      `${curl} -d '{"environment": "${ENVIRONMENT}"}' http://localhost/portlease.v1.PortService/GetEnvironment`,
      `${curl} -d ${request} http://localhost/portlease.v1.PortService/AllocatePorts`,
      `${grpcurl} describe portlease.v1.PortService`,
      `${grpcurl} -d '{}' localhost portlease.v1.OperationsService/GetStatus`,
    ]],
    ['Look, and break something:', [
      inside('gateway', 'iptables-save -t nat'),
      inside('host-b', 'iptables-save'),
      inside('host-b', 'iptables -t nat -F'),
      `tail -f ${join(world.bench.directory, 'host-b/agent.log')}`,
    ]],
  ];
  const text = sections.map(([title, commands]) => `${title}\n${commands.map((command) => `  ${command}\n`).join('')}`).join('\n');
  return `\n${text}\nEnd it with Ctrl-C here, or with: kill ${process.pid}\n`;
}
