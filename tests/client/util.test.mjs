// Texts as a reader counts them, ids, and locks of one tab.

import assert from 'node:assert/strict';
import test from 'node:test';
import { alone, beginning, Emitter, firstSign, scalars, signAt, ulid, ulidMs } from '../../src/site/client/util.js';

const FAMILY = '👨\u200d👩\u200d👧\u200d👦';

test('a sign of several code points is never cut', () => {
  const text = `${'a'.repeat(155)}${FAMILY}${FAMILY}`;
  assert.equal(beginning(text, 160), 'a'.repeat(155));
  assert.equal(beginning(text, 155 + FAMILY.length), `${'a'.repeat(155)}${FAMILY}`);
  assert.equal(beginning('short', 160), 'short');
  assert.deepEqual(signAt(text, 156), [155, 155 + FAMILY.length]);
  assert.deepEqual(signAt('a', 5), [1, 1]);
  for (const sign of [FAMILY, '🇹🇳', 'é', '👍🏽', 'ا']) assert.equal(firstSign(`${sign}x`), sign);
  assert.equal(scalars(FAMILY), 7);
});

test('an id has its time, and no two are the same', () => {
  const ids = Array.from({ length: 1_000 }, () => ulid(1_700_000_000_123));
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.match(id, /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
  assert.equal(ulidMs(ids[0]), 1_700_000_000_123);
});

test('a lock lets one work after the other, also after a failure', async () => {
  const order = [];
  const work = (name, fails) => async () => {
    order.push(`${name} begins`);
    await new Promise((resolve) => setImmediate(resolve));
    order.push(`${name} ends`);
    if (fails) throw new Error(name);
    return name;
  };
  const all = await Promise.allSettled([alone('l', work('a', true)), alone('l', work('b', false))]);
  assert.deepEqual(order, ['a begins', 'a ends', 'b begins', 'b ends']);
  assert.deepEqual([all[0].status, all[1].value], ['rejected', 'b']);
});

test('a listener that throws stops no other, and one that has ended hears nothing', (context) => {
  const logged = context.mock.method(console, 'error', () => {});
  const emitter = new Emitter();
  const ending = new AbortController();
  const heard = [];
  emitter.on('x', () => {
    throw new Error('broken view');
  });
  emitter.on('x', (value) => heard.push(value), ending.signal);
  emitter.emit('x', 1);
  ending.abort();
  emitter.emit('x', 2);
  assert.deepEqual([heard, logged.mock.callCount()], [[1], 2]);
});
