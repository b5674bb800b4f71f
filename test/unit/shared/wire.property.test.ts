import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { AgentReport, Delta, DesiredObject } from '../../../shared/desired.js';
import { DesiredState, Hello, Report } from '../../../shared/gen/portlease/v1/agents.js';
import { InvalidField } from '../../../shared/invalid.js';
import { canonicalAddress, isTargetAddress } from '../../../shared/names.js';
import type { PortRange, Protocol } from '../../../shared/ports.js';
import * as wire from '../../../shared/wire.js';

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record(model, { noNullPrototype: true });
const ID_LETTERS = [...'ABCXYZabcxyz0189'];
const id = fc.string({ unit: fc.constantFrom(...ID_LETTERS), minLength: 1, maxLength: 18 });
const name = fc.string({ unit: fc.constantFrom(...'abcz09'), minLength: 1, maxLength: 63 });
const number = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const port = fc.integer({ min: 1, max: 65_535 });
const protocol = fc.constantFrom<Protocol>('tcp', 'udp', 'tcp+udp');
const ports: fc.Arbitrary<PortRange> = fc.tuple(port, port).map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }));
const address = fc.oneof(fc.ipV4(), fc.ipV6()).map((text) => canonicalAddress(text) ?? '10.0.0.1');
const target = address.map((text) => ({ kind: 'address' as const, address: isTargetAddress(text) ? text : '10.0.0.1' }));
const cutMs = fc.nat({ max: 1e9 });

const grant = { version: number, leaseId: id, ports, protocol, generation: number };
const mapped = { version: number, mappingId: id, environment: name, tenant: name, name, index: fc.nat({ max: 65_535 }), protocol, port, target, internalPort: port, generation: number };
const object: fc.Arbitrary<DesiredObject> = fc.oneof(
  record({ ...grant, host: name }).map((o) => ({ kind: 'lease' as const, key: `lease/${o.leaseId}`, ...o })),
  record({ ...mapped, verify: fc.boolean(), idleLimitMs: fc.option(cutMs, { nil: undefined }) }).map(({ idleLimitMs, ...o }) => ({ kind: 'mapping' as const, key: `mapping/${o.mappingId}`, ...o, ...(idleLimitMs === undefined ? {} : { idleLimitMs }) })),
  record({ ...mapped, cutMs }).map((o) => ({ kind: 'release' as const, key: `release/${o.mappingId}`, ...o })),
  record({ ...grant, host: name, addresses: fc.array(address, { maxLength: 2 }), fence: fc.boolean(), cutMs }).map((o) => ({ kind: 'route' as const, key: `route/${o.leaseId}`, ...o })),
  record({ ...grant, cutMs }).map((o) => ({ kind: 'withdrawal' as const, key: `withdrawal/${o.leaseId}`, ...o })),
);
const version = record({ epoch: number, session: number, revision: number });
const upserts = fc.uniqueArray(object, { selector: (o) => o.key });
const delta: fc.Arbitrary<Delta> = record({ version, base: fc.option(number, { nil: undefined }), upserts, removals: fc.constant([]) });
const key = fc.tuple(fc.constantFrom('release', 'route', 'withdrawal'), id).map((parts) => parts.join('/'));
const report: fc.Arbitrary<AgentReport> = record({
  session: number,
  applied: version,
  problems: fc.array(record({ key, reason: fc.constantFrom('PORT_OCCUPIED', 'X'), message: fc.string({ maxLength: 100 }) })),
  confirmations: fc.array(record({ key, generation: number, ports, protocol })),
  verified: fc.array(id),
  driftRepairs: number,
  occupied: fc.array(record({ transport: fc.constantFrom('tcp' as const, 'udp' as const), port })),
  conflicts: fc.array(record({
    transport: fc.constantFrom('tcp' as const, 'udp' as const), port, address, uid: fc.nat(), user: name,
    holder: fc.option(record({ pid: fc.nat(), program: name, command: name, containerId: name, startedAtMs: fc.nat(), proxyFor: name, environment: name }), { nil: undefined }),
  })),
  idle: fc.array(record({ mappingId: id, generation: number, idleMs: cutMs, lives: fc.boolean() })),
}).map(({ idle, ...rest }) => ({ ...rest, ...(idle.length === 0 ? {} : { idle }) }));

describe('wire, for whatever comes', () => {
  it('desired state arrives as it was sent', () => {
    fc.assert(fc.property(delta, (sent) => {
      assert.deepEqual(wire.deltaFromWire(DesiredState.decode(DesiredState.encode(wire.deltaToWire(sent)).finish())), sent);
    }));
  });

  it('reports arrive as they were sent', () => {
    fc.assert(fc.property(report, (sent) => {
      assert.deepEqual(wire.reportFromWire(Report.decode(Report.encode(wire.reportToWire(sent)).finish())), sent);
    }));
  });

  it('durations come back to the millisecond', () => {
    fc.assert(fc.property(fc.nat({ max: 1e12 }), (ms) => { assert.equal(wire.durationToMs(wire.msToDuration(ms)), ms); }));
  });

  /** Bytes that decode, from a good message of which some were replaced. */
  function damaged(good: Uint8Array): fc.Arbitrary<Uint8Array> {
    const change = fc.tuple(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 }));
    return fc.array(change, { minLength: 1, maxLength: 8 }).map((changes) => {
      const bytes = Uint8Array.from(good);
      for (const [at, byte] of changes) bytes[at] = byte;
      return bytes;
    });
  }

  it('a damaged message is taken or refused with the field, and never breaks anything', () => {
    const sample = fc.sample(fc.tuple(delta, report), { numRuns: 20, seed: 7 });
    const hello = { host: 'a', gateway: 'g', bootId: 'b', agentVersion: '1', roles: ['host' as const], addresses: ['10.0.0.1'], lastSession: 1, accepted: undefined, leases: [], routes: [] };
    let refused = 0;
    const check = (read: () => unknown) => {
      try {
        read();
      } catch (error) {
        assert.ok(error instanceof InvalidField, String(error));
        refused += 1;
      }
    };
    const cases = [
      { good: Hello.encode(wire.helloToWire(hello)).finish(), read: (bytes: Uint8Array) => { const message = decoded(() => Hello.decode(bytes)); if (message) check(() => wire.helloFromWire(message)); } },
      ...sample.flatMap(([d, r]) => [
        { good: DesiredState.encode(wire.deltaToWire(d)).finish(), read: (bytes: Uint8Array) => { const message = decoded(() => DesiredState.decode(bytes)); if (message) check(() => wire.deltaFromWire(message)); } },
        { good: Report.encode(wire.reportToWire(r)).finish(), read: (bytes: Uint8Array) => { const message = decoded(() => Report.decode(bytes)); if (message) check(() => wire.reportFromWire(message)); } },
      ]),
    ];
    for (const { good, read } of cases) fc.assert(fc.property(damaged(good), read), { numRuns: 200 });
    assert.ok(refused > 100, `only ${refused} were refused: the damage does not reach the checks`);
  });
});

/** undefined when the bytes are no message at all. */
function decoded<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch {
    return undefined;
  }
}
