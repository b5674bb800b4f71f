/**
 * Completion: the shell asks `portlease __complete -- WORDS` and gets one candidate a line, so that the three scripts stay small and the answers come
 * from the commands themselves.
 */
import type { Command, Option } from 'commander';
import { IDLE_ACTIONS, MAPPING_STATES, ON_CONFLICT, PROTOCOLS, ROLES, SCOPES, STRATEGIES, TLS_MODES, TUNNEL_ENGINES, WAITS } from './words.js';

/** First argument that asks for candidates instead of running a command. */
export const COMPLETE = '__complete';

const VALUES: Readonly<Record<string, readonly string[]>> = {
  '--protocol': Object.keys(PROTOCOLS),
  '--scope': Object.keys(SCOPES),
  '--role': Object.keys(ROLES),
  '--strategy': Object.keys(STRATEGIES),
  '--idle-action': Object.keys(IDLE_ACTIONS),
  '--on-conflict': Object.keys(ON_CONFLICT),
  '--tls': Object.keys(TLS_MODES),
  '--state': Object.keys(MAPPING_STATES),
  '--engine': Object.keys(TUNNEL_ENGINES),
  '--wait': Object.keys(WAITS),
};
const RELEASE_WAITS = ['recorded', 'released'];

export const COMPLETION_SCRIPTS = {
  bash: `# portlease completion for bash: source <(portlease completion bash)
_portlease() {
  local IFS=$'\\n'
  COMPREPLY=($(portlease ${COMPLETE} -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _portlease portlease
`,
  zsh: `#compdef portlease
# portlease completion for zsh: source <(portlease completion zsh)
_portlease() {
  local -a candidates
  candidates=("\${(@f)$(portlease ${COMPLETE} -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "$candidates" ]]; then compadd -a candidates; else _files; fi
}
compdef _portlease portlease
`,
  fish: `# portlease completion for fish: portlease completion fish | source
function __portlease_complete
  set -l words (commandline -opc) (commandline -ct)
  portlease ${COMPLETE} -- $words[2..-1] 2>/dev/null
end
complete -c portlease -a '(__portlease_complete)'
`,
} as const;

/** What the last of `words` may become; the words before it are complete. `words` leaves out the program's own name. */
export function candidates(program: Command, words: readonly string[]): string[] {
  const earlier = words.slice(0, -1);
  const typed = words.at(-1) ?? '';
  const { command, option } = walk(program, earlier);
  if (option !== undefined) return matching(valuesOf(command, option), typed);
  if (typed.startsWith('-')) return matching(optionsOf(program, command).map((each) => each.long ?? ''), typed);
  if (command.name() === 'completion') return matching(Object.keys(COMPLETION_SCRIPTS), typed);
  return matching(command.commands.map((each) => each.name()), typed);
}

/** The command that `words` lead to, and the option whose value comes next, if one does. */
function walk(program: Command, words: readonly string[]): { command: Command; option: Option | undefined } {
  let command = program;
  let option: Option | undefined;
  for (const word of words) {
    if (option !== undefined) option = undefined;
    else if (word.startsWith('-')) option = optionsOf(program, command).find((each) => (each.long === word || each.short === word) && each.required);
    else command = command.commands.find((each) => each.name() === word) ?? command;
  }
  return { command, option };
}

function optionsOf(program: Command, command: Command): readonly Option[] {
  return command === program ? program.options : [...command.options, ...program.options];
}

function valuesOf(command: Command, option: Option): readonly string[] {
  if (option.long === '--wait' && command.name() === 'release') return RELEASE_WAITS;
  return VALUES[option.long ?? ''] ?? [];
}

function matching(all: readonly string[], typed: string): string[] {
  return all.filter((each) => each !== '' && each.startsWith(typed));
}
