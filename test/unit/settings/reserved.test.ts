import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { formatRanges, parseRanges } from '../../../agent/drivers/settings/ranges.js';
import { ReservedPorts } from '../../../agent/drivers/settings/reserved.js';
import type { PortRange } from '../../../shared/ports.js';

describe('ranges of ports as text', () => {
  it('are read as the kernel prints them', () => {
    assert.deepEqual(parseRanges('8080,30000-30255\n'), [{ first: 8_080, last: 8_080 }, { first: 30_000, last: 30_255 }]);
    assert.deepEqual(parseRanges('\n'), []);
    assert.deepEqual(parseRanges('0-65535'), [{ first: 0, last: 65_535 }]);
  });

  for (const text of ['x', '1-', '-1', '2-1', '65536', '1,,2', '1 2']) {
    it(`are refused: ${JSON.stringify(text)}`, () => { assert.throws(() => parseRanges(text), /not a range of ports/); });
  }

  it('come back as they were written', () => {
    const range = fc.tuple(fc.integer({ min: 1, max: 65_535 }), fc.nat(300)).map(([first, size]) => ({ first, last: Math.min(65_535, first + size) }));
    fc.assert(fc.property(fc.array(range), ranges => { assert.deepEqual(parseRanges(formatRanges(ranges)), ranges); }));
  });
});

describe('reserved ports', () => {
  let directory: string;
  beforeEach(async () => { directory = await mkdtemp(join(tmpdir(), 'plreserved-')); });
  afterEach(() => rm(directory, { recursive: true }));

  const kernelPath = (): string => join(directory, 'kernel');
  const kernel = async (): Promise<string> => (await readFile(kernelPath(), 'latin1')).trim();
  const open = (bootId = 'boot-1'): Promise<ReservedPorts> => ReservedPorts.open({ statePath: join(directory, 'ours.json'), bootId, kernelPath: kernelPath() });
  const range = (first: number, last = first): PortRange => ({ first, last });

  it('are added to what others put there, and taken away again without it', async () => {
    await writeFile(kernelPath(), '8080,30005\n');
    const ports = await open();
    assert.equal(await ports.set([range(30_000, 30_009)]), true);
    assert.equal(await kernel(), '8080,30000-30009');
    assert.equal(await ports.set([]), true);
    assert.equal(await kernel(), '8080,30005');
  });

  it('are known as ours after a restart', async () => {
    await writeFile(kernelPath(), '8080\n');
    await (await open()).set([range(30_000, 30_009)]);
    const again = await open();
    assert.deepEqual(again.ours, [range(30_000, 30_009)]);
    await again.set([range(30_005)]);
    assert.equal(await kernel(), '8080,30005');
  });

  it('are put back when somebody else took them away', async () => {
    await writeFile(kernelPath(), '\n');
    const ports = await open();
    await ports.set([range(30_000)]);
    await writeFile(kernelPath(), '9000\n');
    assert.equal(await ports.set([range(30_000)]), true);
    assert.equal(await kernel(), '9000,30000');
    assert.equal(await ports.set([range(30_000)]), false);
  });

  it('of an earlier boot are not taken for ours: what is there then was put there by others', async () => {
    await writeFile(kernelPath(), '\n');
    await (await open('boot-1')).set([range(30_000)]);
    const rebooted = await open('boot-2');
    assert.deepEqual(rebooted.ours, []);
    await rebooted.set([]);
    assert.equal(await kernel(), '30000');
  });

  it('are noted before the kernel is told: a crash in between loses none', async () => {
    await writeFile(kernelPath(), '8080\n');
    const ports = await open();
    await rm(kernelPath());
    await assert.rejects(ports.set([range(30_000)]));
    await writeFile(kernelPath(), '8080\n');
    await ports.set([range(30_000)]);
    const stored = JSON.parse(await readFile(join(directory, 'ours.json'), 'utf8')) as { ours: string };
    assert.equal(stored.ours, '30000');
  });

  it('start from nothing when the file about them is damaged', async () => {
    await writeFile(kernelPath(), '8080\n');
    for (const text of ['{"bootId":"boot-1","ours":"9-1"}', '{', '']) {
      await writeFile(join(directory, 'ours.json'), text);
      assert.deepEqual((await open()).ours, []);
    }
  });
});
