import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RulesDriver } from '../../../agent/drivers/rules/driver.js';
import { Forwards } from '../../../agent/drivers/rules/forwards.js';
import type { RulesSpec } from '../../../agent/drivers/rules/spec.js';
import { FakeTools } from './fake-tools.js';
import { anySpec, forward, spec } from './specs.js';

/** The forwards of `to`, made from `from` by what differs. */
function amended(from: Forwards, to: RulesSpec): Forwards {
  const same = (a: object, b: object): boolean => JSON.stringify(a) === JSON.stringify(b);
  const [old, wanted] = [[...from], [...to.forwards]];
  return from.amended(old.filter(one => !wanted.some(each => same(one, each))), wanted.filter(one => !old.some(each => same(one, each))));
}

/** Of some steps only the forwards are others than before. */
const anySteps = fc.array(fc.record({ wanted: anySpec, keeps: fc.boolean() }), { minLength: 2, maxLength: 5 }).map(steps => {
  const specs: RulesSpec[] = [];
  for (const { wanted, keeps } of steps) {
    const { addresses, leased, snat } = (keeps ? specs.at(-1) : undefined) ?? wanted;
    specs.push({ addresses, leased, snat, forwards: [...wanted.forwards].filter(({ to }) => addresses.some(address => address.includes(':') === to.includes(':'))) });
  }
  return specs;
});

describe('the driver of rules', () => {
  it('brings any change about without looking, as it would from nothing, and then has nothing to do', async () => {
    await fc.assert(fc.asyncProperty(anySteps, async specs => {
      const [tools, scratch] = [new FakeTools(), new FakeTools()];
      const driver = new RulesDriver({ run: tools.run });
      let forwards = Forwards.none;
      for (const [index, wanted] of specs.entries()) {
        forwards = amended(forwards, wanted);
        await driver.apply({ ...wanted, forwards }, { observe: index === 0 });
      }
      const last = { ...specs.at(-1) as RulesSpec, forwards };
      tools.takeWrites();
      assert.deepEqual(await driver.apply(last, { observe: false }), { changed: 0, repaired: 0 });
      assert.deepEqual(await driver.apply(last, { observe: true }), { changed: 0, repaired: 0 });
      assert.deepEqual(await new RulesDriver({ run: tools.run }).apply(last, { observe: true }), { changed: 0, repaired: 0 });
      assert.deepEqual(tools.takeWrites().filter(({ stdin }) => !stdin.includes('PORTLEASE-PROBE')), [], 'but to try whether connections can be counted, which changes nothing');
      await new RulesDriver({ run: scratch.run }).apply(last, { observe: true });
      const sorted = (text: string): string[] => text.split('\n').sort();
      for (const family of ['v4', 'v6'] as const) assert.deepEqual(sorted(tools.models[family].save()), sorted(scratch.models[family].save()));
      for (const [name, set] of scratch.sets) assert.deepEqual(tools.sets.get(name), set, name);
    }), { numRuns: 80 });
  });

  it('asks for one transaction with one line when a mapping comes to an aligned block that is there', async () => {
    const tools = new FakeTools();
    const driver = new RulesDriver({ run: tools.run });
    const forwards = Forwards.of(Array.from({ length: 1_000 }, (_, index) => forward({ port: 30_000 + index * 2, id: `m-${index}` })));
    await driver.apply(spec({ forwards }), { observe: true });
    tools.takeWrites();
    assert.deepEqual(await driver.apply({ ...spec(), forwards: forwards.amended([], [forward({ port: 30_101, id: 'm-x' })]) }, { observe: false }), { changed: 1, repaired: 0 });
    assert.deepEqual(tools.takeWrites().map(({ file, stdin }) => [file, stdin]), [['iptables-restore',
      '*nat\n-A PORTLEASE-T759 -p tcp -m tcp --dport 30101 -m comment --comment "portlease:m-x:g5" -j DNAT --to-destination 10.0.0.2:80\nCOMMIT\n']]);
  });

  it('does nothing at all for a spec that is the same', async () => {
    const tools = new FakeTools();
    const driver = new RulesDriver({ run: tools.run });
    const wanted = spec({ forwards: Forwards.of([forward({ hairpin: true })]) });
    await driver.apply(wanted, { observe: true });
    tools.takeWrites();
    assert.deepEqual(await driver.apply(wanted, { observe: false }), { changed: 0, repaired: 0 });
    assert.deepEqual(await driver.apply({ ...wanted }, { observe: false }), { changed: 0, repaired: 0 });
    assert.deepEqual(tools.calls, []);
  });
});

describe('what the driver has seen', () => {
  it('is used when it has written nothing since, and looked at again when it has', async () => {
    const tools = new FakeTools();
    const driver = new RulesDriver({ run: tools.run });
    const [one, two] = [spec({ forwards: [forward()] }), spec({ forwards: [forward(), forward({ port: 30_002, id: 'm-2' })] })];
    await driver.apply(one, { observe: true });
    const sighting = await driver.look(one);
    tools.calls.length = 0;
    assert.deepEqual(await driver.apply(one, { observe: sighting }), { changed: 0, repaired: 0 });
    assert.deepEqual([tools.calls.length, driver.isCurrent(sighting)], [0, true]);
    await driver.apply(two, { observe: false });
    assert.equal(driver.isCurrent(sighting), false);
    tools.calls.length = 0;
    assert.deepEqual(await driver.apply(two, { observe: sighting }), { changed: 0, repaired: 0 });
    assert.ok(tools.calls.some(({ file }) => file === 'iptables-save'));
  });

  it('tells what others did from what it did itself', async () => {
    const tools = new FakeTools();
    const driver = new RulesDriver({ run: tools.run });
    const [one, two] = [spec({ forwards: [forward()] }), spec({ forwards: [forward(), forward({ port: 30_002, id: 'm-2' })] })];
    await driver.apply(one, { observe: true });
    tools.models.v4.rules('nat', 'PORTLEASE-T753').length = 0;
    assert.deepEqual(await driver.apply(two, { observe: await driver.look(two) }), { changed: 2, repaired: 1 });
  });

  it('is outdated when it writes while it looks', async () => {
    const tools = new FakeTools();
    const driver = new RulesDriver({ run: tools.run });
    await driver.apply(spec(), { observe: true });
    let finish = (): void => undefined;
    tools.after = ({ file }) => (file === 'iptables-save' ? new Promise(resolve => { finish = resolve; }) : Promise.resolve());
    const looking = driver.look(spec());
    await driver.apply(spec({ forwards: [forward()] }), { observe: false });
    finish();
    assert.equal(driver.isCurrent(await looking), false);
  });
});

describe('forwards', () => {
  it('that are taken away must be there', () => {
    assert.throws(() => Forwards.none.amended([forward()], []), /m-1 is not at tcp 30001/);
  });

  it('are themselves when nothing comes or goes', () => {
    const forwards = Forwards.of([forward()]);
    assert.equal(forwards.amended([], []), forwards);
    assert.deepEqual([...forwards.amended([forward()], [forward({ port: 30_002 })])], [forward({ port: 30_002 })]);
  });
});
