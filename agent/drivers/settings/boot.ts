/** The kernel's boot id: tells a restart of the agent from a reboot of the machine. */
import { readFileSync } from 'node:fs';

export const BOOT_ID_PATH = '/proc/sys/kernel/random/boot_id';

/** Throws when it cannot be read, or is empty. */
export function readBootId(path = BOOT_ID_PATH): string {
  const bootId = readFileSync(path, 'latin1').trim();
  if (bootId === '') throw new Error(`no boot id in ${path}`);
  return bootId;
}
