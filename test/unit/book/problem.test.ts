import assert from 'node:assert/strict';
import fc from 'fast-check';
import { problemIn, problemText } from '../../../coordinator/book/problem.js';

describe('what a host says of an object, as text', () => {
  it('is read as it was written, whatever the message is', () => {
    const reason = fc.stringMatching(/^[A-Z][A-Z_]{0,63}$/);
    fc.assert(fc.property(reason, fc.string(), (word, message) => {
      assert.deepEqual(problemIn(problemText({ reason: word, message })), { reason: word, message });
    }));
  });

  it('is what was stored before, in the same characters', () => {
    assert.equal(problemText({ reason: 'PORT_CONFLICT', message: 'sshd (pid 7) listens on tcp [::]:22: twice' }), 'PORT_CONFLICT: sshd (pid 7) listens on tcp [::]:22: twice');
    assert.deepEqual(problemIn('PORT_CONFLICT: sshd (pid 7) listens on tcp [::]:22: twice'), { reason: 'PORT_CONFLICT', message: 'sshd (pid 7) listens on tcp [::]:22: twice' });
  });

  it('is a word alone where the coordinator says it', () => {
    assert.deepEqual(problemIn('NOT_CONFIRMED_BY_HOST'), { reason: 'NOT_CONFIRMED_BY_HOST', message: '' });
    assert.deepEqual(problemIn(''), { reason: '', message: '' });
  });
});
