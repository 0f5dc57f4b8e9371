// @ts-check
// The open reports, for an admin of the server.

import { fullTime, listOf, t } from '../i18n.js';
import { ask, call } from '../net/http.js';
import { h } from './dom.js';
import { confirm, failed } from './layers.js';
import { pagedList, suspend } from './moderation.js';
import { button } from './parts.js';

const PAGE_ITEMS = 50;

/** @typedef {import('../net/http.js').Data<'GET /admin/reports'>[number]} Report */

export function reportsPanel() {
  const page = (/** @type {string | undefined} */ next) => ask('GET /admin/reports', { limit: PAGE_ITEMS, next });
  const { list, more } = pagedList('admin-open-reports', page, reportRow);
  return [list, more];
}

/** @param {Report['person'] | null} person */
const nameOf = (person) => (person?.member ? person.display_name : t('admin.somebody'));

/**
 * @param {Report} report
 * @param {() => unknown} load
 */
function reportRow({ id, created_at: at, reporter, person, message, reason }, load) {
  const close = () => call('DELETE /admin/reports/{report}', { report: id }).then(load, failed);
  const erase = async () => {
    if (!message) return;
    const question = { title: t('msg.delete_title'), more: t('msg.delete_more'), action: t('msg.delete') };
    if (await confirm(question)) call('DELETE /admin/messages/{message}', { message: message.id }).then(load, failed);
  };
  const { member } = person;
  return h(
    'li.person.report',
    { testid: 'admin-report', data: { report: id } },
    h(
      'div.person-text',
      null,
      h(
        'span.person-name',
        { dir: 'auto' },
        t('admin.of', { name: nameOf(person) }),
        member && !person.active && ' · ',
        member && !person.active && h('span.quiet', null, t('admin.is_suspended')),
      ),
      message?.body && h('blockquote', { dir: 'auto', testid: 'admin-report-body' }, message.body),
      message?.edited && h('p.quiet', null, t('admin.message_edited')),
      message?.edited && h('blockquote', { dir: 'auto', testid: 'admin-report-edited' }, message.edited),
      message &&
        message.files.length > 0 &&
        h('p.quiet', { dir: 'auto' }, t('admin.files', { names: listOf(message.files) })),
      message?.deleted && h('p.quiet', null, t('admin.message_deleted')),
      reason && h('p', { dir: 'auto' }, reason),
      h('span.quiet', { dir: 'auto' }, t('admin.by', { name: nameOf(reporter) }), ' · ', fullTime(at)),
      h(
        'div.inline',
        null,
        message && !message.deleted && button('admin-report-delete', t('admin.message_delete'), erase),
        member &&
          person.active &&
          button('admin-report-suspend', t('admin.suspend'), () => suspend(member, nameOf(person), load)),
        button('admin-report-close', t('admin.close'), close),
      ),
    ),
  );
}
