/** The image of the tests: busybox, and this machine's sshd. A container of it answers HTTP on 8888 with its host name, and ssh on 22. */
import { cpSync, chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { runSync } from './run.js';

/** HTTP. */
export const WEB_PORT = 8_888;

const START = `#!/bin/sh
mkdir -p /www && hostname >/www/index.html
[ -n "$WEB_DELAY" ] && sleep "$WEB_DELAY"
httpd -p 8888 -h /www
[ -n "$TOKEN_FILE" ] && env >"$TOKEN_FILE"
exec /usr/sbin/sshd -D -e
`;
const SSHD_CONFIG = `Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
`;

let made: { tar: string; privateKey: string } | undefined;

/** A tar file for `docker import`, made once in a process. */
export function imageTar(): string {
  return image().tar;
}

/** The key with which root logs in. */
export function privateKey(): string {
  return image().privateKey;
}

function image(): { tar: string; privateKey: string } {
  if (made !== undefined) return made;
  const directory = mkdtempSync(join(tmpdir(), 'plimage-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  const key = join(directory, 'key');
  runSync(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', key]);
  const root = join(directory, 'root');
  makeRoot(root, readFileSync(`${key}.pub`, 'utf8'));
  const tar = join(directory, 'image.tar');
  runSync(['tar', '-C', root, '--numeric-owner', '-cf', tar, '.']);
  rmSync(root, { recursive: true });
  made = { tar, privateKey: key };
  return made;
}

function makeRoot(root: string, publicKey: string): void {
  for (const folder of ['bin', 'sbin', 'dev', 'proc', 'sys', 'tmp', 'etc/ssh', 'root/.ssh', 'run/sshd', 'var/empty']) mkdirSync(join(root, folder), { recursive: true });
  cpSync('/bin/busybox', join(root, 'bin/busybox'));
  for (const applet of runSync(['/bin/busybox', '--list']).stdout.split('\n')) {
    if (applet !== '' && !existsSync(join(root, 'bin', applet))) symlinkSync('/bin/busybox', join(root, 'bin', applet));
  }
  addProgram(root, '/usr/sbin/sshd');
  const files: Record<string, string> = {
    'start': START, 'etc/ssh/sshd_config': SSHD_CONFIG, 'root/.ssh/authorized_keys': publicKey,
    'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/bin/false\n', 'etc/group': 'root:x:0:\nnogroup:x:65534:\n',
    'etc/shadow': 'root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n', 'etc/shells': '/bin/sh\n',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text);
  chmodSync(join(root, 'start'), 0o755);
  for (const [name, mode] of [['root', 0o700], ['root/.ssh', 0o700], ['root/.ssh/authorized_keys', 0o600], ['etc/shadow', 0o600]] as const) chmodSync(join(root, name), mode);
  runSync(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', join(root, 'etc/ssh/ssh_host_ed25519_key')]);
}

/** A program with the libraries that it is linked with. */
function addProgram(root: string, path: string): void {
  const libraries = [...runSync(['ldd', path]).stdout.matchAll(/\/\S+/g)].map(([file]) => file);
  for (const file of [path, ...libraries]) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    cpSync(file, join(root, file), { dereference: true });
  }
}
