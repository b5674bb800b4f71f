import assert from 'node:assert/strict';
import type { Delta, DesiredObject } from '../../../shared/desired.js';
import * as agents from '../../../shared/gen/portlease/v1/agents.js';
import { Protocol } from '../../../shared/gen/portlease/v1/common.js';
import { InvalidField } from '../../../shared/invalid.js';
import * as wire from '../../../shared/wire.js';
import { tunnelReport } from '../../support/tunnels.js';

const ports = { first: 30000, last: 30015 };
const grant = { leaseId: 'l1', ports, protocol: 'tcp+udp', generation: 5 } as const;
const mapped = { mappingId: 'm1', environment: 'env-1', tenant: 'tenant-1', name: 'ssh', index: 2, protocol: 'tcp', port: 30001, target: { kind: 'address', address: '10.0.0.7' }, internalPort: 22, generation: 6 } as const;

const OBJECTS: DesiredObject[] = [
  { kind: 'lease', key: 'lease/l1', version: 1, ...grant, host: 'host-a' },
  { kind: 'mapping', key: 'mapping/m1', version: 2, ...mapped, verify: true },
  { kind: 'mapping', key: 'mapping/m2', version: 2, ...mapped, mappingId: 'm2', verify: false, limits: { networks: ['198.51.100.0/24', '2001:db8::/32'], maxConnections: 5 }, clientsHidden: true },
  { kind: 'release', key: 'release/m1', version: 3, ...mapped, cutMs: 60_000 },
  { kind: 'route', key: 'route/l1', version: 4, ...grant, host: 'host-a', addresses: ['10.1.0.1', 'fd00::1'], fence: true, cutMs: 1500 },
  { kind: 'route', key: 'route/l2', version: 4, ...grant, leaseId: 'l2', host: 'host-a', addresses: ['10.1.0.1'], fence: false, cutMs: 1500, connections: { pool: 'web', tls: 'terminate', timeoutMs: 600_000 } },
  { kind: 'withdrawal', key: 'withdrawal/l1', version: 5, ...grant, protocol: 'udp', cutMs: 0 },
  {
    kind: 'environment', key: 'environment/env-1', version: 6, environment: 'env-1', tenant: 'tenant-1', generation: 5, credentials: [{ name: 'ssh', variables: ['SSH_PASSWORD'] }], labels: { team: 'ml' },
    isReady: true, tellCredentials: true, rotation: 2,
    container: {
      image: 'registry.example.com:5000/lab/jupyter:4', entrypoint: ['/init'], command: ['a b', '$(id)'], env: { A: 'b=c\n' }, workingDir: '/w', user: 'me:1000', network: 'net1',
      mounts: [{ source: { kind: 'volume', name: 'v' }, path: '/v', readOnly: true }, { source: { kind: 'host', name: '/data' }, path: '/d', readOnly: false }],
      gpus: { kind: 'ids', ids: ['0', 'GPU-3a23c669-1f69-c64e-cf85-44e9b07e7a2a'] }, memoryBytes: 1, cpuMillis: 2, maxProcesses: 3, shmBytes: 4,
      ulimits: [{ name: 'memlock', soft: -1, hard: -1 }], restart: 'never', credentials: [{ name: 'web', variables: [] }], rotateCommand: ['rotate'],
    },
  },
  { kind: 'removal', key: 'removal/env-1', version: 7, environment: 'env-1', tenant: 'tenant-1', generation: 5, volumes: true },
];

const HELLO: wire.AgentHello = {
  host: 'host-a', gateway: 'gw', bootId: 'b-1', agentVersion: '0.1.0', roles: ['host', 'gateway'], addresses: ['10.1.0.1'], driver: 'userspace', hidesClients: true, capabilities: ['client-limits', 'later-1'], lastSession: 3,
  accepted: { epoch: 1, session: 3, revision: 99 }, leases: [{ ...grant, host: '' }], routes: [{ ...grant, host: 'host-b' }], state: undefined,
};

const REPORT = {
  session: 3, applied: { epoch: 1, session: 3, revision: 99 }, problems: [{ key: 'mapping/m1', reason: 'PORT_OCCUPIED', message: 'sshd listens' }],
  confirmations: [{ key: 'release/m1', generation: 6, ports, protocol: 'tcp' as const }], verified: ['m1'], driftRepairs: 2, routes: { reloads: 7, failures: 1, served: 5, latency: { p50Ms: 80, p99Ms: 1_200 } },
  occupied: [{ transport: 'udp' as const, port: 30001 }],
  conflicts: [
    { transport: 'udp' as const, port: 30001, address: '::', uid: 33, user: 'www-data', holder: { pid: 812, program: 'dnsmasq', command: '/usr/sbin/dnsmasq (+2 arguments)', containerId: 'f'.repeat(64), startedAtMs: 1_700_000_000_250, proxyFor: '', environment: '' } },
    { transport: 'tcp' as const, port: 30002, address: '10.0.0.1', uid: 0, user: '', holder: undefined },
  ],
  environments: [{
    environment: 'env-1', generation: 5, state: 'working' as const, step: 'pull', reason: '', message: 'loads', percent: 40, containerId: 'abc', rotation: 1,
    credentials: [{ name: 'ssh', variables: ['SSH_PASSWORD'], value: 'x'.repeat(32) }],
  }],
  tunnels: [tunnelReport()],
};

function fieldOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof InvalidField, String(error));
    return error.field;
  }
  return assert.fail('nothing was refused');
}

describe('wire', () => {
  it('brings each kind of desired object through the bytes of the contract unchanged', () => {
    for (const object of OBJECTS) {
      const bytes = agents.DesiredObject.encode(wire.objectToWire(object)).finish();
      assert.deepEqual(wire.objectFromWire(agents.DesiredObject.decode(bytes)), object);
    }
  });

  it('brings snapshots and changes through unchanged', () => {
    const version = { epoch: 2, session: 4, revision: 8 };
    const deltas: Delta[] = [{ version, base: undefined, upserts: OBJECTS, removals: [] }, { version, base: 7, upserts: [], removals: ['lease/l9'] }];
    for (const delta of deltas) {
      const bytes = agents.DesiredState.encode(wire.deltaToWire(delta)).finish();
      assert.deepEqual(wire.deltaFromWire(agents.DesiredState.decode(bytes)), delta);
    }
  });

  it('brings hello, report and heartbeat through unchanged', () => {
    assert.deepEqual(wire.helloFromWire(agents.Hello.decode(agents.Hello.encode(wire.helloToWire(HELLO)).finish())), HELLO);
    assert.deepEqual(wire.reportFromWire(agents.Report.decode(agents.Report.encode(wire.reportToWire(REPORT)).finish())), REPORT);
    const heartbeat = { host: 'host-a', session: 3, sequence: 1, acceptedRevision: 99, digest: '00ff00ff00ff00ff' };
    assert.deepEqual(wire.heartbeatFromWire(wire.heartbeatToWire(heartbeat)), heartbeat);
  });

  it('takes an agent that names no driver for one with rules in the kernel', () => {
    assert.equal(wire.helloFromWire({ ...wire.helloToWire(HELLO), driver: agents.Driver.DRIVER_UNSPECIFIED }).driver, 'iptables');
  });

  it('keeps an absent accepted state absent', () => {
    assert.equal(wire.helloFromWire(wire.helloToWire({ ...HELLO, accepted: undefined })).accepted, undefined);
  });

  it('puts what a tool printed on one line instead of refusing the report', () => {
    const report = wire.reportToWire({ ...REPORT, problems: [{ key: 'mapping/m1', reason: 'FAILED', message: 'a\n\0b' + 'x'.repeat(9999) }] });
    const [problem] = wire.reportFromWire(report).problems;
    assert.equal(problem?.message.slice(0, 4), 'a bx');
    assert.ok((problem?.message.length ?? 0) <= 512);
  });

  it('rounds durations up and keeps milliseconds', () => {
    assert.equal(wire.durationToMs({ seconds: 0, nanos: 1 }), 1);
    assert.equal(wire.durationToMs(wire.msToDuration(1234)), 1234);
    assert.deepEqual(wire.msToTimestamp(1_700_000_000_123), { seconds: 1_700_000_000, nanos: 123_000_000 });
  });

  it('cuts and cleans what a foreign process may have written, instead of refusing the report', () => {
    const report = wire.reportToWire(REPORT);
    const [conflict] = report.conflicts;
    const holder = { ...conflict!.holder!, program: 'a\u001b[31m\nb\u202e', command: 'x'.repeat(5_000), startedAt: { seconds: Number.NaN, nanos: 0 } };
    const [found] = wire.reportFromWire({ ...report, conflicts: [{ ...conflict!, user: 'u'.repeat(100), holder }] }).conflicts ?? [];
    assert.equal(found?.holder?.program, 'a [31m b');
    assert.deepEqual([found.holder.command.length, found.user.length, found.holder.startedAtMs], [160, 64, 0]);
  });

  describe('refuses, and names the field', () => {
    const hello = wire.helloToWire(HELLO);
    const report = wire.reportToWire(REPORT);
    const mapping = () => structuredClone(wire.objectToWire(OBJECTS[1]!)) as agents.DesiredObject & { object: { value: agents.MappingObject } };
    const badMapping = (change: Partial<agents.MappingObject>) => {
      const object = mapping();
      Object.assign(object.object.value, change);
      return () => wire.objectFromWire(object);
    };
    const cases: [string, string, () => unknown][] = [
      ['a host that is no label', 'hello.host', () => wire.helloFromWire({ ...hello, host: '-j' })],
      ['a missing gateway', 'hello.gateway', () => wire.helloFromWire({ ...hello, gateway: '' })],
      ['a boot id with a newline', 'hello.boot_id', () => wire.helloFromWire({ ...hello, bootId: 'a\n' })],
      ['an unknown role', 'hello.roles[0]', () => wire.helloFromWire({ ...hello, roles: [7 as agents.Role] })],
      ['an unknown driver', 'hello.driver', () => wire.helloFromWire({ ...hello, driver: 3 as agents.Driver })],
      ['no role', 'hello.roles', () => wire.helloFromWire({ ...hello, roles: [] })],
      ['no address', 'hello.addresses', () => wire.helloFromWire({ ...hello, addresses: [] })],
      ['an address that is none', 'hello.addresses[0]', () => wire.helloFromWire({ ...hello, addresses: ['gw'] })],
      ['a session that is no number', 'hello.last_session', () => wire.helloFromWire({ ...hello, lastSession: Number.NaN })],
      ['a held lease without ports', 'hello.leases[0].ports', () => wire.helloFromWire({ ...hello, leases: [{ ...hello.leases[0]!, ports: undefined }] })],
      ['a held route without host', 'hello.routes[0].host', () => wire.helloFromWire({ ...hello, routes: [{ ...hello.routes[0]!, host: '' }] })],
      ['a report without version', 'report.applied', () => wire.reportFromWire({ ...report, applied: undefined })],
      ['a confirmation of a strange key', 'report.confirmations[0].key', () => wire.reportFromWire({ ...report, confirmations: [{ ...report.confirmations[0]!, key: 'x/../y' }] })],
      ['an occupied port 0', 'report.occupied[0]', () => wire.reportFromWire({ ...report, occupied: ['tcp/0'] })],
      ['an occupied port with a sign', 'report.occupied[0]', () => wire.reportFromWire({ ...report, occupied: ['tcp/-1'] })],
      ['a conflict at port 0', 'report.conflicts[0].port', () => wire.reportFromWire({ ...report, conflicts: [{ ...report.conflicts[0]!, port: 0 }] })],
      ['a conflict of both protocols', 'report.conflicts[0].protocol', () => wire.reportFromWire({ ...report, conflicts: [{ ...report.conflicts[0]!, protocol: Protocol.PROTOCOL_TCP_UDP }] })],
      ['a conflict at no address', 'report.conflicts[1].address', () => wire.reportFromWire({ ...report, conflicts: [report.conflicts[0]!, { ...report.conflicts[1]!, address: 'any' }] })],
      ['more conflicts than are told', 'report.conflicts', () => wire.reportFromWire({ ...report, conflicts: Array.from({ length: 1_025 }, () => report.conflicts[1]!) })],
      ['more idle mappings than a report has', 'report.idle', () => wire.reportFromWire({ ...report, idle: Array.from({ length: 4_097 }, () => ({ mappingId: 'm1', generation: 1, idle: { seconds: 1, nanos: 0 }, environmentLives: false })) })],
      ['an idle mapping without a time', 'report.idle[0].idle', () => wire.reportFromWire({ ...report, idle: [{ mappingId: 'm1', generation: 1, idle: undefined, environmentLives: false }] })],
      ['a digest in capitals', 'digest', () => wire.heartbeatFromWire({ host: 'a', session: 1, sequence: 1, acceptedRevision: 1, digest: 'FF00FF00FF00FF00' })],
      ['port 0', 'object.mapping.port', badMapping({ port: 0 })],
      ['port 65536', 'object.mapping.port', badMapping({ port: 65_536 })],
      ['internal port 0', 'object.mapping.internal_port', badMapping({ internalPort: 0 })],
      ['an unset protocol', 'object.mapping.protocol', badMapping({ protocol: Protocol.PROTOCOL_UNSPECIFIED })],
      ['an unknown protocol', 'object.mapping.protocol', badMapping({ protocol: 9 as Protocol })],
      ['no target', 'object.mapping.target', badMapping({ target: undefined })],
      ['an empty target', 'object.mapping.target', badMapping({ target: { kind: undefined } })],
      ['loopback as target', 'object.mapping.target.address', badMapping({ target: { kind: { $case: 'address', value: '127.0.0.1' } } })],
      ['an environment with NUL', 'object.mapping.environment', badMapping({ environment: 'a\0' })],
      ['a key of another id', 'object.key', badMapping({ mappingId: 'm2' })],
      ['an id that is a path', 'object.mapping.mapping_id', badMapping({ mappingId: '../m' })],
      ['an object of no kind', 'object.object', () => wire.objectFromWire({ key: 'lease/l1', version: 1, object: undefined })],
      ['a reversed range', 'ports', () => wire.rangeFromWire({ first: 2, last: 1 })],
      ['a negative duration', 'duration', () => wire.durationToMs({ seconds: -1, nanos: 0 })],
      ['a state without version', 'desired_state.version', () => wire.deltaFromWire({ version: undefined, snapshot: true, baseRevision: 0, upserts: [], removals: [] })],
      ['a snapshot with removals', 'desired_state.removals', () => wire.deltaFromWire({ version: { epoch: 1, session: 1, revision: 1 }, snapshot: true, baseRevision: 0, upserts: [], removals: ['lease/l1'] })],
      ['a key that comes twice', 'desired_state.upserts', () => wire.deltaFromWire({ version: { epoch: 1, session: 1, revision: 1 }, snapshot: true, baseRevision: 0, upserts: [mapping(), mapping()], removals: [] })],
    ];
    for (const [what, field, call] of cases) it(what, () => { assert.equal(fieldOf(call), field); });
  });
});
