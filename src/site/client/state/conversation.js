// @ts-check
// What is known of one conversation, and how responses and events change it. Pure.
//
// Invariant: in whatever order responses and events come, a position, a read mark and the last message move forward
// only.

import { ulidMs } from '../util.js';
import * as mentions from './mentions.js';
import { tombstone, Window } from './window.js';

/** @typedef {import('../../types.d.ts').Message} Message */
/** @typedef {import('../../types.d.ts').GroupMember} GroupMember */
/** @typedef {import('../../types.d.ts').Conversation} Listed */
/**
 * A conversation as the server lists it, and what this tab adds: the window of its messages, the position up to which
 * events were applied, the members, and the pinned messages once they were asked for.
 * @typedef {Listed & {window: Window, seq: number, peer_read_n: number, members: GroupMember[] | null,
 *   pins?: Message[], arePinnedKnown?: boolean, noted?: Message[]}} Conversation
 */

/** @type {Array<'muted_until' | 'pinned' | 'archived' | 'marked_unread' | 'hidden' | 'first_n' | 'messages_kept'>} */
const SETTINGS = ['muted_until', 'pinned', 'archived', 'marked_unread', 'hidden', 'first_n', 'messages_kept'];

/**
 * From before what the member sees of it.
 * @param {Conversation} conversation
 * @param {Message} message
 */
const isUnseen = ({ first_n = 1 }, { n }) => n < first_n;

/**
 * Takes what a response says. What an event has already moved past `seq` is kept.
 * @param {Conversation | undefined} held
 * @param {Listed} fresh
 * @param {number} seq the position up to which the response is known to be current; 0 if unknown
 * @returns {Conversation}
 */
export function merge(held, fresh, seq = 0) {
  if (!held) {
    const added = { window: new Window(fresh.first_n), seq, peer_read_n: fresh.peer_read_n ?? 0, members: null };
    const made = { ...fresh, ...added };
    dropErased(made);
    return made;
  }
  const { first_n } = held;
  const { last_n, read_n, unread, last_message, peer_read_n, unread_mentions, mention_n } = held;
  const isLate = held.seq > seq;
  // The server leaves out what is not set.
  for (const name of SETTINGS) held[name] = undefined;
  Object.assign(held, fresh);
  mentions.set(held, isLate ? { unread_mentions, mention_n } : fresh);
  if (isLate) Object.assign(held, { last_n, unread, last_message, read_n: Math.max(read_n, fresh.read_n) });
  if (held.first_n !== first_n) {
    held.window = new Window(held.first_n);
    held.pins = held.pins?.filter((message) => !isUnseen(held, message));
    if (held.last_message && isUnseen(held, held.last_message)) held.last_message = null;
  }
  held.seq = Math.max(held.seq, seq);
  held.peer_read_n = Math.max(peer_read_n, fresh.peer_read_n ?? 0);
  dropErased(held);
  return held;
}

/**
 * Drops the content of messages that the server kept for their time.
 * @param {Conversation} conversation
 */
export function dropErased(conversation) {
  const { erased_n = 0, window, last_message, pins } = conversation;
  window.erase(erased_n);
  if (last_message && last_message.n <= erased_n) conversation.last_message = tombstone(last_message);
  conversation.pins = pins?.filter(({ n }) => n > erased_n);
}

/**
 * The data of before belongs to another history: only the names are kept until the lists are fetched again.
 * @param {Conversation} conversation
 */
export function forget(conversation) {
  conversation.window = new Window(conversation.first_n);
  conversation.window.erase(conversation.erased_n ?? 0);
  conversation.arePinnedKnown = false;
  conversation.seq = 0;
}

/**
 * Takes a message, from wherever it came.
 * @param {Conversation} conversation
 * @param {Message} message
 * @param {string} me
 * @returns {boolean} whether the unread count is no longer certain
 */
