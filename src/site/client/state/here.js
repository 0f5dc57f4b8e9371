// @ts-check
// What this device keeps, with the browser's parts: the outbox, the drafts, and what is shown while the server cannot
// be reached.
//
// Owns what is erased at the end of a session.

import { installed } from '../net/installed.js';
import { link } from '../net/link.js';
import { upload } from '../net/http.js';
import { REVOKED, session } from '../net/session.js';
import { SIGNAL } from '../names.js';
import { alone, jitter, local } from '../util.js';
import { device } from './device.js';
import { DRAFT_FILES, KNOWN, OUTBOX, Store } from './disk.js';
import { Drafts } from './drafts.js';
import { Known } from './known.js';
import { Outbox } from './outbox.js';

export const outbox = new Outbox({
  store: /** @type {Store<import('./outbox.js').Row>} */ (new Store(OUTBOX)),
  link,
  alone,
  upload: (file, onProgress) => upload(new File([file.blob], file.name, { type: file.type }), { onProgress }),
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
