import assert from 'node:assert/strict';
import { adoptionOf } from '../../../agent/tunnels/adoption.js';
import { commandOf, digestOf, isOfHost, isSameSpec, knownHostsText, tunnelId, type CommandOptions } from '../../../agent/tunnels/argv.js';
import { inScope } from '../../../agent/tunnels/launch.js';
import { OPTION_NAMES, OPTIONS_BY_DEFAULT, optionProblem } from '../../../agent/tunnels/options.js';
import { refusalOf, type Policy } from '../../../agent/tunnels/policy.js';
import { isInTheWay } from '../../../agent/tunnels/ports.js';
import type { HeldSpec } from '../../../agent/tunnels/words.js';
import { parseCidr } from '../../../shared/names.js';

const SERVER = { address: '192.0.2.1', port: 22, user: 'tunnel', keyFile: '/etc/portlease/key', hostKeys: ['ssh-ed25519 AAAA'] };
const SPEC: HeldSpec = {
  tunnel: 'web', host: 'host-a', server: 'edge', engine: undefined, probe: undefined, options: {},
  forwards: [{ direction: 'local', listen: { host: '127.0.0.1', port: 8_080 }, to: { host: 'db.example', port: 5_432 } }, { direction: 'reverse', listen: { host: '::1', port: 9_000 }, to: { host: 'fd00::1', port: 22 } }],
};
const GIVEN: CommandOptions = { spec: SPEC, server: SERVER, engine: 'ssh', id: 'host-a.web', places: { controlPath: '/run/c', knownHosts: '/var/k', log: '/var/l' }, path: '/usr/bin' };

describe('the command of a tunnel', () => {
  it('pins the host key, uses one key, and fails without its forwards', () => {
    const { file, argv, env } = commandOf(GIVEN);
    const options = Object.fromEntries(argv.flatMap((text, i) => (argv[i - 1] === '-o' ? [text.split(/=(.*)/s).slice(0, 2) as [string, string]] : [])));
    assert.equal(file, 'ssh');
    assert.deepEqual(argv.slice(0, 10), ['-F', '/dev/null', '-N', '-T', '-p', '22', '-i', '/etc/portlease/key', '-l', 'tunnel']);
    assert.deepEqual(argv.slice(-6), ['-L', '127.0.0.1:8080:db.example:5432', '-R', '[::1]:9000:[fd00::1]:22', '--', '192.0.2.1']);
    for (const [name, value] of Object.entries({ StrictHostKeyChecking: 'yes', UserKnownHostsFile: '/var/k', GlobalKnownHostsFile: '/dev/null', HostKeyAlias: 'portlease-edge', BatchMode: 'yes', IdentitiesOnly: 'yes',
      ExitOnForwardFailure: 'yes', ServerAliveInterval: '5', ServerAliveCountMax: '3', ForwardAgent: 'no', ForwardX11: 'no', PermitLocalCommand: 'no', ControlPath: '/run/c' })) assert.equal(options[name], value, name);
    assert.deepEqual(env, { PATH: '/usr/bin', LC_ALL: 'C', PORTLEASE_TUNNEL: 'host-a.web' });
    assert.equal(knownHostsText('edge', SERVER), 'portlease-edge ssh-ed25519 AAAA\n');
  });

  it('lets a spec set what may be set, and nothing of what is fixed', () => {
    const { argv } = commandOf({ ...GIVEN, spec: { ...SPEC, options: { ServerAliveInterval: '9', StrictHostKeyChecking: 'no' } } });
    assert.ok(argv.includes('ServerAliveInterval=9') && !argv.includes('ServerAliveInterval=5') && argv.includes('StrictHostKeyChecking=yes') && !argv.includes('StrictHostKeyChecking=no'));
  });

  it('has autossh without its monitoring, and never give up', () => {
    const { file, argv, env } = commandOf({ ...GIVEN, engine: 'autossh' });
    assert.deepEqual([file, argv.slice(0, 2), env['AUTOSSH_GATETIME'], env['AUTOSSH_LOGFILE']], ['autossh', ['-M', '0'], '0', '/var/l']);
  });

  it('runs in a scope of its own under systemd', () => {
    const command = commandOf(GIVEN);
    const scoped = inScope(command, { suffix: 'ab', isRoot: true });
    assert.deepEqual([scoped.file, scoped.argv.slice(0, 7), scoped.argv.slice(7), scoped.env], ['systemd-run', ['--scope', '--quiet', '--collect', '--unit=portlease-tunnel-ab', '--description=portlease tunnel host-a.web', '--', 'ssh'], command.argv, command.env]);
    assert.equal(inScope(command, { suffix: 'ab', isRoot: false }).argv[0], '--user');
  });

  it('is the same for a spec that was read from disk, where nothing is said of what it leaves out', () => {
    const stored = JSON.parse(JSON.stringify(SPEC)) as HeldSpec;
    assert.notDeepEqual(Object.keys(stored), Object.keys(SPEC));
    assert.deepEqual([isSameSpec(SPEC, stored), isSameSpec(SPEC, { ...stored, server: 'other' }), isSameSpec(SPEC, { ...stored, engine: 'ssh' })], [true, false, false]);
  });

  it('has an id that names host and tunnel', () => {
    assert.deepEqual([isOfHost(tunnelId('host-a', 'x'), 'host-a'), isOfHost('host-ab.x', 'host-a'), isOfHost('host-b.x', 'host-a'), isOfHost('old', 'host-a')], [true, false, false, true]);
  });
});

