// The basic API's buffer: golden bytes of every tag, round trips, the output's limit, hostile bytes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BUFFER_SIZE, decodeResult, encodeResult, IoBuffer, OUTPUT_MAX } from '../dist/basic-buffer.js';

const hex = (bytes) => Buffer.from(bytes).toString('hex');
const bytes = (text) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));

const GOLDEN = [
  ['nil', null, '00'],
  ['false', false, '01 00'],
  ['true', true, '01 01'],
  ['an integer', -2, '02 feffffffffffffff'],
  ['an integer beyond 2^53', 2n ** 63n - 1n, '02 ffffffffffffff7f'],
  ['the least integer', -(2n ** 63n), '02 0000000000000080'],
  ['a float', 1.5, '03 000000000000f83f'],
  ['a negative zero', -0, '03 0000000000000080'],
  ['infinity', Infinity, '03 000000000000f07f'],
  ['the empty string, which is not nil', '', '04 00000000'],
  ['text', 'hé', '04 03000000 68c3a9'],
  ['bytes that are no text', Uint8Array.of(0xff, 0), '04 02000000 ff00'],
];

for (const [name, value, payload] of GOLDEN) {
  test(`golden bytes: ${name}`, () => {
    const answer = encodeResult('ok\n', value);
    assert.equal(hex(answer), hex(bytes(`03000000 6f6b0a ${payload}`)));
    assert.deepEqual(decodeResult(answer), { output: 'ok\n', result: value, value });
  });
}

test('NaN stays NaN', () => {
  assert.ok(Number.isNaN(decodeResult(encodeResult('', NaN)).result));
});

test('a table comes with its contents under tag 7, not as text', () => {
  const table = { name: 'Ann', list: [1, 2.5, 'x'], deep: { yes: true } };
  const answer = encodeResult('', table);
  assert.equal(answer[4], 7);
  assert.deepEqual(decodeResult(answer).result, table);
  assert.deepEqual(decodeResult(encodeResult('', [1, 2, 3])).result, [1, 2, 3]);
});

test('an integer that JavaScript holds exactly is a number, others are BigInt', () => {
  const read = (value) => decodeResult(encodeResult('', value)).result;
  assert.equal(read(BigInt(Number.MAX_SAFE_INTEGER)), Number.MAX_SAFE_INTEGER);
  assert.equal(read(2n ** 53n), 2n ** 53n);
  assert.equal(read(2n ** 53n + 1n), 2n ** 53n + 1n);
});

test('tag 255 is an error without a value', () => {
  assert.deepEqual(decodeResult(bytes('00000000 ff')), { output: '', result: null, value: null });
});

test('output is cut at its limit, between characters, and marked', () => {
  const whole = 'x'.repeat(OUTPUT_MAX);
  assert.equal(decodeResult(encodeResult(whole, 1)).output, whole);
  assert.equal(decodeResult(encodeResult(`${whole}y`, 1)).output, `${whole}...`);
  const split = `${'x'.repeat(OUTPUT_MAX - 1)}é`;
  assert.equal(decodeResult(encodeResult(split, 1)).output, `${'x'.repeat(OUTPUT_MAX - 1)}...`);
});

test('what is written is read back; over the end it is an overflow', () => {
  const buffer = new IoBuffer();
  assert.equal(buffer.write(10, 'hé'), 3);
  assert.equal(buffer.read(10, 3), 'hé');
  assert.equal(buffer.write(0, 'x'.repeat(BUFFER_SIZE)), BUFFER_SIZE);
  const overflow = { code: 'BUFFER_OVERFLOW', message: 'Buffer overflow' };
  assert.throws(() => buffer.write(0, 'x'.repeat(BUFFER_SIZE + 1)), overflow);
  assert.throws(() => buffer.write(BUFFER_SIZE - 1, 'é'), overflow);
  for (const [address, length] of [[-1, 1], [0.5, 1], [0, NaN], [1, BUFFER_SIZE]]) {
    assert.throws(() => buffer.read(address, length), overflow);
  }
});

test('a result that does not fit leaves the buffer as it was', () => {
  const buffer = new IoBuffer();
  const length = buffer.writeResult('before', 7);
  assert.throws(() => buffer.writeResult('', 'x'.repeat(BUFFER_SIZE)), { code: 'BUFFER_OVERFLOW' });
  assert.deepEqual(buffer.readResult(0, length), { output: 'before', result: 7, value: 7 });
});

test('bytes that are no result are refused', () => {
  const hostile = ['', '000000', '00000000', 'ffffffff 00', '00000000 01', '00000000 02 00', '00000000 04 ffffffff 00'];
  for (const input of [...hostile, '00000000 05', '00000000 00 00', '00000000 07 01000000 ee']) {
    assert.throws(() => decodeResult(bytes(input)), (error) => typeof error.code === 'string', input);
  }
});
