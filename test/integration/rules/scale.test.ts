/** 10,000 mappings on one host. */
import assert from 'node:assert/strict';
import { RulesDriver } from '../../../agent/drivers/rules/driver.js';
import { RulesError } from '../../../agent/drivers/rules/errors.js';
import type { Forward, RulesSpec } from '../../../agent/drivers/rules/spec.js';
import { ADDRESS, Bench } from './bench.js';

describe('10,000 mappings', () => {
  let bench: Bench;
  before(async () => { bench = await Bench.start(); });
  after(() => bench?.close());

  it('are applied, grow by one, are seen to be whole, heal and go', async () => {
    const driver = new RulesDriver({ run: bench.onHost });
    const forward = (number: number): Forward =>
      ({ id: `m-${number}`, generation: 7, transport: 'tcp', ports: { first: number, last: number }, to: ADDRESS.target.v4, toPort: 8_080, hairpin: true });
    const spec: RulesSpec = {
      addresses: [ADDRESS.host.v4], snat: false, leased: [{ transport: 'tcp', ports: { first: 20_000, last: 49_999 } }],
      forwards: Array.from({ length: 10_000 }, (_, i) => forward(20_000 + i)),
    };
    await bench.listen('target', 'tcp', 8_080);
    await driver.apply(spec, { observe: true });
    const answers = async (number: number): Promise<boolean> => await bench.ask('client', 'tcp', [ADDRESS.host.v4, number]) === `target sees ${ADDRESS.client.v4}`;
    const silent = (number: number): Promise<boolean> => bench.isSilent('client', 'tcp', [ADDRESS.host.v4, number]);
    assert.ok(await answers(20_000) && await answers(29_999) && await silent(30_000));

    const more = { ...spec, forwards: [...spec.forwards, forward(30_000)] };
    await driver.apply(more, { observe: false });
    assert.ok(await answers(30_000));
    assert.deepEqual(await driver.apply(more, { observe: true }), { changed: 0, repaired: 0 });

    await bench.onHost('iptables', ['-t', 'nat', '-F']);
    assert.ok(await silent(29_999));
    assert.ok((await driver.apply(more, { observe: true })).repaired > 10_000);
    assert.ok(await answers(29_999) && await answers(30_000));

    await driver.apply(spec, { observe: false });
    assert.ok(await silent(30_000) && await answers(29_999));
    await driver.removeAll();
    assert.doesNotMatch(await bench.save(), /PORTLEASE/);
  });
});

describe('tools that the rules need', () => {
  it('are named when they are missing', async () => {
    const bench = await Bench.start();
    try {
      const without = new RulesDriver({ run: (file, argv, options) => bench.onHost(file === 'ipset' || file.startsWith('ip6tables') ? `missing-${file}` : file, argv, options) });
      assert.deepEqual(await without.missingTools({ addresses: [ADDRESS.host.v4, ADDRESS.host.v6] }), ['ip6tables-save', 'ip6tables-restore', 'ipset']);
      assert.deepEqual(await without.missingTools({ addresses: [ADDRESS.host.v4] }), ['ipset']);
      await assert.rejects(without.apply({ addresses: [ADDRESS.host.v4], leased: [], forwards: [], snat: false }, { observe: true }), (error: unknown) => error instanceof RulesError && error.problem === 'toolMissing' && error.message === 'ipset is not installed');
    } finally {
      await bench.close();
    }
  });

  it('say so when they are not permitted', async () => {
    const bench = await Bench.start();
    try {
      const nobody = new RulesDriver({ run: (file, argv, options) => bench.onHost('setpriv', ['--reuid', '65534', '--clear-groups', file, ...argv], options) });
      const spec: RulesSpec = { addresses: [ADDRESS.host.v4], leased: [], forwards: [], snat: false };
      await assert.rejects(nobody.apply(spec, { observe: true }), (error: unknown) => error instanceof RulesError && error.problem === 'notPermitted' && /needs root/.test(error.message));
    } finally {
      await bench.close();
    }
  });
});
