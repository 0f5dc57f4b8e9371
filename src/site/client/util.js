// @ts-check
// Small tools that every module needs: an emitter, ids, locks across tabs, and key-value storage. No chat, no DOM.
//
// Invariant: nothing here throws if a browser refuses a feature (private windows, plain http on a LAN); it falls back
// to this tab alone.

/**
 * What has listeners. `E` has the values of the names that come with one.
 * @template {object} [E={}]
 */
export class Emitter {
  /** @type {Map<string, Set<(value: any) => void>>} */
  #listeners = new Map();

  /**
   * `signal` ends the subscription, so a view needs one AbortController and no list.
   * @template {string} N
   * @param {N} name
   * @param {(value: N extends keyof E ? E[N] : undefined) => void} listener
   * @param {AbortSignal} [signal]
   */
  on(name, listener, signal) {
    const set = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, set.add(listener));
    signal?.addEventListener('abort', () => set.delete(listener));
  }

  /**
   * @template {keyof E & string} N
   * @param {N} name
   * @param {E[N]} value
   */
  emit(name, value) {
    this.notify(name, value);
  }

  /**
   * As `emit`, of a name that may have no value.
   * @param {string} name
   * @param {unknown} [value]
   */
  notify(name, value) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      // One broken view must not stop the others, or the cursor.
      try {
        listener(value);
      } catch (error) {
        console.error(error);
      }
    }
  }
}

const BASE32 = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

// A ULID: 48 bits of time, 80 of randomness. Not monotonic within a millisecond: the outbox keeps its own order, and
// the server numbers the messages.
export function ulid(ms = Date.now()) {
  let time = '';
  for (let i = 0, rest = ms; i < 10; i++, rest = Math.floor(rest / 32)) time = BASE32[rest % 32] + time;
  const random = crypto.getRandomValues(new Uint8Array(16));
  return time + Array.from(random, (byte) => BASE32[byte & 31]).join('');
}

/** @param {string} id */
export function ulidMs(id) {
  let ms = 0;
  for (const letter of id.slice(0, 10)) ms = ms * 32 + Math.max(0, BASE32.indexOf(letter));
  return ms;
}

// A sign is one character for a reader: an emoji of several code points, or a letter with its accents.
const segmenter = globalThis.Intl?.Segmenter && new Intl.Segmenter(undefined, { granularity: 'grapheme' });

// Without a segmenter: a code point or a flag, and what extends or joins it.
const EXTENDS = '[\\p{M}\\p{Emoji_Modifier}\\u200c\\u{e0020}-\\u{e007f}]*';
const ONE_SIGN = `(?:\\r\\n|\\p{RI}{2}|[^])${EXTENDS}(?:\\u200d\\p{Extended_Pictographic}${EXTENDS})*`;

/**
 * @param {string} text
 * @returns {Generator<[from: number, to: number]>}
 */
function* signs(text) {
  if (segmenter) {
    for (const { index, segment } of segmenter.segment(text)) yield [index, index + segment.length];
  } else {
    for (const { index, 0: sign } of text.matchAll(new RegExp(ONE_SIGN, 'gu'))) yield [index, index + sign.length];
  }
}

/**
 * Start and end of the sign at this index of a text.
 * @param {string} text
 * @param {number} at
 */
export function signAt(text, at) {
  for (const [from, to] of signs(text)) if (to > at) return [from, to];
  return [text.length, text.length];
}

/** @param {string} text */
export const firstSign = (text) => text.slice(...signAt(text, 0));

/**
 * At most `max` units of a text, without cutting a sign.
 * @param {string} text
 * @param {number} max
 */
export const beginning = (text, max) => (text.length <= max ? text : text.slice(0, signAt(text, max)[0]));

/** @type {Map<string, Promise<any>>} */
const chains = new Map();

/**
 * Runs `work` exclusively under `name`: across tabs if the browser can (secure contexts), else within this tab.
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export function alone(name, work) {
  // Node 20, which runs the tests, has no navigator.
  if (globalThis.navigator?.locks) {
    return /** @type {Promise<T>} */ (navigator.locks.request(`natter:${name}`, work));
  }
  const run = (chains.get(name) ?? Promise.resolve()).then(work, work);
  chains.set(
    name,
    run.catch(() => {}),
  );
  return run;
}

/** @type {Map<string, string>} */
const memory = new Map();

export const local = {
  /** @param {string} key */
  get(key) {
    try {
      return localStorage.getItem(`natter.${key}`);
    } catch {
      return memory.get(key) ?? null;
    }
  },
  /**
   * @param {string} key
   * @param {string} value
   */
  set(key, value) {
    try {
      localStorage.setItem(`natter.${key}`, value);
    } catch {
      memory.set(key, value);
    }
  },
  /** @param {string} prefix */
  keys(prefix) {
    let names = [...memory.keys()];
    try {
      names = names.concat(Object.keys(localStorage).flatMap((name) => name.match(/^natter\.(.+)/s)?.[1] ?? []));
    } catch {
      /* only what is in memory */
    }
    return names.filter((name) => name.startsWith(prefix));
  },
  /** @param {string} key */
  remove(key) {
    memory.delete(key);
    try {
      localStorage.removeItem(`natter.${key}`);
    } catch {
      /* nothing was stored */
    }
  },
};

/** @param {number} ms */
export const wait = (ms) => /** @type {Promise<void>} */ (new Promise((resolve) => setTimeout(resolve, ms)));

/**
 * Fails if there is no answer in time.
 * @template T
 * @param {number} ms
 * @param {Promise<T>} answer
 * @returns {Promise<T>}
 */
export function within(ms, answer) {
  const late = wait(ms).then(() => Promise.reject(new DOMException('no answer', 'TimeoutError')));
  return Promise.race([answer, late]);
}

/**
 * Full jitter: many clients that lost one server reconnect spread out in time.
 * @param {number} attempt
 */
export const jitter = (attempt, baseMs = 400, capMs = 30_000) =>
  Math.random() * Math.min(capMs, baseMs * 2 ** attempt) + 100;

/**
 * @template {unknown[]} V
 * @param {(...values: V) => void} work
 * @param {number} ms
 * @returns {(...values: V) => void}
 */
export function debounce(work, ms) {
  /** @type {number | undefined} */
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...values), ms);
  };
}

/**
 * The server counts Unicode scalar values, not UTF-16 units.
 * @param {string} text
 */
export const scalars = (text) => [...text].length;

/** The code of a link that sets a password, if the address names one: a fragment, which no server sees. */
export const linkInAddress = () => /^#\/r\/([\w-]+)$/.exec(location.hash)?.[1];
/** The same of an invite. */
export const inviteInAddress = () => /^#\/i\/([\w-]+)$/.exec(location.hash)?.[1];
