// Owns the small tools that every floor needs: an emitter, ids, locks across
// tabs, and key-value storage that may be refused. No chat, no DOM.
// Invariant: nothing here throws because a browser withholds a feature
// (private windows, plain http on a LAN); it falls back to this tab alone.

export class Emitter {
  #listeners = new Map();

  // `signal` ends the subscription, so a view needs one AbortController, not a list.
  on(name, listener, signal) {
    const set = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, set.add(listener));
    signal?.addEventListener('abort', () => set.delete(listener));
  }

  emit(name, value) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      // One broken view must not keep the others, or the cursor, from moving on.
      try { listener(value); } catch (error) { console.error(error); }
    }
  }
}

const BASE32 = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

// A ULID: 48 bits of time, 80 of randomness. Not monotonic within a
// millisecond: the outbox keeps its own order, the server numbers the rest.
export function ulid(ms = Date.now()) {
  let time = '';
  for (let i = 0, rest = ms; i < 10; i++, rest = Math.floor(rest / 32)) time = BASE32[rest % 32] + time;
  const random = crypto.getRandomValues(new Uint8Array(16));
  return time + Array.from(random, (byte) => BASE32[byte & 31]).join('');
}

export function ulidMs(id) {
  let ms = 0;
  for (const letter of id.slice(0, 10)) ms = ms * 32 + Math.max(0, BASE32.indexOf(letter));
  return ms;
}

const chains = new Map();

// Runs `work` alone under `name`, across tabs where the browser can (secure
// contexts), else within this tab.
export function alone(name, work) {
  if (navigator.locks) return navigator.locks.request(`natter:${name}`, work);
  const run = (chains.get(name) ?? Promise.resolve()).then(work, work);
  chains.set(name, run.catch(() => {}));
  return run;
}

const memory = new Map();

export const local = {
  get(key) {
    try { return localStorage.getItem(`natter.${key}`); } catch { return memory.get(key) ?? null; }
  },
  set(key, value) {
    try { localStorage.setItem(`natter.${key}`, value); } catch { memory.set(key, value); }
  },
  remove(key) {
    memory.delete(key);
    try { localStorage.removeItem(`natter.${key}`); } catch { /* nothing was kept */ }
  },
};

export const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Full jitter: a crowd that lost one server comes back spread out, not in step.
export const jitter = (attempt, baseMs = 400, capMs = 30_000) =>
  Math.random() * Math.min(capMs, baseMs * 2 ** attempt) + 100;

export function debounce(work, ms) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...values), ms);
  };
}

// The server counts Unicode scalar values, not UTF-16 units.
export const scalars = (text) => [...text].length;
