/** A bench for each test of a mocha block. */
import { Bench, type BenchOptions } from './bench.js';

/** Call it inside describe(); the function that it returns gives the bench of the test that runs. */
export function benchOfEachTest(options: BenchOptions = {}): () => Bench {
  let bench: Bench | undefined;
  beforeEach(async () => {
    bench = await Bench.up(options);
  });
  afterEach(async function () {
    const failed = this.currentTest?.state === 'failed';
    await bench?.close({ failed });
    bench = undefined;
  });
  return () => {
    if (bench === undefined) throw new Error('the bench exists only while a test runs');
    return bench;
  };
}
