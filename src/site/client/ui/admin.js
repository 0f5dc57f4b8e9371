// @ts-check
// The pages of an admin of the server: members, reports, bots, storage, the log of acts, the server itself.
//
// Invariant: the server decides who is an admin; these pages only ask.

import { bytes, fullTime, t } from '../i18n.js';
import { ask, call } from '../net/http.js';
import { debounce } from '../util.js';
import { botsPanel } from './bots.js';
import { h } from './dom.js';
import { field, form } from './forms.js';
import { icon, iconButton } from './icons.js';
import { openInvites } from './invites.js';
import { confirm, failed, openDialog, openMenu, succeeded } from './layers.js';
import { pagedList, suspend } from './moderation.js';
import { actionRow } from './parts.js';
import { reportsPanel } from './reports.js';
import { once } from './secret.js';
import { serverPanel } from './server.js';
import { tabbed } from './tabs.js';

const SEARCH_AFTER_MS = 200;
const PAGE_ITEMS = 50;

/** @typedef {import('../net/http.js').Data<'GET /admin/members'>[number]} Listed a member */
/** @typedef {import('../net/http.js').Data<'GET /admin/audit'>[number]} Act */

/** @type {Array<[tab: Tab, label: string, picture: string]>} */
const TABS = [
  ['members', 'admin.members', 'group'],
  ['reports', 'admin.reports', 'flag'],
  ['bots', 'admin.bots', 'device'],
  ['storage', 'admin.storage', 'archive'],
  ['audit', 'admin.audit', 'clock'],
  ['server', 'admin.server', 'settings'],
];

const PANELS = {
  members: membersPanel,
  reports: reportsPanel,
  bots: botsPanel,
  storage: storagePanel,
  audit: auditPanel,
  server: serverPanel,
};
/** @typedef {keyof typeof PANELS} Tab */

/** @param {Tab} first */
export function openAdmin(first = 'members') {
  openDialog({
    title: t('admin.title'),
    testid: 'admin',
    wide: true,
    build: () =>
      tabbed({
        prefix: 'admin-',
        title: t('admin.title'),
        tabs: TABS.map(([name, label, picture]) => [name, t(label), picture]),
        first: TABS.some(([name]) => name === first) ? first : 'members',
        fill: (name) => PANELS[name](),
      }),
  });
}

function membersPanel() {
  const input = h('input', {
    type: 'search',
    placeholder: t('admin.search'),
    'aria-label': t('admin.search'),
    dir: 'auto',
    autocomplete: 'off',
    testid: 'admin-search',
  });
  const { list, more, load } = pagedList(
    'admin-list',
    (next) => ask('GET /admin/members', { search: input.value.trim(), limit: PAGE_ITEMS, next }),
    memberRow,
  );
  input.addEventListener('input', debounce(load, SEARCH_AFTER_MS));
  return [
    h('div.search-box', null, icon('search'), input),
    actionRow('link', t('invite.title_server'), 'admin-invites', () => openInvites(null)),
    actionRow('plus', t('admin.add'), 'admin-add', () => openAdd(load)),
    list,
    more,
  ];
}

/** @param {() => unknown} load */
function openAdd(load) {
  openDialog({
    title: t('admin.add'),
    testid: 'admin-add-dialog',
    small: true,
    build: ({ close }) =>
      form({
        testid: 'admin-new',
        action: t('admin.add'),
        submit: async ({ email, password }) => {
          await call('POST /admin/members', { email, password });
          close();
          load();
          succeeded(t('admin.added'));
        },
        children: [
          field({
            name: 'email',
            label: t('auth.email'),
            type: 'email',
            dir: 'ltr',
            autocomplete: 'off',
            testid: 'admin-email',
          }),
          field({
            name: 'password',
            label: t('auth.password'),
            hint: t('auth.password_hint'),
            type: 'password',
            dir: 'ltr',
            autocomplete: 'new-password',
            testid: 'admin-password',
          }),
        ],
      }),
  });
}

/**
 * @param {Listed} member
 * @param {() => unknown} load
 */
