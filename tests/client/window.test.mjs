// The window of messages and the merge: whatever the order, the newest version of each position, without a gap.

import assert from 'node:assert/strict';
import test from 'node:test';
import {
  atTail,
  dropErased,
  laneOf,
  merge,
  note,
  recount,
  setPinned,
  sorted,
} from '../../src/site/client/state/conversation.js';
import { Window } from '../../src/site/client/state/window.js';
import { random, seeds } from './random.mjs';

const ME = 'me';
const message = (n, rev = n, more = {}) => ({
  id: `id-${n}`,
  client_id: `client-${n}`,
  conversation: 'c',
  n,
  seq: n,
  rev,
  sender: 'peer',
  body: `${n}.${rev}`,
  attachments: [],
  reactions: [],
  reply_to: null,
  created_at: new Date(n * 1_000).toISOString(),
  edited_at: null,
  deleted_at: null,
  ...more,
});
const listed = (more = {}) => ({
  id: 'c',
  type: 'direct',
  title: null,
  image: null,
  members_count: 2,
  peer: { id: 'peer' },
  peer_read_n: 0,
  role: null,
  last_message: null,
  unread: 0,
  read_n: 0,
  last_n: 0,
  muted: false,
  ...more,
});
const numbers = (window) => window.run().map(({ n }) => n);

test('an older version never replaces a newer one, and an equal one renews its addresses', () => {
  const window = new Window();
  assert.equal(window.put(message(1, 5)), true);
  assert.equal(window.put(message(1, 4)), false);
  assert.equal(window.at(1).rev, 5);
  assert.equal(window.put(message(1, 5, { body: 'renewed' })), true);
  assert.equal(window.byId('id-1').body, 'renewed');
  assert.equal(window.byId('id-2'), undefined);
});

