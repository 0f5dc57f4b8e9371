// @ts-check
// Notifications that are gathered: a topic that was touched many times in a turn is notified once.

import { Emitter } from '../util.js';

/**
 * @template {object} [E={}]
 * @extends {Emitter<E>}
 */
export class Notifier extends Emitter {
  /** @type {Set<string>} */
  #dirty = new Set();
  #held = 0;

  /** @param {string[]} names */
  touch(...names) {
    if (!this.#dirty.size) setTimeout(() => this.#notify());
    for (const name of names) this.#dirty.add(name);
  }

  #notify() {
    if (this.#held) return;
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    for (const name of dirty) this.notify(name);
  }

  /**
   * Delays notifications for this time: an element that is redrawn during a press gets no click.
   * @param {number} ms
   */
  hold(ms) {
    clearTimeout(this.#held);
    this.#held = setTimeout(() => {
      this.#held = 0;
      this.#notify();
    }, ms);
  }
}
