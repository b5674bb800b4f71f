/** Options of ssh that a tunnel may set: names, and what their values look like. Nothing that runs a program, reads a file or listens is among them. */

const ALGORITHMS = /^[+^-]?[a-z0-9][a-z0-9@.-]*(?:,[a-z0-9][a-z0-9@.-]*){0,31}$/;
const YES_NO = /^(?:yes|no)$/;
const upTo = (max: number): RegExp => new RegExp(`^(?:${Array.from({ length: max }, (_, i) => i + 1).join('|')})$`);

const VALUES = {
  AddressFamily: /^(?:any|inet|inet6)$/,
  Ciphers: ALGORITHMS,
  Compression: YES_NO,
  ConnectTimeout: upTo(60),
  HostKeyAlgorithms: ALGORITHMS,
  IPQoS: /^(?:af[1-4][1-3]|cs[0-7]|ef|le|lowdelay|throughput|reliability|none)(?: (?:af[1-4][1-3]|cs[0-7]|ef|le|lowdelay|throughput|reliability|none))?$/,
  KexAlgorithms: ALGORITHMS,
  MACs: ALGORITHMS,
  PubkeyAcceptedAlgorithms: ALGORITHMS,
  RekeyLimit: /^(?:default|[1-9][0-9]{0,3}[KMG])(?: (?:none|[1-9][0-9]{0,3}[smhd]?))?$/,
  ServerAliveCountMax: upTo(10),
  ServerAliveInterval: upTo(60),
  TCPKeepAlive: YES_NO,
} as const satisfies Record<string, RegExp>;

export type OptionName = keyof typeof VALUES;
export const OPTION_NAMES = Object.keys(VALUES) as [OptionName, ...OptionName[]];

/** What specs that came over RPC may set unless the config says otherwise. */
export const OPTIONS_BY_DEFAULT: readonly OptionName[] = ['Compression', 'ConnectTimeout', 'IPQoS', 'ServerAliveCountMax', 'ServerAliveInterval', 'TCPKeepAlive'];

const MAX_VALUE = 512;

/** Names as ssh itself writes them. Undefined: all is well. */
export function optionProblem(options: Readonly<Record<string, string>>, allowed: readonly string[]): string | undefined {
  for (const [name, value] of Object.entries(options)) {
    if (!isOption(name) || !allowed.includes(name)) return `option ${JSON.stringify(name.slice(0, 64))} is not allowed; these are: ${allowed.join(', ')}`;
    if (value.length > MAX_VALUE || !VALUES[name].test(value)) return `option ${name}: ${JSON.stringify(value.slice(0, 64))} is no value that it may have`;
  }
  return undefined;
}

function isOption(name: string): name is OptionName {
  return Object.hasOwn(VALUES, name);
}
