// @ts-check
// Notifications of this browser while natter is open and not looked at. Pure: its parts are given to it.
//
// Invariant: of all tabs and the worker, one notifies of a message.

import { isNotified } from '../notice.js';

// Many messages that come together ring once.
const RING_EVERY_MS = 2_000;

/** @typedef {import('../notice.js').Notice} Notice */
/**
 * @typedef {object} Parts
 * @property {(conversation: string, n: number) => Promise<boolean>} claim
 * @property {() => Promise<boolean>} isWatched whether a tab of this browser has the focus
 * @property {(notice: Notice) => Promise<void>} show
 * @property {() => void} ring
 * @property {() => number} now
 */

export class Alerts {
  #parts;
  #rangAt = -Infinity;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  /**
   * @param {Notice} notice
   * @param {{isMuted: boolean, isMentioned: boolean, isRead: boolean}} state
   */
  async arrived(notice, state) {
    const { claim, isWatched, show, ring, now } = this.#parts;
    if (!isNotified({ ...state, isWatched: await isWatched() })) return;
    if (!(await claim(notice.conversation, notice.n))) return;
    await show(notice);
    if (now() - this.#rangAt < RING_EVERY_MS) return;
    this.#rangAt = now();
    ring();
  }
}
