// @ts-check
// People to choose from: rows, the search by name, and the dialogs for a new conversation or group.

import { t } from '../i18n.js';
import { ask, call } from '../net/http.js';
import { model } from '../state/model.js';
import { debounce, ulid } from '../util.js';
import { h, those } from './dom.js';
import { field, form } from './forms.js';
import { icon, iconButton } from './icons.js';
import { openInvites } from './invites.js';
import { failed, openDialog } from './layers.js';
import { actionRow, avatar, button } from './parts.js';
import { shownName } from './words.js';

const FOUND_MAX = 20;
const QUERY_MIN = 2;
const SEARCH_AFTER_MS = 200;
const KNOWN_SHOWN = 8;
const DIRECTORY_PAGE = 50;

/** @typedef {import('../../types.d.ts').Profile} Profile */
/** @typedef {import('./shell.js').Shell} Shell */
/** @typedef {import('./shell.js').Conversation} Conversation */

/** @param {Profile} profile */
const faceOf = (profile, more = {}) =>
  avatar({ id: profile.id, name: profile.display_name, image: profile.profile_image, ...more });

/**
 * @param {Profile} profile
 * @param {{testid?: string, onclick?: () => void, extra?: import('./dom.js').Child[], chosen?: boolean}} options
 */
export function personRow(profile, { testid = 'person', onclick, extra, chosen }) {
  const inside = [
    faceOf(profile, { online: model.presence.get(profile.id)?.online }),
    h(
      'span.person-text',
      null,
      h('span.person-name.line', { dir: 'auto' }, shownName(profile)),
      profile.nick_name && h('bdi.quiet.line', null, `@${profile.nick_name}`),
    ),
    chosen && icon('check'),
  ];
  const props = { testid, data: { profile: profile.id } };
  const pressed = chosen === undefined ? null : String(chosen);
  const main = onclick
    ? h('button.person-main', { ...props, type: 'button', onclick, 'aria-pressed': pressed }, inside)
    : h('div.person-main', props, inside);
  return h('li.person', null, main, extra ?? []);
}

/**
 * Calls `show` as the member types; the newest query wins. Null: there is nothing to search for.
 * @param {HTMLInputElement} input
 * @param {(found: Profile[] | null, error?: Error) => void} show
 */
function searchPeople(input, show) {
  let turn = 0;
  const run = debounce(async () => {
    const query = input.value.trim().replace(/^@/, '');
    const mine = ++turn;
    if (query.length < QUERY_MIN) return show(null);
    try {
      const found = await call('GET /profiles', { query, limit: FOUND_MAX });
      if (mine === turn) show(found.filter((profile) => !model.isMe(profile.id)));
    } catch (error) {
      if (mine === turn) show([], error);
    }
  }, SEARCH_AFTER_MS);
  input.addEventListener('input', run);
}

/**
 * @param {Profile[] | null} found
 * @param {Error} [error]
 */
function noteOf(found, error) {
  if (error) return error.message;
  if (found === null) return t('new.hint');
  return found.length ? '' : t('new.none');
}

/** @param {(profile: Profile) => HTMLElement | false} rows */
function finder(rows) {
  const input = h('input', {
    type: 'search',
    placeholder: t('new.search'),
    'aria-label': t('new.search'),
    dir: 'auto',
    testid: 'people-search',
    autocomplete: 'off',
  });
  const list = h('ul.people', { testid: 'people-results' });
  const note = h('p.quiet.center', { role: 'status' }, t('new.hint'));
  /** @type {Profile[] | null} */
  let last = null;
  const draw = () => list.replaceChildren(...those(...(last ?? []).map(rows)));
  searchPeople(input, (found, error) => {
    last = found;
    note.textContent = noteOf(found, error);
    draw();
  });
  return { parts: [h('div.search-box', null, icon('search'), input), note, list], draw, input, note };
}

/** @param {Shell} shell */
export function openNew(shell) {
  openDialog({
    title: t('list.new'),
    testid: 'new-dialog',
    build: ({ close }) => {
      /** @param {Profile} profile */
      const choose = (profile) => {
        close();
        shell.openPerson(profile);
      };
      const find = finder((profile) => personRow(profile, { onclick: () => choose(profile) }));
      const group = actionRow('group', t('new.group'), 'new-group', () => {
        close();
        openGroup(shell);
      });
      const invite = actionRow('link', t('invite.title_server'), 'new-invite', () => {
        close();
        openInvites(null);
      });
      queueMicrotask(() => find.input.focus());
      return [group, model.member?.admin && invite, ...find.parts, model.hasDirectory && directory(find, choose)];
    },
  });
}

