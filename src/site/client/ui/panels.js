// The dialogs: new conversation and group, details of a conversation, and settings (profile, account, devices,
// appearance).

import * as api from '../api.js';
import { ago, lang, setLang, t } from '../i18n.js';
import { model } from '../model.js';
import { outbox } from '../outbox.js';
import { debounce, local, ulid } from '../util.js';
import { avatar, confirm, failed, field, form, h, icon, iconButton, link, openDialog, openMenu, spinner, toast } from './kit.js';
import { drafts, titleOf } from './message.js';

export function personRow(profile, { testid = 'person', onclick, extra, chosen } = {}) {
  const inside = [
    avatar({ id: profile.id, name: profile.display_name, image: profile.profile_image, online: model.presence.get(profile.id)?.online }),
    h('span.person-text', null, h('span.person-name.line', { dir: 'auto' }, profile.display_name), profile.nick_name && h('bdi.quiet.line', null, `@${profile.nick_name}`)),
    chosen && icon('check'),
  ];
  const data = { profile: profile.id };
  return h('li.person', null,
    onclick ? h('button.person-main', { type: 'button', testid, data, onclick, 'aria-pressed': chosen === undefined ? null : String(chosen) }, inside) : h('div.person-main', { testid, data }, inside),
    extra);
}

// Calls `show(profiles, query)` as the member types; the newest query wins.
function searchPeople(input, show) {
  let turn = 0;
  const run = debounce(async () => {
    const query = input.value.trim().replace(/^@/, '');
    const mine = ++turn;
    if (query.length < 2) return show(null, query);
    try {
      const found = await api.get('/profiles', { query, limit: 20 });
      if (mine === turn) show(found.filter((profile) => profile.id !== model.me.id), query);
    } catch (error) {
      if (mine === turn) show([], query, error);
    }
  }, 200);
  input.addEventListener('input', run);
}

function finder(rows) {
  const input = h('input', { type: 'search', placeholder: t('new.search'), 'aria-label': t('new.search'), dir: 'auto', testid: 'people-search', autocomplete: 'off' });
  const list = h('ul.people', { testid: 'people-results' });
  const note = h('p.quiet.center', { role: 'status' }, t('new.hint'));
  let last = null;
  const draw = () => list.replaceChildren(...(last ?? []).map(rows).filter(Boolean));
  searchPeople(input, (found, query, error) => {
    last = found;
    note.textContent = error ? error.message : found === null ? t('new.hint') : found.length ? '' : t('new.none');
    draw();
  });
  return { parts: [h('div.search-box', null, icon('search'), input), note, list], draw, input };
}

export function openNew(shell) {
  openDialog({
    title: t('list.new'), testid: 'new-dialog',
    build: ({ close }) => {
      const find = finder((profile) => personRow(profile, {
        onclick: () => {
          close();
          shell.openPerson(profile);
        },
      }));
      queueMicrotask(() => find.input.focus());
      return [h('button.action-row', {
        type: 'button', testid: 'new-group',
        onclick: () => {
          close();
          openGroup(shell);
        },
      }, h('span.action-icon', null, icon('group')), t('new.group')), ...find.parts];
    },
  });
}

function openGroup(shell) {
  const clientId = ulid();
  openDialog({
    title: t('new.group'), testid: 'group-dialog',
    build: ({ close }) => {
      const picked = picker();
      return form({
        testid: 'group', action: t('new.create'),
        submit: async ({ title }) => {
          // The same client_id on each try: after a lost response no second group is made.
          const made = await api.post('/conversations', { client_id: clientId, title, members: [...picked.chosen.keys()] });
          await model.refresh(made.id);
          close();
          shell.go(`#/c/${made.id}`);
        },
        children: [field({ name: 'title', label: t('new.group_title'), maxlength: 64, required: true, dir: 'auto', autocomplete: 'off', testid: 'field-title' }),
          h('div.picker', { role: 'group', 'aria-label': t('new.group_members') }, picked.parts)],
      });
    },
  });
}

