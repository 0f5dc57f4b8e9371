// @ts-check
// What a notification says, and when there is one. Pure: the page and its worker use it.
//
// Invariants: what comes from a push is text, whatever it says; a click opens nothing but a conversation of this
// client.

import { plain } from './markup.js';
import { phrase } from './phrase.js';

const NAME_MAX = 120;
const BODY_MAX = 300;
const ID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
const TURNS = /[\u202a-\u202e\u2066-\u2069]/g;

/** @typedef {'off' | 'who' | 'text'} Level */
/**
 * A notification as the server pushes it, and as the page makes it of a message.
 * @typedef {object} Notice
 * @property {string} conversation
 * @property {boolean} isGroup
 * @property {string} title of a group
 * @property {string} sender
 * @property {number} unread
 * @property {number} n
 * @property {string | null} body null if the device is not to show the text
 * @property {number} files
 * @property {boolean} isMention whether it mentions the member
 */
/** @typedef {{conversation: string, n: number, unread: number}} Mark what a shown notification remembers */
/**
 * What an earlier version stored has no `mention`.
 * @typedef {Record<'message' | 'files', import('./phrase.js').Phrase>
 *   & {mention?: import('./phrase.js').Phrase}} Words
 */

/**
 * @param {unknown} value
 * @param {number} max
 */
const text = (value, max) => (typeof value === 'string' ? value.replace(TURNS, '').slice(0, max) : '');
/** @param {unknown} value */
const count = (value) => (Number.isSafeInteger(value) ? Math.max(0, Number(value)) : 0);

/** @param {unknown} id */
export const isId = (id) => typeof id === 'string' && ID.test(id);

/**
 * Of the text of a push.
 * @param {string} json
 * @returns {Notice | null} null if no natter sent it
 */
export function noticeOf(json) {
  /** @type {Record<string, unknown>} */
  let push;
  try {
    push = JSON.parse(json);
  } catch {
    return null;
  }
  if (!isId(push?.conversation)) return null;
  return {
    conversation: String(push.conversation),
    isGroup: push.type === 'group',
    title: text(push.title, NAME_MAX),
    sender: text(push.sender, NAME_MAX),
    unread: count(push.unread),
    n: count(push.n),
    body: 'body' in push ? text(push.body, BODY_MAX) : null,
    files: count(push.attachments),
    isMention: push.mention === true,
  };
}

/**
 * Title and body.
 * @param {Notice} notice
 * @param {Level} level
 * @param {Words} words
 * @param {string} lang
 */
export function wordsOfNotice({ isGroup, title, sender, unread, body, files, isMention }, level, words, lang) {
  const [plural, numbers] = [new Intl.PluralRules(lang), new Intl.NumberFormat(lang)];
  const isCalled = isMention && sender && words.mention;
  const who = isCalled ? phrase(isCalled, { name: sender }, plural, numbers) : sender;
  const names = [who, isGroup ? title : ''].filter(Boolean);
  const shown = level === 'text' && body !== null ? plain(body) : null;
  /** @param {'message' | 'files'} key @param {number} count */
  const counted = (key, count) => phrase(words[key], { count }, plural, numbers);
  const other = shown !== null && files > 0 ? counted('files', files) : counted('message', Math.max(1, unread));
  return { title: names.join(' · ') || 'natter', body: shown || other };
}

/**
 * Whether a message that arrived is notified by this browser.
 * @param {{isMuted: boolean, isMentioned: boolean, isRead: boolean, isWatched: boolean}} state `isWatched`: a tab of
 *   natter has the focus
 */
export const isNotified = ({ isMuted, isMentioned, isRead, isWatched }) =>
  (!isMuted || isMentioned) && !isRead && !isWatched;

/**
 * The number on the app's icon while no page is open: what is unread in the conversations of these notifications.
 * @param {Mark[]} marks
 */
export const unreadOf = (marks) => marks.reduce((sum, { unread }) => sum + count(unread), 0);

/**
 * Those that no longer say anything new.
 * @template {{data: Mark}} N
 * @param {N[]} notifications
 * @param {(conversation: string) => {read_n: number} | undefined} find
 */
export const outdatedOf = (notifications, find) =>
  notifications.filter(({ data }) => (find(data?.conversation)?.read_n ?? -1) >= data?.n);

/** @typedef {'insecure' | 'install' | 'unsupported' | 'refused' | 'off' | 'here' | 'on'} State */
/**
 * What the settings say about this device.
 * @param {object} device
 * @param {boolean} device.isSecure
 * @param {boolean} device.isUninstalledIos Safari on iOS has notifications only for an app on the home screen
 * @param {boolean} device.hasNotifications
 * @param {NotificationPermission} device.permission
 * @param {Level} device.level
 * @param {boolean} device.isSubscribed
 * @returns {State} here: only while natter is open
 */
export function stateOf({ isSecure, isUninstalledIos, hasNotifications, permission, level, isSubscribed }) {
  if (!isSecure) return 'insecure';
  if (isUninstalledIos) return 'install';
  if (!hasNotifications) return 'unsupported';
  if (permission === 'denied') return 'refused';
  if (permission !== 'granted' || level === 'off') return 'off';
  return isSubscribed ? 'on' : 'here';
}
