// @ts-check
// What is shown once: a link or a token, with a button that copies it.

import { t } from '../i18n.js';
import { h } from './dom.js';
import { copy, failed } from './layers.js';
import { button } from './parts.js';

/**
 * @param {string} testid
 * @param {string} lead
 * @param {string} label
 * @param {string} value
 */
export function once(testid, lead, label, value) {
  const input = h('input', { value, readonly: '', dir: 'ltr', 'aria-label': label, testid });
  return [
    h('p.quiet', { role: 'status' }, lead),
    h(
      'div.inline',
      null,
      input,
      button(`${testid}-copy`, t('invite.copy'), () => copy(value).catch(failed)),
    ),
  ];
}
