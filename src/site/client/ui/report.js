// @ts-check
// Reporting a message or a person to the admins of the server.

import { t } from '../i18n.js';
import { call } from '../net/http.js';
import { h } from './dom.js';
import { field, form } from './forms.js';
import { openDialog, succeeded } from './layers.js';

const REASON_MAX = 1_000;

/** @param {{message: string, name?: string} | {profile: string, name: string}} what */
export function openReport(what) {
  const isMessage = 'message' in what;
  openDialog({
    title: isMessage ? t('report.title') : t('report.title_person', { name: what.name }),
    testid: 'report-dialog',
    small: true,
    build: ({ close }) => [
      h('p.quiet', null, t(isMessage ? 'report.lead' : 'report.lead_person')),
      form({
        testid: 'report',
        action: t('report.send'),
        danger: true,
        submit: async ({ reason }) => {
          if (isMessage) await call('POST /messages/{message}/report', { message: what.message, reason });
          else await call('POST /profile/{profile}/report', { profile: what.profile, reason });
          close();
          succeeded(t('report.sent'));
        },
        children: [
          field({
            name: 'reason',
            label: t('report.reason'),
            maxlength: REASON_MAX,
            dir: 'auto',
            autocomplete: 'off',
            testid: 'field-reason',
          }),
        ],
      }),
    ],
  });
}
