// @ts-check
// The keys of the page, and the dialog that lists them.

import { t } from '../i18n.js';
import { h } from './dom.js';
import { openDialog } from './layers.js';

// In the order of the dialog. The last four are handled where they apply.
/** @type {Array<[keys: string[], says: string]>} */
const KEYS = [
  [['Ctrl', 'K'], 'keys.search'],
  [['Ctrl', 'F'], 'keys.find'],
  [['?'], 'keys.help'],
  [['↑'], 'keys.edit'],
  [['Ctrl', 'B/I/E'], 'keys.mark'],
  [['R'], 'keys.reply'],
  [['Esc'], 'keys.leave'],
];

/** @param {Element | null} element */
const isWriting = (element) => element?.matches('input,textarea,[contenteditable]');

export function openShortcuts() {
  openDialog({
    title: t('keys.title'),
    testid: 'shortcuts',
    small: true,
    build: () => {
      /** @param {string[]} names */
      const keys = (names) => names.map((name) => h('kbd', null, name));
      /** @param {[string[], string]} key */
      const row = ([names, says]) =>
        h('div.shortcut', null, h('dt', { dir: 'ltr' }, keys(names)), h('dd', null, t(says)));
      return h('dl.shortcuts', null, KEYS.map(row));
    },
  });
}

/**
 * @param {{search: () => void, find: () => boolean}} acts `find` says whether it is for it to search
 * @param {AbortSignal} signal
 */
export function listenToKeys({ search, find }, signal) {
  /** @param {KeyboardEvent} event */
  const keyed = (event) => {
    const isOverlaid = document.querySelector('dialog[open]');
    if (event.defaultPrevented || event.isComposing || isOverlaid) return;
    const key = event.ctrlKey || event.metaKey ? event.key.toLowerCase() : '';
    if (key === 'k') search();
    else if (key === 'f' && !event.shiftKey) {
      if (!find()) return;
    } else if (event.key === '?' && !isWriting(document.activeElement)) openShortcuts();
    else return;
    event.preventDefault();
  };
  addEventListener('keydown', keyed, { signal });
}
