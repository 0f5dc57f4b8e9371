// @ts-check
// The page of a signed-out browser: sign in, sign up, reset a password, and verify an address before the first use.

import { lang, languages, speak, t } from '../i18n.js';
import { ask, call, signUpPolicy } from '../net/http.js';
import { deviceId, session } from '../net/session.js';
import { inviteInAddress, linkInAddress, scalars } from '../util.js';
import { codeField, farewell, signOut, verifyForm } from './account.js';
import { h } from './dom.js';
import { field, form } from './forms.js';
import { mark } from './icons.js';
import { notLoaded, succeeded } from './layers.js';
import { link, spinner } from './parts.js';
import { atField, factorField } from './second_factor.js';

const PASSWORD_MIN = 8;

// Where the code of the last sign-up is delivered; a sign-in sends none.
let delivery = /** @type {'file' | 'mail' | 'none'} */ ('none');

// What the link in the address permits, once the server has said it.
const invited = { notice: /** @type {string | null} */ (null), mayJoin: false, landing: '#/' };

const email = (value = '') =>
  field({
    name: 'email',
    label: t('auth.email'),
    type: 'email',
    autocomplete: 'username',
    inputmode: 'email',
    dir: 'ltr',
    required: true,
    value,
    testid: 'field-email',
  });

/**
 * @param {string} label
 * @param {string} autocomplete
 * @param {string} [hint]
 */
const password = (label, autocomplete, hint) =>
  field({
    name: 'password',
    label,
    type: 'password',
    autocomplete,
    hint,
    dir: 'ltr',
    required: true,
    testid: 'field-password',
  });

const displayName = () =>
  field({
    name: 'display_name',
    label: t('auth.name'),
    autocomplete: 'name',
    maxlength: 64,
    required: true,
    dir: 'auto',
    testid: 'field-display-name',
  });

/** @typedef {{notice?: string | null, address?: string, delivery?: 'file'}} Params of a screen */
/** @typedef {(name: keyof typeof SCREENS, params?: Params) => void} Go */

/**
 * @param {Go} go
 * @param {string} [address]
 */
const backToSignIn = (go, address) =>
  h(
    'p.center',
    null,
    link('go-sign-in', t('back'), () => go('sign-in', { address })),
  );

/**
 * An account is offered where it can be had. Without an answer the server may still say so itself.
 * @param {Go} go
 */
function signUpOffer(go) {
  // The line has its height from the beginning: nothing moves under a press when the answer comes.
  const line = h('p.quiet.center.gate-offer', { testid: 'sign-up-offer' });
  const offer = () => [t('auth.no_account'), ' ', link('go-sign-up', t('auth.sign_up'), () => go('sign-up'))];
  signUpPolicy().then(
    ({ open: isOpen, invite: byInvite }) => {
      const none = t(byInvite ? 'auth.by_invite' : 'auth.closed');
      line.replaceChildren(...(isOpen || invited.mayJoin ? offer() : [none]));
    },
    () => line.replaceChildren(...offer()),
  );
  return line;
}

/**
 * @param {import('./forms.js').Values} values
 * @param {HTMLFormElement} form
 */
async function signIn(values, form) {
  delivery = 'none';
  const { email, password, code } = values;
  const who = { email, password, code, unique_id: deviceId() };
  try {
    const asked = call('POST /user/sign-in', who, { open: true });
    session.begin(await (code === undefined ? asked : atField(asked)));
  } catch (error) {
    if (error.code !== 'second_factor_required') throw error;
    const more = factorField();
    form.querySelector('.form-error')?.before(more);
    more.querySelector('input')?.focus();
  }
}

/** @param {import('./forms.js').Values} values */
async function signUp({ display_name, email, password }) {
  if (scalars(password) < PASSWORD_MIN) throw Object.assign(new Error(t('auth.password_hint')), { field: 'password' });
  const invite = invited.mayJoin ? inviteInAddress() : undefined;
  const who = { display_name, email, password, unique_id: deviceId(), invite };
  const answer = await ask('POST /user/sign-up', who, { open: true });
  delivery = answer.delivery ?? 'mail';
  if (invite) history.replaceState(null, '', invited.landing);
  session.begin(answer.data);
}

