import assert from 'node:assert/strict';
import type { DesiredObject } from '../../../shared/desired.js';
import * as agents from '../../../shared/gen/portlease/v1/agents.js';
import * as tunnels from '../../../shared/gen/portlease/v1/tunnels.js';
import { InvalidField } from '../../../shared/invalid.js';
import type { TunnelReport, TunnelSpec } from '../../../shared/tunnel.js';
import * as wire from '../../../shared/wire.js';
import { tunnelReport, tunnelSpec } from '../../support/tunnels.js';

const FULL: TunnelSpec = tunnelSpec({
  forwards: [
    { direction: 'local', listen: { host: '::1', port: 1 }, to: { host: 'db.internal', port: 65_535 } },
    { direction: 'reverse', listen: { host: '0.0.0.0', port: 2222 }, to: { host: '127.0.0.1', port: 22 } },
  ],
  engine: 'ssh', probe: { forward: 1, banner: 'SSH-2.0-', intervalMs: 1_000, timeoutMs: 100 }, options: { Ciphers: '+aes256-gcm@openssh.com', Compression: 'yes' },
});
const REPORT: TunnelReport = tunnelReport({
  spec: FULL, isFromConfig: true, state: 'backoff', sinceMs: 1_500, reason: 'SSH_FAILED', message: 'it ended with 255', isFlapping: true, logTail: ['one', 'two'], restart: 9,
  statistics: { attempts: 3, connections: 4, failures: 5, restarts: 6, probes: 7, probesFailed: 8, probeTimeMs: 2, probeAgeMs: 10_000, restartTimeMs: 280 },
});

const reportOf = (...said: TunnelReport[]) => wire.reportToWire({
  session: 1, applied: { epoch: 1, session: 1, revision: 1 }, problems: [], confirmations: [], verified: [], driftRepairs: 0, occupied: [], tunnels: said,
});

function fieldOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof InvalidField, String(error));
    return error.field;
  }
  return assert.fail('nothing was refused');
}

