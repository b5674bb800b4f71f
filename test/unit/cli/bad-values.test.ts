import assert from 'node:assert/strict';
import type { Command } from 'commander';
import { EXIT } from '../../../cli/exit.js';
import { buildProgram } from '../../../cli/program.js';
import { NOBODY, portlease } from './world.js';

const HUGE = 'a'.repeat(10_000_000);
const HOSTILE = ['a\0b', 'a\nb', '-j', '$(id)', '../x', 'ä', 'a b', HUGE];
const NAMES = ['', 'A', '-a', 'a-', 'a.b', 'a'.repeat(64), ...HOSTILE];
const PORTS = ['', '0', '65536', '-1', '1.5', '0x16', '1e3', ' 22', '022222', 'ssh', ...HOSTILE];
const RANGES = ['0', '65536', '-1', '0-10', '10-5', '30000-65536', '1-2-3', '30000-', '-30000', '30000..30010', ' 1-2', ...HOSTILE];
const TIMES = ['', '5', 's', '-1s', '1e3s', '5 s', '5y', '366d', '1.2345s', ...HOSTILE];
const WORDS = ['', 'TCP', 'constructor', '__proto__', ...HOSTILE];
const TEXTS = ['a\0b', 'a\nb', 'a\x1b[31mb', 'a\u2028b', '\u202Eb', HUGE];
const HOSTS = ['', 'gw_1', '-gw', 'gw..x', 'http://gw', 'gw:80', '300.1.1.1', '::ffff:10.0.0.1', ...HOSTILE];
const COUNTS = ['', '0', '-1', '1.5', '1e3', '1000000000', ...HOSTILE];
const LABELS = ['', 'a', '=b', '-a=b', 'a=-b', 'a=b\n', 'a=\0', 'a='.padEnd(66, 'b'), 'a'.repeat(64) + '=b', ...HOSTILE.map((text) => `${text}=b`)];
const IDS = ['', '-j', 'a'.repeat(129), 'a/b', ...HOSTILE];
const TARGETS = ['0.0.0.0', '127.0.0.1', '127.8.8.8', '::1', '::', '169.254.169.254', 'fe80::1', '224.0.0.1', 'ff02::1', '255.255.255.255', '::ffff:127.0.0.1', 'localhost', '10.0.0', '10.0.0.256', '', ...HOSTILE];
const PATHS = ['', 'relative.pem', '/etc/../etc/passwd', '/a b', ...HOSTILE];
const ADDRESSES = ['', 'localhost', ':7410', 'localhost:0', 'localhost:65536', 'unix:', 'unix:relative', '[::1', 'http://localhost:7410', '::1:7410', ...HOSTILE];

const NETWORKS = ['', '10.0.0.1', '10.0.0.5/8', '10.0.0.0/33', '10.0.0.0/08', '2001:db8::1/32', '::ffff:10.0.0.0/104', '10.0.0.0/8/8', ...HOSTILE];
const LIMITS = ['', '-1', '1.5', '1000001', '1e3', ...HOSTILE];
const WANT = 'name=ssh,pool=ssh,target=10.88.1.2';
const without = (part: RegExp) => WANT.replace(part, '');
/** Of Docker. */
const CONTAINERS = ['container:-x', 'container:a b', 'container:a/5', 'container:@', 'container:a@', 'container:a@b@c', 'container:$(id)', 'published:a@net', 'published:-x', 'containers:x', 'container:' + 'a'.repeat(129)];
const WANTS = [
  '', 'ssh', 'contiguous', 'name=ssh', without(/name=ssh,/), without(/pool=ssh,/), without(/,target=[^,]*/),
  `${WANT},`, `${WANT},x=1`, `${WANT},name=ssh`, `${WANT},service=ssh`, `${WANT},port=1,prefer=1`, `${WANT},contiguous=1`,
  `${WANT},count=0`, `${WANT},count=257`, `${WANT},count=-1`, `${WANT},protocol=icmp`, `${WANT},internal-port=65535,count=2`, `${WANT},port=65535,count=2`,
  ...PORTS.flatMap((port) => [`${WANT},port=${port}`, `${WANT},prefer=${port}`, `${WANT},internal-port=${port}`]),
  ...NAMES.flatMap((name) => [`name=${name},pool=ssh,target=10.88.1.2`, `name=ssh,pool=${name},target=10.88.1.2`, `name=ssh,service=${name},target=10.88.1.2`]),
  'name=' + 'a'.repeat(33) + ',pool=ssh,target=10.88.1.2',
  ...[...TARGETS, ...CONTAINERS].map((target) => `name=ssh,pool=ssh,target=${target}`),
  ...TARGETS.map((target) => `name=ssh,pool=ssh,target=${target}`),
  ...NETWORKS.map((network) => `${WANT},client-networks=10.1.0.0/16+${network}`), ...LIMITS.map((limit) => `${WANT},max-connections=${limit}`),
  `${WANT},client-networks=10.0.0.0/8+10.0.0.0/8`, `${WANT},client-networks=${Array.from({ length: 17 }, (_, i) => `10.${i}.0.0/16`).join('+')}`,
];
const MOVE_TARGETS = ['', 'ssh', '=10.88.1.2', 'ssh=', ...[...TARGETS, ...CONTAINERS].map((target) => `ssh=${target}`), ...PORTS.map((port) => `ssh=10.88.1.2:${port}`), 'ssh=[2001:db8::1]:0', 'ssh=[2001:db8::1', 'ssh=[2001:db8::1]x'];
const PORT_REFS = ['', '30022', 'tcp/30022', 'gw-1/tcp', 'gw-1/icmp/1', 'gw-1//1', '/tcp/1', 'a/b/c/tcp/1', ...PORTS.map((port) => `gw-1/tcp/${port}`), ...NAMES.map((name) => `${name}/tcp/1`)];

