import assert from 'node:assert/strict';
import { createOptions } from '../../../agent/environments/options.js';
import { nextStep, type EnvironmentObject, type Memory, type Sight, type Step } from '../../../agent/environments/plan.js';
import { notAllowed, type EnvironmentRules } from '../../../agent/environments/rules.js';
import { generate, credentialsIn, withoutSecrets } from '../../../agent/environments/credentials.js';
import type { EngineContainer } from '../../../agent/drivers/docker/engine.js';
import type { ContainerSpec } from '../../../shared/container.js';

const RULES: EnvironmentRules = {
  enabled: true, images: ['lab/*', 'registry.example.com:5000/x:1'], pull: true, hostPaths: [{ path: '/data', readOnly: false }, { path: '/models', readOnly: true }], volumes: ['team-*'],
  networks: ['bridge', 'net1'], gpus: true, maxMemoryMiB: 1_024, maxCpus: 2, maxProcesses: 100, ulimits: ['nofile'], noNewPrivileges: true,
};
const SPEC: ContainerSpec = {
  image: 'lab/jupyter:4', entrypoint: [], command: [], env: {}, workingDir: '', user: '', mounts: [], gpus: { kind: 'none' }, network: '', memoryBytes: 0, cpuMillis: 0, maxProcesses: 0,
  shmBytes: 0, ulimits: [], restart: 'unlessStopped', credentials: [], rotateCommand: [],
};
const MAKING = { container: SPEC, credentials: [], rules: RULES, host: 'gw/host-a' };

function object(of: Partial<EnvironmentObject> = {}): EnvironmentObject {
  return {
    kind: 'environment', key: 'environment/e', version: 1, environment: 'e', tenant: 't', generation: 5, container: SPEC, credentials: [], labels: {}, isReady: false, tellCredentials: false,
    rotation: 0, ...of,
  };
}

function container(of: Partial<EngineContainer> = {}, generation: number | 'none' = 5): EngineContainer {
  const labels: Record<string, string> = generation === 'none' ? {} : { 'portlease.environment': 'e', 'portlease.generation': String(generation) };
  return { id: 'c1', labels, status: 'running', exitCode: 0, isOutOfMemory: false, restartPolicy: 'no', env: {}, ...of };
}

const FRESH: Memory = { ranId: undefined, rotation: 0 };
const textOf = (step: Step): string => (step.kind === 'fail' ? `${step.failure.step}: ${step.failure.reason}` : step.kind);

