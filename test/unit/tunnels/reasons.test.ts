import assert from 'node:assert/strict';
import { classify, plainLine, type TunnelReason } from '../../../agent/tunnels/reasons.js';

/** As OpenSSH 9.2 and autossh 1.4 say it. */
const ROWS: readonly (readonly [string, TunnelReason])[] = [
  ['root@10.0.0.2: Permission denied (publickey,keyboard-interactive).', 'AUTHENTICATION_REFUSED'],
  ['Warning: Identity file /k not accessible: No such file or directory.\nroot@h: Permission denied (publickey).', 'KEY_UNREADABLE'],
  ['Load key "/k": error in libcrypto\nroot@h: Permission denied (publickey).', 'KEY_UNREADABLE'],
  ['@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.', 'HOST_KEY_MISMATCH'],
  ['No ED25519 host key is known for portlease-edge and you have requested strict checking.\nHost key verification failed.', 'HOST_KEY_UNKNOWN'],
  ['ssh: Could not resolve hostname h.invalid: Temporary failure in name resolution', 'NAME_NOT_RESOLVED'],
  ['ssh: connect to host 10.0.0.2 port 22: Connection refused', 'CONNECTION_REFUSED'],
  ['ssh: connect to host 10.0.0.2 port 22: Network is unreachable', 'NETWORK_UNREACHABLE'],
  ['ssh: connect to host 10.0.0.2 port 22: Connection timed out', 'CONNECT_TIMEOUT'],
  ['Connection timed out during banner exchange\nConnection to 10.0.0.2 port 22 timed out', 'CONNECT_TIMEOUT'],
  ['Timeout, server 10.0.0.2 not responding.', 'CONNECTION_LOST'],
  ['client_loop: send disconnect: Broken pipe', 'CONNECTION_LOST'],
  ['Connection to 10.0.0.2 closed by remote host.\n2026/11/20 23:23:13 autossh[2329]: ssh exited with error status 255; restarting ssh', 'CLOSED_BY_SERVER'],
  ['kex_exchange_identification: Connection closed by remote host', 'CLOSED_BY_SERVER'],
  ['bind [127.0.0.1]:9001: Address already in use\nCould not request local forwarding.', 'LOCAL_PORT_TAKEN'],
  ['bind [10.1.1.1]:9001: Cannot assign requested address\nCould not request local forwarding.', 'LOCAL_BIND_REFUSED'],
  ['Error: remote port forwarding failed for listen port 9001', 'REVERSE_PORT_REFUSED'],
  ['something new', 'UNKNOWN'],
];

describe('the reasons of tunnels', () => {
  for (const [text, reason] of ROWS) it(`say ${reason} of: ${text.split('\n')[0] ?? ''}`, () => { assert.equal(classify(text)?.reason, reason); });

  it('say nothing of what is no failure', () => {
    assert.equal(classify(''), undefined);
    assert.equal(classify('portlease: attempt 1\n2026/11/20 23:21:39 autossh[1]: starting ssh (count 1)\ndebug1: ssh.c:forwarding_success():1809 (pid=7): all expected\nchannel 2: open failed: connect failed: Connection refused'), undefined);
  });

  it('show one plain line', () => {
    assert.equal(classify('ssh: connect to host a port 1: Connection refused\r')?.message, 'ssh: connect to host a port 1: Connection refused');
    assert.equal(plainLine('a\u001b[31m\u0000b\tc'), 'a [31m b c');
    assert.equal(plainLine('x'.repeat(300)).length, 200);
  });
});
