// @ts-check
// The settings: profile, account, notifications, devices, appearance.

import { ago, lang, languages, speak, t } from '../i18n.js';
import { all, call } from '../net/http.js';
import { uploadFace } from '../state/here.js';
import { TOPIC } from '../names.js';
import { model } from '../state/model.js';
import { push } from '../state/push.js';
import { openDeletion, saveExport, signOut } from './account.js';
import { openAdmin } from './admin.js';
import { choices, toggleRow } from './controls.js';
import { h } from './dom.js';
import { field, form } from './forms.js';
import { icon, iconButton } from './icons.js';
import { failed, notLoaded, openDialog, succeeded } from './layers.js';
import { notifyPanel } from './notify.js';
import { actionRow, avatar, link, pictureChooser, spinner } from './parts.js';
import { openSecondFactor } from './second_factor.js';
import { tabbed } from './tabs.js';
import { applyTheme, themeOf } from './theme.js';

/** @type {Array<[tab: Tab, label: string, picture: string]>} */
const TABS = [
  ['profile', 'set.profile', 'person'],
  ['account', 'set.account', 'lock'],
  ['notify', 'set.notify', 'bell'],
  ['devices', 'set.devices', 'device'],
  ['look', 'set.look', 'sun'],
];

/** @typedef {import('./shell.js').Shell} Shell */
/** @typedef {import('../../types.d.ts').Session} Session */
/** @typedef {keyof typeof PANELS} Tab */
/** @typedef {{shell: Shell, close: () => void, signal: AbortSignal, show: (tab: Tab) => void}} Sheet */
/** @typedef {Parameters<typeof model.changeProfile>[0]} Change of the profile */

/**
 * @param {Shell} shell
 * @param {Tab} first
 */
export function openSettings(shell, first = 'profile') {
  openDialog({
    title: t('set.title'),
    testid: 'settings',
    wide: true,
    build: ({ close, signal }) =>
      tabbed({
        prefix: 'tab-',
        title: t('set.title'),
        tabs: TABS.map(([name, label, picture]) => [name, t(label), picture]),
        first,
        fill: (name, show) => PANELS[name]({ shell, close, signal, show }),
      }),
  });
}

const PANELS = {
  profile: profilePanel,
  account: accountPanel,
  notify: (/** @type {Sheet} */ { show }) => notifyPanel(() => show('notify')),
  devices: devicesPanel,
  look: lookPanel,
};

/** @param {Sheet} sheet */
function profilePanel({ show }) {
  const me = /** @type {import('../../types.d.ts').Profile} */ (model.me);
  const again = () => show('profile');
  /** @param {Change} what */
  const change = (what) => model.changeProfile(what);
  const chooser = pictureChooser('profile-image-file', t('info.image'), (file) =>
    uploadFace(file)
      .then(({ id }) => change({ profile_image: id }))
      .then(again, failed),
  );
  const removeImage = () => change({ profile_image: null }).then(again, failed);
  const camera = { testid: 'profile-image', onclick: () => chooser.click() };
  const face = avatar({ id: me.id, name: me.display_name, image: me.profile_image, size: 'large' });
  return [
    h(
      'div.info-head',
      null,
      h('div.face-edit', null, face, iconButton('camera', t('info.image'), camera), chooser),
      me.profile_image && link('profile-image-remove', t('info.image_remove'), removeImage),
    ),
    form({
      testid: 'profile',
      action: t('save'),
      submit: async ({ display_name, nick_name }) => {
        await change({ display_name, nick_name });
        again();
        succeeded();
      },
      children: nameFields(me),
    }),
    h('h3', null, t('set.privacy')),
    toggleRow({
      label: t('set.presence'),
      hint: t('set.presence_hint'),
      value: me.presence,
      testid: 'profile-presence',
      change: (presence) => change({ presence }),
    }),
    toggleRow({
      label: t('set.private'),
      hint: t('set.private_hint'),
      value: me.is_private,
      testid: 'profile-private',
      change: (is_private) => change({ is_private }),
    }),
  ];
}

/** @param {import('../../types.d.ts').Profile} me */
const nameFields = (me) => [
  field({
    name: 'display_name',
    label: t('auth.name'),
    value: me.display_name,
    maxlength: 64,
    required: true,
    dir: 'auto',
    autocomplete: 'name',
    testid: 'profile-display-name',
  }),
  field({
    name: 'nick_name',
    label: t('set.nick'),
    hint: t('set.nick_hint'),
    value: me.nick_name,
    maxlength: 25,
    required: true,
    dir: 'ltr',
    autocapitalize: 'none',
    autocomplete: 'off',
    spellcheck: false,
    testid: 'profile-nick-name',
  }),
];

