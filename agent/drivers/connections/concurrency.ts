/** Bounded concurrency for children: a cut of many ports must not start hundreds of processes at once. */

const AT_ONCE = 4;

/** Calls `act` for each item, at most AT_ONCE at a time. Waits for all that were begun; then throws the first failure. */
export async function eachOf<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  const failures: unknown[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length && failures.length === 0) {
      const item = items[next++] as T;
      await act(item).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, worker));
  if (failures.length > 0) throw failures[0];
}