function picker(without = new Set()) {
  const chosen = new Map();
  const chips = h('ul.chips');
  const toggle = (profile) => {
    if (!chosen.delete(profile.id)) chosen.set(profile.id, profile);
    draw();
  };
  const find = finder((profile) => !without.has(profile.id) && personRow(profile, { chosen: chosen.has(profile.id), onclick: () => toggle(profile) }));
  const known = h('ul.people');
  function draw() {
    chips.replaceChildren(...[...chosen.values()].map((profile) => h('li.chip', null, avatar({ id: profile.id, name: profile.display_name, image: profile.profile_image, size: 'tiny' }),
      h('span', { dir: 'auto' }, profile.display_name), iconButton('close', t('new.remove', { name: profile.display_name }), { onclick: () => toggle(profile) }))));
    find.draw();
    known.replaceChildren(...model.sorted().filter((c) => c.type === 'direct' && c.peer && !without.has(c.peer.id)).slice(0, 8)
      .map((c) => personRow(c.peer, { chosen: chosen.has(c.peer.id), onclick: () => toggle(c.peer) })));
  }
  find.input.addEventListener('input', () => { known.hidden = Boolean(find.input.value.trim()); });
  draw();
  return { chosen, parts: [chips, ...find.parts, known] };
}

function openAdd(conversation, members, done) {
  openDialog({
    title: t('info.add'), testid: 'add-dialog',
    build: ({ close }) => {
      const picked = picker(new Set(members.map(({ profile }) => profile.id)));
      return form({
        testid: 'add', action: t('info.add'),
        submit: async () => {
          for (const id of picked.chosen.keys()) await api.put(`/conversations/${conversation.id}/members/${id}`, { role: 'member' });
          close();
          done();
        },
        children: picked.parts,
      });
    },
  });
}

function pictureChooser(testid, chosen) {
  const input = h('input', { type: 'file', accept: 'image/jpeg,image/png,image/gif,image/webp,image/avif', hidden: true, tabindex: '-1', testid, 'aria-label': t('info.image') });
  input.addEventListener('change', () => input.files[0] && chosen(input.files[0]).catch(failed).finally(() => { input.value = ''; }));
  return input;
}

const row = (name, label, testid, onclick, danger) => h(`button.action-row${danger ? '.danger' : ''}`, { type: 'button', testid, onclick }, h('span.action-icon', null, icon(name)), label);

export function openInfo({ conversation, profile, shell }) {
  openDialog({
    title: t('chat.details'), testid: 'info-dialog',
    build: ({ close, signal }) => {
      const box = h('div.info');
      const draw = () => box.replaceChildren(...(conversation?.type === 'group' ? group(conversation, { close, draw, shell }) : person({ conversation, profile, close, draw, shell })));
      draw();
      for (const name of ['list', 'people', 'presence']) model.on(name, () => box.contains(document.activeElement) && /^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName) ? null : draw(), signal);
      return box;
    },
  });
}

function muteRow(conversation, draw) {
  return row(conversation.muted ? 'bell' : 'mute', t(conversation.muted ? 'info.unmute' : 'info.mute'), 'info-mute', async () => {
    try {
      await api.put(`/conversations/${conversation.id}`, { muted: !conversation.muted });
      conversation.muted = !conversation.muted;
      model.touch('list');
      draw();
    } catch (error) { failed(error); }
  });
}

function person({ conversation, profile, close, draw, shell }) {
  if (!profile) return [h('p.quiet.center', null, t('people.deleted'))];
  const presence = model.presence.get(profile.id);
  const blocked = model.blocked.has(profile.id);
  const block = async () => {
    if (!blocked && !(await confirm({ title: t('info.block_title', { name: profile.display_name }), more: t('info.block_more'), action: t('info.block') }))) return;
    try {
      await (blocked ? api.remove(`/blocks/${profile.id}`) : api.put(`/blocks/${profile.id}`));
      if (blocked) model.blocked.delete(profile.id);
      else {
        model.blocked.add(profile.id);
        model.presence.delete(profile.id);
      }
      model.touch('list');
      draw();
    } catch (error) { failed(error); }
  };
  return [
    h('div.info-head', null, avatar({ id: profile.id, name: profile.display_name, image: profile.profile_image, size: 'large', online: presence?.online }),
      h('h3', { dir: 'auto' }, profile.display_name), h('p.quiet', null, h('bdi', null, `@${profile.nick_name}`)),
      presence && h('p.quiet', null, presence.online ? t('people.online') : presence.last_seen_at ? t('people.seen', { when: ago(presence.last_seen_at) }) : '')),
    !conversation && row('reply', t('info.message'), 'info-message', () => {
      close();
      shell.openPerson(profile);
    }),
    conversation && muteRow(conversation, draw),
    row('block', t(blocked ? 'info.unblock' : 'info.block'), 'info-block', block, !blocked),
  ].filter(Boolean);
}

