// The queue of messages that the server has not confirmed yet.
//
// Owns their rows in IndexedDB, their order, and their repetition with the same client_id until the server confirms
// them.
// Invariant: a row is on disk before it is shown as sending, and is removed only by a response, by an event with its
// client_id, or by the member. Sending twice is safe (the server knows the client_id); sending out of order is not, so
// each lane has one sender at a time over all tabs.

import { socket, upload } from './api.js';
import { alone, Emitter, jitter, ulid } from './util.js';

const NAME = 'natter';

let opened;

function database() {
  opened ??= new Promise((resolve) => {
    let request;
    try { request = indexedDB.open(NAME, 1); } catch { return resolve(null); }
    request.onupgradeneeded = () => request.result.createObjectStore('outbox', { keyPath: 'key', autoIncrement: true });
    request.onsuccess = () => {
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    // Some private windows refuse it; the queue is then kept in this tab's memory.
    request.onerror = () => resolve(null);
  });
  return opened;
}

const spare = new Map();
let spareKey = 0;

async function within(mode, work, otherwise) {
  const db = await database();
  if (!db) return otherwise();
  return new Promise((resolve, reject) => {
    const transaction = db.transaction('outbox', mode, { durability: 'strict' });
    const request = work(transaction.objectStore('outbox'));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

const rowsOnDisk = () =>
  within('readonly', (store) => store.getAll(), () => [...spare.values()]);

// Gives the row its key, which is its position in the queue.
async function putRow(row) {
  const key = await within('readwrite', (store) => store.put(row), () => {
    const own = row.key ?? ++spareKey;
    spare.set(own, { ...row, key: own });
    return own;
  });
  return { ...row, key };
}

// Changes a row only while it exists: a discarded row must not come back.
const updateRow = (row) => within('readwrite', (store) => {
  const held = store.get(row.key);
  held.onsuccess = () => held.result && store.put(row);
  return held;
}, () => spare.has(row.key) && spare.set(row.key, row));

const removeRow = (key) =>
  within('readwrite', (store) => store.delete(key), () => spare.delete(key));

const UPLOAD_TRIES_MAX = 4;

class Outbox extends Emitter {
  #profile = null;
  #rows = [];
  #draining = new Set();
  #tabs = 'BroadcastChannel' in globalThis ? new BroadcastChannel('natter.outbox') : null;
  progress = new Map();
  onPosted = async () => {};

  constructor() {
    super();
    this.#tabs?.addEventListener('message', ({ data }) => {
      if (data.profile !== this.#profile) return;
      // Another tab got the response. The row stays shown until the message reaches this tab as an event: it must not
      // disappear in between.
      const row = data.settled && this.#rows.find((held) => held.client_id === data.settled);
      if (row) row.settled = true;
      // That tab may be offline or be closed before it could send: any tab that is connected sends.
      this.#read().then(() => this.drain(), () => {});
    });
    socket.on('caught_up', () => this.drain());
  }

  async start(profile) {
    this.#profile = profile;
    this.#rows = [];
    await this.#read();
    this.drain();
  }

  stop() {
    this.#profile = null;
    this.#rows = [];
  }

  // The lane of a direct conversation is its peer, so that messages from before the conversation existed stay ahead of
  // later ones.
  lane(lane) { return this.#rows.filter((row) => row.lane === lane); }
  has(clientId) { return this.#rows.some((row) => row.client_id === clientId); }
  get count() { return this.#rows.filter((row) => !row.settled).length; }

  async add({ lane, to, conversation, body, files, reply_to }) {
    const row = await putRow({
      profile: this.#profile, client_id: ulid(), lane, to, conversation, body, reply_to,
      files: files.map((file) => ({ name: file.name, type: file.type, size: file.size, blob: file, upload: null })),
      state: 'queued', created_at: new Date().toISOString(),
    });
    this.#rows.push(row);
    this.#changed(row);
    this.drain();
    return row;
  }

  async retry(clientId) {
    const row = this.#rows.find((held) => held.client_id === clientId);
    if (!row) return;
    Object.assign(row, { state: 'queued', error: null, tries: 0 });
    await updateRow(row);
    this.#changed(row);
    this.drain();
  }

  async discard(clientId) {
    const row = this.#rows.find((held) => held.client_id === clientId);
    if (row) await this.#forget(row);
  }

  async discardAll() {
    for (const row of [...this.#rows]) await this.#forget(row);
  }

  // The message came by a response, an event or a list: the server has it.
  settle(clientId) {
    const row = this.#rows.find((held) => held.client_id === clientId);
    if (row) this.#forget(row, clientId);
  }

  async drain() {
    if (!socket.online || !this.#profile) return;
    for (const lane of new Set(this.#rows.map((row) => row.lane))) {
      if (this.#draining.has(lane)) continue;
      this.#draining.add(lane);
      alone(`lane:${this.#profile}:${lane}`, () => this.#drainLane(lane))
        .catch(() => 'later')
        .then((outcome) => {
          this.#draining.delete(lane);
          if (outcome === 'later') setTimeout(() => this.drain(), jitter(3));
          // A row may have been added after the lane's last check.
          else if (this.#next(lane)) this.drain();
        });
    }
  }

  #next(lane) {
    return this.#rows.find((row) => row.lane === lane && row.state === 'queued' && !row.settled);
  }

  async #drainLane(lane) {
    for (;;) {
      // Read from disk: another tab may have sent the row while this tab waited.
      await this.#read();
      const row = this.#next(lane);
      if (!row || !socket.online || !this.#profile) return 'done';
      try {
        await this.#uploadFiles(row);
        if (!this.#rows.includes(row)) continue; // discarded meanwhile
        const message = await socket.op('message.post', {
          ...(row.conversation ? { conversation: row.conversation } : { to: row.to }),
          client_id: row.client_id,
          ...(row.body ? { body: row.body } : {}),
          ...(row.files.length ? { attachments: row.files.map((file) => file.upload) } : {}),
          ...(row.reply_to ? { reply_to: row.reply_to } : {}),
        });
        await this.onPosted(message);
        this.#tabs?.postMessage({ profile: this.#profile, settled: row.client_id });
        await this.#forget(row);
      } catch (error) {
        if (error.retry || error.status === 401) return 'later';
        Object.assign(row, { state: 'failed', error: error.message });
        await updateRow(row);
        this.#changed(row);
      }
    }
  }

  // After a crash before this is on disk a file is uploaded again; the first upload is then an orphan.
  async #uploadFiles(row) {
    for (const file of row.files) {
      if (file.upload) continue;
      try {
        const answer = await upload(new File([file.blob], file.name, { type: file.type }), {
          onProgress: (part) => {
            this.progress.set(row.client_id, { file: row.files.indexOf(file), part });
            this.emit('progress', row);
          },
        });
        file.upload = answer.id;
        await updateRow(row);
      } catch (error) {
        row.tries = (row.tries ?? 0) + 1;
        if (error.retry && row.tries >= UPLOAD_TRIES_MAX && socket.online) error.retry = false;
        throw error;
      }
    }
    this.progress.delete(row.client_id);
  }

  async #forget(row) {
    this.#rows = this.#rows.filter((held) => held.key !== row.key);
    await removeRow(row.key);
    this.#changed(row);
  }

  #changed(row) {
    this.emit('change', row);
    this.#tabs?.postMessage({ profile: this.#profile });
  }

  async #read() {
    const profile = this.#profile;
    const stored = (await rowsOnDisk()).filter((row) => row.profile === profile);
    if (profile !== this.#profile) return;
    const held = new Map(this.#rows.map((row) => [row.key, row]));
    const kept = this.#rows.filter((row) => row.settled && !stored.some((other) => other.key === row.key));
    // The objects stay the same: a lane that is sending records its uploads on them.
    this.#rows = [...stored.map((row) => Object.assign(held.get(row.key) ?? {}, row)), ...kept]
      .sort((a, b) => a.key - b.key);
    this.emit('change', null);
  }
}

export const outbox = new Outbox();
