// The start of the client, and the forms of a signed-out browser: sign up, sign in, reset, verify.
//
// Owns the change between signed out and signed in.
//
//     signed out ──sign in, sign up──▶ (verify) ──▶ shell
//          ▲──────── sign out, session ended ────────┘
//
// Invariant: the page follows the session in storage, whichever tab changed it.

import * as api from './api.js';
import { lang, setLang, t } from './i18n.js';
import { model } from './model.js';
import { field, form, h, link, mark, toast } from './ui/kit.js';
import { applyTheme, code, verifyForm } from './ui/panels.js';
import { endShell, shellView } from './ui/shell.js';
import { scalars } from './util.js';

const root = document.getElementById('app');
let shown;
let notice = null;
// Where the code of a sign-up is delivered; null after a sign-in, which sends none.
let delivery = null;

function show(held) {
  const who = held?.profile?.id ?? null;
  if (who === shown) return;
  if (shown && who) return location.reload();
  const first = shown === undefined;
  shown = who;
  for (const dialog of document.querySelectorAll('dialog')) dialog.close();
  if (who) return enter(held, first);
  model.stop();
  endShell();
  document.title = 'natter';
  history.replaceState(null, '', location.pathname);
  authView(root, { notice });
  notice = null;
}

async function enter(held, first) {
  // A code exists right after sign-up: ask for it, but do not insist.
  if (!first && !held.member.verified) return verify(held, () => start(held));
  start(held);
}

function verify(held, later) {
  const draw = () => root.replaceChildren(gate(verifyForm({
    address: held.member.email, later, delivery,
    done: () => {
      toast(t('done'), { kind: 'good' });
      api.session.remember({ ...held, member: { ...held.member, verified: true } });
      start(api.session.read());
    },
  }), { redraw: draw }));
  draw();
}

function start(held) {
  model.start(held);
  shellView(root);
  api.get('/user/me').then((me) => model.learnMe(me), () => {});
}

model.on('not_verified', () => {
  const held = api.session.read();
  model.stop();
  endShell();
  verify(held, null);
});
const email = (value = '') => field({ name: 'email', label: t('auth.email'), type: 'email', autocomplete: 'username', inputmode: 'email', dir: 'ltr', required: true, value, testid: 'field-email' });
const password = (label, autocomplete, hint) => field({ name: 'password', label, type: 'password', autocomplete, hint, dir: 'ltr', required: true, testid: 'field-password' });
const device = () => ({ unique_id: api.deviceId() });

const SCREENS = {
  'sign-in': (go, { notice, address }) => [
    h('h1', null, t('auth.welcome')),
    notice && h('p.notice', { role: 'status', testid: 'auth-notice' }, notice),
    form({
      testid: 'sign-in', action: t('auth.sign_in'),
      submit: async (values) => {
        delivery = null;
        api.session.begin(await api.open('/user/sign-in', { email: values.email, password: values.password, ...device() }));
      },
      children: [email(address), password(t('auth.password'), 'current-password'),
        h('button.link.self-end', { type: 'button', testid: 'go-reset', onclick: () => go('reset', { address: root.querySelector('[name=email]').value }) }, t('auth.forgot'))],
    }),
    h('p.quiet.center', null, t('auth.no_account'), ' ', link('go-sign-up', t('auth.sign_up'), () => go('sign-up'))),
  ],

  'sign-up': (go) => [
    h('h1', null, t('auth.sign_up')),
    form({
      testid: 'sign-up', action: t('auth.sign_up'),
      submit: async (values) => {
        if (scalars(values.password) < 8) throw Object.assign(new Error(t('auth.password_hint')), { field: 'password' });
        const answer = await api.openForCode('/user/sign-up', { display_name: values.display_name, email: values.email, password: values.password, ...device() });
        delivery = answer.delivery ?? 'mail';
        api.session.begin(answer.data);
      },
      children: [field({ name: 'display_name', label: t('auth.name'), autocomplete: 'name', maxlength: 64, required: true, dir: 'auto', testid: 'field-display-name' }),
        email(), password(t('auth.password'), 'new-password', t('auth.password_hint'))],
    }),
    h('p.quiet.center', null, t('auth.have_account'), ' ', link('go-sign-in', t('auth.sign_in'), () => go('sign-in'))),
  ],

  reset: (go, { address }) => [
    h('h1', null, t('reset.title')), h('p.quiet', null, t('reset.lead')),
    form({
      testid: 'reset', action: t('reset.send'),
      submit: async (values) => {
        const answer = await api.openForCode('/user/reset/code', { email: values.email });
        go('reset-code', { address: values.email, delivery: answer.delivery });
      },
      children: [email(address)],
    }),
    h('p.center', null, link('go-sign-in', t('back'), () => go('sign-in', { address }))),
  ],

  'reset-code': (go, { address, delivery: by }) => [
    h('h1', null, t('reset.title')), h('p.quiet', { testid: 'code-lead' }, t(by === 'file' ? 'reset.lead2_file' : 'reset.lead2', { email: address })),
    form({
      testid: 'reset-code', action: t('reset.set'),
      submit: async (values) => {
        await api.open('/user/reset/password', { email: address, code: values.code, password: values.password });
        go('sign-in', { notice: t('reset.done'), address });
      },
      children: [code(), password(t('set.new_password'), 'new-password', t('auth.password_hint'))],
    }),
    h('p.center', null, link('go-sign-in', t('back'), () => go('sign-in', { address }))),
  ],
};

function gate(content, { redraw }) {
  const other = lang() === 'ar' ? 'en' : 'ar';
  return h('div.gate', null,
    h('aside.gate-side', { 'aria-hidden': 'true' },
      h('div.brand', null, mark(), 'natter'),
      h('div.gate-talk', null, ...[0, 1, 2, 3].map((i) => h(`span.gate-bubble.talk-${i}`))),
      h('p.gate-lead', null, t('app.tagline'))),
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

function authView(root, { notice } = {}) {
  let shown = ['sign-in', { notice }];
  const go = (name, params = {}) => {
    shown = [name, params];
    root.replaceChildren(gate(SCREENS[name](go, params), { redraw: () => go(...shown) }));
    root.querySelector('input')?.focus();
  };
  go(...shown);
}

api.session.on('ended', () => { notice = t('auth.ended'); });
api.session.on('change', show);

applyTheme();
show(api.session.read());
