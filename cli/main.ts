#!/usr/bin/env node
/** Entry point of `portlease`: gives the process to run.ts. */
import { randomUUID } from 'node:crypto';
import { systemClock } from '../shared/clock.js';
import { packageVersion } from '../shared/package-files.js';
import { EXIT } from './exit.js';
import { run } from './run.js';

/** What Node would say about its own future is nothing that a caller can act on. */
process.noDeprecation = true;
const clock = systemClock();
const interrupted = new AbortController();
process.once('SIGINT', () => {
  interrupted.abort();
  process.once('SIGINT', () => process.exit(EXIT.interrupted));
});
/** Somebody who reads only the first lines (`| head`) is no error. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.ok);
  throw error;
});

process.exitCode = await run(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  errIsTerminal: process.stderr.isTTY,
  env: process.env,
  paths: { config: '/etc/portlease/cli.yaml', socket: '/run/portlease/coordinator.sock' },
  nowMs: () => clock.nowMs(),
  newId: randomUUID,
  version: packageVersion(),
  signal: interrupted.signal,
});
