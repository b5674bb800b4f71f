import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Containers, type Container } from '../../../agent/drivers/docker/containers.js';
import type { DockerView } from '../../../agent/drivers/docker/watch.js';
import { mappingFindings, newsOf, nextLeaks, tunnelFindings, type Finding, type Leaks } from '../../../agent/leaks/findings.js';
import { markIn } from '../../../agent/leaks/tunnels.js';
import { PersistentMap } from '../../../agent/persistent/map.js';
import { nextPlaced, type Placed } from '../../../agent/reconcile/places.js';
import type { DesiredObject } from '../../../shared/desired.js';
import { parseTargetText } from '../../../shared/target.js';

const PROCESS = { pid: 7, startTicks: 100, program: 'ssh', tunnelId: 't1' };
const NONE: Leaks = new Map();

function container(state: string): Container {
  return {
    id: 'a'.repeat(64), name: 'web', labels: {}, state, networkMode: 'bridge', published: [],
    attachments: [{ name: 'bridge', networkId: 'n', endpointId: 'e', v4: '172.17.0.2', v6: undefined }],
  };
}

const view = (problem: string | undefined, ...all: Container[]): DockerView =>
  ({ kind: 'known', containers: new Containers(all, new Map([['n', { driver: 'bridge', isInternal: false }]])), problem });

function placed(target: string, seen: DockerView): Placed {
  const mapping: DesiredObject = {
    kind: 'mapping', key: 'mapping/m1', version: 1, mappingId: 'm1', environment: 'e', tenant: 't', name: 'web', index: 0, protocol: 'tcp', port: 30_000,
    target: parseTargetText(target, 'target'), internalPort: 80, generation: 4, verify: false,
  };
  return nextPlaced(undefined, PersistentMap.of([[mapping.key, mapping]]), seen, { addresses: ['192.0.2.1'], hostPorts: new Map() });
}

function found(target: string, seen: DockerView): Finding[] | undefined {
  return mappingFindings(placed(target, seen), seen);
}

describe('a mapping without its container', () => {
  it('is found when the container is not there or does not run, with its generation in the id', () => {
    for (const [seen, reason] of [[view(undefined), 'CONTAINER_NOT_FOUND'], [view(undefined, container('exited')), 'CONTAINER_STOPPED']] as const) {
      const [one, ...more] = found('container:web', seen) ?? [];
      assert.deepEqual(more, []);
      assert.ok(one?.kind === 'mappingWithoutContainer');
      assert.deepEqual([one.id, one.mappingId, one.port, one.reason], ['mappingWithoutContainer/m1/4', 'm1', 30_000, reason]);
    }
  });

  it('is none when the container runs, and none when it leads to an address', () => {
    assert.deepEqual(found('container:web', view(undefined, container('running'))), []);
    assert.deepEqual(found('10.0.0.5', view(undefined)), []);
  });

  it('is not known while Docker does not answer, and not from places of another view', () => {
    assert.equal(found('container:web', view('it is stopped')), undefined);
    assert.equal(found('container:web', { kind: 'unknown', problem: 'it is stopped' }), undefined);
    assert.equal(mappingFindings(placed('container:web', view(undefined)), view(undefined)), undefined);
  });
});

describe('the process of a tunnel', () => {
  it('is a leak when its tunnel is not known', () => {
    assert.deepEqual(tunnelFindings([PROCESS], new Set(['t1'])), []);
    assert.deepEqual(tunnelFindings([PROCESS], new Set(['t2'])).map(({ id }) => id), ['tunnelProcess/7/100']);
  });

  it('is another leak when the pid was used again', () => {
    const first = nextLeaks(NONE, { tunnelProcess: tunnelFindings([PROCESS], new Set()), mappingWithoutContainer: [] });
    const second = nextLeaks(first, { tunnelProcess: tunnelFindings([{ ...PROCESS, startTicks: 101 }], new Set()), mappingWithoutContainer: [] });
    assert.deepEqual([...second].map(([id, { sightings }]) => [id, sightings]), [['tunnelProcess/7/101', 1]]);
  });

  it('has a mark that is a whole variable with a plain id', () => {
    assert.equal(markIn('A=1\0PORTLEASE_TUNNEL=t-1\0B=2\0'), 't-1');
    for (const environ of ['', 'XPORTLEASE_TUNNEL=t\0', 'A=PORTLEASE_TUNNEL=t\0', 'PORTLEASE_TUNNEL=\0', 'PORTLEASE_TUNNEL=a b\0', 'PORTLEASE_TUNNEL=\u001b[1m\0', `PORTLEASE_TUNNEL=${'x'.repeat(128)}\0`]) {
      assert.equal(markIn(environ), undefined, environ);
    }
  });
});

describe('sightings', () => {
  const scan = (tunnelProcess: readonly Finding[] | undefined): Parameters<typeof nextLeaks>[1] => ({ tunnelProcess, mappingWithoutContainer: [] });
  const finding = tunnelFindings([PROCESS], new Set());

  it('tell of a leak once, when there were enough in a row, and once when it is over', () => {
    let leaks = NONE;
    const told = [finding, finding, finding, finding, [], []].map(seen => {
      const before = leaks;
      leaks = nextLeaks(before, scan(seen));
      const { found: news, over } = newsOf(before, leaks, 3);
      return [news.length, over.length];
    });
    assert.deepEqual(told, [[0, 0], [0, 0], [1, 0], [0, 0], [0, 1], [0, 0]]);
  });

  it('are not counted and not lost in a scan that could not look', () => {
    const twice = nextLeaks(nextLeaks(NONE, scan(finding)), scan(finding));
    assert.deepEqual(nextLeaks(twice, scan(undefined)), twice);
  });

  it('never confirm what flickers, whatever the order of scans', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 6 }), fc.array(fc.constantFrom('seen', 'gone', 'unknown'), { maxLength: 60 }), (needed, scans) => {
      let leaks = NONE;
      let run = 0;
      for (const one of scans) {
        const before = leaks;
        leaks = nextLeaks(before, scan(one === 'unknown' ? undefined : one === 'seen' ? finding : []));
        if (one !== 'unknown') run = one === 'seen' ? run + 1 : 0;
        assert.equal(newsOf(before, leaks, needed).found.length, one === 'seen' && run === needed ? 1 : 0);
      }
    }));
  });
});
