// @ts-check
// One open conversation: it puts the parts of this folder together, and redraws them when the model changes.
//
// Owns when a message counts as read, and the line before new messages.

import { number, t } from '../../i18n.js';
import { link } from '../../net/link.js';
import { SIGNAL, TOPIC } from '../../names.js';
import { outbox } from '../../state/here.js';
import { model } from '../../state/model.js';
import { timeline } from '../../state/timeline.js';
import { debounce } from '../../util.js';
import { composer } from '../composer.js';
import { h } from '../dom.js';
import { highlight } from '../found.js';
import { icon } from '../icons.js';
import { announce, failed } from '../layers.js';
import { nameOf, preview } from '../words.js';
import { messageActions, react } from './actions.js';
import { fileDrop } from './drop.js';
import { chatFoot } from './foot.js';
import { chatHead } from './head.js';
import { History } from './history.js';
import { runOfMessages, topOfRun, typingLine } from './list.js';
import { pinnedBar } from './pins.js';
import { quotedIn } from './quotes.js';
import { Scroll } from './scroll.js';
import { Source } from './source.js';

const LIT_MS = 1_600;
const READ_AFTER_MS = 200;

/** @typedef {import('../shell.js').Conversation} Conversation */
/** @typedef {import('../../../types.d.ts').Message} Message */

/**
 * @param {{conversation?: Conversation, profile?: import('../../../types.d.ts').Profile, at?: number,
 *   shell: import('../shell.js').Shell}} options a conversation or, before its first message, a profile
 */
