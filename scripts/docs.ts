/**
 * Writes what is generated in docs/: reasons.md from shared/reasons.ts, and the list of tests in safety.md from the titles of the tests.
 * Run it from anywhere: npx tsx scripts/docs.ts
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { reasonsMarkdown } from './docs/reasons.js';
import { ruleTests, withTests } from './docs/rules.js';

const root = join(import.meta.dirname, '..');
const safety = join(root, 'docs', 'safety.md');

writeFileSync(join(root, 'docs', 'reasons.md'), reasonsMarkdown());
writeFileSync(safety, withTests(readFileSync(safety, 'utf8'), ruleTests(root)));
