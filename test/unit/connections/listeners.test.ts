import assert from 'node:assert/strict';
import { createServer, type AddressInfo } from 'node:net';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { parseListeners, readListeners } from '../../../agent/drivers/connections/listeners.js';

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';

describe('listeners', () => {
  it('of IPv4 are the sockets in state LISTEN, with address, port, user and inode', () => {
    const text = `${HEAD}   0: 0101000A:7531 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0101000A:7532 0202000A:1F90 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1\n`;
    assert.deepEqual(parseListeners(text, 'tcp'), [{ transport: 'tcp', address: '10.0.1.1', port: 30_001, uid: 0, inode: 1 }]);
  });

  it('of IPv6 are read with the address in canonical form', () => {
    const text = `${HEAD}   0: 00000000000000000000000000000000:7530 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1
   1: 090000FD000000000000000001000000:7531 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1\n`;
    assert.deepEqual(parseListeners(text, 'tcp').map(({ address }) => address), ['::', 'fd00:9::1']);
  });

  it('of UDP are the sockets that are connected to nobody', () => {
    const text = `${HEAD} 7358: 00000000:C7BC 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 10006 2 0 0
 7359: 0101000A:C7BD 0202000A:0035 01 00000000:00000000 00:00000000 00000000     0        0 10007 2 0 0\n`;
    assert.deepEqual(parseListeners(text, 'udp'), [{ transport: 'udp', address: '0.0.0.0', port: 51_132, uid: 0, inode: 10_006 }]);
  });

  it('of this machine are found', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await Promise.all([once(server, 'listening'), once(socket, 'listening')]);
    const found = await readListeners('/proc/self/net');
    const tcp = (server.address() as AddressInfo).port;
    const udp = socket.address().port;
    server.close();
    socket.close();
    assert.ok(found.some(one => one.transport === 'tcp' && one.address === '127.0.0.1' && one.port === tcp));
    assert.ok(found.some(one => one.transport === 'udp' && one.address === '127.0.0.1' && one.port === udp));
  });

  it('of a family that the kernel lacks are none', async () => {
    assert.deepEqual(await readListeners('/proc/self/ns'), []);
  });
});
