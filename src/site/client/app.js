// Owns the start and the turn between signed out and signed in.
//
//   signed out ──sign in, sign up──▶ (verify) ──▶ shell
//        ▲──────── sign out, session over ─────────┘
//
// Invariant: what is shown follows the session in storage, whichever tab
// changed it.

import * as api from '/client/api.js';
import { t } from '/client/i18n.js';
import { model } from '/client/model.js';
import { session } from '/client/api.js';
import { authView, gate, verifyForm } from '/client/ui/auth.js';
import { toast } from '/client/ui/kit.js';
import { applyTheme } from '/client/ui/panels.js';
import { endShell, shellView } from '/client/ui/shell.js';

const root = document.getElementById('app');
let shown;
let notice = null;

function show(held) {
  const who = held?.profile?.id ?? null;
  if (who === shown) return;
  // Somebody else signed in: nothing of the former member may stay in memory.
  if (shown && who) return location.reload();
  const first = shown === undefined;
  shown = who;
  for (const dialog of document.querySelectorAll('dialog')) dialog.close();
  if (who) return enter(held, first);
  model.stop();
  endShell();
  document.title = 'natter';
  history.replaceState(null, '', location.pathname);
  authView(root, { notice });
  notice = null;
}

async function enter(held, first) {
  // Straight after sign-up the code is on its way: ask for it, insist on nothing.
  if (!first && !held.member.verified) return verify(held, () => start(held));
  start(held);
}

function verify(held, later) {
  const draw = () => root.replaceChildren(gate(verifyForm({
    address: held.member.email, later,
    done: () => {
      toast(t('verify.done'), { kind: 'good' });
      session.remember({ ...held, member: { ...held.member, verified: true } });
      start(session.read());
    },
  }), { redraw: draw }));
  draw();
}

function start(held) {
  model.start(held);
  shellView(root);
  // What was stored at sign-in may have changed on another device.
  api.get('/user/me').then((me) => model.learnMe(me), () => {});
}

model.on('not_verified', () => {
  const held = session.read();
  model.stop();
  endShell();
  verify(held, null);
});
session.on('ended', () => { notice = t('auth.ended'); });
session.on('change', show);

applyTheme();
show(session.read());
