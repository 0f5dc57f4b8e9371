// @ts-check
// Forms whose errors are shown at the field that they belong to.
//
// Invariant: the scripts handle all forms; with method=post even a broken script puts no password into an address.

import { t } from '../i18n.js';
import { h } from './dom.js';
import { iconButton } from './icons.js';

let fields = 0;

/**
 * @typedef {{name: string, label: string, hint?: string, testid: string,
 *   [name: string]: import('./dom.js').Value}} Field
 */
/** @param {Field} options */
export function field({ name, label, hint, testid, ...input }) {
  // A dialog may have a field of the same name as the page below it.
  const id = `field-${++fields}`;
  const control = h('input', { id, name, testid, 'aria-describedby': `${id}-note`, ...input });
  const box = h('div.field-box', null, control);
  if (input.type === 'password') {
    const eye = iconButton('eye', t('auth.show'), {
      onclick: () => {
        const shown = control.type === 'text';
        control.type = shown ? 'password' : 'text';
        eye.setAttribute('aria-label', t(shown ? 'auth.show' : 'auth.hide'));
        eye.classList.toggle('on', !shown);
      },
    });
    box.append(eye);
  }
  return h(
    'div.field',
    { data: { field: name, hint: hint ?? '' } },
    h('label', { for: id }, label),
    box,
    h('p.field-note', { id: `${id}-note` }, hint ?? ''),
  );
}

/**
 * @param {HTMLElement} field
 * @param {string} text
 * @param {boolean} isBad
 */
function noteOn(field, text, isBad) {
  const note = field.querySelector('.field-note');
  if (note) note.textContent = text;
  note?.classList.toggle('bad', isBad);
  const input = field.querySelector('input');
  if (!isBad) return input?.removeAttribute('aria-invalid');
  input?.setAttribute('aria-invalid', 'true');
  input?.focus();
}

/**
 * @param {HTMLFormElement} form
 * @param {HTMLElement} complete where an error is shown that belongs to no field
 * @param {{message: string, field?: string | null} | null} error
 */
function fieldError(form, complete, error) {
  /** @type {NodeListOf<HTMLElement>} */
  const fields = form.querySelectorAll('.field');
  for (const field of fields) noteOn(field, field.dataset.hint ?? '', false);
  complete.textContent = '';
  if (!error) return;
  const place = [...fields].find((field) => field.dataset.field === error.field);
  if (place) noteOn(place, error.message, true);
  else complete.textContent = error.message;
}

/** @typedef {Record<string, string>} Values what a form has in its fields */
/**
 * @param {{testid: string, action: string, children: import('./dom.js').Child[], danger?: boolean,
 *   submit: (values: Values, form: HTMLFormElement) => unknown}} options
 */
export function form({ testid, submit, action, children, danger = false }) {
  const button = h(`button.button.${danger ? 'danger' : 'primary'}`, { testid: `${testid}-submit` }, action);
  const whole = h('p.form-error', { role: 'alert', testid: `${testid}-error` });
  const element = h(
    'form.form',
    {
      method: 'post',
      noValidate: true,
      testid,
      onsubmit: async (event) => {
        event.preventDefault();
        if (button.disabled) return;
        fieldError(element, whole, null);
        button.disabled = true;
        try {
          await submit(/** @type {Values} */ (Object.fromEntries(new FormData(element))), element);
        } catch (error) {
          fieldError(element, whole, error);
        } finally {
          button.disabled = false;
        }
      },
    },
    children,
    whole,
    button,
  );
  return element;
}
