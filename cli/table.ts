/** Tables for people: aligned, with a header, never wrapped, `-` for what is empty. */
import { printable } from './usage.js';

export type Column<Row> = {
  header: string;
  /** Text of the cell; '' shows as `-`. */
  cell: (row: Row) => string | number;
  /** Numbers stand at the right. */
  align?: 'right';
};

/** One line for the header and one for each row, each ended by a newline. */
export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const drawn = columns.map((column) => aligned([column.header, ...rows.map((row) => shown(column.cell(row)))], column.align));
  return ['header', ...rows].map((_, line) => `${drawn.map((cells) => cells[line]).join('  ').trimEnd()}\n`).join('');
}

function aligned(cells: readonly string[], align: 'right' | undefined): string[] {
  const width = widest(cells);
  return cells.map((cell) => (align === 'right' ? cell.padStart(width) : cell.padEnd(width)));
}

function widest(texts: readonly string[]): number {
  return texts.reduce((width, text) => Math.max(width, text.length), 0);
}

/** Name and value pairs, one a line. */
export function properties(pairs: readonly (readonly [name: string, value: string | number])[]): string {
  const width = widest(pairs.map(([name]) => name));
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${shown(value)}\n`).join('');
}

function shown(value: string | number): string {
  return printable(String(value)) || '-';
}
