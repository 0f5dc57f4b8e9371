// @ts-check
// The side list: the member, the connection, and the conversations, the newest first.
//
// Invariant: the connection element always exists and shows exactly the connection's state.

import { briefly, fullTime, number, t } from '../i18n.js';
import { SIGNAL, TOPIC } from '../names.js';
import { installed } from '../net/installed.js';
import { link as connection } from '../net/link.js';
import { laneOf } from '../state/conversation.js';
import { outbox } from '../state/here.js';
import { model } from '../state/model.js';
import { become, h, reconcile } from './dom.js';
import { icon, iconButton, mark } from './icons.js';
import { failed } from './layers.js';
import { avatar, button, link, spinner } from './parts.js';
import { openNew } from './people.js';
import { conversationMenus } from './preferences.js';
import { search } from './search.js';
import { openSettings } from './settings.js';
import { nameOf, preview, titleOf } from './words.js';

const MORE_PX = 400;
const COUNT_MAX = 999;
const STATES = {
  online: ['online', 'conn.online'],
  connecting: ['connecting', 'conn.connecting'],
  offline: ['offline', 'conn.offline_short'],
  stopped: ['offline', 'conn.offline_short'],
};

/** @typedef {import('./shell.js').Shell} Shell */
/** @typedef {import('./shell.js').Conversation} Conversation */

/** @param {number} count */
export const countWord = (count) => (count > COUNT_MAX ? `${COUNT_MAX}+` : number(count));

/** @param {{shell: Shell, signal: AbortSignal}} parts */
export function sidebar({ shell, signal }) {
  let isSearching = false;

  const me = h('button.me', {
    type: 'button',
    testid: 'open-settings',
    'aria-label': t('set.title'),
    title: t('set.title'),
    onclick: () => openSettings(shell),
  });
  const word = h('span');
  const state = h('p.connection', { role: 'status', testid: 'connection' }, h('span.dot'), word);
  const banner = h('div.banner', { hidden: true, testid: 'verify-banner' });
  const update = h(
    'div.banner',
    { hidden: !installed.isOutdated, testid: 'update-banner' },
    icon('info'),
    h('span', null, t('update.ready')),
    link('update-now', t('update.now'), () => installed.update()),
  );
  const list = h('ul.conversations', { testid: 'conversations' });
  const note = h('div.list-note');
  let isArchive = false;
  const archive = h('button.archive-row', { type: 'button', testid: 'archive', onclick: () => turn(!isArchive) });
  const found = search({
    shell,
    row: (conversation) => conversationRow(conversation, false),
    changed: (isOpen) => {
      isSearching = isOpen;
      list.hidden = isOpen;
      drawList();
    },
  });
  const scroller = h('div.side-scroll', { tabindex: '-1' }, archive, list, found.results, note);
  const start = iconButton('plus', t('list.new'), { testid: 'new-conversation', onclick: () => openNew(shell) });
  const element = h(
    'nav.sidebar',
    { 'aria-label': t('list.title') },
    h('header.side-head', null, me, h('div.side-title', null, h('h1.brand', null, mark(), 'natter'), state), start),
    found.box,
    banner,
    update,
    scroller,
  );

  function drawMe() {
    const { me: profile, member } = model;
    if (profile) {
      me.replaceChildren(avatar({ id: profile.id, name: profile.display_name, image: profile.profile_image }));
    }
    banner.hidden = !member || member.verified;
    banner.replaceChildren(
      icon('info'),
      link('verify-open', t('verify.banner'), () => shell.verify()),
    );
  }

  function drawConnection() {
    const [name, text] = STATES[connection.state];
    state.dataset.state = name;
    word.textContent = t(text);
  }

  /** @param {boolean} toArchive */
  function turn(toArchive) {
    isArchive = toArchive;
    if (toArchive) model.openArchive().catch(failed);
    scroller.scrollTop = 0;
    drawList();
    archive.focus();
  }

  function drawArchive() {
    const total = model.archivedTotal;
    archive.hidden = isSearching || !(isArchive || total);
    const sign = icon(isArchive ? 'back' : 'archive');
    archive.replaceChildren(
      h('span.archive-icon', null, sign),
      h('span.archive-name', null, t('list.archived')),
      ...(isArchive ? [] : [h('span.quiet', null, number(total))]),
    );
    archive.setAttribute('aria-pressed', String(isArchive));
  }

  function drawList() {
    const current = shell.openId();
    const all = model.sorted(isArchive);
    const focused = rowWithFocus();
    drawArchive();
    reconcile(list, all, {
      key: (conversation) => conversation.id,
      sign: (conversation) => signRow(conversation, conversation.id === current),
      create: () => h('li'),
      draw: (target, conversation) => become(target, conversationRow(conversation, conversation.id === current)),
    });
    // A row that moved keeps the focus.
    if (focused && !rowWithFocus()) {
      /** @type {HTMLElement | null} */ (list.querySelector(`a[data-id="${focused}"]`))?.focus({ preventScroll: true });
    }
    const empty = () => (isArchive ? h('p.quiet.center', null, t('list.archive_empty')) : emptyNote(shell));
    note.replaceChildren(...(all.length || isSearching ? [] : [empty()]));
  }

  const rowWithFocus = () => {
    const { activeElement: active } = document;
    return active instanceof HTMLElement && list.contains(active) ? active.dataset.id : undefined;
  };

  conversationMenus(list, shell);
  element.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    if (isArchive && !isSearching) turn(false);
    else found.escape();
  });
  const scrolled = () => {
    const left = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    if (left < MORE_PX) model.moreConversations(isArchive);
  };
  scroller.addEventListener('scroll', scrolled, { passive: true });
  for (const topic of [TOPIC.list, TOPIC.people, TOPIC.outbox]) model.on(topic, drawList, signal);
  model.on(TOPIC.me, drawMe, signal);
  connection.on(SIGNAL.state, drawConnection, signal);
  const offer = () => {
    update.hidden = false;
  };
  installed.on(SIGNAL.change, offer, signal);
  drawMe();
  drawConnection();
  drawList();
  return { element, drawList, search: found };
}