const LISTS = { '--tenant': NAMES, '--gateway': NAMES, '--pool': NAMES, '--host': NAMES, '--limit': COUNTS };
const POOL = {
  '--gateway': NAMES, '--range': RANGES, '--protocol': WORDS, '--description': [...TEXTS, 'a'.repeat(257)], '--service-type': NAMES.slice(1), '--alias': NAMES.slice(1),
  '--internal-port': PORTS.filter((port) => port !== '0'), '--strategy': WORDS, '--reserved': RANGES, '--quarantine': TIMES, '--hold': TIMES,
  '--idle-limit': TIMES, '--idle-warning': TIMES, '--idle-action': WORDS, '--on-conflict': WORDS, '--tls': WORDS, '--connection-timeout': TIMES, '--domain-template': [...TEXTS, '{tenant}.example.com', 'http://x', 'A.example.com', 'a'.repeat(254)],
};
const REASONS = ['', 'a'.repeat(257), ...TEXTS];
const FORWARDS = [
  '', '5432', '5432=', '=db:1', '5432=db', '5432=5432', '5432=db:1=x', 'a:b:5432=db:1', '::1:5432=db:1', '[::1:1=db:1', '*:5432=db:1', '-j:1=db:1', '5432=-oProxyCommand:1', '5432=DB:1', '5432=[fe80::1%eth0]:1',
  ...PORTS.flatMap((port) => [`127.0.0.1:${port}=db:1`, `5432=db:${port}`]), ...HOSTILE.map((text) => `${text}:1=db:1`),
];
const OPTIONS = ['', 'A', '=b', '1A=b', 'A-B=c', 'A=', 'A=-x', 'A="b"', 'A=%h', 'A=$(id)', 'A=a\nb', 'A=a\0b', `A=${'b'.repeat(256)}`, ...HOSTILE.map((text) => `${text}=b`)];
/** HOST/TUNNEL. */
const TUNNELS = [...NAMES.filter((name) => name !== '../x'), 'a/b/c', '/b', 'a/', '../x'];
type Row = { /** A valid command line. */ base: string[]; flags: Record<string, readonly string[]>; args?: readonly string[] };

