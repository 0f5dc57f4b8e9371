// Owns what this tab knows of one conversation's messages: every version seen,
// and the run of places lo..hi that is shown. No network, no DOM.
// Invariant: the run has no gap and each place holds the greatest rev seen, so
// a message is never shown twice, out of place, or older than it was.

export class Window {
  #byN = new Map();
  #nById = new Map();
  lo = 1;
  hi = 0;
  loaded = false;

  // True when it changed what is known. An equal rev is taken too: it is the
  // same message with its signed URLs renewed.
  put(message) {
    const held = this.#byN.get(message.n);
    if (held && held.rev > message.rev) return false;
    this.#byN.set(message.n, message);
    this.#nById.set(message.id, message.n);
    if (this.loaded) this.#extend();
    return true;
  }

  // A page of the list route: dense, in n order. It replaces the run unless it
  // touches it; versions that arrived by events meanwhile keep their place.
  take(page, { replace = false } = {}) {
    for (const message of page) this.put(message);
    const first = page[0]?.n, last = page.at(-1)?.n;
    if (!this.loaded || replace) {
      this.loaded = true;
      this.lo = first ?? 1;
      this.hi = last ?? 0;
    } else if (page.length && first <= this.hi + 1 && last >= this.lo - 1) {
      this.lo = Math.min(this.lo, first);
      this.hi = Math.max(this.hi, last);
    }
    this.#extend();
  }

  // Density makes this safe: what stands at hi + 1 is the next message.
  #extend() {
    while (this.#byN.has(this.hi + 1)) this.hi++;
    while (this.hi >= this.lo && this.#byN.has(this.lo - 1)) this.lo--;
  }

  at(n) { return this.#byN.get(n); }
  byId(id) { return this.#byN.get(this.#nById.get(id)); }
  covers(from, to) { return this.loaded && from >= this.lo && to <= this.hi; }

  run() {
    const list = [];
    for (let n = this.lo; n <= this.hi; n++) list.push(this.#byN.get(n));
    return list;
  }
}