function memberRow(member, load) {
  const { id, display_name: name, nick_name: nick, email, active, admin } = member;
  const marks = [admin && t('admin.is_admin'), !active && t('admin.is_suspended')].filter(Boolean).join(' · ');
  const words = h(
    'span.person-text',
    null,
    h('span.person-name.line', null, h('bdi', null, name), marks && ' · ', marks && h('span.quiet', null, marks)),
    h('span.quiet', null, h('bdi', null, `@${nick}`), email && ' · ', email && h('bdi', null, email)),
  );
  /** @type {HTMLElement} */
  const menu = iconButton('more', t('admin.act', { name }), {
    testid: 'admin-member-more',
    'aria-haspopup': 'menu',
    onclick: () => openMenu(menu, memberItems(member, load), { label: t('admin.act', { name }) }),
  });
  return h(
    'li.person',
    { testid: 'admin-member', data: { member: id, active: String(active) } },
    h('div.person-main', null, h('span.action-icon', null, icon(member.bot ? 'device' : 'person')), words),
    // The operator alone does something to an admin.
    !admin && menu,
  );
}

/**
 * @param {Listed} member
 * @param {() => unknown} load
 */
function memberItems({ id: who, display_name: name, active, bot }, load) {
  const enable = () => call('POST /admin/members/enable', { who }).then(load, failed);
  const erase = async () => {
    const question = { title: t('admin.delete_title', { name }), more: t('admin.delete_more') };
    if (!(await confirm({ ...question, action: t('admin.delete') }))) return;
    call('POST /admin/members/delete', { who }).then(load, failed);
  };
  const end = () => call('POST /admin/members/revoke', { who }).then(() => succeeded(), failed);
  return [
    !bot && active && { label: t('admin.reset'), icon: 'lock', testid: 'admin-reset', act: () => makeLink(who, name) },
    !bot && { label: t('admin.end_sessions'), icon: 'exit', testid: 'admin-end', act: end },
    active
      ? {
          label: t('admin.suspend'),
          icon: 'block',
          testid: 'admin-suspend',
          danger: true,
          act: () => suspend(who, name, load),
        }
      : { label: t('admin.enable'), icon: 'check', testid: 'admin-enable', act: enable },
    { label: t('admin.delete'), icon: 'trash', testid: 'admin-delete', danger: true, act: erase },
  ];
}

/**
 * @param {string} who
 * @param {string} name
 */
async function makeLink(who, name) {
  try {
    const { url } = await call('POST /admin/members/reset-link', { who });
    // The page's own address: the browser of who makes the link reaches the server by it.
    const link = `${location.origin}/#/r/${url.split('/').pop()}`;
    openDialog({
      title: t('admin.reset'),
      testid: 'admin-link-dialog',
      small: true,
      build: () => once('admin-link', t('admin.reset_lead', { name }), t('invite.link'), link),
    });
  } catch (error) {
    failed(error);
  }
}

function storagePanel() {
  const { list } = pagedList(
    'admin-usage',
    () => ask('GET /admin/storage', { limit: 200 }),
    ({ display_name: name, nick_name: nick, bytes: size, files }) => {
      const words = h(
        'span.person-text',
        null,
        h('span.person-name.line', null, h('bdi', null, name)),
        h('span.quiet', null, h('bdi', null, `@${nick}`)),
      );
      const sum = h('span.quiet', null, bytes(size), ' · ', t('admin.file_count', { count: files }));
      return h('li.person', null, h('div.person-main', null, words), sum);
    },
  );
  return [list];
}

function auditPanel() {
  const { list, more } = pagedList(
    'admin-acts',
    (next) => ask('GET /admin/audit', { limit: PAGE_ITEMS, next }),
    actRow,
  );
  return [list, more];
}

/** @param {Act} act */
function actRow({ at, who, who_name: by, act, whom, whom_name: name, detail }) {
  const doer = by ? `@${by}` : (who ?? t('admin.operator'));
  const target = name ? `@${name}` : whom;
  const parts = [target, detail].filter(Boolean).join(' · ');
  return h(
    'li.person',
    { testid: 'admin-act', data: { act } },
    h(
      'span.person-text',
      null,
      h('span.person-name', null, h('bdi', { lang: 'en', dir: 'ltr' }, act), ' · ', h('bdi', null, doer)),
      parts && h('span.quiet.breaks', null, h('bdi', null, parts)),
      h('span.quiet', null, fullTime(at)),
    ),
  );
}
