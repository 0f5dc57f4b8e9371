// The table of emoji: complete in every part, found by words of each language, and with skin tones where there are any.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { groupsOf, searchEmoji, toned } from '../../src/site/client/emoji.js';

const table = readFileSync(new URL('../../src/site/client/emoji.txt', import.meta.url), 'utf8');
const groups = groupsOf(table);
const all = groups.flatMap(({ entries }) => entries);
const find = (query) => searchEmoji(groups, query).map(({ emoji }) => emoji);
const entry = (emoji) => all.find((one) => one.emoji === emoji);

test('every emoji has its names', () => {
  assert.equal(groups.length, 9);
  assert.ok(all.length > 1_800, `${all.length}`);
  assert.ok(entry('#️⃣') && entry('👍').names.en === 'thumbs up');
  assert.equal(new Set(all.map(({ emoji }) => emoji)).size, all.length);
  for (const { emoji, names } of all) assert.ok(names.en && names.ar, emoji);
});

test('words of both languages find them, names first', () => {
  assert.equal(find('thumbs up')[0], '👍');
  assert.ok(find('PIZZ').includes('🍕'));
  assert.ok(find('بيتزا').includes('🍕'));
  assert.ok(find('saudi').includes('🇸🇦') && find('السعودية').includes('🇸🇦'));
  assert.ok(find('happy face').includes('😀'));
  // All words in one language, from their beginnings.
  assert.deepEqual(find('izza'), []);
  assert.deepEqual(find('pizza بيتزا'), []);
  assert.deepEqual(find(' '), []);
});

test('a skin tone is where Unicode has one', () => {
  assert.equal(toned(entry('👍'), 0), '👍');
  assert.equal(toned(entry('👍'), 3), '👍🏽');
  assert.equal(toned(entry('☝️'), 1), '☝🏻');
  assert.equal(toned(entry('👩‍💻'), 5), '👩🏿‍💻');
  assert.equal(toned(entry('🧑‍🤝‍🧑'), 1), '🧑🏻‍🤝‍🧑🏻');
  assert.equal(toned(entry('🤝'), 1), '🤝🏻');
  assert.equal(toned(entry('🍕'), 3), '🍕');
});
