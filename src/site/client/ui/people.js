// Owns finding people: the search field with its results, the dialog for a new
// conversation or group, and the picker that adds members.

import * as api from '/client/api.js';
import { t } from '/client/i18n.js';
import { model } from '/client/model.js';
import { debounce, ulid } from '/client/util.js';
import { openDialog } from '/client/ui/dialog.js';
import { field, form } from '/client/ui/auth.js';
import { avatar, h, icon, iconButton } from '/client/ui/dom.js';

// One row for a person, wherever people are listed.
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
export function searchPeople(input, show) {
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

// Field and results; `rows(profile)` draws one.
function finder(rows) {
  const input = h('input', { type: 'search', placeholder: t('new.search'), 'aria-label': t('new.search'), dir: 'auto', testid: 'people-search', autocomplete: 'off' });
  const list = h('ul.people', { testid: 'people-results' });
  const note = h('p.quiet.center', { role: 'status' }, t('new.hint'));
  let last = null;
  const draw = () => list.replaceChildren(...(last ?? []).map(rows).filter(Boolean));
  searchPeople(input, (found, query, error) => {
    last = found;
    note.textContent = error ? error.message : found === null ? t('new.hint') : found.length ? '' : `${t('new.none')}. ${t('new.link')}`;
    draw();
  });
  return { parts: [h('div.search-box', null, icon('search'), input), note, list], draw, input };
}

export function openNew(shell) {
  openDialog({
    title: t('new.title'), testid: 'new-dialog',
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
          // The same client_id on each try: a lost answer makes no second group.
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

// Choose several: those chosen stand above as chips.
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
    // The people one talks to already need no search.
    known.replaceChildren(...model.sorted().filter((c) => c.type === 'direct' && c.peer && !without.has(c.peer.id)).slice(0, 8)
      .map((c) => personRow(c.peer, { chosen: chosen.has(c.peer.id), onclick: () => toggle(c.peer) })));
  }
  find.input.addEventListener('input', () => { known.hidden = Boolean(find.input.value.trim()); });
  draw();
  return { chosen, parts: [chips, ...find.parts, known] };
}

export function openAdd(conversation, members, done) {
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
