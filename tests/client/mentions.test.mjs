// Mentions: their names in a text, who is offered, and what is unread of them.

import assert from 'node:assert/strict';
import test from 'node:test';
import { merge, note } from '../../src/site/client/state/conversation.js';
import { isStale, moved, offered, pieces, set, written } from '../../src/site/client/state/mentions.js';

const ME = 'me';
const message = (n, part = {}) => ({
  id: `m${n}`,
  n,
  seq: n,
  rev: n,
  sender: 'ann',
  body: '@me',
  mentions: [ME],
  ...part,
});
const group = () => {
  const listed = { id: 'g', type: 'group', unread: 0, read_n: 0, last_n: 0, last_message: null };
  return merge(undefined, listed);
};

test('names are found whole, and only those that are mentioned', () => {
  const ids = new Map([
    ['bob', '1'],
    ['all', 'all'],
  ]);
  assert.deepEqual(pieces('hi @Bob. @bobby @all, a', ids), [
    'hi ',
    { id: '1', text: '@Bob' },
    '. @bobby ',
    { id: 'all', text: '@all' },
    ', a',
  ]);
  assert.deepEqual(pieces('nobody', ids), ['nobody']);
});

test('a name is being written after an @ at the beginning of a word', () => {
  const rows = [
    ['@', 1, { at: 0, query: '' }],
    ['hi @bo', 6, { at: 3, query: 'bo' }],
    ['hi @bo', 5, { at: 3, query: 'b' }],
    ['(@مر', 4, { at: 1, query: 'مر' }],
    ['a@b', 3, null],
    ['@bob ', 5, null],
    ['', 0, null],
  ];
  for (const [text, caret, expected] of rows) assert.deepEqual(written(text, caret), expected, text);
});

test('people are offered by the beginning of a name or nick name', () => {
  const person = (name, nick) => ({ id: nick, name, nick });
  const people = [person('Ann Lee', 'al1'), person('Bob', 'robert'), ...Array(9).fill(person('Zoe', 'zoe'))];
  const nicks = (query) => offered(people, query).map(({ nick }) => nick);
  assert.deepEqual(nicks('le'), ['al1']);
  assert.deepEqual(nicks('ROB'), ['robert']);
  assert.deepEqual(nicks('x'), []);
  assert.equal(nicks('').length, 6);
});

test('unread mentions follow messages, the read mark and the server', () => {
  const conversation = group();
  const now = () => [conversation.unread_mentions, conversation.mention_n];
  note(conversation, message(1, { mentions: undefined }), ME);
  assert.deepEqual(now(), [undefined, undefined]);
  for (const n of [2, 3]) note(conversation, message(n), ME);
  note(conversation, message(4, { mentions: ['all'] }), ME);
  note(conversation, message(5, { mentions: ['bob'] }), ME);
  assert.deepEqual(now(), [3, 2]);
  assert.equal(moved({ ...conversation, read_n: 1 }), false);
  assert.equal(moved({ ...conversation, read_n: 2 }), true, 'the server knows the next one');
  assert.equal(isStale(conversation, message(5), ME), true);
  assert.equal(isStale({ ...conversation, read_n: 5 }, message(5), ME), false);
  set(conversation, { unread_mentions: 1, mention_n: 4 });
  assert.deepEqual(now(), [1, 4]);
  merge(conversation, { id: 'g', last_n: 5, read_n: 5, unread: 0 }, 9);
  assert.deepEqual(now(), [undefined, undefined], 'the server leaves out what is zero');
  note(conversation, message(6), ME);
  conversation.read_n = 6;
  assert.equal(moved(conversation), false);
  assert.deepEqual(now(), [undefined, undefined]);
  note(conversation, message(7), ME);
  note(conversation, message(8, { sender: ME }), ME);
  assert.deepEqual(now(), [undefined, undefined], 'a post reads all before it');
});
