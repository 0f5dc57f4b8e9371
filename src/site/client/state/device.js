// @ts-check
// What the page and its worker know together: that a member is signed in on this device, and what was notified.
//
// Invariant: each message is claimed by one tab or by the worker, once.

import { DEVICE, NOTIFIED, Store } from './disk.js';

const KEY = 'now';
// Conversations with a mark. Beyond, all marks are dropped: at worst something is notified once more.
const MARKS_MAX = 500;

/**
 * @typedef {object} Row
 * @property {string} key
 * @property {string} profile who is signed in
 * @property {string} lang
 * @property {import('../notice.js').Words} words of a notification
 * @property {string | null} endpoint of the profile's subscription
 */
/** @typedef {{key: string, n: number}} Claim */

/** @type {Store<Row>} */
const rows = new Store(DEVICE);
/** @type {Store<Claim>} */
const claims = new Store(NOTIFIED);

export const device = {
  /** @returns {Promise<Row | null>} */
  read: async () => (await rows.all())[0] ?? null,
  /** @param {Omit<Row, 'key'>} row */
  write: (row) => rows.put({ key: KEY, ...row }),
  async erase() {
    await Promise.all([rows.clear(), claims.clear()]);
  },
  async limit() {
    if ((await claims.all()).length > MARKS_MAX) await claims.clear();
  },
};

/**
 * True for the first who asks for a position or a later one.
 * @param {string} conversation
 * @param {number} n
 */
export const claim = (conversation, n) => claims.replace({ key: conversation, n }, (held) => !held || held.n < n);
