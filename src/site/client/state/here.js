// @ts-check
// The outbox and the drafts of this tab, with the browser's parts.

import { link } from '../net/link.js';
import { upload } from '../net/http.js';
import { session } from '../net/session.js';
import { SIGNAL } from '../names.js';
import { alone, jitter, local } from '../util.js';
import { DRAFT_FILES, OUTBOX, Store } from './disk.js';
import { Drafts } from './drafts.js';
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

link.on(SIGNAL.caughtUp, () => outbox.drain());
// A device that was signed out keeps no draft. What waits to be sent is the member's to discard.
session.on(SIGNAL.ended, () => drafts.erase().catch(() => {}));
