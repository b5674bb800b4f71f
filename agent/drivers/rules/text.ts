/**
 * Equality of rules in the words of iptables-save. Versions and backends differ in order, in protocol names and in masks that
 * say nothing; the canonical form does not.
 */

/** Modules whose options name themselves. */
const SILENT_MODULES = new Set(['tcp', 'udp', 'comment', 'conntrack', 'set', 'connlimit']);
const PROTOCOLS: Record<string, string> = { 6: 'tcp', 17: 'udp' };

export function sameRule(a: string, b: string): boolean {
  return a === b || canonicalRule(a) === canonicalRule(b);
}

/** The same text for rules that mean the same; `rule` is without `-A CHAIN`. */
export function canonicalRule(rule: string): string {
  const options: string[] = [];
  let negation = '';
  let option: string[] = [];
  const flush = (): void => {
    const text = canonicalOption(option);
    if (text !== undefined) options.push(text);
    option = [];
  };
  for (const word of wordsOf(rule)) {
    if (word === '!') {
      flush();
      negation = '! ';
    } else if (word.startsWith('-')) {
      flush();
      option = [negation + word];
      negation = '';
    } else {
      option.push(word);
    }
  }
  flush();
  return options.sort().join(' ');
}

function canonicalOption(words: readonly string[]): string | undefined {
  const [name, ...values] = words;
  const [value] = values;
  // What connlimit counts by when nothing is said; some versions do not print it.
  if (name === '--connlimit-saddr') return undefined;
  if (name === undefined || (name === '-m' && SILENT_MODULES.has(value as string))) return undefined;
  return [name, ...values.map(each => canonicalValue(name.replace('! ', ''), each))].join(' ');
}

function canonicalValue(option: string, value: string): string {
  switch (option) {
    case '-s': case '-d': case '--ctorigdst':
      return value.replace(value.includes(':') ? /\/128$/ : /\/32$/, '');
    case '-p': case '--ctproto':
      return PROTOCOLS[value] ?? value.toLowerCase();
    case '--ctstate':
      return value.split(',').sort().join(',');
    case '--dport': case '--ctorigdstport':
      return value.replace(/^(\d+):\1$/, '$1');
    default:
      return value;
  }
}

/** Words of a rule: quotes and backslashes as iptables-save writes them. */
export function wordsOf(rule: string): string[] {
  if (!rule.includes('"') && !rule.includes('\\')) return rule.split(' ').filter(word => word !== '');
  return Array.from(rule.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g), ([, quoted, bare]) => quoted?.replace(/\\(.)/g, '$1') ?? bare ?? '');
}
