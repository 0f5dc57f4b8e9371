// Letters as a search compares them, and where the words of a query are in a text.

import assert from 'node:assert/strict';
import test from 'node:test';
import { fold, hitsOf } from '../../src/site/client/fold.js';

const found = (text, query) => hitsOf(text, query).map(([from, to]) => text.slice(from, to));

test('case, accents and variants of Arabic letters are the same', () => {
  assert.equal(fold('CAFÉ Ünter'), 'cafe unter');
  assert.equal(fold('أَهْلًا إلى مدرسةٍ ـ'), 'اهلا الي مدرسه ');
});

test('the beginnings of words are found, each once', () => {
  const rows = [
    ['The café opens', 'CAFE', ['café']],
    ['The cafe\u0301 opens', 'café', ['cafe\u0301']],
    ['concatenate cat Category', 'cat', ['cat', 'Cat']],
    ['one two three', 'three one', ['one', 'three']],
    ['to tomorrow', 'tomorrow to', ['to', 'tomorrow']],
    ['أهلًا وسهلًا', 'اهلا', ['أهلًا']],
    ['请看这里', '这里', ['这里']],
    ['😀 smile 😀', 'smile', ['smile']],
    ['nothing', '', []],
    ['nothing', '!!', []],
  ];
  for (const [text, query, expect] of rows) assert.deepEqual(found(text, query), expect, `${text} ${query}`);
});
