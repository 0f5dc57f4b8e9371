// @ts-check
// Server-sent events: text in pieces in, events out. No network.
//
// Invariant: however the text is cut, the same events come out. A line that never ends is an error, not a growing
// buffer.

// The server's events have at most the size of a message with all its parts.
const PENDING_MAX = 1_048_576;

/** @typedef {{id: string | null, event: string, data: string}} Sent */

export class SseParser {
  #pending = '';
  #id = /** @type {string | null} */ (null);
  #event = '';
  /** @type {string[]} */
  #data = [];

  /**
   * The events that this piece completes. One with an id and no data moves only the cursor.
   * @param {string} text
   * @returns {Sent[]}
   */
  push(text) {
    this.#pending += text;
    const lines = this.#pending.split('\n');
    this.#pending = lines.pop() ?? '';
    if (this.#pending.length > PENDING_MAX) throw new RangeError('a line without an end');
    /** @type {Sent[]} */
    const done = [];
    for (const line of lines) {
      const sent = this.#line(line.endsWith('\r') ? line.slice(0, -1) : line);
      if (sent) done.push(sent);
    }
    return done;
  }

  /** @param {string} line */
  #line(line) {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'id') this.#id = value;
    else if (name === 'event') this.#event = value;
    else if (name === 'data') this.#data.push(value);
    return null;
  }

  #dispatch() {
    const sent = { id: this.#id, event: this.#event || 'message', data: this.#data.join('\n') };
    const isEmpty = !this.#data.length && this.#id === null;
    this.#id = null;
    this.#event = '';
    this.#data = [];
    return isEmpty ? null : sent;
  }
}
