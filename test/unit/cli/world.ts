/** A world for `run`: what the command line prints is kept, what it reads is the test's own. */
import type { Io } from '../../../cli/io.js';
import { run } from '../../../cli/run.js';

/** Where nobody listens: a command that got so far as to send something exits with EXIT.unreachable. */
export const NOBODY = 'unix:/nonexistent/portlease-test.sock';

export type Outcome = { exitCode: number; out: string; err: string };

export async function portlease(argv: readonly string[], world: Partial<Io> = {}): Promise<Outcome> {
  const outcome = { out: '', err: '' };
  const exitCode = await run(argv, {
    out: (text) => { outcome.out += text; },
    err: (text) => { outcome.err += text; },
    errIsTerminal: false,
    env: {},
    paths: { config: '/nonexistent/cli.yaml', socket: '/nonexistent/portlease-default.sock' },
    nowMs: Date.now,
    newId: () => '00000000-0000-4000-8000-000000000001',
    version: '1.2.3',
    signal: new AbortController().signal,
    ...world,
  });
  return { exitCode, ...outcome };
}
