import assert from 'node:assert/strict';
import { accessOf, type AccessOf } from '../../../shared/access.js';

const pool = (serviceType: string, domainTemplate = '', aliases: string[] = []) => ({ pool: 'p', serviceType, aliases, domainTemplate });
const access = (over: Partial<AccessOf>) => accessOf({ environment: 'env-1', gateway: 'gw', pool: pool('ssh'), scope: 'shared', publicHost: '203.0.113.1', port: 30_007, ...over });

describe('access information', () => {
  it('is a command for SSH and a URL for what a browser shows, by service type or alias', () => {
    assert.deepEqual(access({}), { hostName: '203.0.113.1', url: '', command: 'ssh -p 30007 203.0.113.1' });
    assert.deepEqual(access({ pool: pool('jupyter') }), { hostName: '203.0.113.1', url: 'http://203.0.113.1:30007/', command: '' });
    assert.equal(access({ pool: pool('notebook', '', ['jupyter']) }).url, 'http://203.0.113.1:30007/');
    assert.deepEqual(access({ pool: pool('rdp') }), { hostName: '203.0.113.1', url: '', command: '' });
  });

  it('has the name of the template where that leads to the gateway', () => {
    const named = pool('jupyter', '{env}.{service}.{gateway}.example.com');
    assert.equal(access({ pool: named }).url, 'http://env-1.jupyter.gw.example.com:30007/');
    assert.equal(access({ pool: named, scope: 'host', publicHost: 'host-a.example.com' }).url, 'http://host-a.example.com:30007/', 'one record cannot lead to every host');
  });

  it('writes IPv6 addresses as URLs need them', () => {
    assert.equal(access({ pool: pool('web'), publicHost: '2001:db8::1' }).url, 'http://[2001:db8::1]:30007/');
    assert.equal(access({ publicHost: '2001:db8::1' }).command, 'ssh -p 30007 2001:db8::1');
  });

  it('says nothing that it does not know', () => {
    assert.deepEqual(access({ pool: undefined }), { hostName: '203.0.113.1', url: '', command: '' });
    assert.deepEqual(access({ publicHost: '' }), { hostName: '', url: '', command: '' });
  });
});
