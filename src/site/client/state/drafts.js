// @ts-check
// What was written and not sent, for each conversation, on this device. Pure: its storage is given to it.
//
// Owns the text and the reply, in the local storage so that a reload in the middle of a word keeps it; and the chosen
// files, in the database.
// Invariants: a draft is stored only while its member is signed in; `erase` leaves nothing of any member on the device.

import { SIGNAL } from '../names.js';
import { Emitter } from '../util.js';

// Conversations with a draft on disk. Beyond, the oldest draft is no longer stored.
const DRAFTS_MAX = 100;
// Bytes of all chosen files on disk. Beyond, files are kept only until the page is closed.
const FILES_BYTES_MAX = 64 * 1_048_576;
const PREFIX = 'draft:';

/** @typedef {import('../../types.d.ts').Message} Message */
/** @typedef {{id: string, sender: string | null, body: string | null, attachments: Message['attachments']}} Reply */
/** @typedef {import('./outbox.js').Chosen} Chosen */
/** @typedef {{text: string, reply: Reply | null, files: Chosen[]}} Draft */
/** @typedef {{key: string, profile: string, lane: string, files: Chosen[]}} Row the files of a draft, on disk */
/**
 * @typedef {object} Parts
 * @property {{get(key: string): string | null, set(key: string, value: string): void, remove(key: string): void,
 *   keys(prefix: string): string[]}} local
 * @property {{all(): Promise<Row[]>, put(row: Row): Promise<unknown>, remove(key: string): Promise<unknown>,
 *   clear(): Promise<unknown>}} store
 * @property {() => number} now
 */

/** @param {unknown} file */
const asChosen = (file) => ({ file: /** @type {File} */ (file) });

/** @extends {Emitter<{change: string}>} */
export class Drafts extends Emitter {
  #parts;
  /** @type {string | null} */
  #profile = null;
  /** @type {Map<string, Draft>} */
  #drafts = new Map();

  /** @param {Parts} parts */
  constructor(parts) {
    super();
    this.#parts = parts;
  }

  /** @param {string} profile */
  async start(profile) {
    this.#profile = profile;
    const rows = (await this.#parts.store.all()).filter((row) => row.profile === profile);
    if (this.#profile !== profile) return;
    // A view may have begun with the draft, without its files.
    for (const { lane, files } of rows) {
      // An earlier version of the client kept them without what is said about them.
      this.of(lane).files.unshift(...files.map((chosen) => (chosen.file ? chosen : asChosen(chosen))));
      this.emit(SIGNAL.change, lane);
    }
  }

  stop() {
    this.#profile = null;
    this.#drafts.clear();
  }

  /**
   * The draft of a lane. Change it, then call `save`, and `saveFiles` if its files changed.
   * @param {string} lane
   * @returns {Draft}
   */
  of(lane) {
    const held = this.#drafts.get(lane);
    if (held) return held;
    const stored = this.#stored(this.#key(lane));
    const draft = { text: stored?.text ?? '', reply: stored?.reply ?? null, files: [] };
    this.#drafts.set(lane, draft);
    return draft;
  }

  /** @param {string} lane */
  save(lane) {
    if (!this.#profile) return;
    const { text, reply } = this.of(lane);
    if (!text && !reply) return this.#parts.local.remove(this.#key(lane));
    const short = reply && { id: reply.id, sender: reply.sender, body: reply.body, attachments: reply.attachments };
    this.#parts.local.set(this.#key(lane), JSON.stringify({ text, reply: short, at: this.#parts.now() }));
    this.#limit();
  }

  /**
   * @param {string} lane
   * @returns {Promise<boolean>} false: the files are too large to be kept across a reload
   */
  async saveFiles(lane) {
    const profile = this.#profile;
    if (!profile) return true;
    const key = this.#key(lane);
    const { files } = this.of(lane);
    if (!files.length) {
      await this.#parts.store.remove(key);
      return true;
    }
    const others = (await this.#parts.store.all()).filter((row) => row.key !== key);
    const bytes = [...others.flatMap((row) => row.files), ...files].reduce(
      (sum, chosen) => sum + (chosen.file ?? asChosen(chosen).file).size,
      0,
    );
    if (bytes > FILES_BYTES_MAX) {
      await this.#parts.store.remove(key);
      return false;
    }
    // Signed out meanwhile: nothing may be stored after `erase`.
    if (this.#profile === profile) await this.#parts.store.put({ key, profile, lane, files: [...files] });
    return true;
  }

  // At sign-out, and when the session was revoked.
  async erase() {
    this.stop();
    for (const key of this.#parts.local.keys(PREFIX)) this.#parts.local.remove(key);
    await this.#parts.store.clear();
  }

  /** @param {string} lane */
  #key(lane) {
    return `${PREFIX}${this.#profile}:${lane}`;
  }

  /**
   * @param {string} key
   * @returns {{text?: string, reply?: Reply | null, at?: number} | null}
   */
  #stored(key) {
    try {
      return JSON.parse(this.#parts.local.get(key) ?? 'null');
    } catch {
      return null;
    }
  }

  #limit() {
    const keys = this.#parts.local.keys(PREFIX);
    if (keys.length <= DRAFTS_MAX) return;
    const byAge = keys.map((key) => ({ key, at: this.#stored(key)?.at ?? 0 })).sort((a, b) => a.at - b.at);
    for (const { key } of byAge.slice(0, keys.length - DRAFTS_MAX)) this.#parts.local.remove(key);
  }
}