/** Per command: a valid line, and the bad values of each of its flags and of its (last) argument. */
const COMMANDS: Record<string, Row> = {
  'portlease': { base: ['status'], flags: { '--server': ADDRESSES, '--tls-cert': PATHS, '--tls-key': PATHS, '--tls-ca': PATHS, '--config': [...PATHS, '/nonexistent/named.yaml'], '--timeout': [...TIMES, '0s'] } },
  'portlease status': { base: ['status'], flags: {} },
  'portlease pools': { base: ['pools'], flags: { '--gateway': NAMES } },
  'portlease pools show': { base: ['pools', 'show', 'ssh'], flags: { '--gateway': NAMES }, args: NAMES },
  'portlease pools create': {
    base: ['pools', 'create', '--gateway=gw-1', '--range=30000-30099', '--protocol=tcp', 'ssh'], args: NAMES,
    flags: { ...POOL, '--file': ['', '/nonexistent/pool.yaml', '/', 'a\0b', '/dev/null', HUGE] },
  },
  'portlease pools update': { base: ['pools', 'update', '--gateway=gw-1', '--hold=1h', 'ssh'], flags: POOL, args: NAMES },
  'portlease pools delete': { base: ['pools', 'delete', '--gateway=gw-1', 'ssh'], flags: { '--gateway': NAMES }, args: NAMES },
  'portlease gateways': { base: ['gateways'], flags: {} },
  'portlease gateways create': { base: ['gateways', 'create', '--scope=shared', '--public-host=gw.example.com', 'gw-1'], flags: { '--scope': WORDS, '--public-host': HOSTS }, args: NAMES },
  'portlease gateways delete': { base: ['gateways', 'delete', 'gw-1'], flags: {}, args: NAMES },
  'portlease hosts': { base: ['hosts'], flags: { '--gateway': NAMES, '--host': NAMES } },
  'portlease hosts create': {
    base: ['hosts', 'create', '--gateway=gw-1', 'host-a'], args: NAMES,
    flags: { '--gateway': NAMES, '--role': WORDS, '--failure-domain': NAMES, '--public-host': HOSTS },
  },
  'portlease hosts replace': { base: ['hosts', 'replace', '--reason=new board', 'host-a'], flags: { '--reason': REASONS }, args: NAMES },
  'portlease hosts waive': { base: ['hosts', 'waive', '--reason=it is off', 'host-a'], flags: { '--reason': REASONS }, args: NAMES },
  'portlease hosts reclaim': { base: ['hosts', 'reclaim', '--reason=it is off', 'host-a'], flags: { '--reason': REASONS }, args: NAMES },
  ...Object.fromEntries(['cordon', 'uncordon', 'drain'].map((name) => [`portlease hosts ${name}`, { base: ['hosts', name, '--reason=disk', 'host-a'], flags: { '--reason': REASONS }, args: NAMES }])),
  'portlease hosts forget': { base: ['hosts', 'forget', '--reason=sold', '--host-is-off', 'host-a'], flags: { '--reason': REASONS }, args: NAMES },
  'portlease gateways override-mass-loss': { base: ['gateways', 'override-mass-loss', '--for=1h', '--reason=gone', 'gw-1'], flags: { '--failure-domain': NAMES, '--reason': REASONS, '--for': TIMES }, args: NAMES },
  'portlease hosts hold': { base: ['hosts', 'hold', '--for=2h', 'host-a'], flags: { '--reason': REASONS, '--for': TIMES }, args: NAMES },
  'portlease conflicts': { base: ['conflicts'], flags: { '--gateway': NAMES, '--host': NAMES, '--pool': NAMES, '--limit': COUNTS } },
  'portlease leaks': { base: ['leaks'], flags: { '--gateway': NAMES, '--host': NAMES, '--pool': NAMES, '--limit': COUNTS } },
  'portlease leaks resolve': { base: ['leaks', 'resolve', '--reason=old', 'host-a', 'listener/tcp/30000/7'], flags: { '--reason': REASONS }, args: ['', '-j', '/x', 'x'.repeat(129), ...HOSTILE] },
  'portlease leases': { base: ['leases'], flags: { '--gateway': NAMES, '--host': NAMES, '--pool': NAMES, '--limit': COUNTS } },
  'portlease allocate': {
    base: ['allocate', '--host=host-a', '--tenant=acme', `--want=${WANT.replace('ssh', 'first')}`, 'env-1'], args: NAMES,
    flags: { '--host': NAMES, '--tenant': NAMES, '--want': WANTS, '--label': LABELS, '--wait': WORDS, '--request-id': IDS, '--batch': ['', '/nonexistent/batch.yaml', '/', 'a\0b', '/dev/null', HUGE] },
  },
  'portlease release': { base: ['release', 'env-1'], flags: { '--mapping': ['', '-j', 'a'.repeat(19), 'a/b', ...HOSTILE], '--port': PORT_REFS, '--wait': [...WORDS, 'live'] }, args: NAMES },
  'portlease move': { base: ['move', '--to=host-b', 'env-1'], flags: { '--to': NAMES, '--target': MOVE_TARGETS, '--wait': WORDS }, args: NAMES },
  'portlease list': { base: ['list'], flags: { '--tenant': NAMES, '--gateway': NAMES, '--host': NAMES, '--label': LABELS, '--limit': COUNTS } },
  'portlease show': { base: ['show', 'env-1'], flags: {}, args: NAMES },
  'portlease mappings': { base: ['mappings'], flags: { ...LISTS, '--env': NAMES, '--state': [...WORDS, 'released'], '--port': PORTS } },
  'portlease limit': { base: ['limit', '--everybody', 'm-1'], flags: { '--client-network': NETWORKS, '--max-connections': LIMITS, '--wait': [...WORDS, 'verified'] }, args: ['', '-j', 'a'.repeat(19), 'a/b', ...HOSTILE] },
  'portlease events': {
    base: ['events'], flags: {
      '--gateway': NAMES, '--host': NAMES, '--environment': NAMES, '--limit': COUNTS,
      '--after': ['', '-1', '1.0', '0.1', '1.', '.1', '1.1.1', '01', '9'.repeat(16), '1.9999999999', ...HOSTILE], '--kind': ['', 'portAllocated', 'Port_Allocated', 'A', 'A'.repeat(41), ...HOSTILE],
    },
  },
  'portlease explain': { base: ['explain', '--space=gw-1', '30022'], flags: { '--space': [...NAMES, 'a/b/c', 'gw-1/', '/h'], '--tenant': NAMES, '--limit': COUNTS }, args: PORTS },
  'portlease plan check': {
    base: ['plan', 'check', '--hosts=300', '--envs-per-host=2', '--plan=domain'],
    flags: {
      '--hosts': COUNTS, '--envs-per-host': COUNTS, '--plan': ['', '/nonexistent/plan.yaml', '/', 'a\0b', '/dev/null', HUGE], '--ports': ['', 'ssh', 'none=1', 'ssh=-1', 'ssh=257', 'ssh=a', ...HOSTILE],
      '--lifetime': [...TIMES, '0s', '999ms'], '--scope': WORDS,
    },
  },
  'portlease dns records': { base: ['dns', 'records'], flags: { '--gateway': NAMES } },
  'portlease dns check': {
    base: ['dns', 'check'], flags: { '--gateway': NAMES, '--resolver': ['', 'ns.example.com', '203.0.113.53:0', '203.0.113.53:65536', '203.0.113.53:', '1.2.3', '[::1', '::1:53x', ...HOSTILE] },
  },
  'portlease env create': {
    base: ['env', 'create', '--host=host-a', '--tenant=acme', '--image=lab/jupyter:4', '--want=name=ssh,pool=ssh', 'env-1'], args: NAMES,
    flags: {
      '--host': NAMES, '--tenant': NAMES, '--label': LABELS, '--wait': ['live', ...WORDS], '--start-timeout': TIMES, '--gpus': ['65', 'ALL', ...COUNTS],
      '--image': ['', '-j', '../x', 'a b', 'a'.repeat(256), ...HOSTILE], '--env': ['', 'A', '=b', '1A=b', 'A-B=c', 'A=\0', `A=${HUGE}`, ...HOSTILE.map((text) => `${text}=b`)],
      '--want': ['', 'ssh', 'name=ssh', 'name=ssh,pool=ssh,target=10.88.1.2', 'name=ssh,pool=ssh,port=0', ...NAMES.map((name) => `name=${name},pool=ssh`)],
      '--file': ['', '/nonexistent/container.yaml', '/', 'a\0b', '/dev/null', HUGE],
    },
  },
  'portlease env delete': { base: ['env', 'delete', 'env-1'], flags: { '--wait': ['live', ...WORDS] }, args: NAMES },
  'portlease env rotate': { base: ['env', 'rotate', 'env-1'], flags: {}, args: NAMES },
  'portlease tunnels': { base: ['tunnels'], flags: { '--gateway': NAMES, '--host': NAMES, '--limit': COUNTS } },
  'portlease tunnels create': {
    base: ['tunnels', 'create', '--host=host-a', '--ssh-server=bastion', '--local=5432=db.internal:5432', 'db'], args: NAMES,
    flags: {
      '--host': NAMES, '--ssh-server': NAMES, '--local': FORWARDS, '--reverse': FORWARDS, '--engine': WORDS, '--probe': ['', '-1', '1', '1.5', '1e3', ...HOSTILE],
      '--probe-banner': ['a\0b', 'a\nb', 'ä', 'x'.repeat(129), HUGE], '--probe-interval': TIMES, '--probe-timeout': TIMES, '--option': OPTIONS,
    },
  },
  'portlease tunnels show': { base: ['tunnels', 'show', '--host=host-a', 'db'], flags: { '--host': NAMES }, args: TUNNELS },
  ...Object.fromEntries(['restart', 'stop', 'start', 'remove'].map((name) => [`portlease tunnels ${name}`, { base: ['tunnels', name, '--host=host-a', '--reason=why', 'db'], flags: { '--host': NAMES, '--reason': REASONS }, args: TUNNELS }])),
  'portlease purge': { base: ['purge', '--dry-run'], flags: {} },
  'portlease completion': { base: ['completion', 'bash'], flags: {}, args: ['', 'sh', 'constructor', ...HOSTILE] },
};

