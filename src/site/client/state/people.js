// @ts-check
// The people whose names this tab shows: fetched when they are first needed, many per request. Pure.

import { debounce } from '../util.js';

/** @typedef {import('../../types.d.ts').Profile} Profile */

// `GET /profiles` takes so many ids.
const IDS_MAX = 100;
const GATHER_MS = 30;

export class People {
  #parts;
  /** @type {Map<string, Profile>} */
  #profiles = new Map();
  /** @type {Set<string>} */
  #asked = new Set();
  /** @type {Set<string>} */
  #wanted = new Set();

  /** @param {{fetch: (ids: string[]) => Promise<Profile[]>, learned: () => void}} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  clear() {
    this.#profiles.clear();
    this.#asked.clear();
    this.#wanted.clear();
  }

  /** @param {Profile} profile */
  learn(profile) {
    this.#profiles.set(profile.id, { ...this.#profiles.get(profile.id), ...profile });
  }

  /** @param {string} id */
  get(id) {
    return this.#profiles.get(id);
  }

  /**
   * Null until known; the first call fetches it.
   * @param {string | null} id
   */
  person(id) {
    if (id === null) return null;
    const held = this.#profiles.get(id);
    if (!held && !this.#asked.has(id)) {
      this.#asked.add(id);
      this.#wanted.add(id);
      this.#fetch();
    }
    return held ?? null;
  }

  #fetch = debounce(async () => {
    const ids = [...this.#wanted].slice(0, IDS_MAX);
    for (const id of ids) this.#wanted.delete(id);
    try {
      for (const profile of await this.#parts.fetch(ids)) this.learn(profile);
      this.#parts.learned();
    } catch {
      for (const id of ids) this.#asked.delete(id);
    }
    if (this.#wanted.size) this.#fetch();
  }, GATHER_MS);
}