describe('what a host allows of tunnels', () => {
  const cidr = (text: string) => parseCidr(text)!;
  const policy: Policy = { servers: { edge: SERVER }, options: OPTIONS_BY_DEFAULT, listen: [cidr('127.0.0.0/8')], to: [cidr('10.0.0.0/8')], minPort: 1_024 };
  const rpc = { isFromConfig: false };
  const local = (host: string, port: number): HeldSpec => ({ ...SPEC, forwards: [{ direction: 'local', listen: { host, port }, to: { host: 'a.example', port: 1 } }] });
  const reverse = (host: string, port = 1): HeldSpec => ({ ...SPEC, forwards: [{ direction: 'reverse', listen: { host: '0.0.0.0', port: 80 }, to: { host, port } }] });
  const reason = (spec: HeldSpec, from = rpc): string | undefined => refusalOf(spec, policy, from)?.reason;

  it('is listening on loopback and leading to private networks, unless its own config says otherwise', () => {
    assert.deepEqual([local('127.0.0.1', 8_080), local('127.0.0.1', 80), local('10.0.0.1', 8_080), local('0.0.0.0', 8_080), local('localhost', 8_080)].map(spec => reason(spec)), [undefined, ...Array.from({ length: 4 }, () => 'FORWARD_NOT_ALLOWED')]);
    assert.deepEqual([reverse('10.1.2.3'), reverse('127.0.0.1'), reverse('db.example'), reverse('10.1.2.3', 0)].map(spec => reason(spec)), [undefined, ...Array.from({ length: 3 }, () => 'FORWARD_NOT_ALLOWED')]);
    const config = { isFromConfig: true };
    assert.deepEqual([local('0.0.0.0', 80), reverse('127.0.0.1'), reverse('db.example')].map(spec => reason(spec, config)), [undefined, undefined, undefined]);
    assert.deepEqual([local('localhost', 80), local('-x', 80), reverse('-oProxyCommand=id'), { ...SPEC, forwards: [] }].map(spec => reason(spec, config)), Array.from({ length: 4 }, () => 'FORWARD_NOT_ALLOWED'));
  });

  it('is a socket only where portlease makes it, with a plain path', () => {
    const socket = (path: string): HeldSpec => ({ ...SPEC, forwards: [{ direction: 'reverse', listen: { socket: path }, to: { host: '10.0.0.1', port: 1 } }] });
    assert.deepEqual(['/run/a.sock', 'a.sock', '/run/a b', '/run/a:b', '/-'.repeat(80)].map(path => reason(socket(path))), [undefined, ...Array.from({ length: 4 }, () => 'FORWARD_NOT_ALLOWED')]);
  });

  it('is a server of its config, and options of a list with plain values', () => {
    assert.equal(reason({ ...local('127.0.0.1', 8_080), server: 'constructor' }), 'SERVER_UNKNOWN');
    assert.equal(reason({ ...local('127.0.0.1', 8_080), options: { Ciphers: 'aes256-ctr' } }), 'OPTION_NOT_ALLOWED');
    for (const name of ['ProxyCommand', 'LocalCommand', 'Include', 'compression', 'PermitLocalCommand', 'ControlPath', 'IdentityFile', '-oX', 'toString']) assert.notEqual(optionProblem({ [name]: 'yes' }, OPTION_NAMES), undefined, name);
    const bad: Record<string, string[]> = { Compression: ['', 'Yes', 'yes ', 'yes\nProxyCommand id'], Ciphers: ['', 'a b', '-', 'a,', '$(id)', 'A'.repeat(600)], ConnectTimeout: ['0', '61', '-1', '5s'], IPQoS: ['x', 'ef ef ef'], RekeyLimit: ['1', '1G 1x'] };
    for (const [name, values] of Object.entries(bad)) for (const value of values) assert.notEqual(optionProblem({ [name]: value }, OPTION_NAMES), undefined, `${name} ${JSON.stringify(value)}`);
    assert.equal(optionProblem({ Compression: 'yes', Ciphers: '+aes256-gcm@openssh.com,aes128-ctr', ConnectTimeout: '60', IPQoS: 'af21 cs1', RekeyLimit: '1G 1h', ServerAliveCountMax: '10' }, OPTION_NAMES), undefined);
  });
});

