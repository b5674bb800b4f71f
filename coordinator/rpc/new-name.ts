/** Names for what a caller leaves unnamed. */
import { randomBytes } from 'node:crypto';

const PROCESS = randomBytes(10).toString('hex');
let count = 0;

/** 29 characters of a-z 0-9 -, never given out twice. They ascend within a process, so that indexes grow at their end. */
export function newName(): string {
  count += 1;
  return `${PROCESS}-${count.toString(36).padStart(8, '0')}`;
}
