// Installs the Debian packages that build and demo need, with --containers also Docker and what images are made of (tests, the part of the demo that
// shows containers), and with --comparisons those that portlease is compared with (benchmarks, tests), as far as they are missing. Runs before `npm ci`: no dependencies.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const PACKAGES = {
  'python3': 'compiles sqlite3',
  'make': 'compiles sqlite3',
  'g++': 'compiles sqlite3',
  'iptables': 'the rules of hosts and gateways',
  'ipset': 'the sets of ports that the rules ask',
  'conntrack': 'ends and lists connections',
  'iproute2': 'network namespaces, addresses, ss',
  'nftables': 'tells the agent at once of rules that somebody changed; reads them back in tests',
  'procps': 'sysctl',
  'util-linux': 'flock, setpriv, unshare, nsenter',
  'systemd': 'systemd-analyze and systemd-notify',
  'sqlite3': 'the shell in which an operator reads the database',
  'openssl': 'certificates of the tests',
  'curl': 'the client of the demo',
  'dnsmasq-base': 'the name server of the tests',
  'nginx': 'routes of a gateway that are served by nginx: tests',
  'libnginx-mod-stream': 'what nginx passes TCP and UDP on with',
  'nghttp2-client': 'h2load, for the benchmarks',
};

/** Where a package starts a service of its own when it is installed, that is left to it: tests and comparisons start servers of their own. */
const CONTAINERS = {
  'docker.io': 'containers of tests and demo',
  'busybox-static': 'what their image is made of',
  'openssh-server': 'what their image is made of; the server of tunnels in tests',
  'openssh-client': 'logs in to them; tunnels',
  'autossh': 'tunnels',
};

const COMPARISONS = {
  'postgresql': 'port tables to compare with',
  'etcd-server': 'to compare with',
};

const EXIT_NEEDS_ROOT = 2;

const asked = (flag, packages) => (process.argv.includes(flag) ? packages : {});
const wanted = { ...PACKAGES, ...asked('--containers', CONTAINERS), ...asked('--comparisons', COMPARISONS) };
const missing = Object.keys(wanted).filter((name) => !isInstalled(name));
if (missing.length === 0) {
  console.log('install: all Debian packages are there');
} else {
  for (const name of missing) console.log(`install: missing ${name} (${wanted[name]})`);
  process.exitCode = installMissing();
}

function isInstalled(name) {
  const { stdout } = spawnSync('dpkg-query', ['--show', '--showformat=${db:Status-Status}', name], { encoding: 'utf8' });
  return stdout === 'installed';
}

function installMissing() {
  if (spawnSync('apt-get', ['--version']).status !== 0) {
    console.error(`install: there is no apt-get here. Install these with your package manager: ${missing.join(' ')}`);
    return 1;
  }
  if (process.getuid() !== 0) {
    console.error(`install: this needs root, and nothing was changed. Run:\n\n  sudo ${[process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2)].join(' ')}\n`);
    return EXIT_NEEDS_ROOT;
  }
  return apt('update') || apt('install', '--yes', '--no-install-recommends', ...missing);
}

function apt(...args) {
  console.log(`install: apt-get ${args.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const { status } = spawnSync('apt-get', ['--quiet', '--quiet', ...args], { stdio: ['ignore', 'inherit', 'inherit'], env });
  if (status !== 0) console.error(`install: apt-get ${args[0]} failed (status ${status ?? 'none'})`);
  return status ?? 1;
}
