import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { reasonsMarkdown } from '../../../scripts/docs/reasons.js';
import { listedTests, RULES, rulesOf, ruleTests, titlesOf, withTests } from '../../../scripts/docs/rules.js';

const ROOT = join(import.meta.dirname, '../../..');
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');

describe('docs/reasons.md', () => {
  it('is what shared/reasons.ts says: run npx tsx scripts/docs.ts when it is not', () => {
    assert.equal(read('docs/reasons.md'), reasonsMarkdown());
  });
});

describe('docs/safety.md', () => {
  it('states every rule', () => {
    const stated = [...read('docs/safety.md').matchAll(/^## (S\d+)\. \S/gm)].map(([, rule]) => rule);
    assert.deepEqual(stated, [...RULES]);
  });

  for (const rule of RULES) {
    it(`states a rule that a test shows: number ${rule.slice(1)}`, () => {
      assert.ok(ruleTests(ROOT).some((test) => test.rule === rule), `the title of no test names ${rule}`);
    });
  }

  it('lists no file that does not name its rule: run npx tsx scripts/docs.ts when it does', () => {
    const tests = ruleTests(ROOT);
    const stale = listedTests(read('docs/safety.md')).filter(({ rule, file }) => !tests.some((test) => test.rule === rule && test.file === file));
    assert.deepEqual(stale, []);
  });
});

describe('the reader of test titles', () => {
  it('finds titles in all three kinds of quotes', () => {
    assert.deepEqual(titlesOf('it(\'a \\\'b\\\'\', x); describe("c", y);\n  it(\n `d ${e}`, z); visit("no")'), ["a \\'b\\'", 'c', 'd ${e}']);
  });

  it('finds every rule in a title, and no part of another', () => {
    assert.deepEqual(rulesOf('S1, S12: a port'), ['S1', 'S12']);
    assert.deepEqual(rulesOf('S14 XS1 S1x S'), []);
  });

  it('writes the files of each rule between its marks, and nothing else', () => {
    const text = 'before\n<!-- tests: written by scripts/docs.ts -->\nold\n<!-- end of tests -->\nafter\n';
    const written = withTests(text, [{ rule: 'S2', file: 'test/b.test.ts', title: 'S2' }, { rule: 'S2', file: 'test/b.test.ts', title: 'S2 too' }]);
    assert.match(written, /^before\n[^]*\| S2 \| `test\/b\.test\.ts` \|\n[^]*\nafter\n$/);
    assert.deepEqual(listedTests(written), [{ rule: 'S2', file: 'test/b.test.ts' }]);
    assert.throws(() => withTests('no marks', []), /are missing/);
  });
});
