// One open conversation: its head, the scrolling run of messages, and the actions on a message.
//
// Owns when a message counts as read.
// Invariant: the message that is being read keeps its position on the screen when others arrive above or below; only a
// view at the end follows new messages.

import * as api from '../api.js';
import { ago, dayOf, t } from '../i18n.js';
import { model } from '../model.js';
import { outbox } from '../outbox.js';
import { debounce } from '../util.js';
import { composer, drawMessage, nameOf, preview, signItem, titleOf } from './message.js';
import { announce, avatar, button, confirm, failed, h, icon, iconButton, openMenu, pickEmoji, reconcile, spinner, toast } from './kit.js';
import { openInfo } from './panels.js';

const GROUP_MS = 5 * 60_000;
const NEAR_PX = 80;
const AHEAD_PX = 700;
const QUICK = ['👍', '❤️', '😂', '😮', '😢', '🙏'];

const places = new Map();
const quotes = new Map();

// `source` is `{conversation}` or, before its first message, `{profile}`.
export function chatView({ conversation, profile, at, shell }) {
  const ending = new AbortController();
  const { signal } = ending;
  const lane = conversation ? model.lane(conversation) : `to:${profile.id}`;
  const name = () => (conversation ? titleOf(conversation) : profile.display_name);
  let stick = true, loading = false, trouble = null, seenWindow = null;
  let divider = conversation?.unread ? conversation.read_n : null;

  const list = h('div.run', { role: 'presentation' });
  const top = h('div.run-top');
  const typing = h('div.typing', { testid: 'typing', 'aria-live': 'off' });
  const scroller = h('div.messages', { role: 'log', 'aria-live': 'off', tabindex: '0', 'aria-label': t('chat.messages', { name: name() }), testid: 'messages', id: 'messages' }, top, list, typing);
  const pillCount = h('span');
  const pill = h('button.pill', { type: 'button', hidden: true, testid: 'jump-latest', onclick: toLatest }, icon('down'), pillCount);
  const head = h('header.chat-head');
  const tools = h('div.tools', { role: 'toolbar', 'aria-label': t('msg.actions') });
  const writer = composer({
    signal, lastOwn,
    target: () => ({ lane, to: profile?.id, conversation: conversation?.id }),
    onSent: () => {
      divider = null;
      toLatest();
    },
  });
  const foot = h('div.chat-foot');
  const drop = h('div.drop', { hidden: true }, icon('attach'), t('chat.drop'));
  const element = h('section.chat', { 'aria-label': name(), testid: 'chat', data: { conversation: conversation?.id ?? '' } },
    head, h('div.messages-frame', null, scroller, pill), foot, drop);

  function drawHead() {
    const peer = conversation ? conversation.peer : profile;
    const typists = conversation ? model.typists(conversation) : [];
    const presence = peer && model.presence.get(peer.id);
    const line = typists.length ? typingWords(typists)
      : conversation?.type === 'group' ? t('people.members', { count: conversation.members_count })
        : presence?.online ? t('people.online') : presence?.last_seen_at ? t('people.seen', { when: ago(presence.last_seen_at) })
          : peer?.nick_name ? `@${peer.nick_name}` : '';
    const face = avatar({ id: conversation?.type === 'group' ? conversation.id : peer?.id, name: name(), image: conversation?.type === 'group' ? conversation.image : peer?.profile_image, size: conversation?.type === 'group' && 'group', online: presence?.online });
    const sign = [name(), line, presence?.online, conversation?.image, peer?.profile_image].join('|');
    if (head.dataset.sign === sign) return;
    head.dataset.sign = sign;
    const info = () => openInfo({ conversation, profile: conversation ? conversation.peer : profile, shell });
    head.replaceChildren(...[
      iconButton('back', t('back'), { testid: 'chat-back', class: 'icon-button chat-back', onclick: () => shell.go('#/') }),
      h('h1.chat-title', null, h('button.chat-who', { type: 'button', testid: 'chat-title', title: t('chat.details'), onclick: info }, face,
        h('span.chat-names', null, h('span.chat-name.line', { dir: 'auto' }, name()), h(`span.chat-line.line${typists.length ? '.accent' : ''}`, { testid: 'chat-line', dir: 'auto' }, line)))),
      conversation && iconButton('search', t('search.here'), { testid: 'chat-search', onclick: () => shell.searchIn(conversation) }),
      iconButton('info', t('chat.details'), { testid: 'chat-info', onclick: info })].filter(Boolean));
  }

  function typingWords(ids) {
    const names = ids.map(nameOf);
    return names.length === 1 ? t('typing.one', { name: names[0] }) : t('typing.many', { names: names.slice(0, 3).join(', ') });
  }

  function items() {
    const group = conversation?.type === 'group';
    const messages = conversation?.window.loaded ? conversation.window.run() : [];
    const stored = new Set(messages.filter((m) => m.sender === model.me.id).map((m) => m.client_id));
    const atTail = !conversation?.window.loaded || model.atTail(conversation);
    const entries = messages.map((message) => ({ message, mine: message.sender === model.me.id, at: message.created_at, by: message.sender }));
    // The outbox is shown after the end of the conversation, never inside it.
    if (atTail) for (const row of outbox.lane(lane)) if (!stored.has(row.client_id)) entries.push({ row, mine: true, at: row.created_at, by: model.me.id });
    const result = [];
    let before = null;
    for (const entry of entries) {
      const day = new Date(entry.at).toDateString();
      if (before?.day !== day) result.push({ day, at: entry.at });
      const divides = divider !== null && entry.message?.n > divider && !entry.mine && !result.some((item) => item.divides);
      if (divides) result.push({ divides });
      const joined = before && !divides && before.day === day && before.by === entry.by && Date.parse(entry.at) - Date.parse(before.at) < GROUP_MS;
      entry.first = !joined;
      entry.last = true;
      if (joined) before.last = false;
      entry.day = day;
      entry.named = group;
      entry.read = entry.mine && entry.message && conversation?.type === 'direct' && entry.message.n <= conversation.peer_read_n;
      const replyTo = (entry.message ?? entry.row).reply_to;
      if (replyTo) {
        entry.quote = quoted(replyTo);
        entry.quoteGone = entry.quote === null;
      }
      result.push(entry);
      before = entry;
    }
    return result;
  }

  // The message that is replied to: from the window, else fetched once. Null: it no longer exists.
  function quoted(id) {
    const held = conversation?.window.byId(id);
    if (held) return held;
    if (!quotes.has(id)) {
      quotes.set(id, undefined);
      api.get(`/messages/${id}`).then((message) => quotes.set(id, message), (error) => (error.status === 404 ? quotes.set(id, null) : quotes.delete(id))).then(schedule);
    }
    return quotes.get(id);
  }

  const keyOf = (item) => (item.day && item.at && !item.by && !item.message && !item.row ? `day:${item.day}` : item.divides ? 'new'
    // The member's own messages keep one element from sending to sent; others are keyed by position.
    : item.mine ? `c:${(item.message ?? item.row).client_id}` : `n:${item.message.n}`);

  function draw() {
    drawHead();
    drawFoot();
    if (conversation && conversation.window !== seenWindow && !loading) return open();
    const anchor = stick ? null : anchorOf();
    const all = items();
    const typists = conversation ? model.typists(conversation) : [];
    reconcile(list, all, {
      key: keyOf,
      sign: (item) => (item.message || item.row ? signItem(item) : item.divides ? 'new' : dayOf(item.at)),
      create: (item) => (item.message || item.row ? h('article', { tabindex: '-1' }) : h(item.divides ? 'div.divider' : 'div.day', item.divides ? { testid: 'unread-divider' } : null)),
      draw: (target, item) => {
        if (item.divides) return target.replaceChildren(h('span', null, t('chat.new')));
        if (!item.message && !item.row) return target.replaceChildren(h('span', null, dayOf(item.at)));
        const inside = target.contains(document.activeElement) && document.activeElement !== target;
        const equipped = target.contains(tools);
        drawMessage(target, item, act);
        if (equipped) target.querySelector('.bubble').append(tools);
        target.__item = item;
        if (inside) target.focus({ preventScroll: true });
      },
    });
    for (const target of list.children) if (target.__key && target.dataset.testid === 'message') target.__item = all.find((item) => keyOf(item) === target.__key);
    typing.replaceChildren(...(typists.length ? [h('span.dots', null, h('i'), h('i'), h('i')), h('span', null, typingWords(typists))] : []));
    typing.classList.toggle('shown', typists.length > 0);
    drawTop(all.length === 0);
    if (stick) scroller.scrollTop = scroller.scrollHeight;
    else restoreAnchor(anchor);
    drawPill();
    look();
  }

  function drawTop(empty) {
    const { window } = conversation ?? {};
    if (trouble) {
      top.replaceChildren(h('div.trouble', { role: 'alert' }, h('p', null, t('error.load')), button('history-retry', t('retry'), () => { trouble = null; open(); })));
    } else if (conversation && (!window.loaded || window.lo > 1)) {
      if (!top.querySelector('.spinner')) top.replaceChildren(spinner(t('chat.loading_older')));
    } else {
      const peer = conversation ? conversation.peer : profile;
      const group = conversation?.type === 'group';
      top.replaceChildren(h('div.beginning', null,
        avatar({ id: group ? conversation.id : peer?.id, name: name(), image: group ? conversation.image : peer?.profile_image, size: group ? 'large.group' : 'large' }),
        h('h2', { dir: 'auto' }, name()),
        h('p.quiet', null, t('chat.start'))));
    }
  }

  function drawFoot() {
    const peer = conversation ? conversation.peer : profile;
    const blocked = peer && conversation?.type !== 'group' && model.blocked.has(peer.id);
    const gone = conversation?.type === 'direct' && !conversation.peer;
    const kind = blocked ? 'blocked' : gone ? 'gone' : 'writer';
    if (foot.dataset.kind === kind) return;
    foot.dataset.kind = kind;
    foot.replaceChildren(blocked
      ? h('div.foot-note', null, h('span', null, t('chat.blocked', { name: name() })), h('button.button', {
        type: 'button', testid: 'chat-unblock',
        onclick: () => api.remove(`/blocks/${peer.id}`).then(() => {
          model.blocked.delete(peer.id);
          schedule();
        }, failed),
      }, t('info.unblock')))
      : gone ? h('div.foot-note', null, t('people.deleted')) : writer.element);
  }

  let drawing = false;
  function schedule() {
    if (drawing || signal.aborted) return;
    drawing = true;
    queueMicrotask(() => {
      drawing = false;
      if (!signal.aborted) draw();
    });
  }

  function anchorOf() {
    const edge = scroller.getBoundingClientRect().top;
    for (const child of list.children) {
      // Not the line of a day: earlier messages of that day are inserted after it.
      const box = child.getBoundingClientRect();
      if (child.dataset.testid === 'message' && box.bottom > edge) return { key: child.__key, offset: box.top - edge };
    }
    return null;
  }

  function restoreAnchor(anchor) {
    const child = anchor && [...list.children].find((element) => element.__key === anchor.key);
    if (child) scroller.scrollTop += child.getBoundingClientRect().top - scroller.getBoundingClientRect().top - anchor.offset;
  }

  const fromEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;

  function drawPill() {
    const behind = conversation && conversation.window.loaded && !model.atTail(conversation);
    pill.hidden = !(conversation && (behind || fromEnd() > 400));
    const count = conversation?.unread ?? 0;
    pillCount.textContent = count ? t('chat.new_count', { count }) : '';
    pill.setAttribute('aria-label', count ? t('chat.new_count', { count }) : t('chat.latest'));
  }

  async function open() {
    if (loading || !conversation) return;
    loading = true;
    drawTop(false);
    const { window } = conversation;
    if (conversation.type === 'group') model.members(conversation).catch(() => {});
    try {
      const far = divider !== null && conversation.last_n - divider > 40;
      const left = places.get(conversation.id);
      if (!window.loaded) await model.load(conversation, at ?? (far ? divider + 1 : undefined));
      seenWindow = window;
      trouble = null;
      loading = false;
      stick = at === undefined && divider === null && !left;
      draw();
      if (at !== undefined) await jumpTo(at);
      else if (divider !== null) list.querySelector('.divider')?.scrollIntoView({ block: 'center' });
      else if (left) restoreAnchor(left);
      at = undefined;
      scrolled();
    } catch (error) {
      loading = false;
      if (error.name === 'AbortError') return;
      seenWindow = window;
      trouble = error;
      draw();
    }
  }

  async function more(which) {
    if (loading || trouble || !conversation?.window.loaded) return;
    loading = true;
    try { await model[which](conversation); } catch { /* the next scroll tries again */ }
    loading = false;
    if (!signal.aborted) draw();
  }

  function scrolled() {
    stick = fromEnd() < NEAR_PX && (!conversation || model.atTail(conversation));
    if (scroller.scrollTop < AHEAD_PX && conversation?.window.lo > 1) more('older');
    else if (fromEnd() < AHEAD_PX && conversation && !model.atTail(conversation)) more('newer');
    drawPill();
    look();
  }

  async function toLatest() {
    if (conversation && !model.atTail(conversation)) {
      // Offline, the messages that wait to be sent are shown too.
      try { await model.load(conversation); } catch (error) { if (error.code !== 'offline') return failed(error); }
    }
    stick = true;
    draw();
  }

  async function jumpTo(n) {
    const { window } = conversation;
    if (!window.covers(n, n)) {
      try { await model.load(conversation, n); } catch (error) { return failed(error); }
    }
    stick = false;
    draw();
    const target = list.querySelector(`[data-n="${n}"]`);
    if (!target) return;
    target.scrollIntoView({ block: 'center' });
    target.classList.add('lit');
    setTimeout(() => target.classList.remove('lit'), 1_600);
    target.focus({ preventScroll: true });
  }

  // A message in the visible part of a visible page is read.
  const look = debounce(() => {
    if (signal.aborted || !conversation || document.visibilityState !== 'visible' || !conversation.window.loaded) return;
    const edge = scroller.getBoundingClientRect().bottom;
    for (const child of [...list.children].reverse()) {
      const n = Number(child.dataset.n);
      if (n && child.getBoundingClientRect().top < edge - 8) {
        if (n > conversation.read_n && conversation.unread !== 0) model.read(conversation, n);
        return;
      }
    }
  }, 200);

  const act = {
    jump: (message) => conversation && message.conversation === conversation.id && jumpTo(message.n),
    react: async (message, emoji, mine) => {
      try { model.see(await api.socket.op(mine ? 'message.unreact' : 'message.react', { message: message.id, emoji })); } catch (error) { failed(error); }
    },
    // A signed URL has expired: fetching the message renews it, once.
    renew: (message) => !renewed.has(message.id) && renewed.add(message.id) && api.get(`/messages/${message.id}`).then((m) => model.see(m), () => {}),
  };
  const renewed = new Set();

  function lastOwn() {
    if (!conversation?.window.loaded) return null;
    return conversation.window.run().reverse().find((m) => m.sender === model.me.id && !m.deleted_at && m.body) ?? null;
  }

  async function erase(message) {
    if (!(await confirm({ title: t('msg.delete_title'), more: t('msg.delete_more'), action: t('msg.delete') }))) return;
    try {
      await api.socket.op('message.delete', { message: message.id });
      // The client that deletes gets an empty response and no event: fetch the tombstone.
      model.see(await api.get(`/messages/${message.id}`));
    } catch (error) { failed(error); }
  }

  function menuFor(target, anchor) {
    const { message } = target.__item ?? {};
    if (!message || message.deleted_at) return;
    const mine = message.sender === model.me.id;
    openMenu(anchor, [
      { label: t('msg.reply'), icon: 'reply', testid: 'menu-reply', act: () => writer.reply(message) },
      message.body && { label: t('msg.copy'), icon: 'copy', testid: 'menu-copy', act: () => navigator.clipboard?.writeText(message.body).then(() => toast(t('done')), failed) },
      mine && message.body && { label: t('msg.edit'), icon: 'edit', testid: 'menu-edit', act: () => writer.edit(message) },
      (mine || conversation.type === 'group') && (mine || conversation.role === 'admin') && { label: t('msg.delete'), icon: 'trash', testid: 'menu-delete', danger: true, act: () => erase(message) },
    ], {
      label: t('msg.actions'),
      head: (close) => h('div.quick', null, [...QUICK.map((emoji) => h('button', {
        type: 'button', role: 'menuitem', tabindex: '-1', testid: 'quick-react',
        onclick: () => {
          close(true);
          toggle(message, emoji);
        },
      }, emoji)), iconButton('plus', t('msg.react'), {
        role: 'menuitem', tabindex: '-1',
        onclick: () => {
          close(false);
          pickEmoji(target, (emoji) => toggle(message, emoji));
        },
      })]),
    });
  }

  function toggle(message, emoji) {
    const now = conversation.window.at(message.n) ?? message;
    act.react(now, emoji, now.reactions.some((reaction) => reaction.emoji === emoji && reaction.profiles.includes(model.me.id)));
  }

  // One toolbar for all messages: it is at the message under the pointer or with the focus.
  function showTools(target) {
    const item = target?.__item;
    if (!item?.message || item.message.deleted_at) return tools.remove();
    if (target.contains(tools)) return;
    const react = iconButton('smile', t('msg.react'), { testid: 'message-react', onclick: () => pickEmoji(react, (emoji) => toggle(target.__item.message, emoji)) });
    const menu = iconButton('more', t('msg.more'), { testid: 'message-more', 'aria-haspopup': 'menu', onclick: () => menuFor(target, menu) });
    tools.replaceChildren(react, iconButton('reply', t('msg.reply'), { testid: 'message-reply', onclick: () => writer.reply(target.__item.message) }), menu);
    target.querySelector('.bubble').append(tools);
  }

  const messageOf = (node) => node.closest?.('article.message');
  list.addEventListener('pointerover', (event) => event.pointerType === 'mouse' && showTools(messageOf(event.target)));
  list.addEventListener('pointerleave', () => showTools(null));
  list.addEventListener('focusin', (event) => showTools(messageOf(event.target)));
  list.addEventListener('contextmenu', (event) => {
    const target = messageOf(event.target);
    if (!target || event.target.closest('a,img') || !getSelection().isCollapsed) return;
    event.preventDefault();
    menuFor(target, target.querySelector('.bubble'));
  });
  list.addEventListener('click', (event) => {
    const target = messageOf(event.target);
    if (!target || event.target.closest('a,button') || !matchMedia('(hover: none)').matches || !getSelection().isCollapsed) return;
    menuFor(target, target.querySelector('.bubble'));
  });
  scroller.addEventListener('keydown', (event) => {
    const all = [...list.querySelectorAll('article.message')];
    const now = messageOf(document.activeElement);
    const move = (to) => {
      event.preventDefault();
      to?.focus({ preventScroll: true });
      to?.scrollIntoView({ block: 'nearest' });
    };
    if (event.target !== now && event.target !== scroller) return;
    if (event.key === 'ArrowUp') move(now ? all[all.indexOf(now) - 1] ?? now : all.at(-1));
    else if (event.key === 'ArrowDown' && now) move(all[all.indexOf(now) + 1] ?? now);
    else if (now && (event.key === 'Enter' || event.key === 'ContextMenu')) {
      event.preventDefault();
      menuFor(now, now.querySelector('.bubble'));
    } else if (now?.__item?.message && event.key === 'r' && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      writer.reply(now.__item.message);
    } else if (event.key === 'Escape') writer.focus();
  });
  scroller.addEventListener('scroll', scrolled, { passive: true });

  let over = 0;
  const files = (event) => event.dataTransfer?.types.includes('Files') && foot.dataset.kind === 'writer';
  element.addEventListener('dragenter', (event) => files(event) && (over++, drop.hidden = false));
  element.addEventListener('dragleave', (event) => files(event) && --over <= 0 && (over = 0, drop.hidden = true));
  element.addEventListener('dragover', (event) => files(event) && event.preventDefault());
  element.addEventListener('drop', (event) => {
    if (!files(event)) return;
    event.preventDefault();
    over = 0;
    drop.hidden = true;
    writer.attach([...event.dataTransfer.files]);
  });

  for (const reason of ['outbox', 'people', 'presence', 'list', 'reloaded', ...(conversation ? [conversation.id] : [])]) model.on(reason, schedule, signal);
  api.socket.on('caught_up', () => {
    if (!trouble) return;
    trouble = null;
    open();
  }, signal);
  model.on('arrived', (message) => {
    if (message.conversation !== conversation?.id) return;
    announce(`${nameOf(message.sender)}: ${preview(message)}`);
    // It arrived in a visible page: no line "new" for it.
    if (document.visibilityState !== 'visible' && divider === null) divider = message.n - 1;
  }, signal);
  document.addEventListener('visibilitychange', look, { signal });
  const size = new ResizeObserver(() => stick && (scroller.scrollTop = scroller.scrollHeight));
  size.observe(scroller);
  size.observe(list);

  // The rest follows after it is in the page: no position can be scrolled to before.
  drawFoot();
  schedule();
  return {
    element, jumpTo,
    focus: writer.focus,
    end: () => {
      if (conversation) {
        const anchor = stick ? null : anchorOf();
        if (anchor) places.set(conversation.id, anchor);
        else places.delete(conversation.id);
      }
      size.disconnect();
      ending.abort();
    },
  };
}
