// @ts-check
// The second factor: enrolled with an authenticator app, its recovery codes, and its end.

import { t } from '../i18n.js';
import { call } from '../net/http.js';
import { model } from '../state/model.js';
import { h } from './dom.js';
import { field, form } from './forms.js';
import { copy, failed, openDialog, succeeded } from './layers.js';
import { button, spinner } from './parts.js';
import { qrPicture } from './qr_picture.js';

/** @typedef {import('./forms.js').Values} Values */
/** @typedef {{member: import('../../types.d.ts').Member, recovery_codes?: string[]}} Changed */

export const factorField = () =>
  field({
    name: 'code',
    label: t('factor.code'),
    hint: t('factor.code_hint'),
    autocomplete: 'one-time-code',
    autocapitalize: 'none',
    spellcheck: false,
    maxlength: 24,
    dir: 'ltr',
    required: true,
    testid: 'field-factor',
  });

/**
 * An error at the field that it is about.
 * @template T
 * @param {Promise<T>} asked
 * @returns {Promise<T>}
 */
export async function atField(asked) {
  try {
    return await asked;
  } catch (error) {
    if (error.code === 'code_wrong') error.field = 'code';
    if (error.code === 'email_password_wrong') error.field = 'password';
    throw error;
  }
}

const passwordField = () =>
  field({
    name: 'password',
    label: t('auth.password'),
    type: 'password',
    autocomplete: 'current-password',
    dir: 'ltr',
    required: true,
    testid: 'factor-password',
  });

export function openSecondFactor() {
  openDialog({
    title: t('factor.title'),
    testid: 'factor-dialog',
    build: ({ close }) => {
      const body = h('div.form');
      /** @param {Changed} changed */
      const learn = ({ member, recovery_codes }) => {
        model.learnMe({ member });
        if (recovery_codes) body.replaceChildren(...codesPanel(recovery_codes, close));
        else {
          close();
          succeeded(t('factor.is_off'));
        }
      };
      if (model.member?.second_factor) body.append(...isOn(learn));
      else {
        body.append(spinner(t('app.loading')));
        call('POST /user/second-factor', {}).then(
          (begun) => body.replaceChildren(...enrolment(begun, learn)),
          (error) => body.replaceChildren(h('p.quiet.center', null, error.message)),
        );
      }
      return body;
    },
  });
}

/**
 * @param {{secret: string, uri: string, setup: string}} begun
 * @param {(changed: Changed) => void} learn
 */
function enrolment({ secret, uri, setup }, learn) {
  const place = h('div.invite-made');
  qrPicture(uri, t('factor.qr'), 'factor-qr').then((code) => code && place.append(code), failed);
  const shown = (secret.match(/.{1,4}/g) ?? []).join(' ');
  return [
    h('p', null, t('factor.lead')),
    place,
    h('p.quiet', null, t('factor.by_hand')),
    h('p.center', null, h('code', { dir: 'ltr', testid: 'factor-secret' }, shown)),
    h('p.center', null, h('a', { href: uri, testid: 'factor-uri' }, t('factor.here'))),
    form({
      testid: 'factor',
      action: t('factor.on'),
      submit: async ({ password, code }) =>
        learn(await atField(call('PUT /user/second-factor', { password, code, setup }))),
      children: [factorField(), passwordField()],
    }),
  ];
}

/** @param {(changed: Changed) => void} learn */
function isOn(learn) {
  const left = model.member?.recovery_codes ?? 0;
  const off = h('input', { type: 'checkbox', name: 'off', testid: 'factor-turn-off' });
  return [
    h('p', { testid: 'factor-state' }, t('factor.is_on')),
    h('p.quiet', null, t('factor.left', { count: left })),
    form({
      testid: 'factor',
      action: t('factor.go_on'),
      submit: async ({ password, code }) => {
        const proof = { password, code };
        const asked = off.checked
          ? call('DELETE /user/second-factor', proof)
          : call('POST /user/second-factor/recovery', proof);
        learn(await atField(asked));
      },
      children: [
        factorField(),
        passwordField(),
        h('p.quiet', null, t('factor.renews')),
        h('label.check', null, off, t('factor.off')),
      ],
    }),
  ];
}

/**
 * @param {string[]} codes
 * @param {() => void} close
 */
function codesPanel(codes, close) {
  const text = codes.join('\n');
  return [
    h('p', { role: 'status' }, t('factor.codes_lead')),
    h('pre.center', { dir: 'ltr', testid: 'factor-codes', tabindex: '0', 'aria-label': t('factor.codes') }, text),
    h(
      'div.row.end',
      null,
      button('factor-copy', t('factor.copy'), () => copy(text).catch(failed)),
      button('factor-done', t('factor.done'), close),
    ),
  ];
}