/** @param {Sheet} sheet */
function accountPanel({ shell, close }) {
  const member = /** @type {import('../../types.d.ts').Member} */ (model.member);
  const leave = () => {
    close();
    signOut();
  };
  return [
    h(
      'div.fact',
      null,
      h('span', null, t('auth.email')),
      h('bdi', null, member.email),
      !member.verified && link('account-verify', t('verify.not_yet'), () => shell.verify()),
    ),
    h('h3', null, t('set.password')),
    form({
      testid: 'password',
      action: t('set.password'),
      submit: async (values, element) => {
        if (values.new_password !== values.confirm_password) {
          throw Object.assign(new Error(t('error.passwords_differ')), { field: 'confirm_password' });
        }
        const { password, new_password, confirm_password } = values;
        await call('PUT /user/password', { password, new_password, confirm_password });
        element.reset();
        succeeded(t('set.password_done'));
      },
      children: passwordFields(member.email ?? ''),
    }),
    actionRow('lock', t('factor.title'), 'factor-open', openSecondFactor),
    actionRow('download', t('export.title'), 'account-export', saveExport),
    member.admin && actionRow('shield', t('admin.title'), 'admin-open', openAdmin),
    actionRow('exit', t('signout'), 'sign-out', leave),
    actionRow('trash', t('set.delete'), 'account-delete', openDeletion, true),
  ];
}

/** @param {string} address */
function passwordFields(address) {
  /**
   * @param {string} name
   * @param {string} label
   * @param {string} testid
   * @param {string} autocomplete
   * @param {string} [hint]
   */
  const secret = (name, label, testid, autocomplete, hint) =>
    field({ name, label, hint, type: 'password', autocomplete, dir: 'ltr', testid });
  return [
    // A password manager stores the new password with the address.
    h('input', {
      type: 'text',
      name: 'username',
      autocomplete: 'username',
      value: address,
      hidden: true,
      'aria-hidden': 'true',
      tabindex: '-1',
    }),
    secret('password', t('set.old_password'), 'password-old', 'current-password'),
    secret('new_password', t('set.new_password'), 'password-new', 'new-password', t('auth.password_hint')),
    secret('confirm_password', t('set.repeat_password'), 'password-repeat', 'new-password'),
  ];
}

/** @param {Sheet} sheet */
function devicesPanel({ signal }) {
  const list = h('ul.people', { testid: 'sessions' }, spinner(t('app.loading')));
  const load = async () => {
    try {
      const sessions = await all('GET /user/sessions', {});
      others.hidden = sessions.length < 2;
      sessions.sort((a, b) => Number(b.current) - Number(a.current));
      list.replaceChildren(...sessions.map((entry) => sessionRow(entry, load)));
    } catch (error) {
      list.replaceChildren(h('li.quiet.center', null, error.message));
    }
  };
  const revokeOthers = async () => {
    try {
      await call('DELETE /user/sessions', {});
      succeeded();
      load();
    } catch (error) {
      failed(error);
    }
  };
  const others = actionRow('exit', t('set.revoke_all'), 'sessions-revoke-all', revokeOthers, true);
  others.hidden = true;
  load();
  model.on(TOPIC.sessions, load, signal);
  return [list, others];
}

/** @param {string} agent */
function deviceName(agent) {
  const browser = agent.match(/(Edg|OPR|Firefox|Chrome|Safari)\//);
  const system = agent.match(/Android|iPhone|iPad|Windows|Mac|Linux/);
  return browser && system ? `${browser[1]} · ${system[0]}` : agent.slice(0, 60) || '?';
}

/**
 * @param {Session} entry
 * @param {() => unknown} load
 */
function sessionRow(entry, load) {
  const name = deviceName(entry.user_agent);
  const where = [entry.place, entry.address].filter(Boolean).join(' · ');
  // The server records use only from time to time; this session is in use now.
  const active = entry.current ? t('set.active_now') : t('set.active', { when: ago(entry.last_seen_at) });
  const revoke = h(
    'button.button',
    {
      type: 'button',
      testid: 'session-revoke',
      'aria-label': t('set.revoke_name', { name }),
      onclick: () => call('DELETE /user/sessions/{session}', { session: entry.id }).then(load, failed),
    },
    t('signout'),
  );
  const words = h(
    'span.person-text',
    null,
    h('span.person-name.line', null, h('bdi', null, name)),
    h('span.quiet', null, h('bdi', null, where), where && ' · ', active),
  );
  return h(
    'li.person',
    { testid: 'session', data: { session: entry.id, current: String(entry.current) } },
    h('div.person-main', null, h('span.action-icon', null, icon('device')), words),
    entry.current ? h('span.badge', null, t('set.this_device')) : revoke,
  );
}

/** @param {Sheet} sheet */
function lookPanel({ shell, close }) {
  const themes = ['system', 'light', 'dark'].map(
    (key) => /** @type {[string, string]} */ ([key, t(`set.theme_${key}`)]),
  );
  const named = [...languages].map(([code, name]) => /** @type {[string, string, string]} */ ([code, name, code]));
  /** @param {string} code */
  const choose = async (code) => {
    await speak(code);
    push.speak().catch(failed);
    close();
    openSettings(shell.redraw(), 'look');
  };
  return [
    choices(t('set.theme'), 'theme', themes, themeOf(), applyTheme),
    choices(t('set.lang'), 'lang', named, lang(), (code) => choose(code).catch(notLoaded)),
  ];
}
