// @ts-check
// The messages of one conversation that this tab holds: by position, with one run that is shown. Pure.
//
// Invariants: a position holds the greatest rev seen, once; the run from `lo` to `hi` has no gap.

/** @typedef {import('../../types.d.ts').Message} Message */

/**
 * What is left of a message that was kept for its time.
 * @param {Message} message
 * @returns {Message}
 */
export function tombstone(message) {
  if (message.deleted_at) return message;
  const { id, client_id, conversation, n, seq, rev, sender, created_at, edited_at } = message;
  const empty = { body: null, attachments: [], reply_to: null, reactions: [], deleted_at: new Date().toISOString() };
  return { id, client_id, conversation, n, seq, rev, sender, created_at, edited_at, ...empty };
}

export class Window {
  /** @type {Map<number, Message>} */
  #byN = new Map();
  /** @type {Map<string, number>} */
  #nById = new Map();
  #first;
  #erased = 0;
  loaded = false;

  /** @param {number} [first] the member sees no message before this one */
  constructor(first = 1) {
    this.#first = first;
    this.lo = first;
    this.hi = first - 1;
  }

  /**
   * True if it changed the state. An equal rev is taken too: it is the same message with renewed signed URLs.
   * @param {Message} message
   */
  put(message) {
    const held = this.#byN.get(message.n);
    if (message.n < this.#first || (held && held.rev > message.rev)) return false;
    this.#byN.set(message.n, message.n > this.#erased ? message : tombstone(message));
    this.#nById.set(message.id, message.n);
    if (this.loaded) this.#extend();
    return true;
  }

  /**
   * A page of the list route: dense, in the order of n. It replaces the run unless it touches it; newer versions that
   * arrived by events meanwhile are kept.
   * @param {Message[]} page
   */
  take(page, { replace = false } = {}) {
    for (const message of page) this.put(message);
    const first = page.at(0)?.n ?? this.#first;
    const last = page.at(-1)?.n ?? this.#first - 1;
    if (!this.loaded || replace) {
      this.loaded = true;
      this.lo = first;
      this.hi = last;
    } else if (page.length && first <= this.hi + 1 && last >= this.lo - 1) {
      this.lo = Math.min(this.lo, first);
      this.hi = Math.max(this.hi, last);
    }
    this.#extend();
  }

  /**
   * All messages up to this position are tombstones on the server.
   * @param {number} through
   */
  erase(through) {
    if (through <= this.#erased) return;
    this.#erased = through;
    for (const [n, message] of this.#byN) if (n <= through) this.#byN.set(n, tombstone(message));
  }

  // This is safe because n is dense: the message at hi + 1 is the next one.
  #extend() {
    while (this.#byN.has(this.hi + 1)) this.hi++;
    while (this.hi >= this.lo && this.#byN.has(this.lo - 1)) this.lo--;
  }

  /** @param {number} n */
  at(n) {
    return this.#byN.get(n);
  }

  /** @param {string} id */
  byId(id) {
    const n = this.#nById.get(id);
    return n === undefined ? undefined : this.#byN.get(n);
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  covers(from, to) {
    return this.loaded && from >= this.lo && to <= this.hi;
  }

  /** @returns {Message[]} */
  run() {
    const list = [];
    for (let n = this.lo; n <= this.hi; n++) list.push(/** @type {Message} */ (this.#byN.get(n)));
    return list;
  }
}
