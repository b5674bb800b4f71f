import assert from 'node:assert/strict';
import fc from 'fast-check';
import { encode, MessageReader, type Answer, type Request } from '../../../agent/drivers/spawner/messages.js';

const REQUEST: Request = { id: 7, file: 'cat', argv: ['-', 'ü'], deadlineMs: 1_000, maxOutputBytes: 10, path: '/bin' };

describe('messages between agent and spawner', () => {
  it('come out as they went in, however they are cut', () => {
    const answer = fc.record({ id: fc.nat(), problem: fc.string({ unit: 'grapheme' }), parts: fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 3 }) });
    fc.assert(fc.property(fc.array(answer, { maxLength: 6 }), fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), (answers, cuts) => {
      const sent = answers.map(({ id, problem, parts }) => {
        const header: Answer = { id, problem, exitCode: null, signal: null, timedOut: false, stdoutBytes: 0 };
        return { header, parts: parts.map(part => Buffer.from(part)) };
      });
      const bytes = Buffer.concat(sent.flatMap(({ header, parts }) => encode(header, ...parts)));
      const reader = new MessageReader();
      const read = [];
      for (let from = 0, cut = 0; from < bytes.length; cut++) {
        const to = from + cuts[cut % cuts.length]!;
        read.push(...reader.push(bytes.subarray(from, to)));
        from = to;
      }
      assert.deepEqual(read.map(({ header, body }) => ({ header, body: Buffer.from(body) })), sent.map(({ header, parts }) => ({ header, body: Buffer.concat(parts) })));
    }));
  });

  it('are given out once they are whole, not before', () => {
    const bytes = Buffer.concat(encode(REQUEST, Buffer.from('stdin')));
    const reader = new MessageReader();
    assert.deepEqual(reader.push(bytes.subarray(0, -1)), []);
    assert.deepEqual(reader.push(bytes.subarray(-1)), [{ header: REQUEST, body: Buffer.from('stdin') }]);
  });

  it('carry bytes that are no text', () => {
    const bytes = Buffer.from([0, 255, 128, 10]);
    assert.deepEqual(new MessageReader().push(Buffer.concat(encode(REQUEST, bytes)))[0]?.body, bytes);
  });

  it('are told from what else is written there', () => {
    assert.throws(() => new MessageReader().push(Buffer.from('Segmentation fault')), /not a message/);
  });
});
