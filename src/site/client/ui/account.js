// @ts-check
// The end of a session and of an account, and the verification of an address.

import { fullTime, lang, t } from '../i18n.js';
import { ask, call, send } from '../net/http.js';
import { session } from '../net/session.js';
import { drafts, outbox } from '../state/here.js';
import { h } from './dom.js';
import { field, form } from './forms.js';
import { confirm, failed, openDialog, succeeded, toast } from './layers.js';
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

const PROFILES_ASKED = 100;
const REVOKE_AFTER_MS = 60_000;

/** @param {string[]} ids */
async function namesOf(ids) {
  const names = new Map();
  for (let at = 0; at < ids.length; at += PROFILES_ASKED) {
    const asked = { ids: ids.slice(at, at + PROFILES_ASKED).join(',') };
    for (const { id, display_name } of await call('GET /profiles', asked)) names.set(id, display_name);
  }
  return names;
}

/** @param {string} url */
async function fetchFile(url) {
  const response = await fetch(url);
  return response.ok ? new Uint8Array(await response.arrayBuffer()) : null;
}

let isSaving = false;

/** Saves all that the server has of this account, with its files, as one archive. */
export async function saveExport() {
  if (isSaving) return;
  isSaving = true;
  toast(t('export.begins'));
  try {
    const { archive } = await import('../state/archive.js');
    // Without a limit of time: an export is as long as what was written in years.
    const response = await send('GET /user/export', {}, { signal: new AbortController().signal });
    const texts = {
      title: t('export.title'),
      missing: t('export.missing'),
      left: t('export.left'),
      files: t('export.files'),
    };
    const words = { texts, time: fullTime, lang: lang(), dir: document.documentElement.dir };
    const blob = await archive(await response.text(), { fetchFile, namesOf, ...words });
    const url = URL.createObjectURL(blob);
    const save = h('a', { href: url, download: 'natter-export.zip' });
    save.click();
    setTimeout(() => URL.revokeObjectURL(url), REVOKE_AFTER_MS);
    succeeded(t('export.done'));
  } catch (error) {
    failed(error);
  } finally {
    isSaving = false;
  }
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
