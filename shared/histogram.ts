/** How long things took, in counts of fixed classes: memory and cost do not grow with how many there were. */

/** Exact below this many milliseconds; above, four classes an octave: at most 19 % too long. */
const EXACT = 16;
const PER_OCTAVE = 4;
const LAST = EXACT + 18 * PER_OCTAVE;

export class Histogram {
  private readonly counts = new Uint32Array(LAST + 1);
  count = 0;

  add(ms: number): void {
    const index = classOf(ms);
    this.counts[index] = (this.counts[index] ?? 0) + 1;
    this.count += 1;
  }

  addAll(other: Histogram): void {
    for (let index = 0; index <= LAST; index += 1) this.counts[index] = (this.counts[index] ?? 0) + (other.counts[index] ?? 0);
    this.count += other.count;
  }

  clear(): void {
    this.counts.fill(0);
    this.count = 0;
  }

  /** A time in ms that the share `quantile` of all did not exceed, rounded up to the end of its class; undefined without any. */
  quantileMs(quantile: number): number | undefined {
    if (this.count === 0) return undefined;
    let left = Math.max(1, Math.ceil(quantile * this.count));
    for (let index = 0; index <= LAST; index += 1) {
      left -= this.counts[index] ?? 0;
      if (left <= 0) return endOf(index);
    }
    return endOf(LAST);
  }
}

function classOf(ms: number): number {
  if (ms < EXACT) return Math.max(0, Math.ceil(ms));
  return Math.min(LAST, EXACT + Math.ceil(PER_OCTAVE * Math.log2(ms / EXACT)));
}

function endOf(index: number): number {
  return index < EXACT ? index : Math.ceil(EXACT * 2 ** ((index - EXACT) / PER_OCTAVE));
}
