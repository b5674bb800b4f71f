import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { clientsOf } from '../../../agent/drivers/connections/clients.js';
import type { Forward, Limits } from '../../../agent/drivers/rules/spec.js';
import { servicesOf } from '../../../agent/drivers/userspace/services.js';
import { eventually } from '../../support/wait.js';
import { cutOf, endOf, forward, freePort, LEASE, LEASE_V6, Rig, standing } from './rig.js';

const [FIRST, SECOND] = ['127.73.0.1', '127.74.0.1'];
const limits = (more: Partial<Limits>): Limits => ({ networks: undefined, maxConnections: 0, uncounted: 0, ...more });

describe('a limited mapping of driver: userspace', () => {
  let rig: Rig;
  let port: number;
  let toPort: number;
  beforeEach(async () => {
    rig = new Rig();
    port = await freePort(LEASE);
    toPort = await rig.serve(socket => void socket.pipe(socket));
  });
  afterEach(() => rig.close());

  const limited = (of: Partial<Limits> | undefined): Forward => forward('m1', port, toPort, of === undefined ? {} : { limits: limits(of) });

  /** A connection through which something has come and gone, or how it ended: a reset may come before the client knows that it was accepted. */
  async function open(from: string | undefined = FIRST, place = { port, address: LEASE }): Promise<Socket | string> {
    const socket = await rig.client(place.port, place.address, from).catch((error: unknown) => (error as NodeJS.ErrnoException).code ?? String(error));
    if (typeof socket === 'string') return socket;
    socket.write('x');
    return Promise.race([new Promise<Socket>(resolve => socket.once('data', () => resolve(socket))), endOf(socket)]);
  }

  async function mustOpen(from = FIRST): Promise<Socket> {
    const socket = await open(from);
    return typeof socket === 'string' ? assert.fail(`it ended: ${socket}`) : socket;
  }

  it('takes clients of its networks, and resets the others', async () => {
    await rig.map(limited({ networks: ['127.74.0.0/16'] }));
    await mustOpen(SECOND);
    assert.equal(await open(FIRST), 'ECONNRESET');
  });

  it('has room for exactly so many, and for another when one has ended', async () => {
    await rig.map(limited({ maxConnections: 2 }), forward('m2', await freePort(LEASE), toPort));
    const [one] = [await mustOpen(), await mustOpen(SECOND)];
    assert.equal(await open(), 'ECONNRESET');
    one.destroy();
    await eventually('one has ended', () => rig.driver.connections === 1, { withinMs: 5_000 });
    await mustOpen();
    assert.equal(await open(), 'ECONNRESET');
  });

  it('ends, when its networks change, the connections of others, and leaves the rest alone', async () => {
    await rig.map(limited(undefined));
    const [first, second] = [await mustOpen(FIRST), await mustOpen(SECOND)];
    const ends = endOf(first);
    await rig.map(limited({ networks: ['127.74.0.0/16'] }));
    const clients = clientsOf({ networks: ['127.74.0.0/16'], maxConnections: 0 }, 4);
    await rig.driver.cut([{ ...cutOf(port), isForClients: true }], standing({ address: '127.72.0.1', port: toPort, clients }));
    assert.equal(await ends, 'ECONNRESET');
    second.write('y');
    await new Promise(resolve => second.once('data', resolve));
    assert.equal(rig.driver.connections, 1);
  });

  it('ends, when its limit is lowered, the newest connections that are beyond it', async () => {
    await rig.map(limited(undefined));
    const sockets = [await mustOpen(), await mustOpen(), await mustOpen()];
    const end = endOf(sockets[2] as Socket);
    await rig.map(limited({ maxConnections: 2 }));
    await rig.driver.cut([{ ...cutOf(port), isForClients: true }], standing({ address: '127.72.0.1', port: toPort, clients: clientsOf({ networks: [], maxConnections: 2 }, 4) }));
    assert.equal(await end, 'ECONNRESET');
    assert.equal(rig.driver.connections, 2);
    assert.equal(await open(), 'ECONNRESET');
    await rig.map(limited({ maxConnections: 3 }));
    await mustOpen();
    assert.equal(await open(), 'ECONNRESET', 'those from before are counted');
  });

  it('tells clients of IPv6 apart as well', async () => {
    const six = await freePort(LEASE_V6);
    const service = await rig.serve(socket => void socket.pipe(socket), { address: LEASE_V6 });
    await rig.map(forward('m6', six, service, { to: LEASE_V6, limits: limits({ networks: ['2001:db8::/32'] }) }));
    assert.equal(await open('::1', { port: six, address: LEASE_V6 }), 'ECONNRESET');
    await rig.map(forward('m6', six, service, { to: LEASE_V6, limits: limits({ networks: ['::1/128'] }) }));
    assert.equal(typeof await open('::1', { port: six, address: LEASE_V6 }), 'object');
  });

  it('is one place with the same limits on every lease address', () => {
    const { services } = servicesOf({ addresses: ['10.0.0.1', '10.0.0.2'], forwards: [forward('a', 30_000, 22, { to: '10.2.0.5', limits: limits({ networks: ['10.0.0.0/8'], maxConnections: 4 }) })] });
    assert.deepEqual(Array.from(services.values(), service => [service.limits?.networks?.map(({ text }) => text), service.limits?.maxConnections]), [[['10.0.0.0/8'], 4], [['10.0.0.0/8'], 4]]);
  });
});