describe('bad values on the command line', () => {
  it('have a row for every flag that takes a value, and every flag of a row exists', () => {
    const known = commandsOf(programForTest()).flatMap(({ path, command }) => command.options.filter((option) => option.required).map((option) => `${path} ${option.long}`));
    const rows = Object.entries(COMMANDS).flatMap(([path, row]) => Object.keys(row.flags).map((flag) => `${path} ${flag}`));
    assert.deepEqual(rows.toSorted(), known.toSorted());
  });

  it('have a row for every command that takes an argument', () => {
    const known = commandsOf(programForTest()).filter(({ command }) => command.registeredArguments.length > 0).map(({ path }) => path);
    const rows = Object.entries(COMMANDS).filter(([, row]) => row.args !== undefined).map(([path]) => path);
    assert.deepEqual(rows.toSorted(), known.toSorted());
  });

  for (const [path, { base, flags, args }] of Object.entries(COMMANDS)) {
    if (path !== 'portlease completion' && path !== 'portlease plan check') {
      it(`would be sent but for them: ${path}`, async () => {
        assert.equal((await portlease([...base, '--server', NOBODY])).exitCode, EXIT.unreachable);
      });
    }
    for (const [flag, values] of Object.entries(flags)) {
      it(`are refused before anything is sent, naming the flag and what to do: ${path} ${flag}`, async () => {
        for (const value of values) await assertRefused([...lineFor(flag, base), `${flag}=${value}`], flag);
      });
    }
    if (args !== undefined) {
      it(`are refused before anything is sent: ${path} with a bad argument`, async () => {
        for (const value of args) await assertRefused([...base.slice(0, -1), '--', value], '');
      });
    }
  }
});

