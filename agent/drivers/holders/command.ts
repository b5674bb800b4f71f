/** What may be said of a command line: arguments hold passwords and tokens, so only the program and how many there are. */

const MAX_LENGTH = 128;

/** `cmdline`: text of /proc/PID/cmdline. A process may have written anything there: what follows white space is left out as well. */
export function redactedCommand(cmdline: string): string {
  const argv = argumentsOf(cmdline);
  const [program = ''] = (argv[0] ?? '').trim().split(/\s/);
  const shown = plain(program).slice(0, MAX_LENGTH);
  const others = argv.length - 1;
  return others < 1 ? shown : `${shown} (+${others} argument${others === 1 ? '' : 's'})`;
}

/** Where docker-proxy passes on to, "ADDRESS:PORT"; '' when its command line does not say. */
export function proxyTarget(cmdline: string): string {
  const argv = argumentsOf(cmdline);
  const valueOf = (flag: string): string => {
    const at = argv.findIndex(text => text === flag || text.startsWith(`${flag}=`));
    return at < 0 ? '' : argv[at] === flag ? argv[at + 1] ?? '' : (argv[at] as string).slice(flag.length + 1);
  };
  const [address, port] = [valueOf('-container-ip'), valueOf('-container-port')];
  return /^[0-9a-fA-F.:]{2,45}$/.test(address) && /^[0-9]{1,5}$/.test(port) ? `${address.includes(':') ? `[${address}]` : address}:${port}` : '';
}

function argumentsOf(cmdline: string): string[] {
  const argv = cmdline.split('\0');
  if (argv.at(-1) === '') argv.pop();
  return argv;
}

/** On one line, without control characters. */
export function plain(text: string): string {
  return text.replace(/\p{C}+/gu, ' ');
}
