// @ts-check
// The run of messages, and what is above it: the beginning of the conversation, a spinner, or an error.

import { dayOf, t } from '../../i18n.js';
import { h, reconcile } from '../dom.js';
import { drawEntry, signEntry } from '../message.js';
import { button, spinner } from '../parts.js';
import { preview, typingWords } from '../words.js';

/** @typedef {import('../../state/timeline.js').Item} Item */
/** @typedef {HTMLElement & {__item?: Item}} Line an element of the run, with what it shows */

/** @param {Item} item */
function signOf(item) {
  if (item.kind === 'message') return signEntry(item);
  return wordsOf(item);
}

/** @param {Exclude<Item, {kind: 'message'}>} item */
function wordsOf(item) {
  if (item.kind === 'system') return preview(item.message);
  return item.kind === 'day' ? dayOf(item.at) : t('chat.new');
}

const ELEMENTS = {
  day: () => h('div.day'),
  new: () => h('div.divider', { testid: 'unread-divider' }),
  system: () => h('div.day.system', { testid: 'system-message', tabindex: '-1' }),
  message: () => h('article', { tabindex: '-1' }),
};

export function runOfMessages() {
  const element = h('div.run', { role: 'presentation' });

  /**
   * @param {Item[]} items
   * @param {import('../message.js').Act} act
   * @param {(target: Line, draw: () => void) => void} keepTools
   */
  function draw(items, act, keepTools) {
    /**
     * @param {HTMLElement} target
     * @param {Item} item
     */
    function drawItem(target, item) {
      if (item.kind !== 'message') {
        if (item.kind === 'system') target.dataset.n = String(item.message.n);
        return target.replaceChildren(h('span', { dir: 'auto' }, wordsOf(item)));
      }
      const hadFocus = target.contains(document.activeElement) && document.activeElement !== target;
      keepTools(target, () => drawEntry(target, item, act));
      if (hadFocus) target.focus({ preventScroll: true });
    }
    reconcile(element, items, {
      key: (item) => item.key,
      sign: signOf,
      create: (item) => ELEMENTS[item.kind](),
      draw: drawItem,
    });
    // An element that did not change shows an item of before; its actions need the present one.
    /** @type {Iterable<[number, Line]>} */
    const lines = Array.from(element.children, (child) => /** @type {Line} */ (child)).entries();
    for (const [index, line] of lines) line.__item = items[index];
  }

  return { element, draw };
}

/**
 * @param {import('./source.js').Source} source
 * @param {() => void} retry
 */
export function topOfRun(source, retry) {
  const element = h('div.run-top');

  function beginning() {
    const title = h('h2', { dir: 'auto' }, source.name);
    const face = source.face({ size: 'large' });
    return h('div.beginning', null, face, title, h('p.quiet', null, t(source.isHidden ? 'chat.hidden' : 'chat.start')));
  }

  /** @param {import('./history.js').History} history */
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
  /** @param {string[]} typists */
  const draw = (typists) => {
    const dots = h('span.dots', null, h('i'), h('i'), h('i'));
    element.replaceChildren(...(typists.length ? [dots, h('span', null, typingWords(typists))] : []));
    element.classList.toggle('shown', typists.length > 0);
  };
  return { element, draw };
}
