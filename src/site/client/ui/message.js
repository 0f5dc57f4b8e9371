// @ts-check
// One message of a conversation, stored or still in the outbox.
//
// Invariant: drawing is a function of the entry.

import { fullTime, listOf, number, t, timeOf } from '../i18n.js';
import { link as connection } from '../net/link.js';
import { outbox } from '../state/here.js';
import { ALL, mentionsMe } from '../state/mentions.js';
import { model } from '../state/model.js';
import { bodyText } from './body.js';
import { h, those } from './dom.js';
import { attachments, localUrl, playersIn } from './files.js';
import { icon } from './icons.js';
import { avatar, isEmojiOnly, link } from './parts.js';
import { nameOf, nameOrYou, preview, refusalOf } from './words.js';

/** @typedef {import('../state/timeline.js').Entry} Entry */
/** @typedef {import('../state/outbox.js').Row} Row */
/** @typedef {import('../../types.d.ts').Message} Message */
/** @typedef {'sent' | 'sending' | 'failed'} State */
/**
 * What a member can do with a message.
 * @typedef {object} Act
 * @property {(message: Message, emoji: string) => void} react
 * @property {(message: Message) => void} jump
 * @property {(message: Message) => void} renew
 */

const PROGRESS_STEPS = 50;

/**
 * What an entry shows, whichever of the two it is.
 * @param {Entry} entry
 */
function contentOf({ message, row }) {
  const waiting = (row?.files ?? []).map((file) => ({ ...file, url: localUrl(file.blob) }));
  /** @type {import('./files.js').Shown[]} */
  const files = message ? message.attachments : waiting;
  const { body, reply_to, created_at, client_id } = /** @type {Message | Row} */ (message ?? row);
  return { files, body: body ?? '', reply_to, created_at, client_id };
}

/**
 * @param {Entry} entry
 * @returns {State}
 */
function stateOf({ row }) {
  if (!row) return 'sent';
  return row.state === 'failed' ? 'failed' : 'sending';
}

/**
 * Names everything that drawing depends on.
 * @param {Entry} entry
 */
export function signEntry(entry) {
  const { message, row, first, last, read, quote } = entry;
  const progress = row && outbox.progress.get(row.client_id);
  const parts = row
    ? [
        row.state,
        row.error?.code,
        connection.online,
        Math.round((progress?.part ?? 0) * PROGRESS_STEPS),
        progress?.file,
      ]
    : [
        message?.id,
        message?.rev,
        read,
        entry.named && nameOf(message?.sender ?? null),
        message?.attachments[0]?.url,
        ...(message?.mentions ?? []).map((id) => id === ALL || nameOf(id)),
      ];
  return [...parts, first, last, quote?.rev ?? quote === null].join('|');
}

/**
 * @param {HTMLElement} element
 * @param {Entry} entry
 * @param {Act} act
 */
export function drawEntry(element, entry, act) {
  const { message, row, mine } = entry;
  const state = stateOf(entry);
  const content = contentOf(entry);
  const isDeleted = Boolean(message?.deleted_at);
  const isBig = !isDeleted && !content.reply_to && !content.files.length && isEmojiOnly(content.body);
  const flags = [mine && 'mine', entry.first && 'first', entry.last && 'last', isDeleted && 'deleted', isBig && 'big'];
  if (message && mentionsMe(message, model.me?.id ?? '')) flags.push('calls-me');
  element.className = ['message', ...flags, state].filter(Boolean).join(' ');
  Object.assign(element.dataset, {
    testid: 'message',
    state,
    clientId: content.client_id,
    mine: String(mine),
    read: String(entry.read),
    n: String(message?.n ?? ''),
    id: message?.id ?? '',
  });
  const sender = mine ? t('people.you') : nameOf(message?.sender ?? null);
  const said = `${t('msg.from', { name: sender, time: timeOf(content.created_at) })}: ${preview(message ?? row)}`;
  element.setAttribute('aria-label', state === 'sent' ? said : `${said}. ${stateWord(state, false)}`);
  const isNamed = entry.named && !mine;
  const place = { message, row, players: playersIn(element), renew: act.renew };
  element.replaceChildren(
    ...those(
      isNamed && h('span.message-face', null, entry.last && faceOf(message?.sender ?? null, sender)),
      h(
        'div.message-main',
        null,
        isNamed && entry.first && h('span.sender.line', { dir: 'auto' }, sender),
        h(
          'div.bubble',
          null,
          !isDeleted && (message?.forwarded || row?.forward) && forwardedMark(),
          !isDeleted && content.reply_to && quote(entry, act),
          attachments(content.files, place),
          bodyOf(message, content.body, isBig),
          meta(entry, content.created_at, isDeleted),
        ),
        message && message.reactions.length > 0 && reactions(message, act),
        row && state === 'failed' && failure(row),
      ),
    ),
  );
}