const SCREENS = {
  /**
   * @param {Go} go
   * @param {Params} params
   */
  'sign-in': (go, { notice, address }) => [
    h('h1', null, t('auth.welcome')),
    noticeLine(notice ?? invited.notice),
    form({
      testid: 'sign-in',
      action: t('auth.sign_in'),
      submit: signIn,
      children: [
        email(address),
        password(t('auth.password'), 'current-password'),
        h(
          'button.link.self-end',
          {
            type: 'button',
            testid: 'go-reset',
            onclick: ({ currentTarget }) => {
              const form = /** @type {HTMLButtonElement} */ (currentTarget).form;
              go('reset', { address: String(form && new FormData(form).get('email')) });
            },
          },
          t('auth.forgot'),
        ),
      ],
    }),
    signUpOffer(go),
  ],

  /** @param {Go} go */
  'sign-up': (go) => [
    h('h1', null, t('auth.sign_up')),
    noticeLine(invited.notice),
    form({
      testid: 'sign-up',
      action: t('auth.sign_up'),
      submit: signUp,
      children: [displayName(), email(), password(t('auth.password'), 'new-password', t('auth.password_hint'))],
    }),
    h(
      'p.quiet.center',
      null,
      t('auth.have_account'),
      ' ',
      link('go-sign-in', t('auth.sign_in'), () => go('sign-in')),
    ),
  ],

  /**
   * @param {Go} go
   * @param {Params} params
   */
  'reset': (go, { address }) => [
    h('h1', null, t('reset.title')),
    h('p.quiet', null, t('reset.lead')),
    form({
      testid: 'reset',
      action: t('reset.send'),
      submit: async (values) => {
        const answer = await ask('POST /user/reset/code', { email: values.email }, { open: true });
        go('reset-code', { address: values.email, delivery: answer.delivery });
      },
      children: [email(address)],
    }),
    backToSignIn(go, address),
  ],

  /**
   * @param {Go} go
   * @param {Params} params
   */
  'reset-code': (go, { address = '', delivery: by }) => [
    h('h1', null, t('reset.title')),
    h('p.quiet', { testid: 'code-lead' }, t(by === 'file' ? 'reset.lead2_file' : 'reset.lead2', { email: address })),
    form({
      testid: 'reset-code',
      action: t('reset.set'),
      submit: async (values) => {
        const { code, password } = values;
        await call('POST /user/reset/password', { email: address, code, password }, { open: true });
        go('sign-in', { notice: t('reset.done'), address });
      },
      children: [codeField(), password(t('set.new_password'), 'new-password', t('auth.password_hint'))],
    }),
    backToSignIn(go, address),
  ],

  /** @param {Go} go */
  'reset-link': (go) => [
    h('h1', null, t('auth.link_title')),
    form({
      testid: 'reset-link',
      action: t('reset.set'),
      submit: async (values) => {
        const link = linkInAddress() ?? '';
        await call('POST /user/reset/link', { link, password: values.password }, { open: true });
        history.replaceState(null, '', location.pathname);
        go('sign-in', { notice: t('auth.link_done') });
      },
      children: [password(t('set.new_password'), 'new-password', t('auth.password_hint'))],
    }),
    backToSignIn(go),
  ],
};

/**
 * @param {import('./dom.js').Child[]} content
 * @param {() => void} redraw
 */
function frame(content, redraw) {
  /** @param {[code: string, name: string]} language */
  const choice = ([code, name]) => {
    const onclick = () => speak(code).then(redraw, notLoaded);
    return h('button.link', { type: 'button', lang: code, testid: 'gate-lang', onclick }, name);
  };
  const others = [...languages].filter(([code]) => code !== lang()).map(choice);
  const brand = () => h('div.brand', null, mark(), 'natter');
  const bubbles = [0, 1, 2, 3].map((i) => h(`span.gate-bubble.talk-${i}`));
  return h(
    'div.gate',
    null,
    h(
      'aside.gate-side',
      { 'aria-hidden': 'true' },
      brand(),
      h('div.gate-talk', null, bubbles),
      h('p.gate-lead', null, t('app.tagline')),
    ),
    h(
      'main.gate-main',
      null,
      h('div.gate-top', null, brand(), h('div.gate-langs', null, others)),
      h('div.gate-form', null, content),
    ),
  );
}

/** @param {string | null | undefined} notice */
const noticeLine = (notice) => notice && h('p.notice', { role: 'status', testid: 'auth-notice', dir: 'auto' }, notice);

/**
 * Asks what a link leads to. One that cannot be used leaves the address.
 * @param {string} invite
 */
async function readInvite(invite) {
  try {
    const { conversation, sign_up } = await call('POST /invites/check', { invite }, { open: true });
    const name = conversation?.title;
    invited.mayJoin = sign_up;
    invited.landing = conversation ? `#/c/${conversation.id}` : '#/';
    invited.notice = name ? t(sign_up ? 'invite.to_group' : 'invite.to_members', { name }) : t('invite.to_server');
  } catch (error) {
    invited.notice = error.message;
    if (error.status === 422) history.replaceState(null, '', location.pathname);
  }
}

/** @param {HTMLElement} root */
export async function authView(root) {
  const { notice } = farewell;
  Object.assign(farewell, { notice: null, isWanted: false });
  /** @type {Go} */
  const go = (name, params = {}) => {
    root.replaceChildren(frame(SCREENS[name](go, params), () => go(name, params)));
    root.querySelector('input')?.focus();
  };
  Object.assign(invited, { notice: null, mayJoin: false, landing: '#/' });
  if (linkInAddress()) return go('reset-link');
  const invite = inviteInAddress();
  if (invite) {
    const waiting = frame([spinner(t('app.loading'))], () => {});
    root.replaceChildren(waiting);
    await readInvite(invite);
    // Another tab has signed in.
    if (!waiting.isConnected) return;
  }
  go(invited.mayJoin ? 'sign-up' : 'sign-in', { notice });
}

/**
 * Asks for the code of a new account.
 * @param {HTMLElement} root
 * @param {import('../net/session.js').Held} held
 * @param {{done: () => void, later: (() => void) | null}} ways `later` is null if the server requires the verification
 */
export function verifyView(root, held, { done, later }) {
  const other = later ? link('verify-later', t('verify.later'), later) : link('sign-out', t('signout'), signOut);
  const verified = () => {
    succeeded();
    session.remember({ ...held, member: { ...held.member, verified: true } });
    done();
  };
  const draw = () => {
    // Only a bot has no address, and it does not sign in here.
    const address = held.member.email ?? '';
    const parts = verifyForm({ address, later: other, delivery, done: verified });
    root.replaceChildren(frame([h('h1', null, t('verify.title')), ...parts], draw));
  };
  draw();
}