export function note(conversation, message, me) {
  if (isUnseen(conversation, message)) return false;
  const before = conversation.window.at(message.n);
  const changed = conversation.window.put(message);
  const mine = message.sender === me;
  if (!mine && conversation.type === 'direct') peerRead(conversation, message.n);
  keepLast(conversation, message);
  keepPinned(conversation, message);
  if (message.n > conversation.last_n) {
    count(conversation, message, me);
    return false;
  }
  const vanished = changed && message.deleted_at && !before?.deleted_at;
  return Boolean(vanished && !mine && message.n > conversation.read_n);
}

/**
 * @param {Conversation} conversation
 * @param {Message} message
 * @param {string} me
 */
function count(conversation, message, me) {
  conversation.last_n = message.n;
  // A system message is nobody's news.
  if (message.kind) return;
  if (!message.deleted_at) {
    conversation.hidden = undefined;
    if (!conversation.muted) conversation.archived = undefined;
  }
  if (message.sender === me) {
    conversation.read_n = message.n;
    conversation.unread = 0;
    mentions.set(conversation);
  } else if (!message.deleted_at) {
    conversation.unread += 1;
    mentions.count(conversation, message, me);
  }
}

/**
 * @param {Conversation} conversation
 * @param {Message} message
 */
function keepLast(conversation, message) {
  const last = conversation.last_message;
  const isNewer = !last || message.n > last.n || (message.n === last.n && message.rev >= last.rev);
  if (isNewer) conversation.last_message = message;
}

/**
 * The answer to the question what is pinned. What was noted while it was on its way may be newer.
 * @param {Conversation} conversation
 * @param {Message[]} pinned
 */
export function setPinned(conversation, pinned) {
  const noted = conversation.noted ?? [];
  conversation.noted = undefined;
  conversation.pins = pinned.sort((a, b) => a.n - b.n);
  for (const message of noted) keepPinned(conversation, message);
}

/**
 * The pinned messages in the order of `n`, once they were asked for.
 * @param {Conversation} conversation
 * @param {Message} message
 */
function keepPinned(conversation, message) {
  const { pins: pinned, noted } = conversation;
  noted?.push(message);
  const held = pinned?.find(({ n }) => n === message.n);
  if (!pinned || (held && held.rev > message.rev)) return;
  const others = pinned.filter((other) => other !== held);
  conversation.pins = message.pinned ? [...others, message].sort((a, b) => a.n - b.n) : others;
}

/**
 * @param {Conversation} conversation
 * @param {number} n
 */
export function peerRead(conversation, n) {
  conversation.peer_read_n = Math.max(conversation.peer_read_n, n);
}

/**
 * Counts the unread messages again.
 * @param {Conversation} conversation
 * @param {string} me
 * @returns {boolean} false if the window does not have them all: then the server must be asked
 */
export function recount(conversation, me) {
  const { window, read_n, last_n } = conversation;
  if (read_n >= last_n) conversation.unread = 0;
  else if (!window.covers(read_n + 1, last_n)) return false;
  else conversation.unread = window.run().filter((m) => m.n > read_n && isNews(m, me)).length;
  return true;
}

/**
 * @param {Message} message
 * @param {string} me
 */
const isNews = ({ sender, deleted_at, kind }, me) => sender !== me && !deleted_at && !kind;

/** @param {Conversation} conversation */
export const atTail = ({ window, last_n }) => window.loaded && window.hi >= last_n;

/**
 * The lane of a direct conversation is its peer, so that messages from before the conversation existed stay ahead of
 * later ones.
 * @param {Conversation} conversation
 */
export const laneOf = ({ type, peer, id }) => (type === 'direct' && peer ? `to:${peer.id}` : id);

/**
 * As the server lists them: the pinned ones first, then the newest activity.
 * @param {Iterable<Conversation>} conversations
 */
export function sorted(conversations) {
  /** @param {Conversation} c */
  const at = (c) => (c.last_message ? Date.parse(c.last_message.created_at) : ulidMs(c.id));
  /** @param {Conversation} c */
  const rank = (c) => Number(Boolean(c.pinned));
  return [...conversations].sort((a, b) => rank(b) - rank(a) || at(b) - at(a) || (a.id < b.id ? 1 : -1));
}
