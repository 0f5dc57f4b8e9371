// @ts-check
// What a conversation shows, from top to bottom: days, the line before new messages, messages, and what waits to be
// sent. Pure.

/** @typedef {import('../../types.d.ts').Message} Message */
/** @typedef {import('./outbox.js').Row} Row */
/**
 * @typedef {object} Entry
 * @property {'message'} kind
 * @property {string} key
 * @property {Message} [message]
 * @property {Row} [row] instead of a message: it waits in the outbox
 * @property {boolean} mine
 * @property {boolean} first of a group of one sender
 * @property {boolean} last
 * @property {boolean} named whether the sender is shown
 * @property {boolean} read by the peer
 * @property {Message | null | undefined} quote null: it no longer exists; undefined: not known yet
 * @typedef {{kind: 'day', key: string, at: string}} Day
 * @typedef {{kind: 'new', key: string}} Divider
 * @typedef {{kind: 'system', key: string, message: Message}} System a change of the group
 * @typedef {Entry | Day | Divider | System} Item
 */

const GROUP_MS = 5 * 60_000;

/**
 * @param {object} source
 * @param {Message[]} source.messages
 * @param {Row[]} source.rows what waits; shown after the end of the conversation, never inside it
 * @param {number | null} source.divider messages of others after this position are new
 * @param {string} source.me
 * @param {boolean} source.isGroup
 * @param {number} source.peerReadN
 * @param {(id: string) => Message | null | undefined} source.quoted
 * @returns {Item[]}
 */
export function timeline({ messages, rows, divider, me, isGroup, peerReadN, quoted }) {
  const stored = new Set(messages.filter((m) => m.sender === me).map((m) => m.client_id));
  const waiting = rows.filter((row) => !stored.has(row.client_id));
  /** @type {Item[]} */
  const items = [];
  let day = '';
  let isDivided = divider === null;
  let before = /** @type {{entry: Entry, at: string, by: string | null} | null} */ (null);
  for (const source of [...messages.map((message) => ({ message })), ...waiting.map((row) => ({ row }))]) {
    const message = 'message' in source ? source.message : undefined;
    const row = 'row' in source ? source.row : undefined;
    const at = (message ?? row)?.created_at ?? '';
    const by = message ? message.sender : me;
    const mine = by === me;
    const today = new Date(at).toDateString();
    let joined = before !== null && before.by === by && today === day;
    joined &&= Date.parse(at) - Date.parse(before?.at ?? at) < GROUP_MS;
    if (today !== day) items.push({ kind: 'day', key: `day:${today}`, at });
    if (message?.kind) {
      items.push({ kind: 'system', key: `n:${message.n}`, message });
      before = null;
      day = today;
      continue;
    }
    if (!isDivided && message && !mine && message.n > (divider ?? 0)) {
      items.push({ kind: 'new', key: 'new' });
      isDivided = true;
      joined = false;
    }
    if (joined && before) before.entry.last = false;
    const replyTo = (message ?? row)?.reply_to;
    /** @type {Entry} */
    const entry = {
      kind: 'message',
      // The member's own messages keep one element from sending to sent; others are keyed by position.
      key: mine ? `c:${(message ?? row)?.client_id}` : `n:${message?.n}`,
      message,
      row,
      mine,
      first: !joined,
      last: true,
      named: isGroup,
      read: Boolean(mine && message && !isGroup && message.n <= peerReadN),
      quote: replyTo ? quoted(replyTo) : undefined,
    };
    items.push(entry);
    before = { entry, at, by };
    day = today;
  }
  return items;
}
