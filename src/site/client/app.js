// @ts-check
// The start of the client.
//
// Owns the change between signed out and signed in.
//
//     signed out ──sign in, sign up──▶ (verify) ──▶ shell
//          ▲──────── sign out, session ended ────────┘
//
// Invariant: the page follows the session in storage, whichever tab changed it.

import { lang, speak, t } from './i18n.js';
import { SIGNAL, TOPIC } from './names.js';
import { call, signUpPolicy } from './net/http.js';
import { installed } from './net/installed.js';
import { link } from './net/link.js';
import { REVOKED, session } from './net/session.js';
import { model } from './state/model.js';
import { push } from './state/push.js';
import { farewell } from './ui/account.js';
import { authView, verifyView } from './ui/gate.js';
import { closeDialogs } from './ui/layers.js';
import { endShell, shellView } from './ui/shell.js';
import { applyTheme } from './ui/theme.js';
import { inviteInAddress, linkInAddress } from './util.js';

/** @typedef {import('./net/session.js').Held} Held */

const RELOAD_MS = 5_000;

const root = /** @type {HTMLElement} */ (document.getElementById('app'));
/** @type {string | null | undefined} */
let shown;

/** @param {Held | null} held */
function show(held) {
  const who = held?.profile?.id ?? null;
  if (who === shown) return;
  if (shown && who) return location.reload();
  const isFirst = shown === undefined;
  shown = who;
  closeDialogs();
  if (held) return isFirst || held.member.verified ? start(held) : offerVerification(held);
  model.stop();
  endShell();
  document.title = 'natter';
  if (!inviteInAddress() && !linkInAddress()) history.replaceState(null, '', location.pathname);
  authView(root);
}

// A code exists right after sign-up: ask for it, but insist only if the server does.
/** @param {Held} held */
async function offerVerification(held) {
  let isRequired = false;
  try {
    isRequired = (await signUpPolicy()).verification_required;
  } catch {
    /* then the server says so when it is asked for more */
  }
  verify(held, isRequired);
}

/**
 * @param {Held} held
 * @param {boolean} isRequired
 */
function verify(held, isRequired) {
  const go = () => start(/** @type {Held} */ (session.read()));
  verifyView(root, held, { done: go, later: isRequired ? null : go });
}

/** @param {Held} held */
async function start(held) {
  installed
    .start(lang())
    .then(() => push.start(held.profile.id))
    .catch(console.error);
  // What this device knows is shown first.
  await model.start(held).catch(console.error);
  if (!model.me) return;
  shellView(root);
  call('GET /user/me', {}).then(
    (me) => model.learnMe(me),
    () => {},
  );
}

function begin() {
  model.on(TOPIC.notVerified, () => {
    const held = session.read();
    model.stop();
    endShell();
    if (held) verify(held, true);
  });
  session.on(SIGNAL.ended, (reason) => {
    if (reason && !farewell.isWanted) farewell.notice = t(reason === REVOKED ? 'auth.revoked' : 'auth.ended');
  });
  session.on(SIGNAL.change, show);
  installed.on(SIGNAL.open, (conversation) => {
    location.hash = `#/c/${conversation}`;
  });
  addEventListener('hashchange', () => {
    if (shown === null && (inviteInAddress() || linkInAddress())) authView(root);
  });
  link.on(SIGNAL.caughtUp, () => installed.look());
  show(session.read());
}

applyTheme();
// The server has another version since it served the page, or is away: its next page names its own files.
speak().then(begin, () => setTimeout(() => location.reload(), RELOAD_MS));
