// @ts-check
// Who types in which conversation. Pure.
//
// Invariant: who is not heard of again stops typing by themselves.

// The server drops it after the same time.
const TYPING_MS = 6_000;
const SLACK_MS = 50;

export class Typing {
  /** @type {Map<string, Map<string, number>>} */
  #until = new Map();
  #changed;

  /** @param {(conversation: string) => void} changed */
  constructor(changed) {
    this.#changed = changed;
  }

  clear() {
    this.#until.clear();
  }

  /** @param {import('../../types.d.ts').Events['typing']['data']} data */
  heard({ conversation, profile, active }) {
    if (active) {
      const people = this.#until.get(conversation) ?? new Map();
      this.#until.set(conversation, people.set(profile, Date.now() + TYPING_MS));
      setTimeout(() => this.#changed(conversation), TYPING_MS + SLACK_MS);
    } else this.stopped(conversation, profile);
    this.#changed(conversation);
  }

  /**
   * @param {string} conversation
   * @param {string} profile
   */
  stopped(conversation, profile) {
    this.#until.get(conversation)?.delete(profile);
  }

  /** @param {string} conversation */
  of(conversation) {
    const now = Date.now();
    const people = [...(this.#until.get(conversation) ?? [])];
    return people.filter(([, until]) => until > now).map(([profile]) => profile);
  }
}