export function chatView({ conversation, profile, at, shell }) {
  const source = new Source({ conversation, profile });
  const ending = new AbortController();
  const { signal } = ending;
  const history = new History(source.conversation);
  // Messages of others after this position are new.
  const unreadFrom = () => (conversation?.unread ? conversation.read_n : null);
  let divider = unreadFrom();
  // What this device knew may be old: the server's answer decides what is new.
  let isSettled = model.listState === 'ready';

  const run = runOfMessages();
  const top = topOfRun(source, open);
  const typing = typingLine();
  const scroller = h(
    'div.messages',
    {
      role: 'log',
      'aria-live': 'off',
      tabindex: '0',
      'aria-label': t('chat.messages', { name: source.name }),
      testid: 'messages',
      id: 'messages',
    },
    top.element,
    run.element,
    typing.element,
  );
  const scroll = new Scroll(scroller, run.element);
  const pill = latestPill(toLatest);
  const called = mentionPill(() => conversation?.mention_n && jumpTo(conversation.mention_n));
  const head = chatHead(source, shell);
  const pins = pinnedBar(conversation, jumpTo);
  const writer = composer({
    signal,
    lastOwn,
    target: () => ({ lane: source.lane, to: profile?.id, conversation: conversation?.id }),
    onSent: () => {
      divider = null;
      shell.wrote(source.peer);
      toLatest();
    },
  });
  const foot = chatFoot(source, writer.element);
  const element = h(
    'section.chat',
    { 'aria-label': source.name, testid: 'chat', data: { conversation: conversation?.id ?? '' } },
    head.element,
    pins.element,
    h('div.messages-frame', null, scroller, called.element, pill.element),
    foot.element,
  );
  const actions = messageActions({ list: run.element, scroller, conversation, writer });
  const schedule = once(() => signal.aborted || draw());
  const quoted = quotedIn(conversation, schedule);
  /** @type {Set<string>} */
  const renewed = new Set();
  /** @type {import('../message.js').Act} */
  const act = {
    react,
    jump: (message) => {
      if (message.conversation === conversation?.id) jumpTo(message.n);
    },
    // A signed URL has expired: fetching the message renews it, once.
    renew: (message) => {
      if (!renewed.has(message.id)) model.renew(message).catch(() => {});
      renewed.add(message.id);
    },
  };

  function items() {
    return timeline({
      messages: conversation?.window.loaded ? conversation.window.run() : [],
      rows: history.isAtTail ? outbox.lane(source.lane) : [],
      divider,
      me: model.me?.id ?? '',
      isGroup: source.isGroup,
      peerReadN: conversation?.peer_read_n ?? 0,
      quoted,
    });
  }

  function draw() {
    const typists = conversation ? model.typists(conversation) : [];
    head.draw(typists);
    pins.draw();
    foot.draw();
    if (!isSettled && model.listState === 'ready') {
      isSettled = true;
      divider = unreadFrom();
    }
    if (history.isUnopened) return model.isSettling || open();
    scroll.during(() => {
      run.draw(items(), act, actions.keepTools);
      typing.draw(typists);
      top.draw(history);
    });
    drawPill();
    look();
  }

  function drawPill() {
    const isBehind = conversation?.window.loaded && !history.isAtTail;
    pill.draw(Boolean(conversation && (isBehind || scroll.isFarFromEnd)), conversation?.unread ?? 0);
    called.draw(conversation?.unread_mentions ?? 0, !pill.element.hidden);
  }

  async function open() {
    const opening = history.open(at, divider);
    top.draw(history);
    if (conversation) model.loadPinned(conversation);
    const isOpen = await opening;
    if (signal.aborted || (!isOpen && !history.failure)) return;
    const left = conversation && scroll.hasLeft(conversation.id) ? conversation.id : null;
    if (isOpen) scroll.stick = at === undefined && divider === null && left === null;
    draw();
    if (!isOpen) return;
    if (at !== undefined) await jumpTo(at);
    else if (divider !== null) run.element.querySelector('.divider')?.scrollIntoView({ block: 'center' });
    else if (left !== null) scroll.back(left);
    at = undefined;
    scrolled();
  }

  function scrolled() {
    scroll.stick = scroll.isAtEnd && history.isAtTail;
    if (scroll.nearTop && history.hasOlder) more('older');
    else if (scroll.nearEnd && !history.isAtTail) more('newer');
    drawPill();
    look();
  }

  /** @param {'older' | 'newer'} which */
  async function more(which) {
    if ((await history.more(which)) && !signal.aborted) draw();
  }

  async function toLatest() {
    try {
      await history.toLatest();
    } catch (error) {
      // Offline, the messages that wait to be sent are shown too.
      if (error.code !== 'offline') return failed(error);
    }
    scroll.stick = true;
    draw();
  }

  /** @param {number} n */
  async function jumpTo(n) {
    try {
      await history.reach(n);
    } catch (error) {
      return failed(error);
    }
    scroll.stick = false;
    draw();
    /** @type {HTMLElement | null} */
    const target = run.element.querySelector(`[data-n="${n}"]`);
    if (!target) return;
    target.scrollIntoView({ block: 'center' });
    highlight(target);
    target.classList.add('lit');
    setTimeout(() => target.classList.remove('lit'), LIT_MS);
    target.focus({ preventScroll: true });
  }

  // A message in the visible part of a visible page is read.
  const look = debounce(() => {
    if (signal.aborted || document.visibilityState !== 'visible' || !conversation?.window.loaded) return;
    const n = scroll.lastInSight();
    if (n > conversation.read_n && conversation.unread !== 0) model.read(conversation, n);
  }, READ_AFTER_MS);

  function lastOwn() {
    /** @param {Message} message */
    const own = (message) => model.isMe(message.sender) && !message.deleted_at && !message.forwarded && message.body;
    return conversation?.window.loaded ? conversation.window.run().reverse().find(own) : null;
  }

  /** @param {Message} message */
  function arrived(message) {
    if (message.conversation !== conversation?.id) return;
    announce(message.kind ? preview(message) : `${nameOf(message.sender)}: ${preview(message)}`);
    if (message.kind) return;
    // It arrived in a visible page: no line "new" for it.
    if (document.visibilityState !== 'visible') divider ??= message.n - 1;
  }

  fileDrop(element, foot.mayWrite, writer.attach);
  scroller.addEventListener('scroll', scrolled, { passive: true });
  document.addEventListener('visibilitychange', look, { signal });
  const { outbox: waiting, people, presence, list, reloaded } = TOPIC;
  for (const topic of [waiting, people, presence, list, reloaded]) model.on(topic, schedule, signal);
  if (conversation) model.on(conversation.id, schedule, signal);
  model.on(TOPIC.arrived, arrived, signal);
  link.on(SIGNAL.caughtUp, () => history.failure && open(), signal);

  if (conversation?.marked_unread) model.read(conversation, conversation.read_n);
  // The rest follows after it is in the page: no position can be scrolled to before.
  foot.draw();
  schedule();
  return {
    element,
    jumpTo,
    focus: writer.focus,
    end: () => {
      if (conversation) scroll.leave(conversation.id);
      else scroll.end();
      ending.abort();
    },
  };
}

/** @param {() => void} onclick */
function latestPill(onclick) {
  const word = h('span');
  const element = h(
    'button.pill',
    { type: 'button', hidden: true, testid: 'jump-latest', onclick },
    icon('down'),
    word,
  );
  /**
   * @param {boolean} isShown
   * @param {number} count
   */
  const draw = (isShown, count) => {
    element.hidden = !isShown;
    word.textContent = count ? t('chat.new_count', { count }) : '';
    element.setAttribute('aria-label', count ? t('chat.new_count', { count }) : t('chat.latest'));
  };
  return { element, draw };
}

/** @param {() => void} onclick */
function mentionPill(onclick) {
  const word = h('span');
  const element = h('button.pill', { type: 'button', hidden: true, testid: 'jump-mention', onclick }, '@', word);
  /**
   * @param {number} count
   * @param {boolean} isAbove another pill has its place
   */
  const draw = (count, isAbove) => {
    element.hidden = !count;
    element.classList.toggle('above', isAbove);
    word.textContent = count > 1 ? number(count) : '';
    element.setAttribute('aria-label', t('chat.mentions', { count }));
  };
  return { element, draw };
}

/**
 * Does the work once for however many calls of one turn.
 * @param {() => void} work
 */
function once(work) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    queueMicrotask(() => {
      isDue = false;
      work();
    });
  };
}
