/** Rows of figures: what `npm run bench` prints and writes. */
export type Row = { name: string; value: number; unit: string };

/** How much is measured: a figure is the median of its runs, each of so many samples. */
export type Size = { runs: number; samples: number };

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The value below which a share `q` of the values lies. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const found = sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
  if (found === undefined) throw new Error('no values to take a quantile of');
  return found;
}

/** Rows of several runs, each with the same names in the same order, to one row a name. */
export function medianOf(runs: readonly Row[][]): Row[] {
  return (runs[0] ?? []).map(({ name, unit }, i) => ({ name, value: median(runs.flatMap((run) => run[i]?.value ?? [])), unit }));
}
