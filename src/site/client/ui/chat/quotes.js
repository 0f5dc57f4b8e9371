// @ts-check
// The messages that others reply to: from the window, else fetched once.

import { get } from '../../net/http.js';

/** @type {Map<string, import('../../../types.d.ts').Message | null | undefined>} */
const quotes = new Map();

/**
 * Undefined: it is not known yet, and `learned` is called once it is. Null: it no longer exists.
 * @param {any} conversation
 * @param {() => void} learned
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

async function fetchQuote(id) {
  try {
    quotes.set(id, await get(`/messages/${id}`));
  } catch (error) {
    if (error.status === 404) quotes.set(id, null);
    else quotes.delete(id);
  }
}
