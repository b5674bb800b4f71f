import assert from 'node:assert/strict';
import type { Forward } from '../../../agent/drivers/rules/spec.js';
import { servicesOf, unservedFor } from '../../../agent/drivers/userspace/services.js';

const ADDRESSES = ['10.0.0.1', '10.0.0.2', 'fd00::1'];

function forward(id: string, port: number, over: Partial<Forward> = {}): Forward {
  return { id, generation: 1, transport: 'tcp', ports: { first: port, last: port }, to: '10.2.0.5', toPort: 22, hairpin: true, ...over };
}

function served(...forwards: Forward[]) {
  const { services, unserved } = servicesOf({ addresses: ADDRESSES, forwards });
  return { places: [...services.keys()], problems: unserved.map(({ id, reason }) => `${id} ${reason}`) };
}

describe('the places that a forwarder listens on', () => {
  it('are the lease addresses of the family of the target', () => {
    assert.deepEqual(served(forward('a', 30_000)), { places: ['10.0.0.1 30000', '10.0.0.2 30000'], problems: [] });
    assert.deepEqual(served(forward('a', 30_000, { to: 'fd02::5' })).places, ['fd00::1 30000']);
  });

  it('lead to the port of the target, or to the same one', () => {
    const { services } = servicesOf({ addresses: ['10.0.0.1'], forwards: [forward('a', 30_000), forward('b', 30_001, { toPort: undefined })] });
    assert.deepEqual(Array.from(services.values(), ({ target }) => target.port), [22, 30_001]);
  });

  it('are none for a mapping with UDP, also where it has TCP as well', () => {
    const both = [forward('both', 30_000), forward('both', 30_000, { transport: 'udp' })];
    assert.deepEqual(served(...both, forward('udp', 30_001, { transport: 'udp' }), forward('tcp', 30_002)), {
      places: ['10.0.0.1 30002', '10.0.0.2 30002'], problems: ['both UDP_NOT_SERVED', 'udp UDP_NOT_SERVED'],
    });
  });

  it('are none for mappings that lead to each other, or to a third one', () => {
    const circle = [forward('a', 30_000, { to: '10.0.0.1', toPort: 30_001 }), forward('b', 30_001, { to: '10.0.0.2', toPort: 30_000 })];
    assert.deepEqual(served(...circle), { places: [], problems: ['a NOT_SERVABLE', 'b NOT_SERVABLE'] });
    assert.deepEqual(served(forward('a', 30_000, { to: '10.0.0.1', toPort: 30_001 }), forward('b', 30_001)), {
      places: ['10.0.0.1 30001', '10.0.0.2 30001'], problems: ['a NOT_SERVABLE'],
    });
  });

  it('may lead to another service of this machine', () => {
    assert.deepEqual(served(forward('a', 30_000, { to: '10.0.0.1', toPort: 22 })).problems, []);
  });
});

describe('what is said of a place that cannot be listened on', () => {
  const SERVICE = { id: 'm1', place: { address: '10.0.0.1', port: 80 }, target: { address: '10.2.0.5', port: 80 } };
  for (const [code, reason] of Object.entries({
    EADDRINUSE: 'PORT_OCCUPIED', EADDRNOTAVAIL: 'ADDRESS_MISSING', EACCES: 'PORT_NOT_ALLOWED', EMFILE: 'TOO_MANY_FILES', ENFILE: 'TOO_MANY_FILES', EINVAL: 'NOT_SERVABLE',
  })) {
    it(`${code} is ${reason}, with the place or the remedy`, () => {
      const told = unservedFor(SERVICE, { code, message: 'as the kernel says' });
      assert.deepEqual([told.id, told.reason], ['m1', reason]);
      assert.match(told.message, /10\.0\.0\.1|port 80/);
    });
  }
});
