import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { resetNow } from '../../../agent/drivers/userspace/reset.js';
import { eventually } from '../../support/wait.js';
import { cutOf, endOf, forward, freePort, hashOf, LEASE, LEASE_V6, noise, readAll, Rig, standing } from './rig.js';

const MEGABYTE = 1_048_576;

describe('the forwarder of driver: userspace', () => {
  let rig: Rig;
  let port: number;
  beforeEach(async () => {
    rig = new Rig();
    port = await freePort(LEASE);
  });
  afterEach(() => rig.close());

  /** Echoes, and ends when the client does. */
  const echo = (socket: Socket): void => void socket.pipe(socket);

  async function mapped(onSocket: (socket: Socket) => void, id = 'm1'): Promise<void> {
    assert.deepEqual((await rig.map(forward(id, port, await rig.serve(onSocket)))).unserved, []);
  }

  describe('a connection', () => {
    it('carries much both ways at once, without a wrong byte', async () => {
      const down = noise(24 * MEGABYTE);
      const seen: Promise<Buffer>[] = [];
      await mapped(socket => { seen.push(readAll(socket)); socket.end(down); });
      const client = await rig.client(port);
      const up = noise(24 * MEGABYTE);
      client.end(up);
      assert.equal(hashOf(await readAll(client)), hashOf(down));
      assert.equal(hashOf(await seen[0]!), hashOf(up));
    });

    it('is traffic of its mapping: one that was taken, there until it has ended; of a mapping that is not served nothing is known', async () => {
      await mapped(echo);
      const watched = ['m1', 'm2'].map(mappingId => ({ mappingId, generation: 1, port, transports: ['tcp'] as const }));
      const traffic = async () => Object.fromEntries(await rig.driver.trafficOf(watched));
      assert.deepEqual(await traffic(), { m1: { begun: { tcp: 0 }, isTracked: false } });
      const client = await rig.client(port);
      await eventually('it is taken', async () => (await traffic())['m1']?.isTracked, { withinMs: 5_000 });
      assert.deepEqual(await traffic(), { m1: { begun: { tcp: 1 }, isTracked: true } });
      client.end();
      await eventually('it has ended', async () => (await traffic())['m1']?.isTracked === false, { withinMs: 5_000 });
      assert.deepEqual(await traffic(), { m1: { begun: { tcp: 1 }, isTracked: false } });
      await rig.map();
      assert.deepEqual(await traffic(), {});
    });

    it('passes on the end of one direction, and keeps the other open', async () => {
      await mapped(socket => void readAll(socket).then(asked => socket.end(`you said ${asked.toString()}`)));
      const client = await rig.client(port);
      client.end('hello');
      assert.equal((await readAll(client)).toString(), 'you said hello');
    });

    it('passes on that the target has ended while the client goes on', async () => {
      const heard = new Promise<Buffer>(resolve => void mapped(socket => { socket.end('bye'); resolve(readAll(socket)); }));
      await eventually('it listens', () => rig.client(port), { withinMs: 5_000 }).then(async client => {
        assert.equal((await readAll(client)).toString(), 'bye');
        client.end('not yet');
      });
      assert.equal((await heard).toString(), 'not yet');
    });

    it('is reset for the target when the client resets it', async () => {
      const ended = new Promise<string>(resolve => void mapped(socket => void endOf(socket).then(resolve)));
      const client = await eventually('it listens', () => rig.client(port), { withinMs: 5_000 });
      client.write('x');
      await eventually('it is forwarded', () => rig.driver.connections === 1, { withinMs: 5_000 });
      resetNow(client);
      assert.equal(await ended, 'ECONNRESET');
    });

    it('is reset for the client when the target resets it', async () => {
      await mapped(socket => void socket.once('data', () => resetNow(socket)));
      const client = await rig.client(port);
      client.write('x');
      assert.equal(await endOf(client), 'ECONNRESET');
      await eventually('it is forgotten', () => rig.driver.connections === 0, { withinMs: 5_000 });
    });

    it('goes at the pace of the slower side: what is not read is not taken', async () => {
      const held: Socket[] = [];
      await mapped(socket => { socket.pause(); held.push(socket); });
      const client = await rig.client(port);
      const chunk = noise(MEGABYTE);
      const push = (): void => { while (client.write(chunk)); };
      client.on('drain', push);
      push();
      await eventually('nothing more is taken', async () => {
        const before = client.bytesWritten;
        await new Promise(resolve => setTimeout(resolve, 100));
        return client.bytesWritten - client.writableLength === before - client.writableLength && client.writableLength > 0;
      }, { withinMs: 10_000 });
      assert.ok(client.bytesWritten < 64 * MEGABYTE, `${client.bytesWritten} bytes were taken`);
      assert.equal(held.length, 1);
    });

    it('is reset when the target refuses it, and so said once', async () => {
      await rig.map(forward('m1', port, await freePort('127.72.0.1')));
      for (let attempt = 0; attempt < 3; attempt++) assert.equal(await endOf(await rig.client(port)), 'ECONNRESET');
      assert.equal(rig.log.filter(({ msg }) => msg.startsWith('the target does not answer')).length, 1);
    });

    it('is served on IPv6 as well', async () => {
      const toPort = await rig.serve(echo, { address: LEASE_V6 });
      const six = await freePort(LEASE_V6);
      assert.deepEqual((await rig.map(forward('m6', six, toPort, { to: LEASE_V6 }))).unserved, []);
      const client = await rig.client(six, LEASE_V6);
      client.end('six');
      assert.equal((await readAll(client)).toString(), 'six');
    });
  });

  describe('its limits', () => {
    async function limited(limits: object, ...ids: string[]): Promise<number[]> {
      await rig.close();
      rig = new Rig({ limits });
      const toPort = await rig.serve(echo);
      const ports = [port, await freePort(LEASE)];
      await rig.map(...ids.map((id, index) => forward(id, ports[index]!, toPort)));
      return ports;
    }

    /** False when the client is reset, be it before it knows that it was accepted. */
    async function isServed(at: number): Promise<boolean> {
      const client = await rig.client(at).catch((error: unknown) => assert.match(String(error), /ECONNRESET/));
      client?.write('x');
      return client !== undefined && await Promise.race([once(client, 'data').then(() => true, () => false), endOf(client).then(() => false)]);
    }

    it('turn clients of one mapping away, and leave room for another', async () => {
      const [one, two] = await limited({ maxPerMapping: 2 }, 'm1', 'm2') as [number, number];
      assert.deepEqual([await isServed(one), await isServed(one), await isServed(one), await isServed(two)], [true, true, false, true]);
      assert.match(rig.log.find(({ msg }) => msg === 'connections are refused')?.problem ?? '', /maxConnectionsPerMapping = 2/);
    });

    it('turn clients of all mappings away, and take them again when there is room', async () => {
      const [one, two] = await limited({ maxConnections: 1 }, 'm1', 'm2') as [number, number];
      const client = await rig.client(one);
      await eventually('it is forwarded', () => rig.driver.connections === 1, { withinMs: 5_000 });
      assert.equal(await isServed(two), false);
      resetNow(client);
      await eventually('it is forgotten', () => rig.driver.connections === 0, { withinMs: 5_000 });
      assert.equal(await isServed(two), true);
    });

    it('say of a mapping that there is no descriptor left to listen', async () => {
      await rig.close();
      rig = new Rig({ limits: { files: 97 } });
      const { unserved } = await rig.map(forward('m1', port, 9), forward('m2', await freePort(LEASE), 9));
      assert.deepEqual(unserved?.map(({ id, reason }) => `${id} ${reason}`), ['m2 TOO_MANY_FILES']);
    });
  });

  describe('a mapping', () => {
    it('that is gone is not listened on; what was connected goes on until it is cut, and is reset then', async () => {
      await mapped(echo);
      const client = await rig.client(port);
      client.write('x');
      await once(client, 'data');
      assert.equal((await rig.map()).changed, 1);
      await assert.rejects(rig.client(port), /ECONNREFUSED/);
      client.write('y');
      await once(client, 'data');
      const ended = endOf(client);
      const cut = cutOf(port);
      assert.deepEqual(await rig.driver.cut([cut], standing()), { ended: [cut], remaining: [] });
      assert.equal(rig.driver.connections, 0);
      assert.equal(await ended, 'ECONNRESET');
    });

    it('that leads elsewhere keeps its listener: new connections go there, a cut ends those to the old target only', async () => {
      const answer = (who: string) => (socket: Socket): void => void socket.write(who);
      const [old, fresh] = [await rig.serve(answer('old')), await rig.serve(answer('new'))];
      await rig.map(forward('m1', port, old));
      const before = await rig.client(port);
      assert.equal(String((await once(before, 'data'))[0]), 'old');
      assert.equal((await rig.map(forward('m1', port, fresh))).changed, 0);
      const after = await rig.client(port);
      assert.equal(String((await once(after, 'data'))[0]), 'new');
      const ended = endOf(before);
      await rig.driver.cut([cutOf(port)], standing({ address: '127.72.0.1', port: fresh }));
      assert.equal(await ended, 'ECONNRESET');
      assert.equal(rig.driver.connections, 1);
    });

    it('is cut at once also where nobody reads: neither waits for what is still to be written', async () => {
      await mapped(socket => void socket.pause());
      const client = await rig.client(port);
      const push = (): void => { while (client.write(noise(MEGABYTE))); };
      client.on('drain', push);
      push();
      await eventually('nothing more is taken', async () => {
        const before = client.writableLength;
        await new Promise(resolve => setTimeout(resolve, 50));
        return client.writableLength === before && before > 0;
      }, { withinMs: 10_000 });
      await rig.driver.cut([cutOf(port)], standing());
      assert.equal(rig.driver.connections, 0);
      assert.match(await endOf(client), /ECONNRESET|EPIPE/);
    });

    it('is cut at once also where the end of one direction waits behind what the client does not read', async () => {
      await mapped(socket => { socket.on('error', () => undefined); socket.end(noise(32 * MEGABYTE)); });
      const client = await rig.client(port);
      client.pause();
      await eventually('it is forwarded', () => rig.driver.connections === 1, { withinMs: 5_000 });
      await new Promise(resolve => setTimeout(resolve, 200));
      await rig.driver.cut([cutOf(port)], standing());
      assert.equal(rig.driver.connections, 0);
    });

    it('whose connection to the target is still being opened is cut as well', async () => {
      await mapped(echo);
      const client = await rig.client(port);
      await eventually('it is being forwarded', () => rig.driver.connections === 1, { withinMs: 5_000, everyMs: 1 });
      await rig.driver.cut([cutOf(port)], standing());
      assert.equal(rig.driver.connections, 0);
      assert.equal(await endOf(client), 'ECONNRESET');
    });

    it('whose port another process has is reported, harms no other, and is served once that one is gone', async () => {
      const foreign = createServer().listen({ host: LEASE, port });
      await once(foreign, 'listening');
      const toPort = await rig.serve(echo);
      const other = await freePort(LEASE);
      const { unserved } = await rig.map(forward('m1', port, toPort), forward('m2', other, toPort));
      assert.deepEqual(unserved?.map(({ id, reason }) => `${id} ${reason}`), ['m1 PORT_OCCUPIED']);
      await rig.client(other);
      const listeners = await rig.driver.foreign();
      const has = (at: number): boolean => listeners.some(seen => seen.port === at && seen.address === LEASE && seen.transport === 'tcp');
      assert.deepEqual([has(port), has(other)], [true, false]);
      await new Promise(resolve => foreign.close(resolve));
      assert.deepEqual((await rig.apply(true)).unserved, []);
      await rig.client(port);
    });

    it('of an address that this machine does not have is reported', async () => {
      const { unserved } = await rig.driver.apply({ addresses: ['192.0.2.1'], leased: [], forwards: [forward('m1', port, 9)], snat: false }, { observe: false });
      assert.deepEqual(unserved?.map(({ reason }) => reason), ['ADDRESS_MISSING']);
    });
  });

  it('opens a listener again that the kernel does not show any more, and counts it', async () => {
    await rig.close();
    let isBlind = false;
    rig = new Rig({ look: () => Promise.resolve(isBlind ? [] : [{ transport: 'tcp' as const, address: LEASE, port }]) });
    await rig.map(forward('m1', port, await rig.serve(echo)));
    assert.equal((await rig.apply(true)).repaired, 0);
    isBlind = true;
    assert.equal((await rig.apply(true)).repaired, 1);
    await rig.client(port);
  });

  it('goes by what was seen before, unless it has changed its listeners since: then that is outdated', async () => {
    const toPort = await rig.serve(echo);
    const before = await rig.driver.look();
    assert.equal(rig.driver.isCurrent(before), true);
    await rig.map(forward('m1', port, toPort));
    assert.equal(rig.driver.isCurrent(before), false);
    assert.equal((await rig.apply(before)).repaired, 0, 'what is newer than a sighting is not missing');
    const after = await rig.driver.look();
    assert.deepEqual([(await rig.apply(after)).repaired, rig.driver.isCurrent(after)], [0, true]);
    assert.equal((await rig.apply({ ...after, listening: new Set() })).repaired, 1);
  });

  it('ends all of it when it is closed', async () => {
    await mapped(echo);
    const client = await rig.client(port);
    client.write('x');
    await once(client, 'data');
    const ended = endOf(client);
    await rig.driver.close();
    assert.equal(await ended, 'ECONNRESET');
    await assert.rejects(rig.client(port), /ECONNREFUSED/);
  });
});
