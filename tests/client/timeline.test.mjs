// What a conversation shows, from top to bottom.

import assert from 'node:assert/strict';
import test from 'node:test';
import { timeline } from '../../src/site/client/state/timeline.js';

const MINUTE = 60_000;
const NOON = new Date(2026, 5, 1, 12).getTime();
const message = (n, sender, at, more = {}) => ({
  n,
  id: `id-${n}`,
  client_id: `client-${n}`,
  sender,
  created_at: new Date(at).toISOString(),
  reply_to: null,
  ...more,
});
const row = (client_id, at) => ({ client_id, created_at: new Date(at).toISOString(), lane: 'l', files: [] });
const show = (source) =>
  timeline({
    messages: [],
    rows: [],
    divider: null,
    me: 'me',
    isGroup: false,
    peerReadN: 0,
    quoted: () => undefined,
    ...source,
  });
const keys = (items) => items.map(({ kind, key }) => (kind === 'day' ? 'day' : key));

test('each day begins with its line, and messages of one sender are joined for five minutes', () => {
  const items = show({
    messages: [
      message(1, 'peer', NOON),
      message(2, 'peer', NOON + 4 * MINUTE),
      message(3, 'peer', NOON + 10 * MINUTE),
      message(4, 'me', NOON + 10 * MINUTE),
      message(5, 'me', NOON + 24 * 60 * MINUTE),
    ],
  });
  assert.deepEqual(keys(items), ['day', 'n:1', 'n:2', 'n:3', 'c:client-4', 'day', 'c:client-5']);
  const groups = items.filter(({ kind }) => kind === 'message').map(({ first, last }) => [first, last]);
  assert.deepEqual(groups, [
    [true, false],
    [false, true],
    [true, true],
    [true, true],
    [true, true],
  ]);
});

test('the line before new messages is above the first one of somebody else, once', () => {
  const messages = [
    message(1, 'peer', NOON),
    message(2, 'me', NOON),
    message(3, 'peer', NOON),
    message(4, 'peer', NOON),
  ];
  assert.deepEqual(keys(show({ messages, divider: 1 })), ['day', 'n:1', 'c:client-2', 'new', 'n:3', 'n:4']);
  assert.deepEqual(keys(show({ messages, divider: 4 })), ['day', 'n:1', 'c:client-2', 'n:3', 'n:4']);
  const joined = show({ messages: messages.slice(2), divider: 3 });
  assert.deepEqual([joined[1].last, joined[3].first], [true, true], 'it parts a group');
});

test('a change of the group has a line of its own, is nobody’s news, and parts the messages of one sender', () => {
  const changed = { kind: 'renamed', title: 'Garden' };
  const messages = [message(1, 'peer', NOON), message(2, 'peer', NOON, changed), message(3, 'peer', NOON)];
  const items = show({ messages, divider: 1 });
  assert.deepEqual(keys(items), ['day', 'n:1', 'n:2', 'new', 'n:3']);
  assert.deepEqual(
    items.map(({ kind }) => kind),
    ['day', 'message', 'system', 'new', 'message'],
  );
});

test('what waits is after the end, and not twice once it is stored', () => {
  const rows = [row('client-2', NOON), row('waits', NOON)];
  const items = show({ messages: [message(1, 'peer', NOON), message(2, 'me', NOON)], rows, peerReadN: 1 });
  assert.deepEqual(keys(items), ['day', 'n:1', 'c:client-2', 'c:waits']);
  assert.deepEqual([items[2].read, items[3].row.client_id], [false, 'waits']);
});

test('a message is read by its peer in a direct conversation only', () => {
  const messages = [message(1, 'me', NOON), message(2, 'peer', NOON)];
  const read = (source) => show({ messages, peerReadN: 2, ...source }).map(({ read }) => read);
  assert.deepEqual(read({}), [undefined, true, false]);
  assert.deepEqual(read({ isGroup: true }), [undefined, false, false]);
});

test('a quote is asked for only where there is one', () => {
  const asked = [];
  const quoted = (id) => asked.push(id) && null;
  const items = show({ messages: [message(1, 'peer', NOON), message(2, 'peer', NOON, { reply_to: 'x' })], quoted });
  assert.deepEqual([asked, items[1].quote, items[2].quote], [['x'], undefined, null]);
});
