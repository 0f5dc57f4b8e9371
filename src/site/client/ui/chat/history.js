// @ts-check
// Which part of a conversation's history is loaded, and what is being loaded.
//
// Owns that one request runs at a time, and what failed.

import { atTail } from '../../state/conversation.js';
import { model } from '../../state/model.js';

// More unread messages than this are not loaded from the end.
const UNREAD_FROM_END_MAX = 40;

export class History {
  /** @type {Error | null} */
  failure = null;
  #conversation;
  #isLoading = false;
  #seen = /** @type {object | null} */ (null);

  /** @param {import('../../state/conversation.js').Conversation | null} conversation */
  constructor(conversation) {
    this.#conversation = conversation;
  }

  // Nothing of the present window was shown: it is new, or the model began anew.
  get isUnopened() {
    const { window } = this.#conversation ?? {};
    return Boolean(window) && window !== this.#seen && !this.#isLoading;
  }

  get isAtTail() {
    return !this.#conversation?.window.loaded || atTail(this.#conversation);
  }

  get hasOlder() {
    const conversation = this.#conversation;
    return (
      conversation !== null && (!conversation.window.loaded || conversation.window.lo > (conversation.first_n ?? 1))
    );
  }

  /**
   * Loads the part that is shown first.
   * @param {number | undefined} at
   * @param {number | null} divider
   * @returns {Promise<boolean>} whether there is something new to show; `failure` says why not
   */
  async open(at, divider) {
    const conversation = this.#conversation;
    if (this.#isLoading || !conversation) return false;
    this.#isLoading = true;
    const { window } = conversation;
    if (conversation.type === 'group') model.members(conversation).catch(() => {});
    this.failure = null;
    try {
      const isFar = divider !== null && conversation.last_n - divider > UNREAD_FROM_END_MAX;
      const unread = isFar ? divider + 1 : undefined;
      if (!window.loaded) await model.load(conversation, at ?? unread);
    } catch (error) {
      this.failure = error;
    }
    this.#seen = window;
    this.#isLoading = false;
    return this.failure === null;
  }

  /**
   * @param {'older' | 'newer'} which
   * @returns {Promise<boolean>} whether it was asked
   */
  async more(which) {
    if (this.#isLoading || this.failure || !this.#conversation?.window.loaded) return false;
    this.#isLoading = true;
    try {
      await model[which](this.#conversation);
    } catch {
      /* the next scroll tries again */
    }
    this.#isLoading = false;
    return true;
  }

  async toLatest() {
    if (this.#conversation && !this.isAtTail) await model.load(this.#conversation);
  }

  /** @param {number} n */
  async reach(n) {
    if (this.#conversation && !this.#conversation.window.covers(n, n)) await model.load(this.#conversation, n);
  }
}
