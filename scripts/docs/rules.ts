/** The safety rules of docs/safety.md and the tests that name them in their titles. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

export const RULES = ['S1', 'S2', 'S3', 'S4', 'S5', 'S6', 'S7', 'S8', 'S9', 'S10', 'S11', 'S12', 'S13'] as const;
export type Rule = (typeof RULES)[number];

export type RuleTest = { rule: Rule; /** Relative to the root of the project. */ file: string; title: string };

const TITLE = /\b(?:it|describe)\(\s*(?:'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)"|`((?:\\.|[^`\\])*)`)/g;
const BEGIN = '<!-- tests: written by scripts/docs.ts -->';
const END = '<!-- end of tests -->';

/** Every (rule, title) of the test files below `root`/test, in order of file and place. */
export function ruleTests(root: string): RuleTest[] {
  const files = readdirSync(join(root, 'test'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.test.ts'))
    .map((entry) => join(entry.parentPath, entry.name)).sort();
  return files.flatMap((file) => titlesOf(readFileSync(file, 'utf8')).flatMap((title) =>
    rulesOf(title).map((rule) => ({ rule, file: relative(root, file), title }))));
}

/** Titles of `it` and `describe` that are written as one literal. */
export function titlesOf(source: string): string[] {
  return [...source.matchAll(TITLE)].map(([, single, double, template]) => single ?? double ?? template ?? '');
}

/** Rules that a title names, each once: "S1, S12: …". */
export function rulesOf(title: string): Rule[] {
  return RULES.filter((rule) => new RegExp(`\\b${rule}\\b`).test(title));
}

/** The text of docs/safety.md with its list of test files brought up to date. */
export function withTests(markdown: string, tests: readonly RuleTest[]): string {
  const [before, rest = ''] = markdown.split(BEGIN);
  const [, after] = rest.split(END);
  if (before === undefined || after === undefined) throw new Error(`docs/safety.md: the lines ${BEGIN} and ${END} are missing`);
  const lines = RULES.map((rule) => `| ${rule} | ${filesOf(rule, tests).map((file) => `\`${file}\``).join(' ') || 'none yet'} |\n`);
  return `${before}${BEGIN}\n\n| rule | tests |\n|---|---|\n${lines.join('')}\n${END}${after}`;
}

function filesOf(rule: Rule, tests: readonly RuleTest[]): string[] {
  return [...new Set(tests.filter((test) => test.rule === rule).map((test) => test.file))];
}

/** What docs/safety.md says about which file shows which rule. */
export function listedTests(markdown: string): { rule: Rule; file: string }[] {
  const list = markdown.split(BEGIN)[1]?.split(END)[0] ?? '';
  return list.split('\n').flatMap((line) => {
    const rule = RULES.find((each) => line.startsWith(`| ${each} |`));
    return rule === undefined ? [] : [...line.matchAll(/`([^`]+)`/g)].map(([, file]) => ({ rule, file: file! }));
  });
}