describe('the next step for the container of an environment', () => {
  const rows: [what: string, of: Partial<EnvironmentObject>, sight: Partial<Sight>, memory: Partial<Memory>, rules: Partial<EnvironmentRules>, step: string][] = [
    ['nothing is there', {}, { hasImage: true }, {}, {}, 'create'],
    ['the image is not there', {}, {}, {}, {}, 'pull'],
    ['the image is not there, and may not be loaded', {}, {}, {}, { pull: false }, 'image: IMAGE_MISSING'],
    ['environments are off', {}, { hasImage: true }, {}, { enabled: false }, 'allow: ENVIRONMENTS_OFF'],
    ['it was created', {}, { container: container({ status: 'created' }) }, {}, {}, 'start'],
    ['it has started', {}, { container: container() }, {}, {}, 'watchStart'],
    ['another one of that name ran before', {}, { container: container() }, { ranId: 'c0' }, {}, 'watchStart'],
    ['it has run for a moment', {}, { container: container() }, { ranId: 'c1' }, {}, 'rest'],
    ['it was paused', {}, { container: container({ status: 'paused' }) }, { ranId: 'c1' }, {}, 'rest'],
    ['it has ended', {}, { container: container({ status: 'exited', exitCode: 3 }) }, {}, {}, 'run: CONTAINER_EXITED'],
    ['somebody removed it', {}, { hasImage: true }, { ranId: 'c1' }, {}, 'run: CONTAINER_GONE'],
    ['it is a stranger', {}, { container: container({}, 'none') }, {}, {}, 'create: NAME_TAKEN'],
    ['it is of another environment', { environment: 'f' }, { container: container() }, {}, {}, 'create: NAME_TAKEN'],
    ['it is of an earlier environment', {}, { container: container({}, 4) }, {}, {}, 'removeOlder'],
    ['it is of a later environment', {}, { container: container({}, 6) }, {}, {}, 'create: NAME_TAKEN'],
    ['it is ready, and Docker does not know yet', { isReady: true }, { container: container() }, {}, {}, 'setRestart'],
    ['it is ready, and is never to be restarted', { isReady: true, container: { ...SPEC, restart: 'never' } }, { container: container() }, {}, {}, 'rest'],
    ['it was ready, and has ended', { isReady: true }, { container: container({ status: 'exited', restartPolicy: 'unless-stopped' }) }, {}, {}, 'rest'],
    ['it was ready, and is gone', { isReady: true }, { hasImage: true }, {}, {}, 'rest'],
    ['it was ready, and a stranger has its name', { isReady: true }, { container: container({}, 'none') }, {}, {}, 'rest'],
    ['it was ready, and its image is not allowed any more', { isReady: true }, { container: container({ restartPolicy: 'unless-stopped' }) }, {}, { images: [] }, 'rest'],
    ['its credentials are to be rotated', { isReady: true, tellCredentials: true, rotation: 2 }, { container: container({ restartPolicy: 'unless-stopped' }) }, { rotation: 1 }, {}, 'rotate'],
    ['they were rotated', { isReady: true, tellCredentials: true, rotation: 2 }, { container: container({ restartPolicy: 'unless-stopped' }) }, { rotation: 2 }, {}, 'rest'],
    ['they were rotated and returned, and this agent is a new one', { isReady: true, rotation: 2 }, { container: container({ restartPolicy: 'unless-stopped' }) }, {}, {}, 'rest'],
  ];
  for (const [what, of, sight, memory, rules, step] of rows) {
    it(`when ${what}: ${step}`, () => {
      assert.equal(textOf(nextStep(object(of), { container: undefined, hasImage: false, ...sight }, { ...FRESH, ...memory }, { ...RULES, ...rules })), step);
    });
  }
});

describe('what a scheduler may ask for', () => {
  const mount = (kind: 'volume' | 'host', name: string, readOnly = false): Partial<ContainerSpec> => ({ mounts: [{ source: { kind, name }, path: '/x', readOnly }] });
  const allowed: Partial<ContainerSpec>[] = [
    {}, { image: 'registry.example.com:5000/x:1' }, { network: 'net1' }, mount('volume', 'team-a'), mount('host', '/data'), mount('host', '/data/a/b'), mount('host', '/models/m', true),
    { memoryBytes: 1_024 * 1_048_576, cpuMillis: 2_000, maxProcesses: 100 }, { gpus: { kind: 'all' } }, { ulimits: [{ name: 'nofile', soft: 1, hard: 1 }] },
  ];
  const refused: [Partial<ContainerSpec>, key: string][] = [
    [{ image: 'other/jupyter' }, 'images'], [{ image: 'evil/lab/jupyter' }, 'images'], [{ image: 'registry.example.com:5000/x:12' }, 'images'], [{ network: 'net2' }, 'networks'], [{ network: 'host' }, 'networks'],
    [mount('volume', 'other'), 'volumes'], [mount('host', '/'), 'hostPaths'], [mount('host', '/database'), 'hostPaths'], [mount('host', '/models/m'), 'hostPaths'],
    [{ memoryBytes: 1_024 * 1_048_576 + 1 }, 'maxMemoryMiB'], [{ cpuMillis: 2_001 }, 'maxCpus'], [{ maxProcesses: 101 }, 'maxProcesses'], [{ ulimits: [{ name: 'memlock', soft: -1, hard: -1 }] }, 'ulimits'],
  ];
  for (const of of allowed) it(`is ${JSON.stringify(of)}`, () => { assert.equal(notAllowed({ ...SPEC, ...of }, RULES), undefined); });
  for (const [of, key] of refused) {
    it(`is not ${JSON.stringify(of)}: see environments.${key}`, () => {
      const problem = notAllowed({ ...SPEC, ...of }, RULES);
      assert.equal(problem?.reason, 'NOT_ALLOWED_ON_HOST');
      assert.ok(problem.message.includes(`environments.${key} `), problem.message);
    });
  }

  it('is a GPU only where the host gives them, and never the network of the host, even when the config names it', () => {
    assert.match(notAllowed({ ...SPEC, gpus: { kind: 'count', count: 1 } }, { ...RULES, gpus: false })?.message ?? '', /environments\.gpus/);
    assert.match(notAllowed({ ...SPEC, network: 'host' }, { ...RULES, networks: ['host'] })?.message ?? '', /environments\.networks/);
  });
});

