/** What the tools say when they fail, read once. */
import { ChildFailed } from '../child.js';

export type RulesProblem =
  | 'toolMissing' | 'notPermitted' | 'timedOut' | 'setMissing' | 'setOfOtherType' | 'setFull' | 'setInUse' | 'chainMissing' | 'moduleMissing'
  | 'tableUnreadable' | 'rejected';

export class RulesError extends Error {
  override readonly name = 'RulesError';

  constructor(readonly problem: RulesProblem, message: string, options?: ErrorOptions) {
    super(message, options);
  }
}

type Reading = { problem: RulesProblem; says: RegExp; message: (said: { file: string; stderr: string }, match: RegExpExecArray) => string };

/** First match wins. */
const READINGS: readonly Reading[] = [
  { problem: 'notPermitted', says: /you must be root|Operation not permitted|Permission denied|Can't open socket to ipset/,
    message: ({ file }) => `${file} is not permitted: the agent needs root, or CAP_NET_ADMIN and CAP_NET_RAW` },
  { problem: 'setMissing', says: /Set (\S+) doesn't exist|The set with the given name does not exist/,
    message: (_, [, name]) => `the ipset ${name ?? 'that was named'} does not exist` },
  { problem: 'setOfOtherType', says: /set with the same name already exists/,
    message: () => 'there is an ipset of this name and another type: destroy it, the agent makes it anew' },
  { problem: 'setInUse', says: /it is in use by a kernel component/, message: () => 'rules that are not portlease\'s use the ipset' },
  { problem: 'setFull', says: /Hash is full/, message: () => 'the ipset is full' },
  { problem: 'moduleMissing', says: /set type not supported|Couldn't load (?:match|target) .?([\w-]+)|Extension (\w+) revision \d+ not supported|missing kernel module|Could not fetch rule set generation id: (?!Permission)/,
    message: ({ file, stderr }, [, one, two]) => `${file}: the kernel or the tools lack ${one ?? two ?? 'a module'}: ${stderr.trim().split('\n')[0]}` },
  { problem: 'chainMissing', says: /No chain\/target\/match by that name|Chain '(\S+)' does not exist|Bad rule|CHAIN_DEL failed|No such file or directory/,
    message: ({ file, stderr }) => `${file}: chains or rules are not as they were last seen: ${stderr.trim().split('\n').join(' ')}` },
];

/** The error of the program `file` as an error of the rules; anything else as it is. */
export function readFailure(error: unknown, file: string): unknown {
  if (!(error instanceof ChildFailed)) return error;
  const make = (problem: RulesProblem, message: string): RulesError => new RulesError(problem, message, { cause: error });
  if (error.missing) return make('toolMissing', `${file} is not installed`);
  if (error.timedOut) return make('timedOut', `${file} did not end in time`);
  for (const { problem, says, message } of READINGS) {
    const match = says.exec(error.stderr);
    if (match !== null) return make(problem, message({ file, stderr: error.stderr }, match));
  }
  return make('rejected', error.message);
}
