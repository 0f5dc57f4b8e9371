// @ts-check
// Mentions: which name of a text addresses whom, who is offered after an `@`, and what is unread of them. Pure.
//
// The server decides whom a message mentions; this finds their names. Invariant: what a device counts by itself
// is corrected by each response of the server.

/** @typedef {import('../../types.d.ts').Message} Message */
/** @typedef {import('../../types.d.ts').Profile} Profile */
/** @typedef {import('./conversation.js').Conversation} Conversation */
/** @typedef {{unread_mentions?: number, mention_n?: number}} Unread */
/** @typedef {{id: string, name: string, nick: string}} Candidate */

export const ALL = 'all';
// As many as a phone shows above its keyboard.
const OFFERED_MAX = 6;

/**
 * @param {Message} message
 * @param {string} me
 */
export const mentionsMe = ({ mentions, sender }, me) =>
  sender !== me && Boolean(mentions?.some((who) => who === ALL || who === me));

/**
 * A new message of somebody else.
 * @param {Conversation} conversation
 * @param {Message} message
 * @param {string} me
 */
export function count(conversation, message, me) {
  if (!mentionsMe(message, me)) return;
  conversation.unread_mentions = (conversation.unread_mentions ?? 0) + 1;
  conversation.mention_n ??= message.n;
}

/**
 * What the server says; it leaves out what is zero.
 * @param {Conversation} conversation
 * @param {Unread} [unread]
 */
export function set(conversation, { unread_mentions, mention_n } = {}) {
  Object.assign(conversation, { unread_mentions, mention_n });
}

/**
 * After the read mark has moved.
 * @param {Conversation} conversation
 * @returns {boolean} whether the server must be asked
 */
export function moved(conversation) {
  const { read_n, last_n, mention_n } = conversation;
  if (mention_n === undefined || read_n < mention_n) return false;
  if (read_n < last_n) return true;
  set(conversation);
  return false;
}

/**
 * Whether an edit or a deletion may have changed what is unread.
 * @param {Conversation} conversation
 * @param {Message} message
 * @param {string} me
 */
export const isStale = (conversation, message, me) =>
  message.n > conversation.read_n && (Boolean(conversation.unread_mentions) || mentionsMe(message, me));

/**
 * A text in pieces: each name after an `@` that is one of these, by nick name in lower case, with its id.
 * @param {string} text
 * @param {Map<string, string>} ids
 * @returns {Array<string | {id: string, text: string}>}
 */
export function pieces(text, ids) {
  /** @type {Array<string | {id: string, text: string}>} */
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(/@([A-Za-z0-9_.]+)/g)) {
    const name = found[1].replace(/[._]+$/, '');
    const id = ids.get(name.toLowerCase());
    if (id === undefined) continue;
    parts.push(text.slice(from, found.index), { id, text: `@${name}` });
    from = found.index + name.length + 1;
  }
  parts.push(text.slice(from));
  return parts.filter((part) => part !== '');
}

/**
 * The name that is being written before the caret: where its `@` is, and what follows it.
 * @param {string} text
 * @param {number} caret
 */
export function written(text, caret) {
  const found = /(?:^|[\s(["'*،؛])@([\p{L}\p{N}_.]{0,25})$/u.exec(text.slice(0, caret));
  return found ? { at: caret - found[1].length - 1, query: found[1] } : null;
}

/**
 * Who is offered for what was written: first those whose nick name or name begins like it.
 * @param {Candidate[]} people
 * @param {string} query
 */
export function offered(people, query) {
  const wanted = query.toLocaleLowerCase();
  /** @param {Candidate} person */
  const words = ({ name, nick }) => [nick, ...name.toLocaleLowerCase().split(/\s+/)];
  return people.filter((person) => words(person).some((word) => word.startsWith(wanted))).slice(0, OFFERED_MAX);
}
