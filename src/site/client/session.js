// Owns who is signed in on this browser: the token pair, the member and
// profile it belongs to, and the device id.
// Invariant: storage is the one truth. Tabs never keep tokens of their own, so
// the pair that one tab renews is the pair that every tab uses next.

import { Emitter, local, ulid } from '/client/util.js';

// Sent as `UniqueId` with each request: a token stolen from this browser is
// worth nothing without it. It outlives sign-out, so that coming back is not
// reported as a new device.
export function deviceId() {
  let id = local.get('device');
  if (!id) local.set('device', (id = `web-${ulid()}`));
  return id;
}

function stored(key) {
  try { return JSON.parse(local.get(key)); } catch { return null; }
}

class Session extends Emitter {
  // `{token, member, profile}`, or null when nobody is signed in.
  read() {
    const token = stored('token');
    return token && { token, ...stored('me') };
  }

  // As sign-up and sign-in answer it.
  begin({ token, member, profile }) {
    this.remember({ member, profile });
    local.set('token', JSON.stringify(token));
    this.emit('change', this.read());
  }

  // Only under the renewal's lock: writing an older pair back would present a
  // dead refresh token, which ends the session.
  renewed(token) {
    if (local.get('token')) local.set('token', JSON.stringify(token));
  }

  remember({ member, profile }) { local.set('me', JSON.stringify({ member, profile })); }

  end(reason) {
    if (!local.get('token')) return;
    local.remove('token');
    local.remove('me');
    if (reason) this.emit('ended', reason);
    this.emit('change', null);
  }
}

export const session = new Session();

// Other tabs: signing in, out, or in as somebody else reaches all of them.
addEventListener('storage', (event) => {
  if (event.key === 'natter.token' || event.key === null) session.emit('change', session.read());
});
