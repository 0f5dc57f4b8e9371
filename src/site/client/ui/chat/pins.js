// @ts-check
// The bar of pinned messages above a conversation, and the list of them.
//
// A press on the bar leads to the message that it shows; then it shows the one before, and after the first the newest.

import { number, t } from '../../i18n.js';
import { model } from '../../state/model.js';
import { h } from '../dom.js';
import { icon, iconButton } from '../icons.js';
import { failed, openDialog } from '../layers.js';
import { nameOrYou, preview } from '../words.js';

/** @typedef {import('../../../types.d.ts').Message} Message */
/** @typedef {import('../shell.js').Conversation} Conversation */

/**
 * @param {Conversation | undefined} conversation
 * @param {(n: number) => void} jump
 */
export function pinnedBar(conversation, jump) {
  const element = h('div.pins', { hidden: true, testid: 'pins' });
  // Counted from the newest.
  let back = 0;

  function draw() {
    const pinned = conversation?.pins ?? [];
    element.hidden = !pinned.length;
    if (back >= pinned.length) back = 0;
    const shown = pinned.at(-1 - back);
    const sign = shown ? [shown.id, shown.rev, back, pinned.length, preview(shown)].join('|') : '';
    if (element.dataset.sign === sign) return;
    element.dataset.sign = sign;
    if (!conversation || !shown) return element.replaceChildren();
    const place = pinned.length > 1 ? ` ${number(pinned.length - back)}/${number(pinned.length)}` : '';
    const press = () => {
      jump(shown.n);
      back += 1;
      draw();
    };
    const list = () => openPinned(conversation, jump);
    element.replaceChildren(
      h(
        'button.pins-main',
        { type: 'button', testid: 'pins-jump', title: t('msg.pinned_jump'), onclick: press },
        icon('pin'),
        h(
          'span.pins-text',
          null,
          h('strong.line', null, t('msg.pinned'), place),
          h('span.line', { dir: 'auto' }, preview(shown)),
        ),
      ),
      iconButton('more', t('msg.pinned_all'), { testid: 'pins-list', 'aria-haspopup': 'dialog', onclick: list }),
    );
  }

  return { element, draw };
}

/**
 * @param {Conversation} conversation
 * @param {(n: number) => void} jump
 */
function openPinned(conversation, jump) {
  openDialog({
    title: t('msg.pinned_all'),
    testid: 'pins-dialog',
    build: ({ close, signal }) => {
      const list = h('ul.people');
      const mayUnpin = conversation.type === 'direct' || conversation.role === 'admin';
      const draw = () => {
        const pinned = [...(conversation.pins ?? [])].reverse();
        if (!pinned.length) return close();
        list.replaceChildren(...pinned.map((message) => row(message, mayUnpin, () => leave(message))));
      };
      /** @param {Message} message */
      const leave = (message) => {
        close();
        jump(message.n);
      };
      model.on(conversation.id, draw, signal);
      draw();
      return list;
    },
  });
}

/**
 * @param {Message} message
 * @param {boolean} mayUnpin
 * @param {() => void} onclick
 */
function row(message, mayUnpin, onclick) {
  const unpin = () => model.pin(message, false).catch(failed);
  return h(
    'li.person',
    null,
    h(
      'button.person-main',
      { type: 'button', testid: 'pinned-message', onclick },
      h(
        'span.person-text',
        null,
        h('strong.line', { dir: 'auto' }, nameOrYou(message.sender)),
        h('span.line', { dir: 'auto' }, preview(message)),
      ),
    ),
    mayUnpin && iconButton('close', t('msg.unpin'), { testid: 'unpin', onclick: unpin }),
  );
}
