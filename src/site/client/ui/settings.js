// Owns the settings: profile, privacy, account, devices, appearance.

import * as api from '/client/api.js';
import { ago, lang, setLang, t } from '/client/i18n.js';
import { model } from '/client/model.js';
import { outbox } from '/client/outbox.js';
import { session } from '/client/session.js';
import { local } from '/client/util.js';
import { field, form, verifyForm } from '/client/ui/auth.js';
import { forgetDrafts } from '/client/ui/composer.js';
import { confirm, failed, openDialog, toast } from '/client/ui/dialog.js';
import { avatar, h, icon, iconButton, spinner } from '/client/ui/dom.js';
import { pictureChooser } from '/client/ui/info.js';
import { personRow } from '/client/ui/people.js';

export function applyTheme(theme = local.get('theme') ?? 'system') {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  local.set('theme', theme);
}

export async function signOut() {
  if (outbox.count && !(await confirm({ title: t('signout'), more: t('signout.unsent', { count: outbox.count }), action: t('signout') }))) return;
  await outbox.discardAll();
  forgetDrafts();
  // Offline, the tokens are at least gone from here; the server's die by age.
  try { await api.post('/user/logout'); } catch { /* said above */ }
  session.end();
}

const TABS = [['profile', 'person'], ['account', 'lock'], ['devices', 'device'], ['look', 'sun']];

export function openSettings(shell, first = 'profile') {
  openDialog({
    title: t('set.title'), testid: 'settings', wide: true,
    build: ({ close, signal }) => {
      const panel = h('div.tab-panel', { role: 'tabpanel', id: 'settings-panel', tabindex: '-1' });
      const tabs = TABS.map(([name, picture]) => h('button.tab', {
        type: 'button', role: 'tab', testid: `tab-${name}`, id: `tab-${name}`, 'aria-controls': 'settings-panel', onclick: () => show(name),
      }, icon(picture), h('span', null, t(`set.${name}`))));
      const show = (name) => {
        for (const tab of tabs) {
          const on = tab.id === `tab-${name}`;
          tab.setAttribute('aria-selected', String(on));
          tab.tabIndex = on ? 0 : -1;
        }
        panel.setAttribute('aria-labelledby', `tab-${name}`);
        panel.replaceChildren(...PANELS[name]({ shell, close, signal, show }));
      };
      const strip = h('div.tabs', {
        role: 'tablist', 'aria-label': t('set.title'),
        onkeydown: (event) => {
          const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
          if (!step) return;
          event.preventDefault();
          const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
          next.click();
          next.focus();
        },
      }, tabs);
      show(first);
      return h('div.settings', null, strip, panel);
    },
  });
}

function toggleRow({ label, hint, value, testid, change }) {
  const box = h('input', { type: 'checkbox', role: 'switch', checked: value, testid });
  box.addEventListener('change', async () => {
    try { await change(box.checked); } catch (error) {
      box.checked = !box.checked;
      failed(error);
    }
  });
  return h('label.toggle', null, h('span', null, h('span', null, label), hint && h('span.quiet', null, hint)), box);
}

const choices = (legend, testid, options, value, change) => h('fieldset.choices', null, h('legend', null, legend),
  h('div.segments', null, options.map(([key, label, of]) => h('label', { lang: of }, h('input', { type: 'radio', name: testid, value: key, checked: key === value, testid: `${testid}-${key}`, onchange: () => change(key) }), h('span', null, label)))));

async function updateProfile(change) {
  model.learnMe({ profile: await api.put('/profile', change) });
}

