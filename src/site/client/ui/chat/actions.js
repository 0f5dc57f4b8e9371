// @ts-check
// What a member does with a message: the toolbar at it, its menu, and the keys of the list.

import { t } from '../../i18n.js';
import { model } from '../../state/model.js';
import { addressOfMessage } from '../body.js';
import { h } from '../dom.js';
import { pickEmoji } from '../emoji.js';
import { iconButton } from '../icons.js';
import { confirm, copy, failed, openMenu } from '../layers.js';
import { openReport } from '../report.js';
import { openForward } from './forward.js';
import { openReadBy } from './readers.js';

const QUICK = ['👍', '❤️', '😂', '😮', '😢', '🙏'];

/** @typedef {import('../../../types.d.ts').Message} Message */
/** @typedef {import('./list.js').Line} Line */

/**
 * @param {EventTarget | null} node
 * @returns {Line | null}
 */
const messageOf = (node) => (node instanceof Element ? node.closest('article.message') : null);
/** @param {Line | null} line */
const storedAt = (line) => (line?.__item?.kind === 'message' ? line.__item.message : undefined);
/** @param {Line} line */
const bubbleOf = (line) => /** @type {HTMLElement} */ (line.querySelector('.bubble'));

/**
 * @param {Message} message
 * @param {string} emoji
 */
export const react = (message, emoji) => model.react(message, emoji).catch(failed);

/** @param {Message} message */
async function erase(message) {
  const question = { title: t('msg.delete_title'), more: t('msg.delete_more'), action: t('msg.delete') };
  if (await confirm(question)) model.erase(message).catch(failed);
}

/**
 * @param {Line} target
 * @param {Message} message
 * @returns {(close: import('../layers.js').Close) => HTMLElement}
 */
function quickRow(target, message) {
  return (close) => {
    /** @param {string} emoji */
    const quick = (emoji) => {
      const onclick = () => {
        close(true);
        react(message, emoji);
      };
      return h('button', { type: 'button', role: 'menuitem', tabindex: '-1', testid: 'quick-react', onclick }, emoji);
    };
    const more = () => {
      close(false);
      pickEmoji(target, (emoji) => react(message, emoji));
    };
    const all = iconButton('plus', t('msg.react'), { role: 'menuitem', tabindex: '-1', onclick: more });
    return h('div.quick', null, QUICK.map(quick), all);
  };
}

/**
 * @param {{list: HTMLElement, scroller: HTMLElement, conversation?: import('../shell.js').Conversation,
 *   writer: import('../composer.js').Writer}} parts
 */
