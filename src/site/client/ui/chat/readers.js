// @ts-check
// Who of a group has read a message: asked for when somebody wants to know.

import { t } from '../../i18n.js';
import { model } from '../../state/model.js';
import { h } from '../dom.js';
import { failed, openDialog } from '../layers.js';
import { spinner } from '../parts.js';
import { personRow } from '../people.js';

/** @typedef {import('../../../types.d.ts').Message} Message */
/** @typedef {import('../../../types.d.ts').GroupMember} GroupMember */

/**
 * Those who have read up to it. A newcomer has not read what was said before, whatever the read mark is.
 * @param {GroupMember[]} members
 * @param {Message} message
 */
export const readersOf = (members, { n, sender, created_at }) =>
  members.filter(
    ({ profile, read_n = 0, joined_at }) => profile.id !== sender && read_n >= n && joined_at <= created_at,
  );

/**
 * @param {import('../shell.js').Conversation} conversation
 * @param {Message} message
 */
export function openReadBy(conversation, message) {
  openDialog({
    title: t('msg.read_by'),
    testid: 'read-by-dialog',
    build: () => {
      const box = h('div', { 'aria-live': 'polite' }, spinner(t('app.loading')));
      /** @param {GroupMember[]} members */
      const fill = (members) => {
        const readers = readersOf(members, message).filter(({ profile }) => !model.isMe(profile.id));
        const rows = readers.map(({ profile }) => personRow(profile, { testid: 'reader' }));
        box.replaceChildren(
          rows.length ? h('ul.people', null, rows) : h('p.quiet.center', null, t('msg.read_by_none')),
          h('p.quiet', null, t('msg.read_by_more')),
        );
      };
      model.members(conversation, true).then(fill, failed);
      return box;
    },
  });
}
