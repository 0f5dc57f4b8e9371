// @ts-check
// What this device keeps, with the browser's parts: the outbox, the drafts, and what is shown while the server cannot
// be reached.
//
// Owns what is erased at the end of a session.

import { installed } from '../net/installed.js';
import { link } from '../net/link.js';
import { call, upload, uploadPreview } from '../net/http.js';
import { REVOKED, session } from '../net/session.js';
import { SIGNAL } from '../names.js';
import { alone, jitter, local } from '../util.js';
import { device } from './device.js';
import { DRAFT_FILES, KNOWN, OUTBOX, Store } from './disk.js';
import { Drafts } from './drafts.js';
import { Known } from './known.js';
import { Outbox } from './outbox.js';

/** @typedef {import('./outbox.js').RowFile} RowFile */
/** @typedef {import('../media.js').Ready} Ready */

/** @type {WeakMap<Blob, Promise<Ready>>} */
const ready = new WeakMap();

/** @param {RowFile} file */
function readyOf(file) {
  const held = ready.get(file.blob);
  if (held) return held;
  const made = makeReady(file);
  ready.set(file.blob, made);
  return made;
}

/**
 * @param {RowFile} file
 * @returns {Promise<Ready>}
 */
async function makeReady(file) {
  const plain = { blob: file.blob, name: file.name, type: file.type, preview: null, duration_ms: null };
  if (!/^(image|video|audio)\//.test(file.type) || file.duration_ms) return plain;
  try {
    const { prepare } = await import('../media.js');
    return await prepare(file, Boolean(file.original));
  } catch {
    return plain; // that part of the client was not loaded
  }
}

/**
 * The preview of a file that was uploaded, and what its member said about it.
 * @param {RowFile} file
 * @param {string} id
 * @param {AbortSignal} signal
 */
async function describe(file, id, signal) {
  const { preview, duration_ms } = await readyOf(file);
  // A message is not kept back for what the server does not take.
  const tried = async (/** @type {Promise<unknown>} */ answer) => {
    try {
      await answer;
    } catch (error) {
      if (error.retry || error.status === 401 || error.name === 'AbortError') throw error;
    }
  };
  if (preview) await tried(uploadPreview(id, preview, { signal }));
  const said = { alt: file.alt || undefined, duration_ms: file.duration_ms ?? duration_ms ?? undefined };
  if (said.alt || said.duration_ms) await tried(call('PUT /uploads/{upload}', { upload: id, ...said }));
}

/**
 * Uploads the picture of a profile or a group.
 * @param {File} file
 */
export async function uploadFace(file) {
  const { faceOf } = await import('../media.js');
  return upload(await faceOf({ blob: file, name: file.name, type: file.type }));
}

export const outbox = new Outbox({
  store: /** @type {Store<import('./outbox.js').Row>} */ (new Store(OUTBOX)),
  link,
  alone,
  upload: async (file, onProgress, signal) => upload(await readyOf(file), { onProgress, signal }),
  describe,
  drop: (id) => call('DELETE /uploads/{upload}', { upload: id }),
  tabs: 'BroadcastChannel' in globalThis ? new BroadcastChannel('natter.outbox') : null,
  later: (work) => setTimeout(work, jitter(3)),
});

/** @type {Store<import('./drafts.js').Row>} */
const files = new Store(DRAFT_FILES);

export const drafts = new Drafts({ local, store: files, now: Date.now });

/** @type {Store<import('./known.js').Row>} */
const rows = new Store(KNOWN);

export const known = new Known({ store: rows, signedIn: () => session.read()?.profile?.id ?? null });

link.on(SIGNAL.caughtUp, () => outbox.drain());

/** @param {string | undefined} reason */
function erase(reason) {
  const parts = [drafts.erase(), known.erase(), device.erase(), installed.erase()];
  // Someone ended the session of this device, which may be lost. If it only expired, what waits to be sent is kept for
  // its member.
  if (reason === REVOKED) parts.push(outbox.erase());
  for (const key of ['notify', 'emoji', 'tone']) local.remove(key);
  navigator.clearAppBadge?.().catch(() => {}); // where no icon has one
  for (const part of parts) part.catch(console.error);
}

session.on(SIGNAL.ended, erase);
// Another tab ended it, and has erased everything; but this tab may have stored something at the same moment.
session.on(SIGNAL.change, (held) => held || known.erase().catch(console.error));