const PANELS = {
  profile({ show, shell }) {
    const { me } = model;
    const chooser = pictureChooser('profile-image-file', async (file) => {
      await updateProfile({ profile_image: (await api.upload(file)).id });
      show('profile');
    });
    const link = `${location.origin}/#/@${me.nick_name}`;
    return [
      h('div.info-head', null, h('div.face-edit', null, avatar({ id: me.id, name: me.display_name, image: me.profile_image, size: 'large' }),
        iconButton('camera', t('info.image'), { testid: 'profile-image', onclick: () => chooser.click() }), chooser),
      me.profile_image && h('button.link', { type: 'button', testid: 'profile-image-remove', onclick: () => updateProfile({ profile_image: null }).then(() => show('profile'), failed) }, t('info.image_remove'))),
      form({
        testid: 'profile', action: t('save'),
        submit: async ({ display_name, nick_name }) => {
          await updateProfile({ display_name, nick_name });
          toast(t('set.saved'), { kind: 'good' });
        },
        children: [field({ name: 'display_name', label: t('auth.name'), value: me.display_name, maxlength: 64, required: true, dir: 'auto', autocomplete: 'name', testid: 'profile-display-name' }),
          field({ name: 'nick_name', label: t('set.nick'), hint: t('set.nick_hint'), value: me.nick_name, maxlength: 25, required: true, dir: 'ltr', autocapitalize: 'none', autocomplete: 'off', spellcheck: false, testid: 'profile-nick-name' })],
      }),
      h('button.action-row', { type: 'button', testid: 'profile-link', onclick: () => navigator.clipboard?.writeText(link).then(() => toast(t('msg.copied')), failed) },
        h('span.action-icon', null, icon('link')), h('span', null, t('set.link'), h('bdi.quiet', null, link))),
      h('h3', null, t('set.privacy')),
      toggleRow({ label: t('set.presence'), hint: t('set.presence_hint'), value: me.presence ?? true, testid: 'profile-presence', change: (presence) => updateProfile({ presence }) }),
      toggleRow({ label: t('set.private'), hint: t('set.private_hint'), value: me.is_private, testid: 'profile-private', change: (is_private) => updateProfile({ is_private }) }),
      blocks(shell),
    ];
  },

  account({ show, close }) {
    const { member } = model;
    const box = h('div.verify-box');
    const verify = () => box.replaceChildren(...verifyForm({
      address: member.email,
      done: () => {
        model.learnMe({ member: { ...member, verified: true } });
        toast(t('verify.done'), { kind: 'good' });
        show('account');
      },
    }));
    return [
      h('div.fact', null, h('span', null, t('auth.email')), h('bdi', null, member.email),
        !member.verified && h('button.link', { type: 'button', testid: 'account-verify', onclick: verify }, t('verify.not_yet'))), box,
      h('h3', null, t('set.password')),
      form({
        testid: 'password', action: t('set.password'),
        submit: async (values, element) => {
          if (values.new_password !== values.confirm_password) throw Object.assign(new Error(t('error.passwords_differ')), { field: 'confirm_password' });
          await api.put('/user/password', values);
          element.reset();
          toast(t('set.password_done'), { kind: 'good' });
        },
        children: [
          h('input', { type: 'text', name: 'username', autocomplete: 'username', value: member.email, hidden: true, 'aria-hidden': 'true', tabindex: '-1' }),
          field({ name: 'password', label: t('set.old_password'), type: 'password', autocomplete: 'current-password', dir: 'ltr', testid: 'password-old' }),
          field({ name: 'new_password', label: t('set.new_password'), hint: t('auth.password_hint'), type: 'password', autocomplete: 'new-password', dir: 'ltr', testid: 'password-new' }),
          field({ name: 'confirm_password', label: t('set.repeat_password'), type: 'password', autocomplete: 'new-password', dir: 'ltr', testid: 'password-repeat' }),
        ],
      }),
      h('button.action-row', {
        type: 'button', testid: 'account-export',
        onclick: async () => {
          try {
            const url = URL.createObjectURL(await api.blob('/user/export'));
            h('a', { href: url, download: 'natter-export.ndjson' }).click();
            setTimeout(() => URL.revokeObjectURL(url), 60_000);
          } catch (error) { failed(error); }
        },
      }, h('span.action-icon', null, icon('download')), t('set.export')),
      h('button.action-row', { type: 'button', testid: 'sign-out', onclick: () => { close(); signOut(); } }, h('span.action-icon', null, icon('exit')), t('signout')),
      h('button.action-row.danger', { type: 'button', testid: 'account-delete', onclick: deleteAccount }, h('span.action-icon', null, icon('trash')), t('set.delete')),
    ];
  },

  devices({ signal }) {
    const list = h('ul.people', { testid: 'sessions' }, spinner(t('app.loading')));
    const load = () => api.all('/user/sessions').then((sessions) => {
      list.replaceChildren(...sessions.sort((a, b) => b.current - a.current).map((entry) => sessionRow(entry, load)));
    }, (error) => list.replaceChildren(h('li.quiet.center', null, error.message)));
    load();
    model.on('sessions', load, signal);
    return [list, h('button.action-row.danger', {
      type: 'button', testid: 'sessions-revoke-all',
      onclick: () => api.remove('/user/sessions').then(() => {
        toast(t('set.revoked'), { kind: 'good' });
        load();
      }, failed),
    }, h('span.action-icon', null, icon('exit')), t('set.revoke_all'))];
  },

  look({ shell, close }) {
    return [
      choices(t('set.theme'), 'theme', ['system', 'light', 'dark'].map((key) => [key, t(`set.theme_${key}`)]), local.get('theme') ?? 'system', applyTheme),
      choices(t('set.lang'), 'lang', [['en', 'English', 'en'], ['ar', 'العربية', 'ar']], lang(), (key) => {
        setLang(key);
        close();
        shell.redraw();
        openSettings(shell.current(), 'look');
      }),
      'Notification' in globalThis && toggleRow({
        label: t('set.notify'), hint: t('set.notify_hint'), value: local.get('notify') === 'on' && Notification.permission === 'granted', testid: 'notify',
        change: async (on) => {
          if (on && await Notification.requestPermission() !== 'granted') throw new Error(t('error.general'));
          local.set('notify', on ? 'on' : 'off');
        },
      }),
    ].filter(Boolean);
  },
};

