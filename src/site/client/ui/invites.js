// @ts-check
// Invites: the links of a group or of the server, and what opening one does.

import { fullTime, number, t } from '../i18n.js';
import { all, call } from '../net/http.js';
import { model } from '../state/model.js';
import { choices } from './controls.js';
import { h } from './dom.js';
import { form } from './forms.js';
import { icon } from './icons.js';
import { confirm, copy, failed, openDialog, toast } from './layers.js';
import { button, spinner } from './parts.js';
import { qrPicture } from './qr_picture.js';

/** @typedef {import('./shell.js').Shell} Shell */
/** @typedef {import('./shell.js').Conversation} Conversation */
/** @typedef {import('../../types.d.ts').Invite} Invite */

const USES = [1, 10, 100, 1_000];
const DAY_S = 86_400;
const DAYS = [1, 7, 30, 365];

/**
 * The page's own address: the browser of who makes the link reaches the server by it.
 * @param {string} code
 */
const linkOf = (code) => `${location.origin}/#/i/${code}`;

/** @param {string} link */
function linkPanel(link) {
  const box = h('div.invite-made', { testid: 'invite-made' });
  const input = h('input', {
    value: link,
    readonly: '',
    dir: 'ltr',
    'aria-label': t('invite.link'),
    testid: 'invite-link',
  });
  box.append(
    h('p.quiet', { role: 'status' }, t('invite.once')),
    h(
      'div.inline',
      null,
      input,
      button('invite-copy', t('invite.copy'), () => copy(link).catch(failed)),
    ),
  );
  qrPicture(link, t('invite.qr'), 'invite-qr').then((code) => code && box.append(code), failed);
  return box;
}

/**
 * The invites of a group, or without one those of the server.
 * @param {Conversation | null} conversation
 */
export function openInvites(conversation) {
  const where = conversation ? { conversation: conversation.id } : {};
  openDialog({
    title: t(conversation ? 'invite.title' : 'invite.title_server'),
    testid: 'invites-dialog',
    build: () => {
      const list = h('ul.people', { testid: 'invites' }, spinner(t('app.loading')));
      const made = h('div');
      const load = async () => {
        try {
          const invites = await all('GET /invites', where);
          list.replaceChildren(...invites.map((invite) => inviteRow(invite, load)));
          if (!invites.length) list.append(h('li.quiet.center', null, t('invite.none')));
        } catch (error) {
          list.replaceChildren(h('li.quiet.center', null, error.message));
        }
      };
      const create = form({
        testid: 'invite',
        action: t('invite.make'),
        submit: async ({ uses, days }) => {
          const what = { ...where, uses: Number(uses), expires_s: Number(days) * DAY_S };
          const { code } = await call('POST /invites', what);
          made.replaceChildren(linkPanel(linkOf(code)));
          load();
        },
        children: [
          numbers('uses', t('invite.uses_title'), USES, conversation ? 10 : 1, number),
          numbers('days', t('invite.days_title'), DAYS, 7, (count) => t('invite.days', { count })),
        ],
      });
      load();
      return [h('p.quiet', null, t(conversation ? 'invite.lead' : 'invite.lead_server')), create, made, list];
    },
  });
}

/**
 * One of a few numbers, as a field of a form.
 * @param {string} name
 * @param {string} legend
 * @param {number[]} values
 * @param {number} value
 * @param {(count: number) => string} word
 */
function numbers(name, legend, values, value, word) {
  const options = values.map((count) => /** @type {[string, string]} */ ([String(count), word(count)]));
  return choices(legend, name, options, String(value), () => {});
}

/**
 * @param {Invite} invite
 * @param {() => unknown} load
 */
function inviteRow({ id, maker, uses, uses_max, expires_at }, load) {
  const revoke = () => call('DELETE /invites/{invite}', { invite: id }).then(load, failed);
  const who = maker && model.people.get(maker)?.display_name;
  const words = h(
    'span.person-text',
    null,
    h('span.person-name.line', null, t('invite.used', { count: uses, most: uses_max })),
    h('span.quiet', null, t('invite.until', { when: fullTime(expires_at) }), who && ' · ', who && h('bdi', null, who)),
  );
  return h(
    'li.person',
    { testid: 'invite', data: { invite: id } },
    h('div.person-main', null, h('span.action-icon', null, icon('link')), words),
    button('invite-revoke', t('invite.revoke'), revoke),
  );
}

/**
 * A signed-in member opened a link.
 * @param {string} invite
 * @param {Shell} shell
 */
export async function openInvite(invite, shell) {
  try {
    const { conversation } = await call('POST /invites/check', { invite });
    if (!conversation) return toast(t('invite.here'));
    const { id, title, members_count: count } = conversation;
    if (!model.conversations.has(id)) {
      const question = { title: t('invite.join_title', { name: title ?? '' }), more: t('people.members', { count }) };
      if (!(await confirm({ ...question, action: t('invite.join'), danger: false }))) return;
      await call('POST /invites/use', { invite });
      await model.refresh(id);
    }
    shell.go(`#/c/${id}`);
  } catch (error) {
    failed(error);
  }
}