test('before a page is loaded nothing is shown; after it, the run grows by what touches it', () => {
  const window = new Window();
  window.put(message(9));
  assert.deepEqual([window.loaded, window.run()], [false, []]);
  window.take([message(5), message(6), message(7)]);
  assert.deepEqual(numbers(window), [5, 6, 7]);
  window.put(message(8));
  assert.deepEqual(numbers(window), [5, 6, 7, 8, 9], 'the one that waited is joined');
  window.take([message(3), message(4)]);
  assert.deepEqual(numbers(window), [3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual([window.covers(3, 9), window.covers(2, 9), window.covers(3, 10)], [true, false, false]);
});

test('a page that does not touch the run is kept and not shown, unless it replaces the run', () => {
  const window = new Window();
  window.take([message(10), message(11)]);
  window.take([message(1), message(2)]);
  assert.deepEqual(numbers(window), [10, 11]);
  window.take([message(1), message(2)], { replace: true });
  assert.deepEqual(numbers(window), [1, 2]);
  window.take([], { replace: true });
  assert.deepEqual(numbers(window), [1, 2], 'an empty conversation begins at 1, where messages are known');
});

test('in any order of pages and events the run has no gap and the greatest revs', () => {
  for (const seed of seeds(300)) {
    const below = random(seed);
    const window = new Window();
    const best = new Map();
    const see = (it) => {
      if ((best.get(it.n) ?? 0) <= it.rev) best.set(it.n, it.rev);
      return it;
    };
    for (let step = 0; step < 40; step++) {
      const from = 1 + below(30);
      if (below(3)) window.put(see(message(from, from + below(4))));
      else {
        const page = Array.from({ length: 1 + below(6) }, (_, i) => see(message(from + i, from + i + below(4))));
        window.take(page, { replace: below(4) === 0 });
      }
      const run = window.run();
      const context = `seed ${seed}, step ${step}`;
      assert.ok(
        run.every((it, i) => it.n === window.lo + i),
        context,
      );
      assert.ok(
        run.every((it) => it.rev === best.get(it.n)),
        context,
      );
    }
  }
});

test('a response that is older than the events does not take them back', () => {
  const conversation = merge(undefined, listed({ last_n: 1, unread: 1, last_message: message(1) }), 10);
  conversation.seq = 20;
  note(conversation, message(2), ME);
  merge(conversation, listed({ last_n: 1, unread: 1, last_message: message(1), title: 'new' }), 15);
  assert.deepEqual(
    [conversation.last_n, conversation.unread, conversation.last_message.n, conversation.title, conversation.seq],
    [2, 2, 2, 'new', 20],
  );
  merge(conversation, listed({ last_n: 3, unread: 0, read_n: 3 }), 30);
  assert.deepEqual([conversation.last_n, conversation.unread, conversation.read_n, conversation.seq], [3, 0, 3, 30]);
});

test('messages are counted once; the own ones read what is before them', () => {
  const conversation = merge(undefined, listed());
  for (const it of [message(1), message(1), message(2)]) assert.equal(note(conversation, it, ME), false);
  assert.equal(conversation.unread, 2);
  assert.equal(conversation.peer_read_n, 2, 'who writes has read');
  note(conversation, message(3, 3, { sender: ME }), ME);
  assert.deepEqual([conversation.unread, conversation.read_n, conversation.last_n], [0, 3, 3]);
  note(conversation, message(4, 4, { deleted_at: 'now' }), ME);
  assert.equal(conversation.unread, 0, 'a tombstone is not unread');
});

test('a system message is not unread, and moves no read mark', () => {
  const conversation = merge(undefined, listed({ last_n: 1, unread: 1, last_message: message(1) }), 10);
  for (const n of [2, 3]) note(conversation, { ...message(n), sender: n === 2 ? 'peer' : 'me', kind: 'renamed' }, 'me');
  assert.deepEqual([conversation.unread, conversation.read_n, conversation.last_n], [1, 0, 3]);
  conversation.window.take([message(1)]);
  assert.ok(recount(conversation, 'me'));
  assert.equal(conversation.unread, 1);
});

test('an unread message that is deleted is counted again, by the window or by the server', () => {
  const conversation = merge(undefined, listed());
  for (const n of [1, 2]) note(conversation, message(n), ME);
  const tombstone = message(2, 9, { deleted_at: 'now', body: null });
  assert.equal(note(conversation, tombstone, ME), true);
  assert.equal(recount(conversation, ME), false, 'nothing is loaded: the server must be asked');
  conversation.window.take([message(1), message(2)]);
  assert.equal(recount(conversation, ME), true);
  assert.equal(conversation.unread, 1);
  assert.equal(note(conversation, tombstone, ME), false, 'seen before');
  assert.equal(atTail(conversation), true);
});

test('the pinned messages follow each change, once they were asked for', () => {
  const conversation = merge(undefined, listed({ last_n: 3 }));
  note(conversation, message(1, 1, { pinned: true }), ME);
  assert.equal(conversation.pins, undefined);
  // What comes before the answer may be newer than it.
  conversation.noted = [];
  note(conversation, message(2, 9), ME);
  setPinned(conversation, [message(2, 8, { pinned: true })]);
  const pinned = () => conversation.pins.map(({ n, rev }) => [n, rev]);
  for (const n of [3, 1]) note(conversation, message(n, 10 + n, { pinned: true }), ME);
  assert.deepEqual(pinned(), [
    [1, 11],
    [3, 13],
  ]);
  // An older version comes late; a deleted message is not pinned.
  note(conversation, message(1, 1), ME);
  note(conversation, message(3, 20, { body: null, deleted_at: new Date().toISOString() }), ME);
  assert.deepEqual(pinned(), [[1, 11]]);
  note(conversation, message(1, 21), ME);
  assert.deepEqual(pinned(), []);
});

test('the list is ordered by the last messages, and a lane by the peer', () => {
  const empty = '01ARZ3NDEKTSV4RRFFQ69G5FAV'; // of 2016
  const list = [listed({ id: 'old', last_message: message(1) }), listed({ id: 'new', last_message: message(2) })];
  const ids = sorted([...list, listed({ id: empty })]).map(({ id }) => id);
  assert.deepEqual(ids, [empty, 'new', 'old']);
  assert.equal(laneOf(list[0]), 'to:peer');
  assert.equal(laneOf(listed({ type: 'group', peer: null })), 'c');
});

test('nothing before what the member sees is shown, and an empty window has its end', () => {
  const conversation = merge(undefined, listed({ last_n: 4, first_n: 5 }));
  conversation.window.take([], { replace: true });
  assert.deepEqual([numbers(conversation.window), atTail(conversation)], [[], true]);
  assert.equal(note(conversation, message(3), ME), false);
  assert.deepEqual([conversation.last_message, conversation.last_n], [null, 4]);
  note(conversation, message(5), ME);
  assert.deepEqual([numbers(conversation.window), conversation.unread], [[5], 1]);
});

test('a conversation that is cleared begins anew, and what is not set any more is gone', () => {
  const conversation = merge(undefined, listed({ last_n: 3, pinned: true, last_message: message(3) }));
  conversation.window.take([message(1), message(2), message(3)]);
  conversation.seq = 9;
  merge(conversation, listed({ last_n: 3, read_n: 3, first_n: 4, marked_unread: true }));
  assert.deepEqual([conversation.window.loaded, conversation.last_message], [false, null]);
  assert.deepEqual([conversation.pinned, conversation.marked_unread, conversation.read_n], [undefined, true, 3]);
  const { window } = conversation;
  merge(conversation, listed({ last_n: 3, read_n: 3, first_n: 4 }));
  assert.equal(conversation.window, window, 'what is shown stays');
});

test('a message returns a conversation from the archive, but not a muted one or by a system message', () => {
  const archived = (more) => merge(undefined, listed({ last_n: 1, archived: true, ...more }));
  const cases = [
    [{}, {}, undefined],
    [{}, { sender: ME }, undefined],
    [{}, { kind: 'renamed' }, true],
    [{ muted: true }, {}, true],
  ];
  for (const [more, posted, expected] of cases) {
    const conversation = archived(more);
    note(conversation, message(2, 2, posted), ME);
    assert.equal(conversation.archived, expected);
  }
  const hidden = merge(undefined, listed({ last_n: 1, hidden: true, muted: true }));
  note(hidden, message(2), ME);
  assert.equal(hidden.hidden, undefined);
});

test('the pinned are first, each part by its newest message', () => {
  const one = (id, n, pinned) => merge(undefined, listed({ id, last_n: n, last_message: message(n), pinned }));
  const all = [one('a', 1, true), one('b', 4), one('c', 2), one('d', 3, true)];
  assert.deepEqual(
    sorted(all).map(({ id }) => id),
    ['d', 'a', 'b', 'c'],
  );
});

test('messages that were kept for their time are tombstones, also those that come late', () => {
  const held = merge(undefined, listed({ last_n: 3, last_message: message(2) }), 3);
  held.window.take([message(1), message(2), message(3)]);
  held.pins = [message(1), message(3)];
  held.erased_n = 2;
  dropErased(held);
  const seen = () => held.window.run().map(({ n, body, deleted_at }) => [n, body, Boolean(deleted_at)]);
  const expect = [
    [1, null, true],
    [2, null, true],
    [3, '3.3', false],
  ];
  assert.deepEqual(seen(), expect);
  assert.deepEqual([held.last_message.body, held.pins.map(({ n }) => n)], [null, [3]]);
  // A page that was read before they were erased.
  held.window.take([message(1, 2), message(2, 9)]);
  assert.deepEqual(seen(), expect);
  assert.equal(merge(held, listed({ last_n: 3, erased_n: 3 }), 4).window.at(3).body, null);
});
