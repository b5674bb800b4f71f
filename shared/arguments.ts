/** The command line that both daemons have: which config to load, what to override, and what to do. */
import { parseArgs } from 'node:util';

export type Arguments = {
  command: 'run' | 'check' | 'version' | 'help';
  configPath: string | undefined;
  /** By key path. */
  set: Record<string, string>;
};

/** Throws TypeError when they are not understood. */
export function parseArguments(argv: readonly string[]): Arguments {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      config: { type: 'string' }, set: { type: 'string', multiple: true, default: [] },
      check: { type: 'boolean' }, version: { type: 'boolean' }, help: { type: 'boolean' },
    },
  });
  const command = values.help === true ? 'help' : values.version === true ? 'version' : values.check === true ? 'check' : 'run';
  return { command, configPath: values.config, set: Object.fromEntries(values.set.map(keyAndValue)) };
}

/** `daemon`: its program; `example`: a key with a value that --set may have. */
export function usageOf(daemon: string, { defaultPath, envPrefix, example }: { defaultPath: string; envPrefix: string; example: string }): string {
  return `usage: ${daemon} [--config FILE] [--set KEY=VALUE]... [--check | --version | --help]
  --config FILE     config, else ${envPrefix}CONFIG, else ${defaultPath}
  --set KEY=VALUE   overrides one key: --set ${example}
  --check           checks the config, says what is wrong, and exits with 0 or 78
`;
}

function keyAndValue(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new TypeError(`--set ${text}: is not KEY=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
}
