import assert from 'node:assert/strict';
import { EXIT } from '../../../cli/exit.js';
import { NOBODY, portlease } from './world.js';

const ALLOCATE = ['allocate', 'env-1', '--host=h', '--tenant=t', '--want=name=a,pool=p,target=10.0.0.1'];

describe('a command line that says too little, too much or something else', () => {
  const CASES: [what: string, argv: string[], expected: RegExp][] = [
    ['an unknown command', ['statsu'], /unknown command 'statsu' \(Did you mean status\?\)/],
    ['an unknown flag', ['status', '--jsno'], /unknown option '--jsno' \(Did you mean --json\?\)/],
    ['a flag without its value', ['status', '--server'], /--server .* argument missing/],
    ['an argument too many', ['status', 'now'], /too many arguments for 'status'/],
    ['a missing argument', ['show'], /missing required argument 'env'/],
    ['no host', ALLOCATE.filter((part) => !part.startsWith('--host')), /--host is missing/],
    ['no tenant', ALLOCATE.filter((part) => !part.startsWith('--tenant')), /--tenant is missing/],
    ['no want', ALLOCATE.filter((part) => !part.startsWith('--want')), /--want is missing/],
    ['two wants of one name', [...ALLOCATE, '--want=name=a,pool=q,target=10.0.0.1'], /the name a is given twice/],
    ['65 wants', [...ALLOCATE, ...Array.from({ length: 64 }, (_, i) => `--want=name=n${i},pool=p,target=10.0.0.1`)], /--want is given 65 times/],
    ['more than 1,024 ports', [...ALLOCATE, ...Array.from({ length: 4 }, (_, i) => `--want=name=n${i},pool=p,target=10.0.0.1,count=256`)], /--want: 1025 ports in all/],
    ['65 labels', [...ALLOCATE, ...Array.from({ length: 65 }, (_, i) => `--label=k${i}=v`)], /--label: 65 labels/],
    ['a label twice', [...ALLOCATE, '--label=a=1', '--label=a=2'], /--label: "a" is given twice/],
    ['nothing to release', ['release'], /nothing to release is named/],
    ['two things to release', ['release', 'env-1', '--mapping=m-1'], /exclude each other/],
    ['no new host', ['move', 'env-1'], /--to is missing/],
    ['two targets of one name', ['move', 'env-1', '--to=h', '--target=a=10.0.0.1', '--target=a=10.0.0.2'], /--target: the name a is given twice/],
    ['a pool without gateway', ['pools', 'create', 'p', '--range=1-2', '--protocol=tcp'], /--gateway is missing/],
    ['a pool without ranges', ['pools', 'create', 'p', '--gateway=g', '--protocol=tcp'], /--range is missing/],
    ['a pool without protocol', ['pools', 'create', 'p', '--gateway=g', '--range=1-2'], /--protocol is missing/],
    ['a pool without name', ['pools', 'create', '--gateway=g', '--range=1-2', '--protocol=tcp'], /name of the pool is missing/],
    ['ranges that overlap', ['pools', 'create', 'p', '--gateway=g', '--range=1-20', '--range=20-30', '--protocol=tcp'], /--range: 20-30 overlaps 1-20/],
    ['65 ranges', ['pools', 'create', 'p', '--gateway=g', '--protocol=tcp', ...Array.from({ length: 65 }, (_, i) => `--range=${i + 1}`)], /--range: 65 ranges/],
    ['17 aliases', ['pools', 'update', 'p', '--gateway=g', ...Array.from({ length: 17 }, (_, i) => `--alias=a${i}`)], /--alias: 17 names/],
    ['an update of nothing', ['pools', 'update', 'p', '--gateway=g'], /nothing to change is named/],
    ['a pool that would lose its last range', ['pools', 'update', 'p', '--gateway=g', '--range='], /--range is empty/],
    ['a shared gateway without address', ['gateways', 'create', 'g', '--scope=shared'], /--public-host is missing/],
    ['a gateway without scope', ['gateways', 'create', 'g'], /--scope is missing/],
    ['a host without gateway', ['hosts', 'create', 'h'], /--gateway is missing/],
    ['a replacement without a reason', ['hosts', 'replace', 'h'], /--reason is missing/],
    ['a reclaim without a reason', ['hosts', 'reclaim', 'h'], /--reason is missing/],
  ];
  for (const [what, argv, expected] of CASES) {
    it(`is refused: ${what}`, async () => {
      const { exitCode, out, err } = await portlease([...argv, ...(argv.at(-1) === '--server' ? [] : ['--server', NOBODY])]);
      assert.deepEqual([exitCode, out], [EXIT.usage, ''], err);
      assert.match(err, expected);
      assert.match(err, /^next: {3}\S/m);
    });
  }

  it('is told as JSON to scripts', async () => {
    const { exitCode, out, err } = await portlease(['show', 'A', '--json']);
    assert.deepEqual([exitCode, out], [EXIT.usage, '']);
    assert.deepEqual(Object.keys((JSON.parse(err) as { error: object }).error), ['message', 'next', 'exitCode']);
  });

  it('shows the help, on standard error, when no command is named', async () => {
    const { exitCode, out, err } = await portlease([]);
    assert.deepEqual([exitCode, out], [EXIT.usage, '']);
    assert.match(err, /^Usage: portlease/);
  });
});

describe('the help', () => {
  it('lists commands and exit codes, on standard output', async () => {
    const { exitCode, out, err } = await portlease(['--help']);
    assert.deepEqual([exitCode, err], [EXIT.ok, '']);
    for (const code of Object.values(EXIT)) assert.match(out, new RegExp(`^ +${code} +\\S`, 'm'));
  });

  it('tells the version', async () => {
    assert.deepEqual(await portlease(['--version']), { exitCode: EXIT.ok, out: '1.2.3\n', err: '' });
  });

  it('describes the flags of a command', async () => {
    assert.match((await portlease(['pools', 'create', '--help'])).out, /--range <first-last>/);
  });
});
