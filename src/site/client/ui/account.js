// @ts-check
// The end of a session and of an account, and the verification of an address.

import { t } from '../i18n.js';
import { ask, call } from '../net/http.js';
import { session } from '../net/session.js';
import { drafts, outbox } from '../state/here.js';
import { h } from './dom.js';
import { field, form } from './forms.js';
import { confirm, failed, openDialog, toast } from './layers.js';
import { link } from './parts.js';

// What the signed-out page says at first. The event that a session ended may come before the response to who ended it.
export const farewell = { notice: /** @type {string | null} */ (null), isWanted: false };

async function leave() {
  await Promise.all([outbox.discardAll(), drafts.erase()]);
}

export async function signOut() {
  const question = { title: t('signout'), more: t('signout.unsent'), action: t('signout') };
  if (outbox.count && !(await confirm(question))) return;
  farewell.isWanted = true;
  await leave();
  try {
    await call('POST /user/logout', {});
  } catch {
    /* offline: the tokens are at least removed from this browser */
  }
  session.end();
}

export function openDeletion() {
  openDialog({
    title: t('set.delete_title'),
    testid: 'delete-dialog',
    small: true,
    build: () => {
      const erase = h('input', { type: 'checkbox', name: 'erase', testid: 'delete-messages' });
      const password = field({
        name: 'password',
        label: t('auth.password'),
        type: 'password',
        autocomplete: 'current-password',
        dir: 'ltr',
        testid: 'delete-password',
      });
      return [
        h('p.quiet', null, t('set.delete_more')),
        form({
          testid: 'delete',
          action: t('set.delete'),
          danger: true,
          submit: async (values) => {
            await deleteAccount(values.password, erase.checked ? 'erase' : 'keep');
          },
          children: [password, h('label.check', null, erase, t('set.delete_messages'))],
        }),
      ];
    },
  });
}

/**
 * @param {string} password
 * @param {'keep' | 'erase'} messages
 */
async function deleteAccount(password, messages) {
  Object.assign(farewell, { notice: t('set.deleted'), isWanted: true });
  try {
    await call('DELETE /user/me', { password, messages });
  } catch (error) {
    Object.assign(farewell, { notice: null, isWanted: false });
    if (error.code === 'email_password_wrong') error.field = 'password';
    throw error;
  }
  await leave();
  session.end();
}

export const codeField = () =>
  field({
    name: 'code',
    label: t('reset.code'),
    inputmode: 'numeric',
    autocomplete: 'one-time-code',
    maxlength: 6,
    dir: 'ltr',
    required: true,
    testid: 'field-code',
  });

const LEADS = { file: 'verify.lead_file', mail: 'verify.lead', none: 'verify.lead_none' };

/**
 * The form for the code of a mail.
 * @param {object} options
 * @param {string} options.address
 * @param {() => void} options.done
 * @param {HTMLElement} [options.later] a button for what else can be done
 * @param {'file' | 'mail' | 'none'} [options.delivery] where the code is delivered; none: no code was made
 */
export function verifyForm({ address, done, later, delivery = 'none' }) {
  const lead = h('p.quiet', { testid: 'code-lead' }, t(LEADS[delivery], { email: address }));
  /** @param {{delivery?: 'file'}} answer */
  const renewed = (answer) => {
    lead.textContent = t(LEADS[answer.delivery ?? 'mail'], { email: address });
    toast(t('done'));
  };
  const again = () => ask('POST /user/verify/renew', {}).then(renewed, failed);
  const renew = link('verify-renew', t('verify.again'), again);
  return [
    lead,
    form({
      testid: 'verify',
      action: t('verify.check'),
      submit: async (values) => {
        await call('POST /user/verify/check', { code: values.code });
        done();
      },
      children: [codeField()],
    }),
    h('div.row.spread', null, renew, later),
  ];
}
