/** Generated credentials: made here, handed to the container, told to the coordinator, and kept nowhere else. */
import { randomBytes } from 'node:crypto';
import type { Credential, CredentialSpec } from '../../shared/container.js';

/** 192 bits each, as 32 characters of A-Z a-z 0-9 _ -; the first one no '-', so that no program takes it for a flag. */
export function generate(specs: readonly CredentialSpec[], random: (bytes: number) => Buffer = randomBytes): Credential[] {
  return specs.map(({ name, variables }) => ({ name, variables, value: secret(random) }));
}

function secret(random: (bytes: number) => Buffer): string {
  for (;;) {
    const value = random(24).toString('base64url');
    if (!value.startsWith('-')) return value;
  }
}

/** What a container was started with; undefined when it was not started with all of them. */
export function credentialsIn(env: Readonly<Record<string, string>>, specs: readonly CredentialSpec[]): Credential[] | undefined {
  const found = specs.map(({ name, variables }) => ({ name, variables, value: env[variables[0] ?? ''] ?? '' }));
  return found.every(({ value }) => value !== '') ? found : undefined;
}

const HIDDEN = '[hidden]';
/** Shorter ones are words of every message. */
const MIN_HIDDEN = 6;

/** What Docker says, without anything that the container was given. */
export function withoutSecrets(text: string, secrets: Iterable<string>): string {
  let clean = text;
  for (const secret of secrets) if (secret.length >= MIN_HIDDEN) clean = clean.replaceAll(secret, HIDDEN);
  return clean;
}
