// @ts-check
// The messages that others reply to: from the window, else fetched once.

import { call } from '../../net/http.js';

/** @typedef {import('../../../types.d.ts').Message} Message */

/** @type {Map<string, Message | null | undefined>} */
const quotes = new Map();

/**
 * Undefined: it is not known yet, and `learned` is called once it is. Null: it no longer exists.
 * @param {import('../shell.js').Conversation | undefined} conversation
 * @param {() => void} learned
 * @returns {(id: string) => Message | null | undefined}
 */
export function quotedIn(conversation, learned) {
  return (id) => {
    const held = conversation?.window.byId(id);
    if (held) return held;
    if (!quotes.has(id)) {
      quotes.set(id, undefined);
      fetchQuote(id).then(learned);
    }
    return quotes.get(id);
  };
}

/** @param {string} id */
async function fetchQuote(id) {
  try {
    quotes.set(id, await call('GET /messages/{message}', { message: id }));
  } catch (error) {
    if (error.status === 404) quotes.set(id, null);
    else quotes.delete(id);
  }
}