/**
 * All whom the server lists, a page at a time, while nothing is searched for.
 * @param {ReturnType<typeof finder>} find
 * @param {(profile: Profile) => void} choose
 */
function directory({ input, note }, choose) {
  const list = h('ul.people', { testid: 'directory' });
  /** @type {string | undefined} */
  let next;
  const more = button('directory-more', t('new.more'), () => load().catch(failed));
  more.hidden = true;
  const load = async () => {
    const page = await ask('GET /directory', { limit: DIRECTORY_PAGE, next });
    next = page.next ?? undefined;
    more.hidden = !next;
    list.append(...page.data.map((profile) => personRow(profile, { onclick: () => choose(profile) })));
    if (list.firstChild && !input.value.trim()) note.hidden = true;
  };
  const box = h('div.directory', null, list, more);
  input.addEventListener('input', () => {
    box.hidden = Boolean(input.value.trim());
    note.hidden = !box.hidden && Boolean(list.firstChild);
  });
  load().catch(failed);
  return box;
}

/** @param {Shell} shell */
function openGroup(shell) {
  const clientId = ulid();
  openDialog({
    title: t('new.group'),
    testid: 'group-dialog',
    build: ({ close }) => {
      const picked = picker();
      const title = field({
        name: 'title',
        label: t('new.group_title'),
        maxlength: 64,
        required: true,
        dir: 'auto',
        autocomplete: 'off',
        testid: 'field-title',
      });
      return form({
        testid: 'group',
        action: t('new.create'),
        submit: async (values) => {
          const members = [...picked.chosen.keys()];
          // The same client_id on each try: after a lost response no second group is made.
          const made = await call('POST /conversations', { client_id: clientId, title: values.title, members });
          await model.refresh(made.id);
          close();
          shell.go(`#/c/${made.id}`);
        },
        children: [title, h('div.picker', { role: 'group', 'aria-label': t('new.group_members') }, picked.parts)],
      });
    },
  });
}

/** @param {Set<string>} [without] profiles that are not offered */
function picker(without = new Set()) {
  /** @type {Map<string, Profile>} */
  const chosen = new Map();
  const chips = h('ul.chips');
  const known = h('ul.people');
  /** @param {Profile} profile */
  const toggle = (profile) => {
    if (!chosen.delete(profile.id)) chosen.set(profile.id, profile);
    draw();
  };
  /** @param {Profile} profile */
  const row = (profile) => personRow(profile, { chosen: chosen.has(profile.id), onclick: () => toggle(profile) });
  /** @param {Profile} profile */
  const chip = (profile) => {
    const label = t('new.remove', { name: profile.display_name });
    const remove = iconButton('close', label, { onclick: () => toggle(profile) });
    return h(
      'li.chip',
      null,
      faceOf(profile, { size: 'tiny' }),
      h('span', { dir: 'auto' }, profile.display_name),
      remove,
    );
  };
  const find = finder((profile) => !without.has(profile.id) && row(profile));
  function draw() {
    const direct = model.sorted().flatMap(({ type, peer }) => (type === 'direct' && peer ? [peer] : []));
    const offered = direct.filter(({ id }) => !without.has(id)).slice(0, KNOWN_SHOWN);
    chips.replaceChildren(...[...chosen.values()].map(chip));
    find.draw();
    known.replaceChildren(...offered.map(row));
  }
  find.input.addEventListener('input', () => {
    known.hidden = Boolean(find.input.value.trim());
  });
  draw();
  return { chosen, parts: [chips, ...find.parts, known] };
}

/**
 * @param {Conversation} conversation
 * @param {import('../../types.d.ts').GroupMember[]} members
 * @param {() => unknown} done
 */
export function openAdd(conversation, members, done) {
  openDialog({
    title: t('info.add'),
    testid: 'add-dialog',
    build: ({ close }) => {
      const picked = picker(new Set(members.map(({ profile }) => profile.id)));
      return form({
        testid: 'add',
        action: t('info.add'),
        submit: async () => {
          for (const profile of picked.chosen.keys()) {
            const who = { conversation: conversation.id, profile, role: /** @type {const} */ ('member') };
            await call('PUT /conversations/{conversation}/members/{profile}', who);
          }
          close();
          done();
        },
        children: picked.parts,
      });
    },
  });
}
