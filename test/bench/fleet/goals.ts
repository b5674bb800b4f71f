/** What the figures of 10,000 hosts are to be. */
import type { Row } from '../rows.js';

const GOALS: Record<string, number> = {
  'steady.cpu': 0.4, 'steady.rssmb': 600, 'steady.allocate.p99': 50, 'restart.seconds': 15, 'restart.leaseslost': 0, 'restart.mappingslost': 0,
  'restart.allocate.p99': 50, 'loss33.leaseslost': 0, 'loss33.mappingslost': 0, 'loss60.leaseslost': 0, 'loss60.mappingslost': 0,
};

/** A line for each figure with a goal, whatever the size of the fleet. */
export function verdicts(rows: readonly Row[]): string {
  return rows.map(({ name, value, unit }) => {
    const goal = GOALS[name.split('.').slice(2).join('.')];
    if (goal === undefined) return '';
    return `${name.padEnd(40)} ${String(value).padStart(10)} ${unit.padEnd(9)} goal ${goal}: ${value <= goal ? 'met' : 'MISSED'}\n`;
  }).join('');
}
