/** Logs of nginx: kept short. Earlier workers write to the file that they opened until they end. */
import { renameSync, rmSync, statSync } from 'node:fs';

/** Earlier files that are kept: NAME.1 is the newest. */
const KEPT_LOGS = 4;

/** True when the file was put aside, so that nginx has to open another one. */
export function putAside(path: string, maxBytes: number): boolean {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) <= maxBytes) return false;
  rmSync(`${path}.${KEPT_LOGS}`, { force: true });
  for (let number = KEPT_LOGS - 1; number >= 0; number--) {
    const name = number === 0 ? path : `${path}.${number}`;
    if (statSync(name, { throwIfNoEntry: false }) !== undefined) renameSync(name, `${path}.${number + 1}`);
  }
  return true;
}
