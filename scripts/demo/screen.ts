/** What the demo prints: numbered steps, what was proven under each, fitted to the terminal. */

const MAX_COLUMNS = 110;
const MIN_COLUMNS = 50;

export type Screen = {
  title(text: string): void;
  step(number: number, text: string): void;
  proven(text: string): void;
  took(ms: number): void;
  failed(text: string): void;
  plain(text: string): void;
};

/** Colours only on a terminal, and not when NO_COLOR is set. */
export function createScreen(out: NodeJS.WriteStream, env: NodeJS.ProcessEnv): Screen {
  const columns = Math.max(MIN_COLUMNS, Math.min(out.columns || 80, MAX_COLUMNS));
  const hasColour = out.isTTY && !env['NO_COLOR'] && env['TERM'] !== 'dumb';
  const paint = (code: number, text: string) => (hasColour ? `\u001b[${code}m${text}\u001b[0m` : text);
  const write = (text: string) => out.write(`${text}\n`);
  return {
    title: (text) => write(`\n${paint(1, text)}`),
    step: (number, text) => write(`\n${paint(1, wrapped(text, { columns, first: `${String(number).padStart(2)}. `, rest: '    ' }))}`),
    proven: (text) => write(wrapped(text, { columns, first: `    ${paint(32, '✓')} `, rest: '      ', hidden: hasColour ? 9 : 0 })),
    took: (ms) => write(paint(2, `    ${(ms / 1000).toFixed(1)} s`)),
    failed: (text) => write(`\n${paint(31, 'FAILED')} ${text}`),
    plain: write,
  };
}

type Layout = { columns: number; first: string; rest: string; /** Characters of `first` that take no room. */ hidden?: number };

/** Breaks at blanks. A word that is longer than a line stays whole, so that it can be copied. */
export function wrapped(text: string, { columns, first, rest, hidden = 0 }: Layout): string {
  const lines: string[] = [];
  let line = first;
  let room = columns - first.length + hidden;
  let isEmpty = true;
  for (const word of text.split(' ')) {
    if (!isEmpty && word.length + 1 > room) {
      lines.push(line);
      line = rest;
      room = columns - rest.length;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    room -= word.length + (isEmpty ? 0 : 1);
    isEmpty = false;
  }
  return [...lines, line].join('\n');
}
