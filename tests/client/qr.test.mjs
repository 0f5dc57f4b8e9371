// QR codes. These very ones were read by a decoder (ZXing), which found level M and the text.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import { qrCode } from '../../src/site/client/ui/qr.js';

const text = (length) => 'https://chat.example.org/#/i/'.repeat(20).slice(0, length);

test('a text has the code that a decoder has read, in the smallest version that holds it', () => {
  const known = [
    [1, 21, '848f621f7ecfca7e'],
    [14, 21, 'ed38044499eefb34'],
    [15, 25, 'c30e9f4bebedfa6d'],
    [62, 33, '4ccfa3e0de87a99b'],
    [85, 41, 'b2be7459d91adb9c'],
    [122, 45, 'd80595ec1c62af0c'],
    [213, 57, '0419ecb92c6cee54'],
    [412, 77, '34959e941d48fe5a'],
  ];
  for (const [length, size, digest] of known) {
    const rows = qrCode(text(length));
    const drawn = rows.map((row) => row.map(Number).join('')).join('\n');
    assert.equal(rows.length, size, `${length} bytes`);
    assert.equal(createHash('sha256').update(drawn).digest('hex').slice(0, 16), digest, `${length} bytes`);
  }
});

test('a text that is too long has no code', () => {
  assert.equal(qrCode(text(413)), null);
  assert.equal(qrCode('é'.repeat(207)), null, 'bytes are counted');
});
