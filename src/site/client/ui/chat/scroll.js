// @ts-check
// The scroll position of a conversation.
//
// Owns whether the view follows new messages, and where each conversation was left.
// Invariant: the message that is being read keeps its position on the screen when others arrive above or below; only a
// view at the end follows new messages.

const NEAR_PX = 80;
const AHEAD_PX = 700;
const FAR_PX = 400;
const EDGE_PX = 8;

/** @typedef {{key: string, offset: number}} Anchor */

/** @type {Map<string, Anchor>} */
const places = new Map();

/** @param {HTMLElement} element */
const isMessage = (element) => element.dataset.testid === 'message' || Boolean(element.dataset.n);

export class Scroll {
  /** Whether the view follows new messages. */
  stick = true;
  #scroller;
  #list;
  #size;

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} list
   */
  constructor(scroller, list) {
    this.#scroller = scroller;
    this.#list = list;
    this.#size = new ResizeObserver(() => this.stick && this.toEnd());
    this.#size.observe(scroller);
    this.#size.observe(list);
  }

  #fromEnd() {
    return this.#scroller.scrollHeight - this.#scroller.scrollTop - this.#scroller.clientHeight;
  }

  get isAtEnd() {
    return this.#fromEnd() < NEAR_PX;
  }

  get isFarFromEnd() {
    return this.#fromEnd() > FAR_PX;
  }

  // There is less above or below than a fast reader passes while a page is fetched.
  get nearTop() {
    return this.#scroller.scrollTop < AHEAD_PX;
  }

  get nearEnd() {
    return this.#fromEnd() < AHEAD_PX;
  }

  toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /**
   * Draws, and keeps what is being read where it is.
   * @param {() => void} draw
   */
  during(draw) {
    const anchor = this.stick ? null : this.#anchor();
    draw();
    if (this.stick) this.toEnd();
    else this.#restore(anchor);
  }

  /** The position of the last message that is in sight; 0 if there is none. */
  lastInSight() {
    const edge = this.#scroller.getBoundingClientRect().bottom - EDGE_PX;
    for (const child of this.#lines().reverse()) {
      const n = Number(child.dataset.n);
      if (n && child.getBoundingClientRect().top < edge) return n;
    }
    return 0;
  }

  /** @returns {Anchor | null} */
  #anchor() {
    const edge = this.#scroller.getBoundingClientRect().top;
    for (const child of this.#lines()) {
      // Not the line of a day: earlier messages of that day are inserted after it.
      const box = child.getBoundingClientRect();
      if (isMessage(child) && box.bottom > edge) return { key: child.__key ?? '', offset: box.top - edge };
    }
    return null;
  }

  #lines() {
    return Array.from(this.#list.children, (child) => /** @type {import('../dom.js').Keyed} */ (child));
  }

  /** @param {Anchor | null | undefined} anchor */
  #restore(anchor) {
    const child = anchor && this.#lines().find((line) => line.__key === anchor.key);
    if (!child) return;
    const edge = this.#scroller.getBoundingClientRect().top;
    this.#scroller.scrollTop += child.getBoundingClientRect().top - edge - anchor.offset;
  }

  /**
   * Whether this conversation was left in the middle.
   * @param {string} id
   */
  hasLeft(id) {
    return places.has(id);
  }

  /** @param {string} id */
  back(id) {
    this.#restore(places.get(id));
  }

  /** @param {string} id */
  leave(id) {
    const anchor = this.stick ? null : this.#anchor();
    if (anchor) places.set(id, anchor);
    else places.delete(id);
    this.end();
  }

  end() {
    this.#size.disconnect();
  }
}
