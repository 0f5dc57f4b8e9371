// @ts-check
// What a member does with a message: the toolbar at it, its menu, and the keys of the list.

import { t } from '../../i18n.js';
import { model } from '../../state/model.js';
import { h } from '../dom.js';
import { pickEmoji } from '../emoji.js';
import { iconButton } from '../icons.js';
import { confirm, copy, failed, openMenu } from '../layers.js';

const QUICK = ['👍', '❤️', '😂', '😮', '😢', '🙏'];

const messageOf = (node) => node?.closest?.('article.message');
const storedAt = (target) => target?.__item?.message;
const bubbleOf = (target) => target.querySelector('.bubble');

export const react = (message, emoji) => model.react(message, emoji).catch(failed);

async function erase(message) {
  const question = { title: t('msg.delete_title'), more: t('msg.delete_more'), action: t('msg.delete') };
  if (await confirm(question)) model.erase(message).catch(failed);
}

function quickRow(target, message) {
  return (close) => {
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
 * @param {{list: any, scroller: any, conversation: any, writer: any}} parts
 */
export function messageActions({ list, scroller, conversation, writer }) {
  // One toolbar for all messages: it is at the message under the pointer or with the focus.
  const tools = h('div.tools', { role: 'toolbar', 'aria-label': t('msg.actions') });

  function menuFor(target, anchor = bubbleOf(target)) {
    const message = storedAt(target);
    if (!message || message.deleted_at) return;
    const mine = model.isMe(message.sender);
    const mayDelete = mine || conversation.role === 'admin';
    const items = [
      { label: t('msg.reply'), icon: 'reply', testid: 'menu-reply', act: () => writer.reply(message) },
      message.body && {
        label: t('msg.copy'),
        icon: 'copy',
        testid: 'menu-copy',
        act: () => copy(message.body).catch(failed),
      },
      mine &&
        message.body && { label: t('msg.edit'), icon: 'edit', testid: 'menu-edit', act: () => writer.edit(message) },
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

  function showTools(target) {
    const message = storedAt(target);
    if (!message || message.deleted_at) return tools.remove();
    if (target.contains(tools)) return;
    const smile = iconButton('smile', t('msg.react'), {
      testid: 'message-react',
      onclick: () => pickEmoji(smile, (emoji) => react(storedAt(target), emoji)),
    });
    const menu = iconButton('more', t('msg.more'), {
      testid: 'message-more',
      'aria-haspopup': 'menu',
      onclick: () => menuFor(target, menu),
    });
    const reply = iconButton('reply', t('msg.reply'), {
      testid: 'message-reply',
      onclick: () => writer.reply(storedAt(target)),
    });
    tools.replaceChildren(smile, reply, menu);
    bubbleOf(target).append(tools);
  }

  // A message is drawn anew: the toolbar stays at it.
  function keepTools(target, draw) {
    const isEquipped = target.contains(tools);
    draw();
    if (isEquipped) bubbleOf(target).append(tools);
  }

  function tapped(event) {
    const target = messageOf(event.target);
    const isTouch = matchMedia('(hover: none)').matches;
    if (!target || !isTouch || event.target.closest('a,button') || !getSelection()?.isCollapsed) return;
    menuFor(target);
  }

  function contextMenu(event) {
    const target = messageOf(event.target);
    if (!target || event.target.closest('a,img') || !getSelection()?.isCollapsed) return;
    event.preventDefault();
    menuFor(target);
  }

  function keyed(event) {
    const all = [...list.querySelectorAll('article.message')];
    const now = messageOf(document.activeElement);
    if (event.target !== now && event.target !== scroller) return;
    const to = { ArrowUp: now ? all[all.indexOf(now) - 1] : all.at(-1), ArrowDown: all[all.indexOf(now) + 1] }[
      event.key
    ];
    if (to && (now || event.key === 'ArrowUp')) {
      to.focus({ preventScroll: true });
      to.scrollIntoView({ block: 'nearest' });
    } else if (now && ['Enter', 'ContextMenu'].includes(event.key)) menuFor(now);
    else if (storedAt(now) && event.key === 'r' && !event.ctrlKey && !event.metaKey) writer.reply(storedAt(now));
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
