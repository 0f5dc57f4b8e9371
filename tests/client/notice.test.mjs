// Notifications: what they say, who shows them, what the settings say about a device.

import assert from 'node:assert/strict';
import test from 'node:test';
import { isNotified, noticeOf, outdatedOf, stateOf, unreadOf, wordsOfNotice } from '../../src/site/client/notice.js';
import { Alerts } from '../../src/site/client/state/alerts.js';
import { words as ar } from '../../src/site/client/lang/ar.js';
import { words as en } from '../../src/site/client/lang/en.js';

const ID = '01JB2M3N4P5Q6R7S8T9V0W1X2Y';
const wordsIn = (table) => ({
  message: table['notify.message'],
  files: table['notify.files'],
  mention: table['notify.mention'],
});
const push = (more) => JSON.stringify({ tag: ID, conversation: ID, type: 'direct', title: null, ...more });

/** Title and body of a push, as the worker shows it. */
function said(more, { level = 'text', table = en, lang = 'en' } = {}) {
  const { title, body } = wordsOfNotice(noticeOf(push(more)), level, wordsIn(table), lang);
  return [title, body];
}

test('a push says who, where, and the text if the device asked for it', () => {
  const text = { sender: 'Ann', unread: 1, n: 7, message: ID, body: 'Hello!', attachments: 0 };
  assert.deepEqual(said(text), ['Ann', 'Hello!']);
  assert.deepEqual(said({ ...text, type: 'group', title: 'Kitchen' }), ['Ann · Kitchen', 'Hello!']);
  assert.deepEqual(said(text, { level: 'who' }), ['Ann', 'New message']);
  assert.deepEqual(said({ ...text, body: null, attachments: 2 }), ['Ann', '2 files']);
  assert.deepEqual(said({ ...text, body: '', attachments: 1 }), ['Ann', '1 file']);
  const who = { sender: 'Ann', unread: 3, n: 7 };
  assert.deepEqual(said(who), ['Ann', '3 new messages']);
  assert.deepEqual(said(who, { table: ar, lang: 'ar' }), [
    'Ann',
    `${new Intl.NumberFormat('ar').format(3)} رسائل جديدة`,
  ]);
  assert.deepEqual(said({ ...who, unread: 2 }, { table: ar, lang: 'ar' }), ['Ann', 'رسالتان جديدتان']);
  assert.deepEqual(said({ sender: null, unread: 0, n: 1 }), ['natter', 'New message']);
  const group = { ...text, type: 'group', title: 'Kitchen', mention: true };
  assert.deepEqual(said(group), ['Ann mentioned you · Kitchen', 'Hello!']);
  assert.deepEqual(said(group, { table: ar, lang: 'ar' }), ['Ann ذكرك · Kitchen', 'Hello!']);
  assert.deepEqual(said({ ...group, sender: null }), ['Kitchen', 'Hello!']);
  // As an earlier version of the page stored the words.
  assert.deepEqual(said(group, { table: { ...en, 'notify.mention': undefined } }), ['Ann · Kitchen', 'Hello!']);
});

test('whatever a push is, it becomes text of bounded length, or nothing', () => {
  for (const bad of ['', 'x', 'null', '[]', '{}', '7', push({ conversation: 'https://evil.example/' })]) {
    assert.equal(noticeOf(bad), null, bad);
  }
  for (const bad of [`${ID}/../x`, `${ID}0`, ID.toLowerCase(), 7, null, {}]) {
    assert.equal(noticeOf(push({ conversation: bad })), null, String(bad));
  }
  const odd = noticeOf(
    push({ sender: { toString: 'x' }, title: 5, unread: -3, n: 'x', body: ['<b>'], attachments: 1e99 }),
  );
  assert.deepEqual(odd, {
    conversation: ID,
    isGroup: false,
    title: '',
    sender: '',
    unread: 0,
    n: 0,
    body: '',
    files: 0,
    isMention: false,
  });
  const long = noticeOf(push({ sender: 'a'.repeat(9_999), body: `\u202e${'b'.repeat(9_999)}` }));
  assert.deepEqual([long.sender.length, long.body.length, long.body.includes('\u202e')], [120, 300, false]);
});