function group(conversation, { close, draw, shell }) {
  const admin = conversation.role === 'admin';
  const update = async (change) => {
    Object.assign(conversation, await api.put(`/conversations/${conversation.id}`, change));
    model.touch('list', conversation.id);
    draw();
  };
  const again = () => model.members(conversation, true).catch(failed);
  const chooser = pictureChooser('info-image-file', async (file) => update({ image: (await api.upload(file)).id }));
  const title = h('input', { value: titleOf(conversation), maxlength: 64, dir: 'auto', 'aria-label': t('new.group_title'), testid: 'info-title' });
  const list = h('ul.people', { testid: 'members' });
  const fill = (members) => list.replaceChildren(...members.map((member) => memberRow(member, { conversation, admin, again, close, shell })));
  if (conversation.members) fill(conversation.members);
  else {
    list.append(spinner(t('app.loading')));
    // Redraws only the list: the buttons around it may be under a press now.
    model.members(conversation).then(fill, failed);
  }
  return [
    h('div.info-head', null,
      h('div.face-edit', null, avatar({ id: conversation.id, name: titleOf(conversation), image: conversation.image, size: 'large.group' }),
        admin && iconButton('camera', t('info.image'), { testid: 'info-image', onclick: () => chooser.click() }), chooser),
      admin ? h('form.inline', { method: 'post', onsubmit: (event) => { event.preventDefault(); update({ title: title.value }).catch(failed); } }, title, h('button.button', { testid: 'info-rename' }, t('info.rename')))
        : h('h3', { dir: 'auto' }, titleOf(conversation)),
      h('p.quiet', null, t('people.members', { count: conversation.members_count }))),
    admin && row('plus', t('info.add'), 'info-add', () => model.members(conversation).then((members) => openAdd(conversation, members, again), failed)),
    muteRow(conversation, draw),
    list,
    row('exit', t('info.leave'), 'info-leave', async () => {
      if (!(await confirm({ title: t('info.leave_title', { name: titleOf(conversation) }), action: t('info.leave') }))) return;
      try {
        await api.remove(`/conversations/${conversation.id}/members/${model.me.id}`);
        close();
        shell.left(conversation.id);
      } catch (error) { failed(error); }
    }, true),
  ].filter(Boolean);
}

function memberRow({ profile, role }, { conversation, admin, again, close, shell }) {
  const path = `/conversations/${conversation.id}/members/${profile.id}`;
  const me = profile.id === model.me.id;
  const more = !me && iconButton('more', t('info.member_actions', { name: profile.display_name }), {
    testid: 'member-more', 'aria-haspopup': 'menu',
    onclick: () => openMenu(more, [
      { label: t('info.message'), icon: 'reply', testid: 'member-message', act: () => { close(); shell.openPerson(profile); } },
      admin && { label: t(role === 'admin' ? 'info.drop_admin' : 'info.make_admin'), icon: 'person', testid: 'member-role', act: () => api.put(path, { role: role === 'admin' ? 'member' : 'admin' }).then(again, failed) },
      admin && { label: t('info.remove'), icon: 'exit', testid: 'member-remove', danger: true, act: () => api.remove(path).then(again, failed) },
    ], { label: t('msg.actions') }),
  });
  return personRow(profile, {
    testid: 'member', extra: [me && h('span.quiet', null, t('people.you')), role === 'admin' && h('span.badge', null, t('info.admin')), more],
  });
}

export function applyTheme(theme = local.get('theme') ?? 'system') {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  local.set('theme', theme);
}

