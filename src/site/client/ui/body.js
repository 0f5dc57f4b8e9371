// @ts-check
// The text of a message as elements: what `markup.js` found in it, the names that it mentions, and its addresses.
//
// Invariant: every text enters the page as a text node; an address is http, https or mailto, and opens apart from the
// page, unless it names a message of this server.

import { t } from '../i18n.js';
import { parse } from '../markup.js';
import { ALL, pieces } from '../state/mentions.js';
import { model } from '../state/model.js';
import { h } from './dom.js';
import { nameOf, titleOf } from './words.js';

/** @typedef {import('../markup.js').Block} Block */
/** @typedef {import('../markup.js').Inline} Inline */
/** @typedef {import('../markup.js').List} List */
/** @typedef {Map<string, string>} Names the ids of those who are mentioned, by their nick names in lower case */

const TAGS = /** @type {const} */ ({ strong: 'strong', em: 'em', del: 's' });

/**
 * The element of a text.
 * @param {string} body
 * @param {string[]} mentions
 */
export function bodyText(body, mentions = []) {
  /** @type {Names} */
  const names = new Map(
    mentions.map((id) => [id === ALL ? ALL : (model.people.person(id)?.nick_name ?? '').toLowerCase(), id]),
  );
  const blocks = parse(body);
  const [only] = blocks;
  const props = { testid: 'message-body' };
  if (blocks.length === 1 && only.kind === 'text') return h('p.body', props, partsOf(only.parts, names));
  return h(
    'div.body.blocks',
    props,
    blocks.map((block) => blockOf(block, names)),
  );
}

/**
 * @param {Block} block
 * @param {Names} names
 * @returns {HTMLElement}
 */
function blockOf(block, names) {
  switch (block.kind) {
    case 'fence':
      // Code is written from left to right, and is scrolled by the keyboard too.
      return h('pre', { dir: 'ltr', tabindex: '0', data: { language: block.language } }, h('code', null, block.text));
    case 'quote':
      return h(
        'blockquote',
        { dir: 'auto' },
        block.blocks.map((inner) => blockOf(inner, names)),
      );
    case 'list':
      return listOf(block, names);
    default:
      return h('p', { dir: 'auto' }, partsOf(block.parts, names));
  }
}

/**
 * @param {List} list
 * @param {Names} names
 * @returns {HTMLElement}
 */
function listOf({ isOrdered, items }, names) {
  const rows = items.map(({ number, parts, list }) => {
    const row = h('li', { dir: 'auto' }, partsOf(parts, names), list && listOf(list, names));
    if (isOrdered) row.value = number;
    return row;
  });
  return h(isOrdered ? 'ol' : 'ul', { dir: 'auto' }, rows);
}

/**
 * @param {Inline[]} parts
 * @param {Names} names
 * @returns {Array<string | Node>}
 */
function partsOf(parts, names) {
  return parts.flatMap((part) => {
    if (part.kind === 'text') return pieces(part.text, names).map(named);
    if (part.kind === 'code') return h('code', { dir: 'auto' }, part.text);
    if (part.kind === 'link') return addressOf(part);
    const { kind, parts: inner } = part;
    return h(TAGS[kind], null, partsOf(inner, names));
  });
}

/** @param {{text: string, url: string}} link */
function addressOf({ text, url }) {
  const target = targetOf(url);
  if (!target) return h('a', { href: url, title: url, target: '_blank', rel: 'noopener noreferrer nofollow' }, text);
  const conversation = model.conversations.get(target.conversation);
  const label = conversation ? t('msg.link_to', { name: titleOf(conversation) }) : text;
  return h('a.message-link', { href: target.hash, title: text, testid: 'message-link' }, label);
}

/**
 * The address of a message, for others who are in its conversation.
 * @param {{conversation: string, n: number}} message
 */
export const addressOfMessage = ({ conversation, n }) => `${location.origin}/#/c/${conversation}/${n}`;

/**
 * The place in this page that an address names, if it is of this server.
 * @param {string} url
 */
function targetOf(url) {
  const { origin, pathname, search, hash } = new URL(url);
  const [, conversation] = /^#\/c\/([0-9A-Z]{26})(?:\/\d{1,15})?$/.exec(hash) ?? [];
  return origin === location.origin && pathname === '/' && !search && conversation ? { hash, conversation } : null;
}

/**
 * @param {ReturnType<typeof pieces>[number]} piece
 * @returns {string | Node}
 */
function named(piece) {
  if (typeof piece === 'string') return piece;
  const { id, text } = piece;
  const isMe = id === ALL || model.isMe(id);
  const name = id === ALL ? text : `@${nameOf(id)}`;
  return h(`bdi.mention${isMe ? '.me' : ''}`, { title: text, testid: 'mention', data: { profile: id } }, name);
}
