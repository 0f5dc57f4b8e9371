// @ts-check
// The database of this browser: what waits to be sent, the files of drafts, what is shown while the server cannot be
// reached, and
// what the page and its worker share.
//
// Invariant: if the browser refuses a database (some private windows), a store is kept in this tab's memory instead.

const NAME = 'natter';
const VERSION = 3;
export const OUTBOX = 'outbox';
export const DRAFT_FILES = 'draft_files';
export const KNOWN = 'known';
export const DEVICE = 'device';
export const NOTIFIED = 'notified';

/** @type {Promise<IDBDatabase | null> | undefined} */
let opened;

function database() {
  opened ??= new Promise((resolve) => {
    let request;
    try {
      request = indexedDB.open(NAME, VERSION);
    } catch {
      return resolve(null);
    }
    request.onupgradeneeded = () => {
      const { result: db } = request;
      if (!db.objectStoreNames.contains(OUTBOX)) db.createObjectStore(OUTBOX, { keyPath: 'key', autoIncrement: true });
      for (const name of [DRAFT_FILES, KNOWN, DEVICE, NOTIFIED]) {
        if (!db.objectStoreNames.contains(name)) db.createObjectStore(name, { keyPath: 'key' });
      }
    };
    request.onsuccess = () => {
      request.result.onversionchange = () => {
        request.result.close();
        opened = undefined;
      };
      resolve(request.result);
    };
    request.onerror = () => resolve(null);
  });
  return opened;
}

/**
 * Rows with a `key`, as the outbox and the drafts store them.
 * @template {{key: number | string}} R
 */
export class Store {
  #name;
  /** @type {Map<number | string, R>} */
  #spare = new Map();
  #spareKey = 0;

  /** @param {string} name */
  constructor(name) {
    this.#name = name;
  }

  /**
   * @param {IDBTransactionMode} mode
   * @param {(store: IDBObjectStore) => IDBRequest} work
   * @param {() => unknown} otherwise
   * @returns {Promise<any>} what the database gives for it
   */
  async #within(mode, work, otherwise) {
    const db = await database();
    if (!db) return otherwise();
    return new Promise((resolve, reject) => {
      const transaction = db.transaction(this.#name, mode, { durability: 'strict' });
      const request = work(transaction.objectStore(this.#name));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
    });
  }

  /** @returns {Promise<R[]>} */
  all() {
    return this.#within(
      'readonly',
      (store) => store.getAll(),
      () => [...this.#spare.values()],
    );
  }

  /**
   * Gives a row without a key the next one.
   * @param {R | Omit<R, 'key'>} row
   * @returns {Promise<R>}
   */
  async put(row) {
    const key = await this.#within(
      'readwrite',
      (store) => store.put(row),
      () => {
        const own = 'key' in row ? row.key : ++this.#spareKey;
        this.#spare.set(own, /** @type {R} */ ({ ...row, key: own }));
        return own;
      },
    );
    return /** @type {R} */ ({ ...row, key });
  }

  /**
   * Changes a row only while it exists: a discarded row must not come back.
   * @param {R} row
   */
  update(row) {
    return this.#within(
      'readwrite',
      (store) => {
        const held = store.get(row.key);
        held.onsuccess = () => held.result && store.put(row);
        return held;
      },
      () => this.#spare.has(row.key) && this.#spare.set(row.key, row),
    );
  }

  /**
   * Stores a row if `mayReplace` permits it for the row that is there.
   * @param {R} row
   * @param {(held: R | undefined) => boolean} mayReplace
   * @returns {Promise<boolean>} whether it was stored
   */
  async replace(row, mayReplace) {
    const held = await this.#within(
      'readwrite',
      (store) => {
        const found = store.get(row.key);
        found.onsuccess = () => mayReplace(found.result) && store.put(row);
        return found;
      },
      () => {
        const found = this.#spare.get(row.key);
        if (mayReplace(found)) this.#spare.set(row.key, row);
        return found;
      },
    );
    return mayReplace(held);
  }

  /** @param {R['key']} key */
  remove(key) {
    return this.#within(
      'readwrite',
      (store) => store.delete(key),
      () => this.#spare.delete(key),
    );
  }

  clear() {
    return this.#within(
      'readwrite',
      (store) => store.clear(),
      () => this.#spare.clear(),
    );
  }
}
