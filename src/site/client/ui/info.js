// @ts-check
// The details of a conversation: the person, or the group and its members.

import { ago, t } from '../i18n.js';
import { call } from '../net/http.js';
import { uploadFace } from '../state/here.js';
import { TOPIC } from '../names.js';
import { model } from '../state/model.js';
import { toggleRow } from './controls.js';
import { h, those } from './dom.js';
import { openGallery } from './gallery.js';
import { iconButton } from './icons.js';
import { openInvites } from './invites.js';
import { confirm, failed, openDialog, openMenu } from './layers.js';
import { actionRow, avatar, pictureChooser, spinner } from './parts.js';
import { openAdd, personRow } from './people.js';
import { preferenceItems } from './preferences.js';
import { openReport } from './report.js';
import { shownName, titleOf } from './words.js';

/** @typedef {import('./shell.js').Shell} Shell */
/** @typedef {import('./shell.js').Conversation} Conversation */
/** @typedef {import('../../types.d.ts').Profile} Profile */
/** @typedef {import('../../types.d.ts').GroupMember} GroupMember */
/** @typedef {{close: () => void, draw: () => void, shell: Shell}} Sheet */

/** @param {{conversation: Conversation | null, profile: Profile | null, shell: Shell}} about */
export function openInfo({ conversation, profile, shell }) {
  openDialog({
    title: t('chat.details'),
    testid: 'info-dialog',
    build: ({ close, signal }) => {
      const box = h('div.info');
      const draw = () => {
        const sheet = { close, draw, shell };
        const isGroup = conversation?.type === 'group';
        box.replaceChildren(...those(...(isGroup ? group(conversation, sheet) : person(conversation, profile, sheet))));
      };
      // A title that is being written is not replaced.
      const isWriting = () => box.contains(document.activeElement) && document.activeElement?.matches('input,textarea');
      draw();
      for (const topic of [TOPIC.list, TOPIC.people, TOPIC.presence])
        model.on(topic, () => isWriting() || draw(), signal);
      return box;
    },
  });
}

/**
 * What the member sets of it: first what can be undone.
 * @param {Conversation} conversation
 * @param {Sheet} sheet
 */
function preferenceRows(conversation, { close, shell }) {
  /** @param {string} testid */
  const anchor = (testid) => /** @type {HTMLElement | null} */ (document.querySelector(`[data-testid=${testid}]`));
  const items = preferenceItems(conversation, { shell, anchor, prefix: 'info', gone: close });
  /** @param {boolean} danger */
  const rows = (danger) =>
    items
      .filter((item) => Boolean(item.danger) === danger)
      .map((item) => actionRow(item.icon, item.label, item.testid, item.act, danger));
  return { plain: rows(false), final: rows(true) };
}

/** @param {Conversation} conversation */
const filesRow = (conversation) =>
  actionRow('picture', t('gallery.title'), 'info-files', () => openGallery(conversation));

/** @param {ReturnType<typeof model.presence.get>} presence */
function seenLine(presence) {
  if (!presence) return null;
  const seen = presence.last_seen_at ? t('people.seen', { when: ago(presence.last_seen_at) }) : '';
  return h('p.quiet', null, presence.online ? t('people.online') : seen);
}

/**
 * @param {Profile} profile
 * @param {() => void} draw
 */
function blockRow(profile, draw) {
  const blocked = model.blocked.has(profile.id);
  const change = async () => {
    const title = t('info.block_title', { name: profile.display_name });
    if (!blocked && !(await confirm({ title, more: t('info.block_more'), action: t('info.block') }))) return;
    model.block(profile, !blocked).then(draw, failed);
  };
  return actionRow('block', t(blocked ? 'info.unblock' : 'info.block'), 'info-block', change, !blocked);
}

/**
 * @param {Conversation | null} conversation
 * @param {Profile | null} profile
 * @param {Sheet} sheet
 */
function person(conversation, profile, sheet) {
  const { close, draw, shell } = sheet;
  const own = conversation && preferenceRows(conversation, sheet);
  if (!profile) return [h('p.quiet.center', null, t('people.deleted')), ...(own ? [...own.plain, ...own.final] : [])];
  const presence = model.presence.get(profile.id);
  const { id, display_name: name, profile_image: image } = profile;
  const write = () => {
    close();
    shell.openPerson(profile);
  };
  return [
    h(
      'div.info-head',
      null,
      avatar({ id, name, image, size: 'large', online: presence?.online }),
      h('h3', { dir: 'auto' }, shownName(profile)),
      h('p.quiet', null, h('bdi', null, `@${profile.nick_name}`)),
      seenLine(presence),
    ),
    conversation && filesRow(conversation),
    ...(own ? own.plain : [actionRow('reply', t('info.message'), 'info-message', write)]),
    blockRow(profile, draw),
    actionRow('flag', t('report.menu'), 'info-report', () => openReport({ profile: id, name }), true),
    ...(own ? own.final : []),
  ];
}

/**
 * @param {Conversation} conversation
 * @param {Sheet} sheet
 */
function group(conversation, sheet) {
  const { close, draw, shell } = sheet;
  const own = preferenceRows(conversation, sheet);
  const isAdmin = conversation.role === 'admin';
  const again = () => model.members(conversation, true).catch(failed);
  const list = h('ul.people', { testid: 'members' });
  /** @param {GroupMember[]} members */
  const fill = (members) => {
    /** @param {GroupMember} member */
    const row = (member) => memberRow(member, { conversation, isAdmin, again, close, shell });
    list.replaceChildren(...members.map(row));
  };
  if (conversation.members) fill(conversation.members);
  else {
    list.append(spinner(t('app.loading')));
    // Redraws only the list: the buttons around it may be under a press now.
    model.members(conversation).then(fill, failed);
  }
  const add = () => model.members(conversation).then((members) => openAdd(conversation, members, again), failed);
  return [
    groupHead(conversation, isAdmin, draw),
    isAdmin && actionRow('plus', t('info.add'), 'info-add', add),
    isAdmin && actionRow('link', t('invite.title'), 'info-invites', () => openInvites(conversation)),
    isAdmin && historyRow(conversation),
    keptRow(conversation, isAdmin),
    filesRow(conversation),
    ...own.plain,
    list,
    ...own.final,
  ];
}

