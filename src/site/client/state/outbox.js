// @ts-check
// The queue of messages that the server has not confirmed yet. Pure: its parts are given to it.
//
// Owns their order, and their repetition with the same client_id until the server confirms them.
// Invariant: a row is on disk before it is shown as sending, and is removed only by a response, by an event with its
// client_id, or by the member. Sending twice is safe (the server knows the client_id); sending out of order is not, so
// each lane has one sender at a time over all tabs.

import { SIGNAL } from '../names.js';
import { Emitter, ulid } from '../util.js';

/** @typedef {import('../../types.d.ts').Message} Message */
/** @typedef {import('../net/request.js').Ok<'message.post'>} Posted */
/**
 * What a member says about a file: a text for who does not see it, that its pixels stay as they are, how long it plays.
 * @typedef {{alt?: string, original?: boolean, duration_ms?: number}} Said
 */
/** @typedef {Said & {file: File}} Chosen */
/**
 * @typedef {Said & {name: string, type: string, size: number, blob: Blob, upload: string | null,
 *   described?: boolean}} RowFile
 */
/**
 * @typedef {object} Row
 * @property {number} key its position in the queue
 * @property {string} profile
 * @property {string} client_id
 * @property {string} lane
 * @property {string} [to] the profile, if the conversation was not known
 * @property {string} [conversation]
 * @property {string} body
 * @property {string} [reply_to]
 * @property {string} [forward] the message whose content it has
 * @property {RowFile[]} files
 * @property {'queued' | 'failed'} state
 * @property {{code: string, title: string} | null} error why it failed
 * @property {number} tries failed uploads
 * @property {string} created_at
 * @property {boolean} [settled] another tab got the response
 */
/** @typedef {'done' | 'later'} Outcome */
/** @typedef {{profile: string | null, settled?: string}} Notice to the other tabs */
/**
 * What the outbox uses.
 * @typedef {object} Parts
 * @property {{all(): Promise<Row[]>, put(row: Omit<Row, 'key'>): Promise<Row>, update(row: Row): Promise<unknown>,
 *   remove(key: number): Promise<unknown>, clear(): Promise<unknown>}} store
 * @property {{readonly online: boolean,
 *   op(name: 'message.post', params: import('../net/request.js').Params<'message.post'>): Promise<Posted>}} link
 * @property {(file: RowFile, onProgress: (part: number) => void, signal: AbortSignal) => Promise<{id: string}>} upload
 * @property {(file: RowFile, upload: string, signal: AbortSignal) => Promise<void>} describe what follows an upload:
 *   its preview, and what its member said about it
 * @property {(upload: string) => Promise<unknown>} drop deletes an upload that no message will show
 * @property {(name: string, work: () => Promise<Outcome>) => Promise<Outcome>} alone
 * @property {{postMessage(data: Notice): void,
 *   addEventListener(name: 'message', on: (event: {data: Notice}) => void): void} | null} tabs
 * @property {(work: () => void) => void} later calls it after a pause
 */

const UPLOAD_TRIES_MAX = 4;

/**
 * @param {Row} row
 * @returns {import('../net/request.js').Params<'message.post'>}
 */
export const postOf = (row) => ({
  ...(row.conversation ? { conversation: row.conversation } : { to: row.to }),
  client_id: row.client_id,
  ...(row.forward ? { forward: row.forward } : contentOf(row)),
});

/** @param {Row} row */
const contentOf = (row) => ({
  ...(row.body ? { body: row.body } : {}),
  ...(row.files.length ? { attachments: row.files.flatMap((file) => file.upload ?? []) } : {}),
  ...(row.reply_to ? { reply_to: row.reply_to } : {}),
});

/** @extends {Emitter<{change: Row | null, progress: Row}>} */
export class Outbox extends Emitter {
  /** @type {Parts} */
  #parts;
  /** @type {string | null} */
  #profile = null;
  /** @type {Row[]} */
  #rows = [];
  /** @type {Set<string>} */
  #draining = new Set();
  /** @type {Map<string, {file: number, part: number}>} */
  progress = new Map();
  /** @type {Map<string, AbortController>} */
  #uploading = new Map();
  /** @type {(message: Posted) => Promise<void>} */
  onPosted = async () => {};

  /** @param {Parts} parts */
  constructor(parts) {
    super();
    this.#parts = parts;
    parts.tabs?.addEventListener('message', ({ data }) => {
      if (data.profile !== this.#profile) return;
      // Another tab got the response. The row stays shown until the message reaches this tab as an event: it must not
      // disappear in between.
      const row = data.settled && this.#find(data.settled);
      if (row) row.settled = true;
      // That tab may be offline or be closed before it could send: any tab that is connected sends.
      this.#read().then(
        () => this.drain(),
        () => {},
      );
    });
  }

  /** @param {string} profile */
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

