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
  const cells = rows.map((row) => columns.map((column) => shown(column.cell(row))));
  const widths = columns.map((column, i) => cells.reduce((width, line) => Math.max(width, line[i]!.length), column.header.length));
  const line = (texts: string[]) => texts.map((text, i) => (columns[i]!.align === 'right' ? text.padStart(widths[i]!) : text.padEnd(widths[i]!))).join('  ').trimEnd();
  return [columns.map((column) => column.header), ...cells].map((texts) => `${line(texts)}\n`).join('');
}

/** Name and value pairs, one a line. */
export function properties(pairs: readonly (readonly [name: string, value: string | number])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${shown(value)}\n`).join('');
}

function shown(value: string | number): string {
  return printable(String(value)) || '-';
}
