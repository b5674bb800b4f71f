/** Runs one command line: reads flags, asks the coordinator, prints. */
import { CommanderError, type Command } from 'commander';
import { candidates, COMPLETE } from './completion.js';
import { connect } from './coordinator.js';
import { EXIT, type ExitCode } from './exit.js';
import { failureJson, failureOf, failureText, type Attempt } from './failure.js';
import type { Io } from './io.js';
import type { Act, Flags, Job, Result, Show } from './job.js';
import { jsonText } from './json.js';
import { buildProgram } from './program.js';
import { showProgress } from './progress.js';
import { readSettings, type Settings } from './settings.js';
import { printable, UsageError } from './usage.js';

const CONNECT_MS = 5_000;
const SHOWN_CHARACTERS = 300;

/** `argv` leaves out the program's own name. On failure nothing goes to `io.out`. */
export async function run(argv: readonly string[], io: Io): Promise<ExitCode> {
  const attempt: Attempt = { what: 'portlease', resume: undefined };
  let exitCode: ExitCode = EXIT.ok;
  const program = buildProgram(io, actor(io, attempt, (code) => { exitCode = code; }));
  if (argv[0] === COMPLETE) return complete(program, argv.slice(1), io);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok;
    if (error instanceof CommanderError && error.code === 'commander.help') return showHelp(program, io);
    const failure = failureOf(error instanceof CommanderError ? usageOf(error) : error, attempt);
    io.err(argv.includes('--json') ? jsonText(failureJson(failure)) : failureText(failure));
    return failure.exitCode;
  }
}

/** Turns a command's `prepare` into what commander calls; `attempt` is told what is being tried. */
function actor(io: Io, attempt: Attempt, exit: (code: ExitCode) => void): Act {
  return (prepare) => async (...given) => {
    const command = given.at(-1) as Command;
    const flags: Flags = command.optsWithGlobals();
    const job = prepare(command.args, flags);
    const settings = readSettings(flags, io);
    Object.assign(attempt, { what: job.what, resume: job.resume });
    const json = flags['json'] === true;
    const result = await perform(job, settings, { io, json });
    print(result, json, io);
    exit(result.exitCode ?? EXIT.ok);
  };
}

async function perform(job: Job, settings: Settings, { io, json }: { io: Io; json: boolean }): Promise<Result> {
  const { address, credentials, timeoutMs } = settings;
  const coordinator = connect({ address, credentials, deadlineMs: io.nowMs() + timeoutMs, connectMs: Math.min(CONNECT_MS, timeoutMs), signal: io.signal });
  const clearProgress = showProgress(job.what, io);
  try {
    return await job.run(coordinator, showing(io, { json, clearProgress }));
  } finally {
    clearProgress();
    coordinator.close();
  }
}

function showing(io: Io, { json, clearProgress }: { json: boolean; clearProgress: () => void }): Show {
  return {
    line: (line) => {
      clearProgress();
      io.out(json ? `${JSON.stringify(line.json)}\n` : `${line.text}\n`);
    },
    note: (text) => { io.err(`portlease: ${printable(text)}\n`); },
    signal: io.signal,
  };
}

function print(result: Result, json: boolean, io: Io): void {
  if (!json || result.json !== undefined) io.out(json ? jsonText(result.json) : result.text);
  if (!json) for (const hint of result.next ?? []) io.err(`next: ${printable(hint)}\n`);
}

function complete(program: Command, words: readonly string[], io: Io): ExitCode {
  const given = words[0] === '--' ? words.slice(1) : words;
  io.out(candidates(program, given).map((candidate) => `${candidate}\n`).join(''));
  return EXIT.ok;
}

/** No command was named: the help is what went wrong, so it goes to standard error. */
function showHelp(program: Command, io: Io): ExitCode {
  io.err(program.helpInformation());
  return EXIT.usage;
}

function usageOf(error: CommanderError): UsageError {
  const message = error.message.replace(/^error: /, '').replaceAll('\n', ' ');
  const short = message.length > SHOWN_CHARACTERS ? `${message.slice(0, SHOWN_CHARACTERS)}...` : message;
  return new UsageError(short, 'portlease --help lists the commands, portlease COMMAND --help its flags');
}