async function signOut() {
  if (outbox.count && !(await confirm({ title: t('signout'), more: t('signout.unsent'), action: t('signout') }))) return;
  await outbox.discardAll();
  drafts.clear();
  try { await api.post('/user/logout'); } catch { /* offline: the tokens are at least removed from this browser */ }
  api.session.end();
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
  profile({ show }) {
    const { me } = model;
    const chooser = pictureChooser('profile-image-file', async (file) => {
      await updateProfile({ profile_image: (await api.upload(file)).id });
      show('profile');
    });
    return [
      h('div.info-head', null, h('div.face-edit', null, avatar({ id: me.id, name: me.display_name, image: me.profile_image, size: 'large' }),
        iconButton('camera', t('info.image'), { testid: 'profile-image', onclick: () => chooser.click() }), chooser),
      me.profile_image && link('profile-image-remove', t('info.image_remove'), () => updateProfile({ profile_image: null }).then(() => show('profile'), failed))),
      form({
        testid: 'profile', action: t('save'),
        submit: async ({ display_name, nick_name }) => {
          await updateProfile({ display_name, nick_name });
          show('profile');
          toast(t('done'), { kind: 'good' });
        },
        children: [field({ name: 'display_name', label: t('auth.name'), value: me.display_name, maxlength: 64, required: true, dir: 'auto', autocomplete: 'name', testid: 'profile-display-name' }),
          field({ name: 'nick_name', label: t('set.nick'), hint: t('set.nick_hint'), value: me.nick_name, maxlength: 25, required: true, dir: 'ltr', autocapitalize: 'none', autocomplete: 'off', spellcheck: false, testid: 'profile-nick-name' })],
      }),
      h('h3', null, t('set.privacy')),
      toggleRow({ label: t('set.presence'), hint: t('set.presence_hint'), value: me.presence ?? true, testid: 'profile-presence', change: (presence) => updateProfile({ presence }) }),
      toggleRow({ label: t('set.private'), hint: t('set.private_hint'), value: me.is_private, testid: 'profile-private', change: (is_private) => updateProfile({ is_private }) }),
    ];
  },

  account({ shell, close }) {
    const { member } = model;
    return [
      h('div.fact', null, h('span', null, t('auth.email')), h('bdi', null, member.email),
        !member.verified && link('account-verify', t('verify.not_yet'), () => shell.verify())),
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
      h('button.action-row', { type: 'button', testid: 'sign-out', onclick: () => { close(); signOut(); } }, h('span.action-icon', null, icon('exit')), t('signout')),
      h('button.action-row.danger', { type: 'button', testid: 'account-delete', onclick: deleteAccount }, h('span.action-icon', null, icon('trash')), t('set.delete')),
    ];
  },

  devices({ signal }) {
    const list = h('ul.people', { testid: 'sessions' }, spinner(t('app.loading')));
    const load = () => api.all('/user/sessions').then((sessions) => {
      others.hidden = sessions.length < 2;
      list.replaceChildren(...sessions.sort((a, b) => b.current - a.current).map((entry) => sessionRow(entry, load)));
    }, (error) => list.replaceChildren(h('li.quiet.center', null, error.message)));
    const others = h('button.action-row.danger', {
      type: 'button', testid: 'sessions-revoke-all', hidden: true,
      onclick: () => api.remove('/user/sessions').then(() => {
        toast(t('done'), { kind: 'good' });
        load();
      }, failed),
    }, h('span.action-icon', null, icon('exit')), t('set.revoke_all'));
    load();
    model.on('sessions', load, signal);
    return [list, others];
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
    ];
  },
};

function deviceName(agent) {
  const browser = agent?.match(/(Edg|OPR|Firefox|Chrome|Safari)\//), system = agent?.match(/Android|iPhone|iPad|Windows|Mac|Linux/);
  return browser && system ? `${browser[1]} · ${system[0]}` : agent?.slice(0, 60) || '?';
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
  }, t('signout')));
}

async function deleteAccount() {
  const word = field({ name: 'password', label: t('auth.password'), type: 'password', autocomplete: 'current-password', dir: 'ltr', testid: 'delete-password' });
  const erase = h('input', { type: 'checkbox', testid: 'delete-messages' });
  const fields = [word, h('label.check', null, erase, t('set.delete_messages'))];
  if (!(await confirm({ title: t('set.delete_title'), more: t('set.delete_more'), action: t('set.delete'), fields }))) return;
  try {
    await api.remove('/user/me', { password: word.querySelector('input').value, messages: erase.checked ? 'erase' : 'keep' });
    await outbox.discardAll();
    drafts.clear();
    api.session.end();
  } catch (error) { failed(error); }
}

export const code = () => field({ name: 'code', label: t('reset.code'), inputmode: 'numeric', autocomplete: 'one-time-code', maxlength: 6, dir: 'ltr', required: true, testid: 'field-code' });

// `later` is null if the server requires it: then the only other choice is to sign out. `delivery` says where the new
// code is delivered; without it no code was made.
export function verifyForm({ address, done, later, delivery = null }) {
  const says = (by) => t(by === 'file' ? 'verify.lead_file' : by ? 'verify.lead' : 'verify.lead_none', { email: address });
  const lead = h('p.quiet', { testid: 'code-lead' }, says(delivery));
  const renewed = (answer) => {
    lead.textContent = says(answer.delivery ?? 'mail');
    toast(t('done'));
  };
  return [
    h('h1', null, t('verify.title')), lead,
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
        onclick: () => api.askCode('/user/verify/renew', {}).then(renewed, (error) => toast(error.message, { kind: 'bad' })),
      }, t('verify.again')),
      later ? link('verify-later', t('verify.later'), later) : later === null && link('sign-out', t('signout'), signOut)),
  ];
}
