import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { loadAgentConfig } from '../../agent/config.js';
import { tunnelsConfig } from '../../agent/tunnels/config.js';
import { loadCoordinatorConfig } from '../../coordinator/config.js';
import { ROOT } from '../support/root.js';

const example = (name: string): string => join(ROOT, 'examples/laptop', name);

describe('the examples for a trial without root', () => {
  it('are good configs that fit each other', () => {
    const agent = loadAgentConfig({ configPath: example('agent.yaml'), set: {} }, { HOME: '/home/me' });
    const coordinator = loadCoordinatorConfig({ configPath: example('coordinator.yaml'), set: {} }, {});
    assert.equal(agent.driver, 'userspace');
    assert.deepEqual(coordinator.gateways.map(({ gateway, scope }) => [gateway, scope]), [[agent.gateway, 'host']]);
    assert.deepEqual(coordinator.listen.grpc, agent.coordinator);
  });
});

describe('the examples of tunnels', () => {
  it('are a good config, and the one in docs/tunnels.md is, too, with all that is commented out', () => {
    const { tunnels } = loadAgentConfig({ configPath: join(ROOT, 'examples/tunnels/agent.yaml'), set: {} }, {});
    assert.deepEqual(tunnels.list.map(({ tunnel, server }) => [tunnel, server]), [['db', 'bastion'], ['ssh-in', 'bastion']]);
    const [, block = ''] = /```yaml\n([^]*?)```/.exec(readFileSync(join(ROOT, 'docs/tunnels.md'), 'utf8')) ?? [];
    const given = parse(block.replace(/^  # /gm, '  ').replace(/^    #   /gm, '    ')) as { tunnels: unknown };
    const read = tunnelsConfig.parse(given.tunnels);
    assert.deepEqual([read.list.length, read.engine, read.probeFailures, read.flapping.downs, read.logs.keep], [2, 'ssh', 3, 3, 3]);
  });
});
