// @ts-check
// The run of messages, and what is above it: the beginning of the conversation, a spinner, or an error.

import { dayOf, t } from '../../i18n.js';
import { h, reconcile } from '../dom.js';
import { drawEntry, signEntry } from '../message.js';
import { button, spinner } from '../parts.js';
import { typingWords } from '../words.js';

const SIGNS = { day: (item) => dayOf(item.at), new: () => 'new', message: signEntry };
const ELEMENTS = {
  day: () => h('div.day'),
  new: () => h('div.divider', { testid: 'unread-divider' }),
  message: () => h('article', { tabindex: '-1' }),
};

export function runOfMessages() {
  const element = h('div.run', { role: 'presentation' });

  /**
   * @param {import('../../state/timeline.js').Item[]} items
   * @param {object} act
   * @param {(target: any, draw: () => void) => void} keepTools
   */
  function draw(items, act, keepTools) {
    const drawers = {
      day: (target, item) => target.replaceChildren(h('span', null, dayOf(item.at))),
      new: (target) => target.replaceChildren(h('span', null, t('chat.new'))),
      message: (target, item) => {
        const hadFocus = target.contains(document.activeElement) && document.activeElement !== target;
        keepTools(target, () => drawEntry(target, item, act));
        if (hadFocus) target.focus({ preventScroll: true });
      },
    };
    reconcile(element, items, {
      key: (item) => item.key,
      sign: (item) => SIGNS[item.kind](item),
      create: (item) => ELEMENTS[item.kind](),
      draw: (target, item) => drawers[item.kind](target, item),
    });
    // An element that did not change shows an item of before; its actions need the present one.
    [...element.children].forEach((child, index) => {
      child.__item = items[index];
    });
  }

  return { element, draw };
}

export function topOfRun(source, retry) {
  const element = h('div.run-top');

  function beginning() {
    const title = h('h2', { dir: 'auto' }, source.name);
    const face = source.face({ size: 'large' });
    return h('div.beginning', null, face, title, h('p.quiet', null, t('chat.start')));
  }

  function draw(history) {
    if (history.failure) {
      const again = button('history-retry', t('retry'), retry);
      element.replaceChildren(h('div.trouble', { role: 'alert' }, h('p', null, t('error.load')), again));
    } else if (!history.hasOlder) element.replaceChildren(beginning());
    else if (!element.querySelector('.spinner')) element.replaceChildren(spinner(t('chat.loading_older')));
  }

  return { element, draw };
}

export function typingLine() {
  const element = h('div.typing', { testid: 'typing', 'aria-live': 'off' });
  const draw = (typists) => {
    const dots = h('span.dots', null, h('i'), h('i'), h('i'));
    element.replaceChildren(...(typists.length ? [dots, h('span', null, typingWords(typists))] : []));
    element.classList.toggle('shown', typists.length > 0);
  };
  return { element, draw };
}
