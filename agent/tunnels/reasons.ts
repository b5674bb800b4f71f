/** Why a tunnel is not up: one table, and what of the messages of ssh means which of them. */

export const TUNNEL_REASONS = {
  AUTHENTICATION_REFUSED: { meaning: 'The server does not accept the key, or the user.', remedy: 'Put the public key of keyFile into authorized_keys of the user on the server; look at user and keyFile.' },
  KEY_UNREADABLE: { meaning: 'The key file is missing, has the wrong owner, or others can read it.', remedy: 'Put it where tunnels.servers says: owned by the user of the agent, mode 0600 or 0400.' },
  HOST_KEY_MISMATCH: { meaning: 'The server has another host key than tunnels.servers pins: a new key, or another machine.', remedy: 'Find out why. If the key is right, put it into hostKeys and restart the agent.' },
  HOST_KEY_UNKNOWN: { meaning: 'The server offers no host key of a kind that tunnels.servers pins.', remedy: 'Add its key to hostKeys: ssh-keyscan -p PORT ADDRESS, compared with the server itself.' },
  NAME_NOT_RESOLVED: { meaning: 'The address of the server cannot be looked up.', remedy: 'Look at the name service of the host, or set an IP address.' },
  CONNECTION_REFUSED: { meaning: 'Nothing listens at the address and port of the server.', remedy: 'Look whether sshd runs there; look at address and port.' },
  NETWORK_UNREACHABLE: { meaning: 'There is no route to the server.', remedy: 'Look at network and firewall.' },
  CONNECT_TIMEOUT: { meaning: 'The server, or what is on the way, does not answer in time.', remedy: 'Look at network, firewall and load of the server.' },
  CONNECTION_LOST: { meaning: 'The server, or what is on the way, fell silent: ServerAliveInterval × ServerAliveCountMax without an answer, or a reset.', remedy: 'Nothing, if it comes back by itself; else look at the network.' },
  CLOSED_BY_SERVER: { meaning: 'The server ended the connection.', remedy: 'Look at the log of its sshd: restart, MaxStartups, a limit of sessions.' },
  REVERSE_PORT_REFUSED: { meaning: 'The server does not listen for a reverse forward: the port is taken there, often by a former session that it has not missed yet, or not allowed.',
    remedy: 'A former session ends by itself (ClientAliveInterval on the server); else look at permitlisten, AllowTcpForwarding and GatewayPorts there.' },
  LOCAL_PORT_TAKEN: { meaning: 'Another process has a port that the tunnel listens on.', remedy: 'Stop the process that the message names, or give the tunnel another port.' },
  LOCAL_BIND_REFUSED: { meaning: 'The host cannot listen where the tunnel is to: not its address, or a port below 1024 without the right to it.', remedy: 'Correct the listening end.' },
  PROBE_FAILED: { meaning: 'Connected, but the probe got no answer through the forward.', remedy: 'Look at the service behind it.' },
  PROCESS_ENDED: { meaning: 'The process of the connection ended, or was killed, without saying why.', remedy: 'Look at the log of the tunnel, and who ended it.' },
  PROCESS_NOT_ENDED: { meaning: 'A process of the former connection does not end, not even by SIGKILL.', remedy: 'It waits for the kernel (a file system that hangs?): look at it with ps.' },
  START_FAILED: { meaning: 'ssh or autossh could not be started.', remedy: 'Install openssh-client and autossh, or set tunnels.engine: ssh.' },
  SERVER_UNKNOWN: { meaning: 'tunnels.servers of the host has no server of this name.', remedy: 'Add it there and restart the agent, or name another one.' },
  OPTION_NOT_ALLOWED: { meaning: 'An ssh option is not on the list, or its value is none.', remedy: 'Leave it out, or add it to tunnels.options of the host.' },
  FORWARD_NOT_ALLOWED: { meaning: 'The host does not let a tunnel listen there, or lead there.', remedy: 'Choose another end, or add the network to tunnels.forwards of the host.' },
  UNKNOWN: { meaning: 'ssh failed with a message that is not understood.', remedy: 'Read the log of the tunnel.' },
} as const satisfies Record<string, { meaning: string; remedy: string }>;

export type TunnelReason = keyof typeof TUNNEL_REASONS;

/** Earlier ones count before later ones: some messages have others as their consequence. */
const MESSAGES: readonly (readonly [RegExp, TunnelReason])[] = [
  [/REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed/, 'HOST_KEY_MISMATCH'],
  [/No .* host key is known for|no matching host key type|Host key verification failed/, 'HOST_KEY_UNKNOWN'],
  [/UNPROTECTED PRIVATE KEY FILE|Identity file .* not accessible|Load key .*(?:error|bad permissions|invalid|denied)/i, 'KEY_UNREADABLE'],
  [/Permission denied \(|Too many authentication failures|no mutual signature/, 'AUTHENTICATION_REFUSED'],
  [/Could not resolve hostname/, 'NAME_NOT_RESOLVED'],
  [/bind \[.*\]:\d+: Address already in use/, 'LOCAL_PORT_TAKEN'],
  [/bind \[.*\]:\d+: |Privileged ports can only|Could not request local forwarding|cannot listen to port/, 'LOCAL_BIND_REFUSED'],
  [/remote port forwarding failed|remote forward failure|Remote port forwarding is disabled|streamlocal.* failed/i, 'REVERSE_PORT_REFUSED'],
  [/connect to (?:host|address) .*: Connection refused/, 'CONNECTION_REFUSED'],
  [/connect to (?:host|address) .*: (?:Network is unreachable|No route to host|Host is down)/, 'NETWORK_UNREACHABLE'],
  [/connect to (?:host|address) .*: Connection timed out|Connection timed out during banner exchange|Connection to .* port \d+ timed out$/m, 'CONNECT_TIMEOUT'],
  [/Timeout, server .* not responding|Broken pipe|Connection (?:reset|timed out)|Read from remote host .*:/i, 'CONNECTION_LOST'],
  [/closed by remote host|Connection closed by|Received disconnect|kex_exchange_identification/, 'CLOSED_BY_SERVER'],
];

/** What `text`, lines of ssh and autossh, says of a failure; undefined: nothing. `message`: the line that says so. */
export function classify(text: string): { reason: TunnelReason; message: string } | undefined {
  for (const [pattern, reason] of MESSAGES) {
    const message = text.split('\n').find(line => pattern.test(line));
    if (message !== undefined) return { reason, message: plainLine(message) };
  }
  const last = text.split('\n').filter(line => line.trim() !== '' && !NO_FAILURE.test(line)).at(-1);
  return last === undefined ? undefined : { reason: 'UNKNOWN', message: plainLine(last) };
}

/** What is no message of a failure: words of autossh about its work, of ssh about its forwards, and of this agent. */
const NO_FAILURE = /^(?:\d{4}\/\d\d\/\d\d [\d:]+ autossh\[|debug\d: |portlease: |Warning: |channel \d+: )/;
const MAX_LINE = 200;

/** On one line, without control characters, at most 200 characters. */
export function plainLine(line: string): string {
  const text = line.replace(/[\p{C}\s]+/gu, ' ').trim();
  return text.length > MAX_LINE ? `${text.slice(0, MAX_LINE - 1)}…` : text;
}