describe('what is in the way of listening', () => {
  it('is who listens on the same port there or everywhere', () => {
    const end = { host: '127.0.0.1', port: 80 };
    const rows: [string, number, 'tcp' | 'udp', boolean][] = [['127.0.0.1', 80, 'tcp', true], ['0.0.0.0', 80, 'tcp', true], ['::', 80, 'tcp', true], ['10.0.0.1', 80, 'tcp', false], ['127.0.0.1', 81, 'tcp', false], ['127.0.0.1', 80, 'udp', false]];
    for (const [address, port, transport, isIn] of rows) assert.equal(isInTheWay({ address, port, transport }, end), isIn, address);
    assert.equal(isInTheWay({ address: '10.0.0.1', port: 80, transport: 'tcp' }, { host: '0.0.0.0', port: 80 }), true);
  });
});

describe('a connection that an earlier agent left', () => {
  const statistics = { attempts: 0, connections: 1, failures: 0, restarts: 0, probes: 0, probesFailed: 0, probeTimeMs: undefined, restartTimeMs: undefined };
  const leader = { pid: 7, startTicks: 70 };
  const record = { tunnel: 'web', leader, digest: digestOf(commandOf(GIVEN)), restart: 2, statistics };
  const wish = { digest: record.digest, restart: 2, engine: 'ssh', isWantedUp: true } as const;
  const process = { ...leader, program: 'ssh', tunnelId: 'host-a.web' };

  it('is taken over when it is what is wanted', () => {
    assert.deepEqual(adoptionOf(record, [process], wish), { kind: 'adopt', leader });
    assert.deepEqual(adoptionOf({ ...record, leader: undefined }, [process], wish), { kind: 'adopt', leader }, 'recorded as about to be started');
    assert.deepEqual(adoptionOf(record, [{ ...process, program: 'autossh' }, { ...process, pid: 8 }], { ...wish, engine: 'autossh' }), { kind: 'adopt', leader });
  });

  it('is ended when it is another, of another order, not wanted, not recorded, or not alone', () => {
    const end = { kind: 'end' };
    assert.deepEqual(adoptionOf(undefined, [process], wish), end);
    assert.deepEqual(adoptionOf({ ...record, leader: undefined }, [process, { ...process, pid: 9 }], wish), end);
    assert.deepEqual(adoptionOf({ ...record, leader: undefined, digest: '' }, [process], wish), end);
    assert.deepEqual(adoptionOf(record, [], wish), end);
    assert.deepEqual(adoptionOf(record, [{ ...process, startTicks: 71 }], wish), end);
    assert.deepEqual(adoptionOf(record, [{ ...process, program: 'autossh' }], wish), end);
    assert.deepEqual(adoptionOf(record, [process, { ...process, pid: 9 }], wish), end);
    for (const change of [{ digest: 'other' }, { restart: 3 }, { isWantedUp: false }, { engine: 'autossh' as const }]) assert.deepEqual(adoptionOf(record, [process], { ...wish, ...change }), end, JSON.stringify(change));
    assert.notEqual(digestOf(commandOf({ ...GIVEN, server: { ...SERVER, port: 23 } })), record.digest);
  });
});
