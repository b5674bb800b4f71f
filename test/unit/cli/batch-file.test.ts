import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readBatch, type Defaults } from '../../../cli/batch-file.js';
import { inCalls } from '../../../cli/commands/allocate-batch.js';
import { EXIT } from '../../../cli/exit.js';
import { Wait } from '../../../shared/gen/portlease/v1/common.js';
import { AllocatePortsRequest } from '../../../shared/gen/portlease/v1/ports.js';
import { NOBODY, portlease } from './world.js';

const DEFAULTS: Defaults = { host: 'host-a', tenant: 'acme', wait: Wait.WAIT_UNSPECIFIED, dryRun: false, labels: {}, idPrefix: 'cli-1' };
const WANT = 'name=ssh,pool=ssh,target=10.88.1.2';

describe('the file of a batch', () => {
  let folder: string;
  beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'portlease-batch-')); });
  afterEach(() => { rmSync(folder, { recursive: true }); });

  function file(content: string): string {
    const path = join(folder, 'batch.yaml');
    writeFileSync(path, content);
    return path;
  }

  it('says all that the flags of a single request say; what an entry leaves out is taken from the flags', () => {
    const requests = readBatch(file(`
- env: env-1
  host: host-b
  tenant: other
  want: ['${WANT},count=2,contiguous', {name: web, service: web, target: 10.88.1.3, internal-port: 80, port: 30022}]
  label: {team: ml, shift: ''}
  wait: recorded
  request-id: r-1
  dry-run: true
- want: ${WANT}
`), { ...DEFAULTS, labels: { team: 'ops' } });
    assert.deepEqual(requests.map(({ requestId, tenant, environment, host, labels, wait, dryRun }) => ({ requestId, tenant, environment, host, labels, wait, dryRun })), [
      { requestId: 'r-1', tenant: 'other', environment: 'env-1', host: 'host-b', labels: { team: 'ml', shift: '' }, wait: Wait.WAIT_RECORDED, dryRun: true },
      { requestId: 'cli-1-1', tenant: 'acme', environment: '', host: 'host-a', labels: { team: 'ops' }, wait: Wait.WAIT_UNSPECIFIED, dryRun: false },
    ]);
    const [ssh, web] = requests[0]?.wants ?? [];
    assert.deepEqual([ssh?.count, ssh?.contiguous, web?.source, web?.internalPort, web?.choice], [2, true, { $case: 'serviceType', value: 'web' }, 80, { $case: 'exactPort', value: 30_022 }]);
  });

  it('may be JSON', () => {
    const [request] = readBatch(file(JSON.stringify([{ env: 'env-1', want: [{ name: 'ssh', pool: 'ssh', target: '10.88.1.2', contiguous: true, count: 3 }] }])), DEFAULTS);
    assert.deepEqual([request?.environment, request?.wants[0]?.contiguous, request?.wants[0]?.count], ['env-1', true, 3]);
  });

  const BAD: Record<string, [content: string, says: RegExp]> = {
    'nothing': ['', /does not hold a list/], 'no list': ['env: a', /does not hold a list/], 'an empty list': ['[]', /does not hold a list/],
    'broken YAML': ['- {', /batch\.yaml/], 'an entry that is a text': ['- env-1', /\[0\] is not a request/], 'an unknown key': [`- {envv: a, want: '${WANT}'}`, /\[0\]: "envv" is no key/],
    'a bad name': [`- {env: A_B, want: '${WANT}'}`, /\[0\] env: "A_B" is not a name/], 'no want': ['- {env: a}', /\[0\]: want is missing/],
    'a bad want': ["- {env: a, want: 'name=ssh,pool=ssh,target=127.0.0.1'}", /\[0\]: want target: "127\.0\.0\.1"/],
    'a want with another key': ['- {env: a, want: [{name: a, pool: b, target: 10.0.0.1, x: 1}]}', /\[0\]: want: "x" is no part/],
    'a nested value': [`- {env: [a], want: '${WANT}'}`, /\[0\] env is not a text/], 'a bad label': [`- {env: a, label: {'-a': b}, want: '${WANT}'}`, /\[0\] label/],
    'a bad wait': [`- {env: a, wait: for-ever, want: '${WANT}'}`, /\[0\] wait/], 'a request id twice': [`- {request-id: r, want: '${WANT}'}\n- {request-id: r, want: '${WANT}'}`, /\[1\] request-id: "r" is that of another/],
    'an alias bomb': ['a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c]', /batch\.yaml/],
  };
  for (const [what, [content, says]] of Object.entries(BAD)) {
    it(`is refused for ${what}, and nothing is sent`, async () => {
      const { exitCode, err } = await portlease(['allocate', '--host=host-a', '--tenant=acme', '--batch', file(content), '--server', NOBODY]);
      assert.equal(exitCode, EXIT.usage, err);
      assert.match(err, says);
      assert.match(err, /^next: {3}\S/m);
    });
  }

  it('needs host and tenant for each entry, from the entry or from the flags', async () => {
    for (const [flags, says] of [[['--host=a'], /tenant is missing/], [['--tenant=a'], /host is missing/]] as const) {
      const { exitCode, err } = await portlease(['allocate', ...flags, '--batch', file(`- want: '${WANT}'`), '--server', NOBODY]);
      assert.equal(exitCode, EXIT.usage);
      assert.match(err, says);
    }
  });

  it('excludes an environment and wants on the command line', async () => {
    for (const more of [['env-1'], [`--want=${WANT}`]]) {
      const { exitCode, err } = await portlease(['allocate', ...more, '--host=a', '--tenant=a', '--batch', file(`- want: '${WANT}'`), '--server', NOBODY]);
      assert.equal(exitCode, EXIT.usage);
      assert.match(err, /exclude each other/);
    }
  });

  it('goes in calls of at most 256 requests and 4,096 ports, in order', () => {
    const request = (count: number) => AllocatePortsRequest.fromPartial({ wants: [{ count }] });
    assert.deepEqual(inCalls(Array.from({ length: 600 }, () => request(1))).map((call) => call.length), [256, 256, 88]);
    assert.deepEqual(inCalls(Array.from({ length: 20 }, () => request(256))).map((call) => call.length), [16, 4]);
    assert.deepEqual(inCalls([]), []);
  });
});
