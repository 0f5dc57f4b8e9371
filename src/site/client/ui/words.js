// @ts-check
// How people, conversations and messages are named in a line of text.

import { listOf, t } from '../i18n.js';
import { plain } from '../markup.js';
import { isVoice } from '../names.js';
import { model } from '../state/model.js';
import { beginning } from '../util.js';

const PREVIEW_MAX = 160;
// Of a text with its marks.
const PARSED_MAX = 400;
const NAMES_MAX = 4;

/**
 * @typedef {import('../../types.d.ts').Message} Message
 * @typedef {Pick<Message, 'kind' | 'sender' | 'profiles' | 'profiles_count' | 'title'>} System
 */

// A name is part of our sentences: it may not change the direction of the text after it.
/** @param {string} name */
const unturned = (name) => name.replace(/[\u202a-\u202e\u2066-\u2069]/g, '');

// A bot is marked wherever its name is.
/** @param {Pick<import('../../types.d.ts').Profile, 'display_name' | 'bot'>} profile */
export const shownName = ({ display_name: name, bot }) =>
  bot ? t('people.bot', { name: unturned(name) }) : unturned(name);

/** @param {string | null} id */
export function nameOf(id) {
  if (id === null) return t('people.deleted');
  const person = model.people.person(id);
  return person ? shownName(person) : '…';
}

/** @param {string | null} id */
export const nameOrYou = (id) => (id !== null && model.isMe(id) ? t('people.you') : nameOf(id));

/** @param {Pick<import('../../types.d.ts').Conversation, 'type' | 'title' | 'peer'>} conversation */
export function titleOf(conversation) {
  if (conversation.type === 'group') return unturned(conversation.title || t('new.group'));
  return conversation.peer ? shownName(conversation.peer) : t('people.deleted');
}

/** @typedef {{name: string, type: string}} Named */
/**
 * Of a message, a row of the outbox, or a reply.
 * @param {{body: string | null, attachments?: Named[], files?: Named[], deleted_at?: string | null,
 *   damaged?: true} & Partial<System> | null | undefined} message
 */
export function preview(message) {
  if (!message) return t('list.no_messages');
  if (message.kind) return systemWords(message);
  if (message.deleted_at) return t('msg.deleted');
  if (message.damaged) return t('msg.damaged');
  if (message.body) return beginning(plain(beginning(message.body, PARSED_MAX)), PREVIEW_MAX);
  const file = (message.attachments ?? message.files)?.[0];
  if (!file) return '';
  if (isVoice(file)) return t('preview.voice');
  const [family] = file.type.split('/');
  if (family === 'image') return t('preview.photo');
  return family === 'video' ? t('preview.video') : file.name;
}

/**
 * What a system message tells.
 * @param {Partial<System>} message
 */
function systemWords({ kind, sender = null, profiles = [], profiles_count: count = 0, title = '' }) {
  const isMine = sender !== null && model.isMe(sender);
  const isPassive = kind === 'promoted' && profiles[0] === sender;
  const isWith = kind === 'created' && count > 0;
  const which = [kind, isPassive && 'self', isWith && 'with', isMine && 'me'].filter(Boolean).join('_');
  return t(`chat.told_${which}`, { name: nameOf(sender), names: someOf(profiles, count), title: unturned(title) });
}

/**
 * The first names of many.
 * @param {string[]} profiles
 * @param {number} count
 */
function someOf(profiles, count) {
  const names = profiles.slice(0, NAMES_MAX).map((id) => (model.isMe(id) ? t('chat.told_you') : nameOf(id)));
  const left = count - names.length;
  if (left === 1 && profiles.length < count) names.push(t('people.deleted'));
  else if (left > 0) names.push(t('chat.told_others', { count: left }));
  return listOf(names);
}

/** @param {string[]} ids */
export function typingWords(ids) {
  const names = ids.map(nameOf);
  if (names.length === 1) return t('typing.one', { name: names[0] });
  return t('typing.many', { names: names.slice(0, 3).join(', ') });
}

/**
 * Why a row of the outbox was refused.
 * @param {import('../state/outbox.js').Row} row
 */
export function refusalOf(row) {
  // The server does not say who blocked whom: to each of the two it is the same.
  const isDirect = row.lane.startsWith('to:');
  if (isDirect && ['not_allowed', 'not_found'].includes(row.error?.code ?? '')) return t('msg.refused_blocked');
  return row.error?.title || t('msg.failed');
}
