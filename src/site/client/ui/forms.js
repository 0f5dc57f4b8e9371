// @ts-check
// Forms whose errors are shown at the field that they belong to.
//
// Invariant: the scripts handle all forms; with method=post even a broken script puts no password into an address.

import { t } from '../i18n.js';
import { h } from './dom.js';
import { iconButton } from './icons.js';

let fields = 0;

/** @param {{name: string, label: string, hint?: string, testid: string, [property: string]: any}} options */
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
    { data: { field: name } },
    h('label', { for: id }, label),
    box,
    h('p.field-note', { id: `${id}-note`, data: { hint: hint ?? '' } }, hint ?? ''),
  );
}

function fieldError(form, error) {
  for (const note of form.querySelectorAll('.field-note')) {
    note.textContent = note.dataset.hint;
    note.classList.remove('bad');
    note.closest('.field').querySelector('input')?.removeAttribute('aria-invalid');
  }
  const whole = form.querySelector('.form-error');
  whole.textContent = '';
  if (!error) return;
  const place = error.field && form.querySelector(`[data-field="${CSS.escape(error.field)}"]`);
  if (!place) {
    whole.textContent = error.message;
    return;
  }
  const note = place.querySelector('.field-note'),
    input = place.querySelector('input');
  note.textContent = error.message;
  note.classList.add('bad');
  input.setAttribute('aria-invalid', 'true');
  input.focus();
}

export function form({ testid, submit, action, children, danger = false, ...props }) {
  const button = h(`button.button.${danger ? 'danger' : 'primary'}`, { testid: `${testid}-submit` }, action);
  const element = h(
    'form.form',
    {
      method: 'post',
      noValidate: true,
      testid,
      ...props,
      onsubmit: async (event) => {
        event.preventDefault();
        if (button.disabled) return;
        fieldError(element, null);
        button.disabled = true;
        try {
          await submit(Object.fromEntries(new FormData(element)), element);
        } catch (error) {
          fieldError(element, error);
        } finally {
          button.disabled = false;
        }
      },
    },
    children,
    h('p.form-error', { role: 'alert', testid: `${testid}-error` }),
    button,
  );
  return element;
}
