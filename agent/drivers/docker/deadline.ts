/**
 * A deadline for the whole answer of the Docker Engine. That of the client library counts silence only, and an answer that breaks off after its
 * head would be waited for without end.
 */

/** Rejects when `ask` has not settled in time; the signal then ends what it has under way. */
export async function within<T>(deadlineMs: number, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const aborting = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`the Docker Engine did not answer within ${deadlineMs} ms`));
      aborting.abort();
    }, deadlineMs);
  });
  try {
    return await Promise.race([ask(aborting.signal), late]);
  } finally {
    clearTimeout(timer);
  }
}