/**
 * @param {string | null} sender
 * @param {string} name
 */
function faceOf(sender, name) {
  const person = sender === null ? null : model.people.person(sender);
  return avatar({ id: sender ?? '', name, image: person?.profile_image, size: 'small' });
}

/**
 * @param {Message | undefined} message
 * @param {string} body
 * @param {boolean} isBig
 */
function bodyOf(message, body, isBig) {
  if (message?.deleted_at) return h('p.body', null, t('msg.deleted'));
  if (message?.damaged && !body) return h('p.body.damaged', { testid: 'message-damaged' }, t('msg.damaged'));
  if (isBig) return h('p.body', { testid: 'message-body' }, body);
  return body && bodyText(body, message?.mentions);
}

/**
 * @param {Entry} entry
 * @param {string} at
 * @param {boolean} isDeleted
 */
function meta(entry, at, isDeleted) {
  return h(
    'span.meta',
    null,
    entry.message?.pinned && h('span.pin-mark', { role: 'img', 'aria-label': t('msg.pinned') }, icon('pin')),
    entry.message?.edited_at && !isDeleted && h('span', null, t('msg.edited')),
    h('time', { datetime: at, title: fullTime(at) }, timeOf(at)),
    entry.mine && !isDeleted && ticks(stateOf(entry), entry.read),
  );
}

const forwardedMark = () => h('span.forwarded', { testid: 'message-forwarded' }, icon('forward'), t('msg.forwarded'));

/** @param {Row} row */
function failure(row) {
  return h(
    'div.failure',
    { testid: 'message-failure' },
    icon('alert'),
    h('span', null, refusalOf(row)),
    link('message-retry', t('retry'), () => outbox.retry(row.client_id)),
    link('message-discard', t('msg.discard'), () => outbox.discard(row.client_id)),
  );
}

/**
 * @param {State} state
 * @param {boolean} read
 */
function stateWord(state, read) {
  if (state === 'sending') return t(connection.online ? 'msg.sending' : 'msg.waiting');
  if (state === 'failed') return t('msg.failed');
  return t(read ? 'msg.read' : 'msg.sent');
}

/**
 * @param {State} state
 * @param {boolean} read
 */
function ticks(state, read) {
  const word = stateWord(state, read);
  const name = { sending: 'clock', failed: 'alert', sent: read ? 'checks' : 'check' }[state];
  return h(`span.ticks${read ? '.read' : ''}`, { title: word, role: 'img', 'aria-label': word }, icon(name));
}

/**
 * @param {Entry} entry
 * @param {Act} act
 */
function quote({ quote: original }, act) {
  const gone = t(original === null ? 'chat.gone_quote' : 'app.loading');
  return h(
    'button.quote',
    {
      type: 'button',
      testid: 'message-quote',
      title: t('msg.jump'),
      onclick: () => original && act.jump(original),
    },
    h('strong.line', { dir: 'auto' }, original ? nameOrYou(original.sender) : '…'),
    h('span.line', { dir: 'auto' }, original ? preview(original) : gone),
  );
}

const NAMES_SHOWN = 8;

/**
 * @param {Message} message
 * @param {Act} act
 */
function reactions(message, act) {
  return h(
    'div.reactions',
    null,
    message.reactions.map((reaction) => reactionButton(message, reaction, act)),
  );
}

/**
 * @param {Message} message
 * @param {import('../../types.d.ts').Reaction} reaction
 * @param {Act} act
 */
function reactionButton(message, { emoji, count, profiles }, act) {
  const names = listOf(profiles.slice(0, NAMES_SHOWN).map(nameOrYou));
  return h(
    'button.reaction',
    {
      type: 'button',
      'aria-pressed': String(profiles.some((id) => model.isMe(id))),
      'aria-label': t('msg.reaction', { emoji, count, names }),
      title: names,
      testid: 'reaction',
      data: { emoji },
      onclick: () => act.react(message, emoji),
    },
    h('span', null, emoji),
    h('span.count', null, number(count)),
  );
}
