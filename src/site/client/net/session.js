// @ts-check
// The session of this browser: who is signed in, and with which tokens.
//
// Owns the keys `token`, `me` and `device` of the local storage. Storage is the only source of the session, so all tabs
// agree on it.

import { SIGNAL } from '../names.js';
import { Emitter, local, ulid } from '../util.js';

/** @typedef {import('../../types.d.ts').Token} Token */
/** @typedef {import('../../types.d.ts').Member} Member */
/** @typedef {import('../../types.d.ts').Profile} Profile */
/** @typedef {{token: Token, member: Member, profile: Profile}} Held */

// Sent as `UniqueId` with each request. It outlives sign-out, so that a later sign-in is not reported as a new device.
export function deviceId() {
  const held = local.get('device');
  if (held) return held;
  const made = `web-${ulid()}`;
  local.set('device', made);
  return made;
}

/** @param {string} key */
function stored(key) {
  try {
    return JSON.parse(local.get(key) ?? 'null');
  } catch {
    return null;
  }
}

// Why a session ended: another device ended it.
export const REVOKED = 'revoked';

/** @extends {Emitter<{ended: string | undefined, change: Held | null}>} */
class Session extends Emitter {
  /** @returns {Held | null} null if no one is signed in */
  read() {
    const token = stored('token');
    return token && { token, ...stored('me') };
  }

  /** @param {Held} held */
  begin({ token, member, profile }) {
    this.remember({ member, profile });
    local.set('token', JSON.stringify(token));
    this.emit(SIGNAL.change, this.read());
  }

  /**
   * Call it only under the lock of the renewal: writing an older token pair back would present a used refresh token,
   * which ends the session.
   * @param {Token} token
   */
  renewed(token) {
    if (local.get('token')) local.set('token', JSON.stringify(token));
  }

  /** @param {{member: Member, profile: Profile}} me */
  remember({ member, profile }) {
    local.set('me', JSON.stringify({ member, profile }));
  }

  /** @param {string} [reason] why, unless the member signed out */
  end(reason) {
    if (!local.get('token')) return;
    local.remove('token');
    local.remove('me');
    this.emit(SIGNAL.ended, reason);
    this.emit(SIGNAL.change, null);
  }
}

export const session = new Session();

// Other tabs learn when a member signs in or out, or when another member signs in.
addEventListener('storage', (event) => {
  if (event.key === 'natter.token' || event.key === null) session.emit(SIGNAL.change, session.read());
});
