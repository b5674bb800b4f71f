import assert from 'node:assert/strict';
import { join } from 'node:path';
import { loadAgentConfig } from '../../agent/config.js';
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