/** --mapping and --port stand for the argument of release; --server is what the other lines add. */
function lineFor(flag: string, base: readonly string[]): string[] {
  if (base[0] === 'release' && flag !== '--wait') return ['release'];
  if (flag === '--client-network') return ['limit', 'm-1', `--server=${NOBODY}`];
  if (flag === '--batch') return ['allocate', '--host=host-a', '--tenant=acme', `--server=${NOBODY}`];
  return flag === '--server' ? [...base] : [...base, `--server=${NOBODY}`];
}

async function assertRefused(argv: readonly string[], flag: string): Promise<void> {
  const outcome = await portlease(argv);
  const shown = JSON.stringify(argv).slice(0, 300);
  assert.equal(outcome.exitCode, EXIT.usage, `${shown}: ${outcome.err}`);
  assert.equal(outcome.out, '', shown);
  assert.ok(outcome.err.includes(flag), `${shown}: the flag is not named: ${outcome.err}`);
  assert.match(outcome.err, /^next: {3}\S/m, shown);
  assert.ok(outcome.err.length < 1_500, `${shown}: the error has ${outcome.err.length} characters`);
  assert.doesNotMatch(outcome.err, /[\x00-\x09\x0b-\x1f\x7f\u2028\u202e]/, shown);
}

function programForTest(): Command {
  return buildProgram({
    out: () => undefined, err: () => undefined, errIsTerminal: false, env: {}, paths: { config: '', socket: '' },
    nowMs: () => 0, newId: () => '', version: '', signal: new AbortController().signal,
  }, () => () => Promise.resolve());
}

function commandsOf(command: Command, parents = ''): { path: string; command: Command }[] {
  const path = `${parents} ${command.name()}`.trim();
  return [{ path, command }, ...command.commands.flatMap((each) => commandsOf(each, path))];
}