describe('a tunnel on the wire', () => {
  it('comes through the bytes of the contract unchanged, as desired and as reported', () => {
    const objects: DesiredObject[] = [
      { kind: 'tunnel', key: 'tunnel/db', version: 7, spec: FULL, restart: 9, isStopped: true, isOfConfig: true },
      { kind: 'tunnel', key: 'tunnel/db', version: 7, spec: tunnelSpec(), restart: 0, isStopped: false },
    ];
    for (const object of objects) assert.deepEqual(wire.objectFromWire(agents.DesiredObject.decode(agents.DesiredObject.encode(wire.objectToWire(object)).finish())), object);
    const said = [REPORT, tunnelReport()];
    assert.deepEqual(wire.reportFromWire(agents.Report.decode(agents.Report.encode(reportOf(...said)).finish())).tunnels, said);
  });

  it('is left out of a report that has more than 256: the rest of it matters', () => {
    assert.equal(reportOf(...Array.from({ length: 300 }, () => REPORT)).tunnels.length, 256);
  });

  it('has one form, whatever was left out and in what order options come', () => {
    const value = tunnels.TunnelSpec.fromPartial({
      tunnel: 'db', host: 'a', server: 's', options: { TCPKeepAlive: 'yes', Compression: 'no' }, probe: {},
      forwards: [{ direction: 1, listen: { port: 1 }, to: { host: 'FD00::1'.toLowerCase(), port: 2 } }, { direction: 2, listen: { port: 1 }, to: { host: '2001:0db8::1', port: 2 } }],
    });
    const spec = wire.tunnelSpecFromWire(value, 'spec');
    assert.deepEqual([spec.forwards[0]?.listen.host, spec.forwards[1]?.to.host], ['127.0.0.1', '2001:db8::1']);
    assert.deepEqual([spec.probe, Object.keys(spec.options), spec.engine], [{ forward: 0, banner: '', intervalMs: 10_000, timeoutMs: 5_000 }, ['Compression', 'TCPKeepAlive'], undefined]);
  });

  it('cuts and cleans what a server or a tool may have written, instead of refusing the report', () => {
    const [value] = reportOf(REPORT).tunnels;
    const hostile = { ...value!, message: `a\u001b[31m\nb${'x'.repeat(5_000)}`, logTail: Array.from({ length: 50 }, (_, i) => `${i}\u202e${'y'.repeat(500)}`) };
    const [found] = wire.reportFromWire({ ...reportOf(), tunnels: [hostile] }).tunnels ?? [];
    assert.equal(found?.message.slice(0, 8), 'a [31m b');
    assert.deepEqual([found?.message.length, found?.logTail.length, found?.logTail[0]?.slice(0, 4), found?.logTail[0]?.length], [512, 10, '40 y', 200]);
  });

  describe('is refused, by the field', () => {
    const spec = (change: object): unknown => wire.tunnelSpecFromWire(tunnels.TunnelSpec.fromPartial({ ...wire.tunnelSpecToWire(FULL), ...change }), 'spec');
    const forward = { direction: 1, listen: { host: '', port: 1 }, to: { host: 'h', port: 1 } };
    const said = (change: object): unknown => wire.reportFromWire({ ...reportOf(), tunnels: [{ ...reportOf(REPORT).tunnels[0]!, ...change }] });
    const cases: [string, string, () => unknown][] = [
      ['without a spec', 'spec', () => wire.tunnelSpecFromWire(undefined, 'spec')],
      ['without a forward', 'spec.forwards', () => spec({ forwards: [] })],
      ['with 65 forwards', 'spec.forwards', () => spec({ forwards: Array.from({ length: 65 }, (_, i) => ({ ...forward, listen: { host: '', port: i + 1 } })) })],
      ['with a place to listen that comes twice', 'spec.forwards[1].listen', () => spec({ forwards: [forward, { ...forward, listen: { host: '127.0.0.1', port: 1 } }] })],
      ['with a place to connect to that has no host', 'spec.forwards[0].to.host', () => spec({ forwards: [{ ...forward, to: { host: '', port: 1 } }] })],
      ['with a host that is an option', 'spec.forwards[0].to.host', () => spec({ forwards: [{ ...forward, to: { host: '-oProxyCommand=x', port: 1 } }] })],
      ['with a host of any address', 'spec.forwards[0].listen.host', () => spec({ forwards: [{ ...forward, listen: { host: '*', port: 1 } }] })],
      ['with a probe of a forward that is not there', 'spec.probe.forward', () => spec({ probe: { forward: 2 } })],
      ['with a banner of two lines', 'spec.probe.banner', () => spec({ probe: { banner: 'a\nb' } })],
      ['with a value that is a flag', 'spec.options', () => spec({ options: { Compression: '-x' } })],
      ['with a value of two lines', 'spec.options', () => spec({ options: { Compression: 'yes\nProxyCommand x' } })],
      ['with a value with a quote', 'spec.options', () => spec({ options: { Compression: 'a"b' } })],
      ['with an option that comes twice', 'spec.options', () => spec({ options: { compression: 'yes', Compression: 'no' } })],
      ['in a report, in no state', 'report.tunnels[0].state', () => said({ state: 0 })],
      ['in a report, with a reason that is none', 'report.tunnels[0].reason', () => said({ reason: 'lower' })],
      ['in a report, without statistics', 'report.tunnels[0].statistics', () => said({ statistics: undefined })],
      ['in a report, beyond 256', 'report.tunnels', () => wire.reportFromWire({ ...reportOf(), tunnels: Array.from({ length: 257 }, () => reportOf(REPORT).tunnels[0]!) })],
    ];
    for (const [what, field, call] of cases) it(what, () => { assert.equal(fieldOf(call), field); });
  });
});
