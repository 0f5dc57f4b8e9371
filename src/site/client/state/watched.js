// @ts-check
// Whether a person looks at natter: at this tab, or at any tab of this browser.

import { Emitter } from '../util.js';
import { SIGNAL } from '../names.js';

const LOCK = 'natter:watched';

/** @extends {Emitter<{change: boolean}>} */
class Watched extends Emitter {
  now = false;
  /** @type {() => void} */
  #release = () => {};

  constructor() {
    super();
    const look = () => this.#look();
    for (const name of ['focus', 'blur', 'pageshow', 'pagehide']) globalThis.addEventListener?.(name, look);
    globalThis.document?.addEventListener('visibilitychange', look);
    look();
  }

  #look() {
    const { document } = globalThis;
    const isWatched = Boolean(document) && document.visibilityState === 'visible' && document.hasFocus();
    if (isWatched === this.now) return;
    this.now = isWatched;
    this.#release();
    if (isWatched) this.#hold();
    this.emit(SIGNAL.change, isWatched);
  }

  // The other tabs see the lock.
  #hold() {
    /** @type {Promise<void>} */
    const held = new Promise((resolve) => {
      this.#release = resolve;
    });
    navigator.locks?.request(LOCK, { mode: 'shared' }, () => held);
  }

  async anywhere() {
    if (this.now || !navigator.locks) return this.now;
    const { held } = await navigator.locks.query();
    return Boolean(held?.some(({ name }) => name === LOCK));
  }
}

export const watched = new Watched();
