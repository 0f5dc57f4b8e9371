// Owns what must outlive the tab: the outbox and a few small facts, in
// IndexedDB. Nothing that the server can tell again is kept here.
// Invariant: an outbox row is on disk before it is shown as sending, and goes
// only when the server has answered for it or the member discards it.

const NAME = 'natter';

let opened;

function database() {
  opened ??= new Promise((resolve) => {
    let request;
    try { request = indexedDB.open(NAME, 1); } catch { return resolve(null); }
    request.onupgradeneeded = () => {
      request.result.createObjectStore('outbox', { keyPath: 'key', autoIncrement: true });
      request.result.createObjectStore('facts');
    };
    request.onsuccess = () => {
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    // Some private windows refuse it; this tab's memory then has to do.
    request.onerror = () => resolve(null);
  });
  return opened;
}

const spare = { outbox: new Map(), facts: new Map(), lastKey: 0 };

async function within(name, mode, work, otherwise) {
  const db = await database();
  if (!db) return otherwise();
  return new Promise((resolve, reject) => {
    const transaction = db.transaction(name, mode, { durability: 'strict' });
    const request = work(transaction.objectStore(name));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

export const outboxRows = () =>
  within('outbox', 'readonly', (store) => store.getAll(), () => [...spare.outbox.values()]);

// Gives the row its key, which is its place in the queue.
export async function outboxPut(row) {
  const key = await within('outbox', 'readwrite', (store) => store.put(row), () => {
    const own = row.key ?? ++spare.lastKey;
    spare.outbox.set(own, { ...row, key: own });
    return own;
  });
  return { ...row, key };
}

// Changes a row only while it exists: what was discarded must not come back.
export const outboxUpdate = (row) => within('outbox', 'readwrite', (store) => {
  const held = store.get(row.key);
  held.onsuccess = () => held.result && store.put(row);
  return held;
}, () => spare.outbox.has(row.key) && spare.outbox.set(row.key, row));

export const outboxRemove = (key) =>
  within('outbox', 'readwrite', (store) => store.delete(key), () => spare.outbox.delete(key));

export const factGet = (key) => within('facts', 'readonly', (store) => store.get(key), () => spare.facts.get(key));
export const factPut = (key, value) =>
  within('facts', 'readwrite', (store) => store.put(value, key), () => spare.facts.set(key, value));
export const factsClear = () => within('facts', 'readwrite', (store) => store.clear(), () => spare.facts.clear());
