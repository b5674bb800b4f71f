import assert from 'node:assert/strict';
import fc from 'fast-check';
import { hostName, namesTaken, recordName, serviceOf } from '../../../shared/domain.js';
import { isDomainTemplate } from '../../../shared/names.js';

const label = fc.stringMatching(/^[a-z0-9]{1,8}$/);

/** RFC 4592: the wildcard stands for one or more labels. */
function answersFor(owner: string, name: string): boolean {
  return owner.startsWith('*.') ? name.endsWith(owner.slice(1)) && name.length > owner.length - 1 : owner === name;
}

describe('host names of environments', () => {
  it('are made of the template', () => {
    const parts = { env: 'env-1', service: 'ssh', gateway: 'gw' };
    assert.equal(hostName('{env}.{service}.example.com', parts), 'env-1.ssh.example.com');
    assert.equal(hostName('{service}-{env}.{gateway}.example.com', parts), 'ssh-env-1.gw.example.com');
  });

  it('have one record for all of them', () => {
    const parts = { service: 'ssh', gateway: 'gw' };
    for (const [template, name] of [
      ['{env}.{service}.example.com', '*.ssh.example.com'], ['{service}-{env}.{gateway}.example.com', '*.gw.example.com'], ['ssh.{env}.example.com', '*.example.com'],
      ['{service}.example.com', 'ssh.example.com'], ['{env}.a.{env}.example.com', '*.example.com'],
    ] as const) assert.equal(recordName(template, parts), name);
  });

  it('are answered for by that record, whatever the environment is called', () => {
    const piece = fc.constantFrom('{env}', '{service}', '{gateway}', '{env}-{service}', 'a', 'x{env}');
    fc.assert(fc.property(fc.array(piece, { minLength: 1, maxLength: 5 }), label, label, label, (pieces, env, service, gateway) => {
      const template = [...pieces, 'example', 'com'].join('.');
      fc.pre(isDomainTemplate(template));
      assert.ok(answersFor(recordName(template, { service, gateway }), hostName(template, { env, service, gateway })));
    }));
  });

  it('say the service, or the pool where it has none', () => {
    assert.deepEqual([serviceOf({ pool: 'p', serviceType: 'ssh' }), serviceOf({ pool: 'p', serviceType: '' })], ['ssh', 'p']);
  });

  it('are those of one gateway only', () => {
    const pools = (domainTemplate: string) => [{ pool: 'ssh', serviceType: 'ssh', domainTemplate }];
    const first = { gateway: 'a', pools: pools('{env}.{service}.example.com') };
    assert.deepEqual(namesTaken([first, { gateway: 'b', pools: pools('{env}.ssh.example.com') }]), [{ at: 1, pool: 'ssh', name: '*.ssh.example.com', gateway: 'a' }]);
    for (const template of ['{env}.{gateway}.example.com', '{env}.rdp.example.com', '']) assert.deepEqual(namesTaken([first, { gateway: 'b', pools: pools(template) }]), []);
  });
});
