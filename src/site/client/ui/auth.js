// Owns the way in: sign up, sign in, reset, verify. It holds no session; a
// success is handed to `session`, and the app goes on from there.
// Invariant: forms post nowhere by themselves (method=post, so that even a
// broken script puts no password into an address).

import * as api from '/client/api.js';
import { lang, setLang, t } from '/client/i18n.js';
import { deviceId, session } from '/client/api.js';
import { scalars } from '/client/util.js';
import { h, iconButton, mark, toast } from '/client/ui/kit.js';

// A labelled field; `fieldError` finds it by its name.
export function field({ name, label, hint, testid, ...input }) {
  const id = `field-${name}`;
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
  return h('div.field', { data: { field: name } },
    h('label', { for: id }, label), box,
    h('p.field-note', { id: `${id}-note`, data: { hint: hint ?? '' } }, hint ?? ''));
}

// Shows a refusal at its field, else at the form's end.
export function fieldError(form, error) {
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
  const note = place.querySelector('.field-note'), input = place.querySelector('input');
  note.textContent = error.message;
  note.classList.add('bad');
  input.setAttribute('aria-invalid', 'true');
  input.focus();
}

// A form that shows it is busy and where it was refused.
export function form({ testid, submit, action, children, ...props }) {
  const button = h('button.button.primary', { testid: `${testid}-submit` }, action);
  const element = h('form.form', {
    method: 'post', noValidate: true, testid, ...props,
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
  }, children, h('p.form-error', { role: 'alert', testid: `${testid}-error` }), button);
  return element;
}

const email = (value = '') => field({ name: 'email', label: t('auth.email'), type: 'email', autocomplete: 'username', inputmode: 'email', dir: 'ltr', required: true, value, testid: 'field-email' });
const password = (label, autocomplete, hint) => field({ name: 'password', label, type: 'password', autocomplete, hint, dir: 'ltr', required: true, testid: 'field-password' });
const code = () => field({ name: 'code', label: t('reset.code'), inputmode: 'numeric', autocomplete: 'one-time-code', maxlength: 6, dir: 'ltr', required: true, testid: 'field-code' });
const device = () => ({ unique_id: deviceId() });

const SCREENS = {
  'sign-in': (go, { notice, address }) => [
    h('h1', null, t('auth.welcome')),
    notice && h('p.notice', { role: 'status', testid: 'auth-notice' }, notice),
    form({
      testid: 'sign-in', action: t('auth.sign_in'),
      submit: async (values) => session.begin(await api.open('/user/sign-in', { email: values.email, password: values.password, ...device() })),
      children: [email(address), password(t('auth.password'), 'current-password'),
        h('button.link.self-end', { type: 'button', testid: 'go-reset', onclick: () => go('reset', { address: document.getElementById('field-email').value }) }, t('auth.forgot'))],
    }),
    h('p.quiet.center', null, t('auth.no_account'), ' ', h('button.link', { type: 'button', testid: 'go-sign-up', onclick: () => go('sign-up') }, t('auth.sign_up'))),
  ],

  'sign-up': (go) => [
    h('h1', null, t('auth.join')),
    form({
      testid: 'sign-up', action: t('auth.sign_up'),
      submit: async (values) => {
        if (scalars(values.password) < 8) throw Object.assign(new Error(t('auth.password_hint')), { field: 'password' });
        session.begin(await api.open('/user/sign-up', { display_name: values.display_name, email: values.email, password: values.password, ...device() }));
      },
      children: [field({ name: 'display_name', label: t('auth.name'), hint: t('auth.name_hint'), autocomplete: 'name', maxlength: 64, required: true, dir: 'auto', testid: 'field-display-name' }),
        email(), password(t('auth.password'), 'new-password', t('auth.password_hint'))],
    }),
    h('p.quiet.center', null, t('auth.have_account'), ' ', h('button.link', { type: 'button', testid: 'go-sign-in', onclick: () => go('sign-in') }, t('auth.sign_in'))),
  ],

  reset: (go, { address }) => [
    h('h1', null, t('reset.title')), h('p.quiet', null, t('reset.lead')),
    form({
      testid: 'reset', action: t('reset.send'),
      submit: async (values) => {
        await api.open('/user/reset/code', { email: values.email });
        go('reset-code', { address: values.email });
      },
      children: [email(address)],
    }),
    h('p.center', null, h('button.link', { type: 'button', testid: 'go-sign-in', onclick: () => go('sign-in', { address }) }, t('back'))),
  ],

  'reset-code': (go, { address }) => [
    h('h1', null, t('reset.title')), h('p.quiet', null, t('reset.lead2', { email: address })),
    form({
      testid: 'reset-code', action: t('reset.set'),
      submit: async (values) => {
        await api.open('/user/reset/password', { email: address, code: values.code, password: values.password });
        go('sign-in', { notice: t('reset.done'), address });
      },
      children: [code(), password(t('reset.new'), 'new-password', t('auth.password_hint'))],
    }),
    h('p.center', null, h('button.link', { type: 'button', testid: 'go-sign-in', onclick: () => go('sign-in', { address }) }, t('back'))),
  ],
};

// The e-mail's code. `later` is absent where the server insists on it.
export function verifyForm({ address, done, later }) {
  return [
    h('h1', null, t('verify.title')), h('p.quiet', null, t('verify.lead', { email: address })),
    form({
      testid: 'verify', action: t('verify.check'),
      submit: async (values) => {
        await api.post('/user/verify/check', { code: values.code });
        done();
      },
      children: [code()],
    }),
    h('div.row.spread', null,
      h('button.link', {
        type: 'button', testid: 'verify-renew',
        onclick: () => api.post('/user/verify/renew', {}).then(() => toast(t('verify.sent')), (error) => toast(error.message, { kind: 'bad' })),
      }, t('verify.again')),
      later && h('button.link', { type: 'button', testid: 'verify-later', onclick: later }, t('verify.later'))),
  ];
}

// The frame that all of these stand in: the name beside, the form in the middle.
export function gate(content, { redraw }) {
  const other = lang() === 'ar' ? 'en' : 'ar';
  return h('div.gate', null,
    h('aside.gate-side', { 'aria-hidden': 'true' },
      h('div.brand', null, mark(), 'natter'),
      h('div.gate-talk', null, ...[0, 1, 2, 3].map((i) => h(`span.gate-bubble.talk-${i}`))),
      h('div', null, h('p.gate-lead', null, t('app.tagline')), h('p.gate-more', null, t('app.tagline_more')))),
    h('main.gate-main', null,
      h('div.gate-top', null, h('div.brand', null, mark(), 'natter'),
        h('button.link', {
          type: 'button', lang: other, testid: 'gate-lang',
          onclick: () => {
            setLang(other);
            redraw();
          },
        }, other === 'ar' ? 'العربية' : 'English')),
      h('div.gate-form', null, content)));
}

export function authView(root, { notice } = {}) {
  let shown = ['sign-in', { notice }];
  const go = (name, params = {}) => {
    shown = [name, params];
    root.replaceChildren(gate(SCREENS[name](go, params), { redraw: () => go(...shown) }));
    root.querySelector('input')?.focus();
  };
  go(...shown);
}