  /** @param {string} clientId */
  #find(clientId) {
    return this.#rows.find((row) => row.client_id === clientId);
  }

  /** @param {string} lane */
  lane(lane) {
    return this.#rows.filter((row) => row.lane === lane);
  }

  get count() {
    return this.#rows.filter((row) => !row.settled).length;
  }

  /**
   * @param {{lane: string, to?: string, conversation?: string, body: string, files: Chosen[], reply_to?: string,
   *   forward?: string}} what of a message to forward, the body is what is shown until it is sent
   */
  async add({ lane, to, conversation, body, files, reply_to, forward }) {
    const row = await this.#parts.store.put({
      profile: this.#profile ?? '',
      client_id: ulid(),
      lane,
      to,
      conversation,
      body,
      reply_to,
      forward,
      files: files.map(({ file, ...said }) => ({
        ...said,
        name: file.name,
        type: file.type,
        size: file.size,
        blob: file,
        upload: null,
      })),
      state: 'queued',
      error: null,
      tries: 0,
      created_at: new Date().toISOString(),
    });
    this.#rows.push(row);
    this.#changed(row);
    this.drain();
    return row;
  }

  /** @param {string} clientId */
  async retry(clientId) {
    const row = this.#find(clientId);
    if (!row) return;
    // The server deletes an upload that nothing shows for a week; the file is still here.
    if (row.error?.code === 'invalid_attachments') {
      for (const file of row.files) Object.assign(file, { upload: null, described: false });
    }
    Object.assign(row, { state: 'queued', error: null, tries: 0 });
    await this.#parts.store.update(row);
    this.#changed(row);
    this.drain();
  }

  /** @param {string} clientId */
  async discard(clientId) {
    const row = this.#find(clientId);
    if (!row) return;
    await this.#forget(row);
    this.#uploading.get(clientId)?.abort();
    // Without a connection they stay in the member's quota.
    for (const { upload } of row.files) if (upload) this.#parts.drop(upload).catch(() => {});
  }

  // Of every member: the device is no longer theirs.
  async erase() {
    this.stop();
    await this.#parts.store.clear();
  }

  async discardAll() {
    for (const row of [...this.#rows]) await this.#forget(row);
  }

  /**
   * The message came by a response, an event or a list: the server has it.
   * @param {string} clientId
   */
  settle(clientId) {
    const row = this.#find(clientId);
    if (row) this.#forget(row);
  }

  drain() {
    if (!this.#parts.link.online || !this.#profile) return;
    for (const lane of new Set(this.#rows.map((row) => row.lane))) {
      if (this.#draining.has(lane)) continue;
      this.#draining.add(lane);
      this.#parts
        .alone(`lane:${this.#profile}:${lane}`, () => this.#drainLane(lane))
        .catch(() => /** @type {Outcome} */ ('later'))
        .then((outcome) => {
          this.#draining.delete(lane);
          if (outcome === 'later') this.#parts.later(() => this.drain());
          // A row may have been added after the lane's last check.
          else if (this.#next(lane)) this.drain();
        });
    }
  }

  /** @param {string} lane */
  #next(lane) {
    return this.#rows.find((row) => row.lane === lane && row.state === 'queued' && !row.settled);
  }

  /**
   * @param {string} lane
   * @returns {Promise<Outcome>}
   */
  async #drainLane(lane) {
    for (;;) {
      // Read from disk: another tab may have sent the row while this tab waited.
      await this.#read();
      const row = this.#next(lane);
      if (!row || !this.#parts.link.online || !this.#profile) return 'done';
      try {
        await this.#uploadFiles(row);
        if (!this.#rows.includes(row)) continue; // discarded meanwhile
        const message = await this.#parts.link.op('message.post', postOf(row));
        await this.onPosted(message);
        this.#parts.tabs?.postMessage({ profile: this.#profile, settled: row.client_id });
        await this.#forget(row);
      } catch (error) {
        if (!this.#rows.includes(row)) continue; // discarded meanwhile
        if (error.retry || error.status === 401) return 'later';
        Object.assign(row, { state: 'failed', error: { code: error.code, title: error.message } });
        await this.#parts.store.update(row);
        this.#changed(row);
      }
    }
  }

  /**
   * After a crash before this is on disk a file is uploaded again; the first upload is then an orphan.
   * @param {Row} row
   */
  async #uploadFiles(row) {
    const ending = new AbortController();
    this.#uploading.set(row.client_id, ending);
    try {
      for (const [index, file] of row.files.entries()) await this.#uploadFile(row, file, index, ending.signal);
    } catch (error) {
      row.tries = (row.tries ?? 0) + 1;
      if (error.retry && row.tries >= UPLOAD_TRIES_MAX && this.#parts.link.online) error.retry = false;
      throw error;
    } finally {
      this.#uploading.delete(row.client_id);
      this.progress.delete(row.client_id);
    }
  }

  /**
   * @param {Row} row
   * @param {RowFile} file
   * @param {number} index
   * @param {AbortSignal} signal
   */
  async #uploadFile(row, file, index, signal) {
    const keep = async () => {
      if (this.#rows.includes(row)) await this.#parts.store.update(row);
      else if (file.upload) await this.#parts.drop(file.upload); // discarded meanwhile
      signal.throwIfAborted();
    };
    if (!file.upload) {
      const onProgress = (/** @type {number} */ part) => {
        this.progress.set(row.client_id, { file: index, part });
        this.emit(SIGNAL.progress, row);
      };
      file.upload = (await this.#parts.upload(file, onProgress, signal)).id;
      await keep();
    }
    if (file.described) return;
    await this.#parts.describe(file, file.upload, signal);
    file.described = true;
    await keep();
  }

  /** @param {Row} row */
  async #forget(row) {
    this.#rows = this.#rows.filter((held) => held.key !== row.key);
    await this.#parts.store.remove(row.key);
    this.#changed(row);
  }

  /** @param {Row} row */
  #changed(row) {
    this.emit(SIGNAL.change, row);
    this.#parts.tabs?.postMessage({ profile: this.#profile });
  }

  async #read() {
    const profile = this.#profile;
    const stored = (await this.#parts.store.all()).filter((row) => row.profile === profile);
    if (profile !== this.#profile) return;
    const held = new Map(this.#rows.map((row) => [row.key, row]));
    const kept = this.#rows.filter((row) => row.settled && !stored.some((other) => other.key === row.key));
    // The objects stay the same: a lane that is sending records its uploads on them.
    this.#rows = [...stored.map((row) => Object.assign(held.get(row.key) ?? {}, row)), ...kept].sort(
      (a, b) => a.key - b.key,
    );
    this.emit(SIGNAL.change, null);
  }
}
