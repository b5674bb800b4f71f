/** Makes a network with something running in it, says its name, and waits to be killed. */
import { spawn } from 'node:child_process';
import { inNamespace } from '../../support/netns.js';
import { Topology } from '../../support/topology.js';

const topology = await Topology.up();
const namespace = topology.namespace('host-a');
spawn('nsenter', inNamespace(namespace, ['sleep', 'infinity']).slice(1), { stdio: 'ignore' }).once('spawn', () => {
  process.stdout.write(`${namespace}\n`);
});
