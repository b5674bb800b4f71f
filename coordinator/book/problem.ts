/** What a host says of an object that it does not serve, as the one text that is stored and shown: "REASON: message". */
export type Problem = { readonly reason: string; readonly message: string };

export function problemText({ reason, message }: Problem): string {
  return `${reason}: ${message}`;
}

/** Of any reason of a mapping: one that is not of a host is a word alone. */
export function problemIn(text: string): Problem {
  const end = text.indexOf(': ');
  return end < 0 ? { reason: text, message: '' } : { reason: text.slice(0, end), message: text.slice(end + 2) };
}
