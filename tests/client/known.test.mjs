// What a device keeps of conversations: bounded, without addresses and tokens, and nothing after the end of a session.

import assert from 'node:assert/strict';
import test from 'node:test';
import { merge } from '../../src/site/client/state/conversation.js';
import { Known, rowsOf } from '../../src/site/client/state/known.js';

const SECRET = '/uploads/x/y?signature=secret';

const message = (conversation, n, more = {}) => ({
  id: `m${conversation}-${n}`,
  conversation,
  n,
  rev: n,
  seq: n,
  sender: `p${n % 7}`,
  body: `text ${n}`,
  attachments: [{ id: 'f', name: 'a.png', type: 'image/png', size: 1, width: 1, height: 1, url: SECRET }],
  reactions: [{ emoji: '👍', count: 1, profiles: ['fan'] }],
  ...more,
});

/** A conversation with the messages up to `last_n`, whose last `loaded` are loaded. */
function conversation(id, { last_n = 3, loaded = 3 } = {}) {
  const peer = { id: 'p1', display_name: 'Ann', profile_image: SECRET };
  const last_message = last_n ? message(id, last_n) : null;
  const listed = { id, type: 'direct', title: null, image: SECRET, peer, last_message, unread: 1, read_n: 0, last_n };
  const made = merge(undefined, { ...listed, muted: false });
  const from = last_n - loaded + 1;
  if (loaded) made.window.take(Array.from({ length: loaded }, (_, i) => message(id, from + i)));
  return made;
}

const person = (id) => ({ id, display_name: `name of ${id}`, profile_image: SECRET });

function world() {
  const rows = new Map();
  const puts = [];
  const state = { signedIn: 'me', onPut: () => {} };
  const store = {
    all: async () => structuredClone([...rows.values()]),
    put: async (row) => {
      state.onPut();
      puts.push(row.key);
      rows.set(row.key, structuredClone(row));
    },
    remove: async (key) => rows.delete(key),
    clear: async () => rows.clear(),
  };
  return { rows, puts, state, known: () => new Known({ store, signedIn: () => state.signedIn }) };
}

test('no address that opens a file is kept, and every name that is shown is', () => {
  const rows = rowsOf('me', [conversation('a')], person);
  assert.equal(JSON.stringify(rows).includes('secret'), false);
  const [{ list }, page] = rows;
  assert.deepEqual(list.people.map(({ id }) => id).sort(), ['fan', 'p1', 'p2', 'p3']);
  assert.deepEqual([page.key, page.messages.map(({ n }) => n)], ['me:a', [1, 2, 3]]);
  assert.deepEqual([list.conversations[0].unread, 'window' in list.conversations[0]], [1, false]);
});

test('what is kept is bounded: conversations, pages, messages of a page, names', () => {
  const all = Array.from({ length: 150 }, (_, i) => conversation(`c${i}`, { last_n: 80, loaded: 80 }));
  let names = 0;
  const rows = rowsOf('me', all, (id) => ({ ...person(id), id: `${id}-${names++}` }));
  assert.equal(rows.length, 1 + 20);
  assert.equal(rows[0].list.conversations.length, 100);
  assert.deepEqual([...new Set(rows.slice(1).map(({ messages }) => messages.length))], [50]);
  assert.equal(rows[1].messages.at(-1).n, 80);
  const many = [conversation('g', { last_n: 3, loaded: 3 })];
  for (const it of many[0].window.run()) it.reactions = [{ profiles: Array.from({ length: 999 }, (_, i) => `r${i}`) }];
  assert.equal(rowsOf('me', many, person)[0].list.people.length, 300);
});

test('a window that is not at the end of its conversation is not kept', () => {
  const early = conversation('a', { last_n: 90, loaded: 0 });
  early.window.take([message('a', 1), message('a', 2)]);
  assert.deepEqual(
    rowsOf('me', [early, conversation('b', { loaded: 0 })], person).map(({ key }) => key),
    ['me'],
  );
});

test('a start gives back what was kept for this profile, and erases what another left', async () => {
  const { known, rows, state } = world();
  const first = known();
  assert.equal(await first.start('me'), null);
  await first.save('me', [conversation('a'), conversation('b', { loaded: 0 })], person);
  const second = known();
  const list = await second.start('me');
  assert.deepEqual(
    list.conversations.map(({ id }) => id),
    ['a', 'b'],
  );
  assert.deepEqual([second.page('a').length, second.page('b')], [3, undefined]);
  state.signedIn = 'other';
  assert.equal(await known().start('other'), null);
  assert.equal(rows.size, 0);
});

test('only what changed is written, and a page outlives a session in which it was not opened', async () => {
  const { known, puts, rows } = world();
  const first = known();
  await first.start('me');
  await first.save('me', [conversation('a')], person);
  await first.save('me', [conversation('a')], person);
  assert.deepEqual(puts, ['me', 'me:a']);
  const second = known();
  await second.start('me');
  await second.save('me', [conversation('a', { loaded: 0 }), conversation('b')], person);
  assert.deepEqual([...rows.keys()].sort(), ['me', 'me:a', 'me:b']);
  await second.save('me', [conversation('b')], person);
  assert.deepEqual([...rows.keys()].sort(), ['me', 'me:b'], 'a conversation that was left leaves nothing');
});

test('nothing is stored after the session has ended, in whichever tab', async () => {
  const { known, rows, state } = world();
  const one = known();
  await one.start('me');
  state.signedIn = null;
  await one.save('me', [conversation('a')], person);
  assert.equal(rows.size, 0);
  // In the middle of it.
  state.signedIn = 'me';
  state.onPut = () => {
    state.signedIn = 'other';
  };
  await one.save('me', [conversation('a')], person);
  assert.equal(rows.size, 0);
});