// "Mozilla/5.0 (X11; Linux …) … Firefox/130.0" says more than anybody wants.
export function deviceName(agent) {
  if (!agent) return t('set.unknown_device');
  const browser = [['Edg/', 'Edge'], ['OPR/', 'Opera'], ['Firefox/', 'Firefox'], ['Chrome/', 'Chrome'], ['Safari/', 'Safari']].find(([word]) => agent.includes(word))?.[1];
  const system = [['Android', 'Android'], ['iPhone', 'iPhone'], ['iPad', 'iPad'], ['Windows', 'Windows'], ['Mac OS', 'macOS'], ['Linux', 'Linux']].find(([word]) => agent.includes(word))?.[1];
  return browser && system ? `${browser} · ${system}` : agent.slice(0, 60);
}

function sessionRow(entry, load) {
  const name = deviceName(entry.user_agent);
  const where = [entry.place, entry.address].filter(Boolean).join(' · ');
  return h('li.person', { testid: 'session', data: { session: entry.id, current: String(entry.current) } }, h('div.person-main', null,
    h('span.action-icon', null, icon('device')),
    h('span.person-text', null, h('span.person-name.line', null, h('bdi', null, name)), h('span.quiet.line', null, h('bdi', null, where), where && ' · ', t('set.active', { when: ago(entry.last_seen_at) })))),
  entry.current ? h('span.badge', null, t('set.this_device')) : h('button.button', {
    type: 'button', testid: 'session-revoke', 'aria-label': t('set.revoke_name', { name }),
    onclick: () => api.remove(`/user/sessions/${entry.id}`).then(load, failed),
  }, t('set.revoke')));
}

function blocks() {
  const list = h('ul.people', { testid: 'blocks' });
  const load = () => api.all('/blocks').then((found) => {
    const people = found.map((entry) => entry.profile ?? entry).filter((entry) => entry.id);
    model.blocked = new Set(people.map((profile) => profile.id));
    list.replaceChildren(...(people.length ? people.map((profile) => personRow(profile, {
      extra: h('button.button', { type: 'button', testid: 'unblock', onclick: () => api.remove(`/blocks/${profile.id}`).then(load).then(() => model.touch('list'), failed) }, t('info.unblock')),
    })) : [h('li.quiet', null, t('set.no_blocks'))]));
  }, () => {});
  load();
  return h('details.blocks', null, h('summary', null, t('set.blocks')), list);
}

async function deleteAccount() {
  const word = field({ name: 'password', label: t('auth.password'), type: 'password', autocomplete: 'current-password', dir: 'ltr', testid: 'delete-password' });
  const erase = h('input', { type: 'checkbox', testid: 'delete-messages' });
  const fields = [word, h('label.check', null, erase, t('set.delete_messages'))];
  if (!(await confirm({ title: t('set.delete_title'), more: t('set.delete_more'), action: t('set.delete'), fields }))) return;
  try {
    await api.remove('/user/me', { password: word.querySelector('input').value, messages: erase.checked ? 'erase' : 'keep' });
    await outbox.discardAll();
    forgetDrafts();
    session.end();
  } catch (error) { failed(error); }
}