export function messageActions({ list, scroller, conversation, writer }) {
  // One toolbar for all messages: it is at the message under the pointer or with the focus.
  const tools = h('div.tools', { role: 'toolbar', 'aria-label': t('msg.actions') });

  /**
   * @param {Line} target
   * @param {HTMLElement} [anchor]
   */
  function menuFor(target, anchor = bubbleOf(target)) {
    const message = storedAt(target);
    if (!message || message.deleted_at) return;
    const mine = model.isMe(message.sender);
    const mayDelete = mine || conversation?.role === 'admin';
    const mayPin = conversation?.type === 'direct' || conversation?.role === 'admin';
    const { body } = message;
    const items = [
      { label: t('msg.reply'), icon: 'reply', testid: 'menu-reply', act: () => writer.reply(message) },
      {
        label: t('msg.forward'),
        icon: 'forward',
        testid: 'menu-forward',
        act: () => openForward(message),
      },
      mayPin && {
        label: t(message.pinned ? 'msg.unpin' : 'msg.pin'),
        icon: 'pin',
        testid: 'menu-pin',
        act: () => model.pin(message, !message.pinned).catch(failed),
      },
      conversation?.type === 'group' && {
        label: t('msg.read_by'),
        icon: 'checks',
        testid: 'menu-read-by',
        act: () => openReadBy(conversation, message),
      },
      body && {
        label: t('msg.copy'),
        icon: 'copy',
        testid: 'menu-copy',
        act: () => copy(body).catch(failed),
      },
      {
        label: t('msg.copy_link'),
        icon: 'link',
        testid: 'menu-link',
        act: () => copy(addressOfMessage(message)).catch(failed),
      },
      mine &&
        body &&
        !message.forwarded && {
          label: t('msg.edit'),
          icon: 'edit',
          testid: 'menu-edit',
          act: () => writer.edit(message),
        },
      !mine &&
        message.sender && {
          label: t('report.menu'),
          icon: 'flag',
          testid: 'menu-report',
          danger: true,
          act: () => openReport({ message: message.id }),
        },
      mayDelete && {
        label: t('msg.delete'),
        icon: 'trash',
        testid: 'menu-delete',
        danger: true,
        act: () => erase(message),
      },
    ];
    openMenu(anchor, items, { label: t('msg.actions'), head: quickRow(target, message) });
  }

  /** @param {Line | null} target */
  function showTools(target) {
    const message = storedAt(target);
    if (!target || !message || message.deleted_at) return tools.remove();
    if (target.contains(tools)) return;
    /** @param {(message: Message) => void} act on the message as it is when it is pressed */
    const onNow = (act) => {
      const now = storedAt(target);
      if (now) act(now);
    };
    /** @type {HTMLElement} */
    const smile = iconButton('smile', t('msg.react'), {
      testid: 'message-react',
      onclick: () => pickEmoji(smile, (emoji) => onNow((now) => react(now, emoji))),
    });
    /** @type {HTMLElement} */
    const menu = iconButton('more', t('msg.more'), {
      testid: 'message-more',
      'aria-haspopup': 'menu',
      onclick: () => menuFor(target, menu),
    });
    const reply = iconButton('reply', t('msg.reply'), {
      testid: 'message-reply',
      onclick: () => onNow(writer.reply),
    });
    tools.replaceChildren(smile, reply, menu);
    bubbleOf(target).append(tools);
  }

  /**
   * A message is drawn anew: the toolbar stays at it.
   * @param {Line} target
   * @param {() => void} draw
   */
  function keepTools(target, draw) {
    const isEquipped = target.contains(tools);
    draw();
    if (isEquipped) bubbleOf(target).append(tools);
  }

  /**
   * @param {Event} event
   * @param {string} parts which have an action of their own
   */
  const isOn = ({ target }, parts) => target instanceof Element && target.closest(parts);

  /** @param {Event} event */
  function tapped(event) {
    const target = messageOf(event.target);
    const isTouch = matchMedia('(hover: none)').matches;
    if (!target || !isTouch || isOn(event, 'a,button') || !getSelection()?.isCollapsed) return;
    menuFor(target);
  }

  /** @param {Event} event */
  function contextMenu(event) {
    const target = messageOf(event.target);
    if (!target || isOn(event, 'a,img') || !getSelection()?.isCollapsed) return;
    event.preventDefault();
    menuFor(target);
  }

  /**
   * Where an arrow leads: from the field that has them all to the last one, else to the next one.
   * @param {string} key
   * @param {Line | null} now
   */
  function neighbour(key, now) {
    /** @type {Line[]} */
    const all = [...list.querySelectorAll('article.message')].map((line) => /** @type {Line} */ (line));
    if (key === 'ArrowUp') return now ? all[all.indexOf(now) - 1] : all.at(-1);
    return now && key === 'ArrowDown' ? all[all.indexOf(now) + 1] : undefined;
  }

  /** @param {KeyboardEvent} event */
  function keyed(event) {
    const now = messageOf(document.activeElement);
    if (event.target !== now && event.target !== scroller) return;
    const to = neighbour(event.key, now);
    const message = storedAt(now);
    if (to) {
      to.focus({ preventScroll: true });
      to.scrollIntoView({ block: 'nearest' });
    } else if (now && ['Enter', 'ContextMenu'].includes(event.key)) menuFor(now);
    else if (message && event.key === 'r' && !event.ctrlKey && !event.metaKey) writer.reply(message);
    else if (event.key === 'Escape') return writer.focus();
    else return;
    event.preventDefault();
  }

  list.addEventListener('pointerover', (event) => event.pointerType === 'mouse' && showTools(messageOf(event.target)));
  list.addEventListener('pointerleave', () => showTools(null));
  list.addEventListener('focusin', (event) => showTools(messageOf(event.target)));
  list.addEventListener('contextmenu', contextMenu);
  list.addEventListener('click', tapped);
  scroller.addEventListener('keydown', keyed);
  return { keepTools };
}
