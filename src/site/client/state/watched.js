// @ts-check
// Whether a person looks at natter: at this tab, or at any tab of this browser.

import { Emitter, wait } from '../util.js';
import { SIGNAL } from '../names.js';

const LOCK = 'natter:watched';
const RELEASE_MS = 250;

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
    if (!navigator.locks) return this.now;
    // A lock that was let go is listed a little longer.
    for (let looks = 0; looks < 2; looks++) {
      if (this.now) return true;
      if (looks) await wait(RELEASE_MS);
      const { held } = await navigator.locks.query();
      if (!held?.some(({ name }) => name === LOCK)) return false;
    }
    return true;
  }
}

export const watched = new Watched();