/** @param {Conversation} conversation */
const historyRow = (conversation) =>
  toggleRow({
    label: t('info.history'),
    hint: t('info.history_more'),
    value: conversation.history === 'all',
    testid: 'info-history',
    change: (shown) => model.change(conversation, { history: shown ? 'all' : 'joined' }),
  });

// Days for which a group may keep its messages; another number that was set by the API is shown too.
const KEPT_DAYS = [1, 7, 30, 90, 365];

/**
 * How long messages are kept: a choice for an admin, a line for the others.
 * @param {Conversation} conversation
 * @param {boolean} isAdmin
 */
function keptRow(conversation, isAdmin) {
  const { messages_kept: now } = conversation;
  /** @param {number} count */
  const text = (count) => (count ? t('info.kept_days', { count }) : t('info.kept_all'));
  if (!isAdmin) return Boolean(now) && h('p.quiet', { testid: 'info-kept' }, `${t('info.kept')}: ${text(now ?? 0)}`);
  const days = [...new Set([0, ...KEPT_DAYS, now ?? 0])].sort((a, b) => a - b);
  /** @param {number} count */
  const option = (count) => h('option', { value: String(count), selected: count === (now ?? 0) }, text(count));
  const select = h('select', { testid: 'info-kept' }, days.map(option));
  select.addEventListener('change', async () => {
    const chosen = Number(select.value);
    const sure = { title: t('info.kept_title'), more: t('info.kept_more'), action: t('info.kept_yes') };
    if (!chosen || (await confirm(sure))) {
      await model.change(conversation, { messages_kept: chosen || null }).catch(failed);
    }
    select.value = String(conversation.messages_kept ?? 0);
  });
  return h('label.toggle', null, h('span', null, t('info.kept')), select);
}

/**
 * @param {Conversation} conversation
 * @param {boolean} isAdmin
 * @param {() => void} draw
 */
function groupHead(conversation, isAdmin, draw) {
  /** @param {{title?: string, image?: string}} what */
  const change = (what) => model.change(conversation, what).then(draw, failed);
  const face = avatar({
    id: conversation.id,
    name: titleOf(conversation),
    image: conversation.image,
    size: 'large.group',
  });
  const chooser = pictureChooser('info-image-file', t('info.image'), (file) =>
    uploadFace(file).then(({ id }) => change({ image: id }), failed),
  );
  const camera = { testid: 'info-image', onclick: () => chooser.click() };
  return h(
    'div.info-head',
    null,
    h('div.face-edit', null, face, isAdmin && iconButton('camera', t('info.image'), camera), chooser),
    isAdmin ? renameForm(conversation, change) : h('h3', { dir: 'auto' }, titleOf(conversation)),
    h('p.quiet', null, t('people.members', { count: conversation.members_count })),
  );
}

/**
 * @param {Conversation} conversation
 * @param {(what: {title: string}) => void} change
 */
function renameForm(conversation, change) {
  const title = h('input', {
    value: titleOf(conversation),
    maxlength: 64,
    dir: 'auto',
    'aria-label': t('new.group_title'),
    testid: 'info-title',
  });
  /** @param {Event} event */
  const onsubmit = (event) => {
    event.preventDefault();
    change({ title: title.value });
  };
  const rename = h('button.button', { testid: 'info-rename' }, t('info.rename'));
  return h('form.inline', { method: 'post', onsubmit }, title, rename);
}

/**
 * @param {GroupMember} member
 * @param {{conversation: Conversation, isAdmin: boolean, again: () => unknown, close: () => void, shell: Shell}} parts
 */
function memberRow({ profile, role }, { conversation, isAdmin, again, close, shell }) {
  const which = { conversation: conversation.id, profile: profile.id };
  const isMe = model.isMe(profile.id);
  /** @type {{conversation: string, profile: string, role: 'admin' | 'member'}} */
  const promoted = { ...which, role: role === 'admin' ? 'member' : 'admin' };
  const write = () => {
    close();
    shell.openPerson(profile);
  };
  const items = [
    { label: t('info.message'), icon: 'reply', testid: 'member-message', act: write },
    isAdmin && {
      label: t(role === 'admin' ? 'info.drop_admin' : 'info.make_admin'),
      icon: 'person',
      testid: 'member-role',
      act: () => call('PUT /conversations/{conversation}/members/{profile}', promoted).then(again, failed),
    },
    isAdmin && {
      label: t('info.remove'),
      icon: 'exit',
      testid: 'member-remove',
      danger: true,
      act: () => call('DELETE /conversations/{conversation}/members/{profile}', which).then(again, failed),
    },
  ];
  const label = t('info.member_actions', { name: profile.display_name });
  /** @type {HTMLElement} */
  const more = iconButton('more', label, {
    testid: 'member-more',
    'aria-haspopup': 'menu',
    onclick: () => openMenu(more, items, { label: t('msg.actions') }),
  });
  const extra = [
    isMe && h('span.quiet', null, t('people.you')),
    role === 'admin' && h('span.badge', null, t('info.admin')),
    !isMe && more,
  ];
  return personRow(profile, { testid: 'member', extra });
}