test('the icon counts what its notifications do not show as read', () => {
  assert.equal(unreadOf([{ unread: 2 }, { unread: 3 }, { unread: 'x' }]), 5);
  const shown = [1, 2, 3].map((n) => ({ data: { conversation: `c${n}`, n } }));
  const read = { c1: { read_n: 1 }, c2: { read_n: 1 } };
  assert.deepEqual(
    outdatedOf([...shown, { data: null }], (id) => read[id]),
    [shown[0]],
  );
});

test('muted, read and watched messages are not notified, unless a muted one mentions the member', () => {
  const state = { isMuted: false, isMentioned: false, isRead: false, isWatched: false };
  assert.equal(isNotified(state), true);
  for (const name of ['isMuted', 'isRead', 'isWatched']) {
    assert.equal(isNotified({ ...state, [name]: true }), false, name);
    assert.equal(isNotified({ ...state, [name]: true, isMentioned: true }), name === 'isMuted', name);
  }
});

/** Tabs that share what was claimed, as those of one browser do. */
function tabs(count, { isWatched = false } = {}) {
  const claims = new Map();
  const shown = [];
  let rings = 0;
  let now = 0;
  const claim = async (conversation, n) => {
    if ((claims.get(conversation) ?? 0) >= n) return false;
    claims.set(conversation, n);
    return true;
  };
  const parts = {
    claim,
    isWatched: async () => isWatched,
    show: async (notice) => shown.push(`${notice.conversation} ${notice.n}`),
    ring: () => {
      rings += 1;
    },
    now: () => now,
  };
  const all = Array.from({ length: count }, () => new Alerts(parts));
  const arrive = (conversation, n, state = { isMuted: false, isMentioned: false, isRead: false }) =>
    Promise.all(all.map((alerts) => alerts.arrived({ conversation, n }, state)));
  return { arrive, shown, rings: () => rings, pass: (ms) => (now += ms) };
}

test('of several tabs one notifies of a message, in any order of messages', async () => {
  const { arrive, shown } = tabs(3);
  for (const [conversation, n] of [
    ['a', 1],
    ['a', 3],
    ['a', 2],
    ['b', 1],
    ['a', 3],
  ]) {
    await arrive(conversation, n);
  }
  assert.deepEqual(shown, ['a 1', 'a 3', 'b 1']);
});

test('messages that come together ring once, and none while someone looks', async () => {
  const unseen = tabs(1);
  for (let n = 1; n <= 5; n++) await unseen.arrive('a', n);
  assert.deepEqual([unseen.shown.length, unseen.rings()], [5, 1]);
  unseen.pass(2_000);
  await unseen.arrive('a', 6);
  assert.equal(unseen.rings(), 2);
  await unseen.arrive('a', 7, { isMuted: true, isMentioned: false, isRead: false });
  const seen = tabs(2, { isWatched: true });
  await seen.arrive('a', 1);
  assert.deepEqual([unseen.shown.length, seen.shown.length, seen.rings()], [6, 0, 0]);
});

test('the settings say what stops notifications, the first reason first', () => {
  const device = {
    isSecure: true,
    isUninstalledIos: false,
    hasNotifications: true,
    permission: 'granted',
    level: 'text',
    isSubscribed: true,
  };
  const cases = [
    [{}, 'on'],
    [{ isSubscribed: false }, 'here'],
    [{ level: 'off' }, 'off'],
    [{ permission: 'default' }, 'off'],
    [{ permission: 'denied' }, 'refused'],
    [{ permission: 'denied', hasNotifications: false }, 'unsupported'],
    [{ hasNotifications: false, isUninstalledIos: true }, 'install'],
    [{ isSecure: false, hasNotifications: false, permission: 'denied' }, 'insecure'],
  ];
  for (const [change, state] of cases) {
    assert.equal(stateOf({ ...device, ...change }), state, JSON.stringify(change));
    // Each state is said in both languages.
    for (const table of [en, ar]) assert.equal(typeof table[`notify.state_${state}`], 'string', state);
  }
});