/** @param {Shell} shell */
function emptyNote(shell) {
  if (model.listState === 'loading') return spinner(t('app.loading'));
  if (model.listState === 'failed') {
    const again = button('list-retry', t('retry'), () => connection.hurry());
    return h('div.empty', { role: 'alert' }, icon('alert'), h('p', null, t('error.load')), again);
  }
  const find = { type: 'button', testid: 'list-find', onclick: () => openNew(shell) };
  return h(
    'div.empty',
    { testid: 'list-empty' },
    icon('group'),
    h('h2', null, t('list.empty')),
    h('p.quiet', null, t('list.empty_more')),
    h('button.button.primary', find, t('list.new')),
  );
}

/**
 * @param {Conversation} conversation
 * @param {boolean} isCurrent
 */
function signRow(conversation, isCurrent) {
  const { image, peer, unread, muted, last_message: last, peer_read_n, type } = conversation;
  const { pinned, marked_unread } = conversation;
  return [
    isCurrent,
    titleOf(conversation),
    image,
    peer?.profile_image,
    unread,
    conversation.unread_mentions,
    muted,
    pinned,
    marked_unread,
    last?.id,
    last?.rev,
    peer_read_n,
    last && briefly(last.created_at),
    type === 'group' && last && (last.kind ? preview(last) : nameOf(last.sender)),
    model.typists(conversation).join(),
    model.presence.get(peer?.id ?? '')?.online,
    ...outbox.lane(laneOf(conversation)).map((row) => row.state),
  ].join('|');
}

/** @typedef {{text: string, sign?: string, isBad?: boolean, isRead?: boolean, isAccent?: boolean}} Line */
/**
 * What the second line shows: what waits to be sent, who types, or the last message.
 * @param {Conversation} conversation
 * @returns {Line}
 */
