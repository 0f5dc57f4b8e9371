// @ts-check
// What a member sets of a conversation for oneself: the items of its menu and of its details.

import { briefly, t } from '../i18n.js';
import { model } from '../state/model.js';
import { confirm, failed, openMenu, succeeded } from './layers.js';
import { titleOf } from './words.js';

const LONG_PRESS_MS = 500;
const HOUR_MS = 3_600_000;
/** @type {Array<[name: string, ms: number | null]>} */
const MUTES = [
  ['hour', HOUR_MS],
  ['hours', 8 * HOUR_MS],
  ['day', 24 * HOUR_MS],
  ['always', null],
];

/** @typedef {import('./shell.js').Shell} Shell */
/** @typedef {import('./shell.js').Conversation} Conversation */
/** @typedef {import('./layers.js').MenuItem} MenuItem */
/** @typedef {Parameters<typeof model.change>[1]} Change */

/**
 * @param {Conversation} conversation
 * @param {{shell: Shell, anchor: (testid: string) => HTMLElement | null, prefix: string, gone?: () => void}} parts
 *   `anchor` is where a further menu opens; `gone` follows when the conversation is no longer in the list
 * @returns {MenuItem[]}
 */
export function preferenceItems(conversation, { shell, anchor, prefix, gone }) {
  const { pinned, archived, muted, muted_until, type, unread, marked_unread, last_n } = conversation;
  /** @param {Change} change */
  const set = (change) => model.change(conversation, change).catch(failed);
  const name = titleOf(conversation);
  /**
   * @param {Parameters<typeof confirm>[0]} question
   * @param {() => Promise<unknown>} act
   */
  const asked = async (question, act) => {
    if (await confirm(question)) await act().catch(failed);
  };
  const questions = {
    clear: { title: t('own.clear_title', { name }), more: t('own.clear_more'), action: t('own.clear_yes') },
    leave: { title: t('info.leave_title', { name }), more: t('info.leave_more'), action: t('info.leave') },
    hide: { title: t('own.hide_title', { name }), more: t('own.hide_more', { name }), action: t('own.hide') },
  };
  const left = () => {
    gone?.();
    if (shell.openId() === conversation.id) shell.go('#/');
  };
  const mute = () => {
    if (muted) return void set({ muted: false });
    const at = anchor(`${prefix}-mute`);
    if (at) openMenu(at, MUTES.map(muteItem), { label: t('info.mute') });
  };
  /** @type {(mute: [string, number | null]) => MenuItem} */
  const muteItem = ([length, ms]) => ({
    label: t(`own.mute_${length}`),
    icon: ms ? 'clock' : 'mute',
    testid: `mute-${length}`,
    act: () => set({ muted: true, muted_until: ms === null ? null : new Date(Date.now() + ms).toISOString() }),
  });
  const archive = () => model.change(conversation, { archived: !archived }).then(() => succeeded(), failed);
  const isUnread = unread > 0 || marked_unread;
  const unmute = muted_until ? t('info.unmute_until', { when: briefly(muted_until) }) : t('info.unmute');
  return [
    {
      label: t(pinned ? 'own.unpin' : 'own.pin'),
      icon: 'pin',
      testid: `${prefix}-pin`,
      act: () => set({ pinned: !pinned }),
    },
    {
      label: t(isUnread ? 'own.mark_read' : 'own.mark_unread'),
      icon: isUnread ? 'checks' : 'dot',
      testid: `${prefix}-unread`,
      act: () => (isUnread ? model.read(conversation, last_n) : set({ marked_unread: true })),
    },
    {
      label: muted ? unmute : t('info.mute'),
      icon: muted ? 'bell' : 'mute',
      testid: `${prefix}-mute`,
      act: mute,
    },
    {
      label: t(archived ? 'own.unarchive' : 'own.archive'),
      icon: 'archive',
      testid: `${prefix}-archive`,
      act: archive,
    },
    {
      label: t('own.clear'),
      icon: 'clear',
      testid: `${prefix}-clear`,
      danger: true,
      act: () => asked(questions.clear, () => model.clear(conversation, false)),
    },
    type === 'group'
      ? {
          label: t('info.leave'),
          icon: 'exit',
          testid: `${prefix}-leave`,
          danger: true,
          act: () => asked(questions.leave, () => model.leave(conversation).then(left)),
        }
      : {
          label: t('own.hide'),
          icon: 'trash',
          testid: `${prefix}-hide`,
          danger: true,
          act: () => asked(questions.hide, () => model.clear(conversation, true).then(left)),
        },
  ];
}

/**
 * The menu of a conversation in the list: by the second button, a long press, or the key of menus.
 * @param {HTMLElement} list
 * @param {Shell} shell
 */
export function conversationMenus(list, shell) {
  /** @param {EventTarget | null} target */
  const rowAt = (target) =>
    /** @type {HTMLElement | null} */ (target instanceof Element ? target.closest('a.conversation') : null);

  /** @param {HTMLElement} row */
  function open(row) {
    const id = row.dataset.id ?? '';
    const conversation = model.conversations.get(id);
    // A long press may be told as a request for a menu too.
    if (!conversation || document.querySelector('.menu')) return;
    // The row may be drawn anew meanwhile.
    const anchor = () => /** @type {HTMLElement | null} */ (list.querySelector(`a[data-id="${id}"]`));
    row.focus({ preventScroll: true });
    const items = preferenceItems(conversation, { shell, anchor, prefix: 'own' });
    openMenu(row, items, { label: t('own.actions', { name: titleOf(conversation) }) });
  }

  list.addEventListener('contextmenu', (event) => {
    const row = rowAt(event.target);
    if (!row) return;
    event.preventDefault();
    open(row);
  });
  let timer = 0;
  let isLong = false;
  list.addEventListener('pointerdown', (event) => {
    const row = rowAt(event.target);
    isLong = false;
    if (event.pointerType !== 'touch' || !row) return;
    timer = setTimeout(() => {
      isLong = true;
      open(row);
    }, LONG_PRESS_MS);
  });
  for (const name of ['pointerup', 'pointercancel']) list.addEventListener(name, () => clearTimeout(timer));
  // The release of a long press is no press.
  list.addEventListener('click', (event) => isLong && event.preventDefault(), { capture: true });
}
