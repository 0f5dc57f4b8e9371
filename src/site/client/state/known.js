// @ts-check
// What a device shows of the conversations before the server answers, or while it cannot be reached. Pure: its storage
// is given to it.
//
// Owns what is kept of them: the newest conversations, the last messages of those that were open, and the names in
// both.
// Invariants: it holds no signed address and no token; it is stored only for the member who is signed in, and `erase`
// leaves nothing.

const CONVERSATIONS_MAX = 100;
const PAGES_MAX = 20;
const PAGE_MESSAGES_MAX = 50;
const PEOPLE_MAX = 300;

/** @typedef {import('../../types.d.ts').Message} Message */
/** @typedef {import('../../types.d.ts').Profile} Profile */
/** @typedef {import('../../types.d.ts').Conversation} Listed */
/** @typedef {import('./conversation.js').Conversation} Conversation */
/** @typedef {{conversations: Listed[], people: Profile[]}} List */
/** @typedef {{key: string, profile: string, list?: List, messages?: Message[]}} Row */
/**
 * @typedef {object} Parts
 * @property {{all(): Promise<Row[]>, put(row: Row): Promise<unknown>, remove(key: string): Promise<unknown>,
 *   clear(): Promise<unknown>}} store
 * @property {() => string | null} signedIn the profile that is signed in on this browser, in whichever tab
 */

/**
 * Its pictures are loaded by addresses that expire.
 * @param {Profile} profile
 * @returns {Profile}
 */
const keptPerson = (profile) => ({ ...profile, profile_image: null });

/**
 * @param {Message} message
 * @returns {Message}
 */
const keptMessage = (message) => ({
  ...message,
  attachments: message.attachments.map((file) => ({ ...file, url: '' })),
});

/**
 * @param {Conversation} conversation
 * @returns {Listed}
 */
function keptConversation({ window: _, seq: _seq, members: _members, ...rest }) {
  const { pins: _pins, noted: _noted, arePinnedKnown: _known, ...listed } = rest;
  const { peer, last_message: last } = listed;
  return { ...listed, image: null, peer: peer && keptPerson(peer), last_message: last && keptMessage(last) };
}

/**
 * The end of what is loaded, if it is the end of the conversation.
 * @param {Conversation} conversation
 */
function keptPage({ window, last_n }) {
  const isAtEnd = window.loaded && window.hi >= last_n;
  return isAtEnd ? window.run().slice(-PAGE_MESSAGES_MAX).map(keptMessage) : null;
}

/**
 * The rows that keep these conversations.
 * @param {string} profile
 * @param {Conversation[]} conversations the newest first
 * @param {(id: string) => Profile | undefined} person
 * @returns {Row[]}
 */
export function rowsOf(profile, conversations, person) {
  const newest = conversations.slice(0, CONVERSATIONS_MAX);
  /** @type {Row[]} */
  const pages = [];
  for (const conversation of newest) {
    const messages = pages.length < PAGES_MAX && keptPage(conversation);
    if (messages) pages.push({ key: `${profile}:${conversation.id}`, profile, messages });
  }
  const shown = [...newest.flatMap((it) => it.last_message ?? []), ...pages.flatMap((page) => page.messages ?? [])];
  const ids = new Set(shown.flatMap((message) => [message.sender, ...message.reactions.flatMap((it) => it.profiles)]));
  const people = [...ids].flatMap((id) => person(id ?? '') ?? []).slice(0, PEOPLE_MAX);
  const list = { conversations: newest.map(keptConversation), people: people.map(keptPerson) };
  return [{ key: profile, profile, list }, ...pages];
}

/**
 * The stored keys that go: a page stays as long as its conversation is listed and there is room.
 * @param {Row[]} rows what is stored instead
 * @param {string[]} stored
 */
function gone(rows, stored) {
  const kept = new Set(rows.map((row) => row.key));
  const [{ profile, list }] = rows;
  const listed = new Set(list?.conversations.map(({ id }) => `${profile}:${id}`));
  const others = stored.filter((key) => !kept.has(key));
  const staying = others.filter((key) => listed.has(key)).slice(0, Math.max(0, PAGES_MAX + 1 - kept.size));
  return others.filter((key) => !staying.includes(key));
}

export class Known {
  #parts;
  /** @type {Map<string, Message[]>} */
  #pages = new Map();
  /** What is stored, by its key: a row that did not change is not written again.
   * @type {Map<string, string>} */
  #stored = new Map();

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  /**
   * What was kept for this profile; what was kept for another is erased.
   * @param {string} profile
   * @returns {Promise<List | null>}
   */
  async start(profile) {
    this.stop();
    const rows = await this.#parts.store.all();
    for (const row of rows) {
      if (row.profile !== profile) await this.#parts.store.remove(row.key);
      else {
        this.#stored.set(row.key, JSON.stringify(row));
        if (row.messages) this.#pages.set(row.key.slice(profile.length + 1), row.messages);
      }
    }
    return rows.find((row) => row.key === profile)?.list ?? null;
  }

  stop() {
    this.#pages.clear();
    this.#stored.clear();
  }

  /** @param {string} conversation */
  page(conversation) {
    return this.#pages.get(conversation);
  }

  /**
   * @param {string} profile
   * @param {Conversation[]} conversations the newest first
   * @param {(id: string) => Profile | undefined} person
   */
  async save(profile, conversations, person) {
    const rows = rowsOf(profile, conversations, person);
    const { store, signedIn } = this.#parts;
    for (const key of gone(rows, [...this.#stored.keys()])) {
      this.#stored.delete(key);
      await store.remove(key);
    }
    for (const row of rows) {
      const text = JSON.stringify(row);
      if (this.#stored.get(row.key) === text || signedIn() !== profile) continue;
      this.#stored.set(row.key, text);
      await store.put(row);
    }
    // Signed out meanwhile, here or in another tab: nothing may be stored after `erase`.
    if (signedIn() !== profile) await this.erase();
  }

  // At sign-out, and when the session has ended.
  async erase() {
    this.stop();
    await this.#parts.store.clear();
  }
}