function lineOf(conversation) {
  const { last_message: last, type, peer_read_n } = conversation;
  const waiting = outbox.lane(laneOf(conversation));
  const pending = waiting.at(-1);
  if (pending) {
    const isBad = waiting.some((row) => row.state === 'failed');
    return { text: t('list.you', { text: preview(pending) }), sign: isBad ? 'alert' : 'clock', isBad };
  }
  if (model.typists(conversation).length) return { text: t('typing.short'), isAccent: true };
  if (!last || last.deleted_at || last.kind) return { text: preview(last) };
  const isGroup = type === 'group';
  if (!model.isMe(last.sender)) return { text: isGroup ? `${nameOf(last.sender)}: ${preview(last)}` : preview(last) };
  const isRead = !isGroup && last.n <= peer_read_n;
  return { text: t('list.you', { text: preview(last) }), sign: isRead ? 'checks' : 'check', isRead };
}

/**
 * @param {Conversation} conversation
 * @param {boolean} isCurrent
 */
function conversationRow(conversation, isCurrent) {
  const { id, peer, last_message: last, unread, muted, type, pinned, marked_unread } = conversation;
  const isMarked = marked_unread && !unread;
  const line = lineOf(conversation);
  const isGroup = type === 'group';
  const face = avatar({
    id: isGroup ? id : peer?.id,
    name: titleOf(conversation),
    image: isGroup ? conversation.image : peer?.profile_image,
    size: isGroup ? 'group' : '',
    online: model.presence.get(peer?.id ?? '')?.online,
  });
  const ticks = ['ticks', line.isRead && 'read', line.isBad && 'bad'].filter(Boolean).join(' ');
  const time =
    last && h('time', { datetime: last.created_at, title: fullTime(last.created_at) }, briefly(last.created_at));
  const text = `span.conversation-text.line${line.isAccent ? '.accent' : ''}`;
  return h(
    'a',
    {
      class: ['conversation', isCurrent && 'current', (unread || isMarked) && 'unread'].filter(Boolean).join(' '),
      href: `#/c/${id}`,
      testid: 'conversation',
      'aria-current': isCurrent ? 'page' : null,
      draggable: false,
      data: { id, unread: String(unread) },
    },
    face,
    h(
      'span.conversation-main',
      null,
      h(
        'span.conversation-top',
        null,
        h('span.conversation-name.line', { dir: 'auto' }, titleOf(conversation)),
        pinned && h('span.muted-mark', { role: 'img', 'aria-label': t('list.pinned'), testid: 'pinned' }, icon('pin')),
        muted && h('span.muted-mark', { role: 'img', 'aria-label': t('list.muted') }, icon('mute')),
        time,
      ),
      h(
        'span.conversation-bottom',
        null,
        line.sign && h('span', { class: ticks }, icon(line.sign)),
        h(text, { dir: 'auto', testid: 'conversation-preview' }, line.text),
        Boolean(conversation.unread_mentions) && mentionMark(conversation.unread_mentions ?? 0),
        unread > 0 && unreadCount(unread, muted),
        isMarked && unreadDot(muted),
      ),
    ),
  );
}

/**
 * @param {number} unread
 * @param {boolean} muted
 */
const unreadCount = (unread, muted) =>
  h(
    `span.unread-count${muted ? '.calm' : ''}`,
    { testid: 'unread-count', 'aria-label': t('list.unread', { count: unread }), role: 'img' },
    countWord(unread),
  );

/** @param {boolean} muted */
const unreadDot = (muted) =>
  h(`span.unread-count.unread-dot${muted ? '.calm' : ''}`, {
    testid: 'unread-dot',
    'aria-label': t('list.marked'),
    role: 'img',
  });

/** @param {number} count */
const mentionMark = (count) =>
  h(
    'span.unread-count.mention-mark',
    { testid: 'mention-mark', 'aria-label': t('list.mentions', { count }), role: 'img' },
    '@',
  );