describe('a container as Docker is asked for it', () => {
  it('has GPUs as docker run --gpus gives them', () => {
    const requestOf = (gpus: ContainerSpec['gpus']) => createOptions(object(), { ...MAKING, container: { ...SPEC, gpus } }).HostConfig?.DeviceRequests;
    assert.deepEqual(requestOf({ kind: 'all' }), [{ Driver: 'nvidia', Capabilities: [['gpu']], Count: -1 }]);
    assert.deepEqual(requestOf({ kind: 'count', count: 2 }), [{ Driver: 'nvidia', Capabilities: [['gpu']], Count: 2 }]);
    assert.deepEqual(requestOf({ kind: 'ids', ids: ['0', '3'] }), [{ Driver: 'nvidia', Capabilities: [['gpu']], DeviceIDs: ['0', '3'] }]);
    assert.equal(requestOf({ kind: 'none' }), undefined);
  });

  it('has what the config allows at most where nothing was asked for, and no right besides', () => {
    const { HostConfig, Labels } = createOptions(object(), MAKING);
    assert.deepEqual(Labels, { 'portlease.environment': 'e', 'portlease.generation': '5', 'portlease.tenant': 't', 'portlease.host': 'gw/host-a' });
    assert.deepEqual(HostConfig, {
      NetworkMode: 'bridge', Mounts: [], Privileged: false, RestartPolicy: { Name: 'no' }, PidsLimit: 100, Ulimits: [], SecurityOpt: ['no-new-privileges'],
      Memory: 1_073_741_824, MemorySwap: 1_073_741_824, NanoCpus: 2_000_000_000,
    });
  });

  it('has its credentials in its variables', () => {
    const credentials = [{ name: 'web', variables: ['A', 'B'], value: 'secret' }];
    assert.deepEqual(createOptions(object(), { ...MAKING, container: { ...SPEC, env: { C: 'c' } }, credentials }).Env, ['C=c', 'A=secret', 'B=secret']);
    assert.deepEqual(credentialsIn({ A: 'secret', B: 'secret' }, [{ name: 'web', variables: ['A', 'B'] }]), credentials);
    assert.equal(credentialsIn({ B: 'secret' }, [{ name: 'web', variables: ['A', 'B'] }]), undefined);
  });
});

describe('generated credentials', () => {
  it('are 32 characters, never begin like a flag, and are all different', () => {
    const values = Array.from({ length: 2_000 }, () => generate([{ name: 'a', variables: ['A'] }])[0]?.value ?? '');
    for (const value of values) assert.match(value, /^[A-Za-z0-9_][A-Za-z0-9_-]{31}$/);
    assert.equal(new Set(values).size, values.length);
  });

  it('are taken out of what Docker says', () => {
    assert.equal(withoutSecrets('exec: "s3cr3t-value" not found, s3cr3t-value', ['s3cr3t-value', 'no']), 'exec: "[hidden]" not found, [hidden]');
  });
});
