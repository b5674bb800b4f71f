/** What is wrong with the command line, the environment or the config file, and what to do: nothing was sent. */
export class UsageError extends Error {
  constructor(message: string, readonly remedy: string) {
    super(message);
    this.name = 'UsageError';
  }
}

const SHOWN_CHARACTERS = 60;

/** A value that somebody typed, safe and short enough to show: quoted, control characters escaped. */
export function quoted(text: string): string {
  const short = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}...` : text;
  return printable(JSON.stringify(short));
}

/** Replaces what could steer a terminal or break a line. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');
}
