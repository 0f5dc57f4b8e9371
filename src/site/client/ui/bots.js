// @ts-check
// Bots and their tokens, for an admin of the server.

import { ago, t } from '../i18n.js';
import { ask, call } from '../net/http.js';
import { h } from './dom.js';
import { field, form } from './forms.js';
import { icon, iconButton } from './icons.js';
import { failed, openDialog, openMenu } from './layers.js';
import { pagedList, suspend } from './moderation.js';
import { button } from './parts.js';
import { once } from './secret.js';

const PAGE_ITEMS = 50;

/** @typedef {import('../../types.d.ts').Bot} Bot */
/** @typedef {import('../../types.d.ts').BotToken} BotToken */

export function botsPanel() {
  const page = (/** @type {string | undefined} */ next) => ask('GET /bots', { limit: PAGE_ITEMS, next });
  const { list, more, load } = pagedList('admin-bot-list', page, botRow);
  const make = form({
    testid: 'admin-bot',
    action: t('admin.bot_make'),
    submit: async ({ display_name }, element) => {
      await call('POST /bots', { display_name });
      element.reset();
      load();
    },
    children: [
      field({
        name: 'display_name',
        label: t('admin.bot_name'),
        maxlength: 64,
        dir: 'auto',
        autocomplete: 'off',
        testid: 'admin-bot-name',
      }),
    ],
  });
  return [make, list, more];
}

/**
 * @param {Bot} bot
 * @param {() => unknown} load
 */
function botRow({ profile, active }, load) {
  const { id, display_name: name, nick_name: nick } = profile;
  const enable = () => call('POST /admin/members/enable', { who: nick }).then(load, failed);
  const items = () => [
    active && { label: t('admin.bot_token'), icon: 'plus', testid: 'admin-token-new', act: () => openNewToken(id) },
    { label: t('admin.bot_tokens'), icon: 'lock', testid: 'admin-token-list', act: () => openTokens(id) },
    active
      ? {
          label: t('admin.suspend'),
          icon: 'block',
          testid: 'admin-bot-suspend',
          danger: true,
          act: () => suspend(nick, name, load),
        }
      : { label: t('admin.enable'), icon: 'check', testid: 'admin-bot-enable', act: enable },
  ];
  /** @type {HTMLElement} */
  const menu = iconButton('more', t('admin.act', { name }), {
    testid: 'admin-bot-more',
    'aria-haspopup': 'menu',
    onclick: () => openMenu(menu, items(), { label: t('admin.act', { name }) }),
  });
  const words = h(
    'span.person-text',
    null,
    h('span.person-name.line', null, h('bdi', null, name)),
    h('span.quiet', null, h('bdi', null, `@${nick}`), !active && ' · ', !active && t('admin.is_suspended')),
  );
  return h(
    'li.person',
    { testid: 'admin-bot', data: { profile: id } },
    h('div.person-main', null, h('span.action-icon', null, icon('device')), words),
    menu,
  );
}

/** @param {string} profile */
function openNewToken(profile) {
  openDialog({
    title: t('admin.bot_token'),
    testid: 'admin-token-dialog',
    small: true,
    build: () => {
      const made = h('div');
      const make = form({
        testid: 'admin-token',
        action: t('admin.bot_token'),
        submit: async ({ name }) => {
          const { token } = await call('POST /bots/{profile}/tokens', { profile, name });
          made.replaceChildren(...once('admin-token-made', t('admin.token_lead'), t('admin.token'), token));
          make.remove();
        },
        children: [
          field({
            name: 'name',
            label: t('admin.token_name'),
            maxlength: 64,
            dir: 'auto',
            autocomplete: 'off',
            testid: 'admin-token-name',
          }),
        ],
      });
      return [make, made];
    },
  });
}

/** @param {string} profile */
function openTokens(profile) {
  openDialog({
    title: t('admin.bot_tokens'),
    testid: 'admin-tokens-dialog',
    small: true,
    build: () => {
      const page = () => ask('GET /bots/{profile}/tokens', { profile });
      return pagedList('admin-tokens', page, (token, load) => tokenRow(profile, token, load)).list;
    },
  });
}

/**
 * @param {string} profile
 * @param {BotToken} token
 * @param {() => unknown} load
 */
function tokenRow(profile, { id, name, last_used_at: used }, load) {
  const revoke = () => call('DELETE /bots/{profile}/tokens/{session}', { profile, session: id }).then(load, failed);
  const words = h(
    'span.person-text',
    null,
    h('span.person-name.line', null, h('bdi', null, name)),
    h('span.quiet', null, used ? t('admin.used', { when: ago(used) }) : t('admin.unused')),
  );
  return h(
    'li.person',
    null,
    h('div.person-main', null, words),
    button('admin-token-revoke', t('invite.revoke'), revoke),
  );
}
