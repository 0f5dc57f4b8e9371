// @ts-check
// Notifications on this device: the permission, the level, and the subscription to pushes.
//
// Owns the keys `notify` and `sound` of the local storage.
// Invariant: a subscription of the browser belongs to the profile that is signed in, or is ended.

import { lang, wordsOf } from '../i18n.js';
import { all, call } from '../net/http.js';
import { installed } from '../net/installed.js';
import { link } from '../net/link.js';
import { session } from '../net/session.js';
import { stateOf } from '../notice.js';
import { local, within } from '../util.js';
import { device } from './device.js';

/** @typedef {import('../notice.js').Level} Level */

const LEVELS = ['off', 'who', 'text'];
// A browser that cannot reach its push service may not answer at all.
const SUBSCRIBE_MS_MAX = 10_000;

/** @param {string} base64url */
const bytesOf = (base64url) =>
  Uint8Array.from(atob(base64url.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0));

/** @param {ArrayBuffer | null} buffer */
const base64url = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer ?? new ArrayBuffer(0))))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replace(/=+$/, '');

// An app on the home screen of iOS says so; Safari itself says that it is none.
const isUninstalledIos = () => /** @type {{standalone?: boolean}} */ (navigator).standalone === false && isTouch();
const isTouch = () => navigator.maxTouchPoints > 1;

class Push {
  /** @type {string} */
  #profile = '';
  #isSubscribed = false;

  /** @returns {Level} */
  get level() {
    const held = local.get('notify') ?? 'off';
    return /** @type {Level} */ (LEVELS.includes(held) ? held : 'off');
  }

  get hasSound() {
    return local.get('sound') === 'on';
  }

  set hasSound(isOn) {
    local.set('sound', isOn ? 'on' : 'off');
  }

  get state() {
    return stateOf({
      isSecure: globalThis.isSecureContext,
      isUninstalledIos: isUninstalledIos(),
      hasNotifications: 'Notification' in globalThis && Boolean(installed.workers),
      permission: globalThis.Notification?.permission ?? 'denied',
      level: this.level,
      isSubscribed: this.#isSubscribed,
    });
  }

  // What was chosen before is taken up again: browsers replace subscriptions by themselves.
  /** @param {string} profile */
  async start(profile) {
    this.#profile = profile;
    const held = await device.read();
    const isOwn = held?.profile === profile;
    const endpoint = isOwn ? held.endpoint : null;
    this.#isSubscribed = Boolean(endpoint);
    await this.#write(endpoint);
    await device.limit();
    if (!installed.workers) return;
    const { pushManager } = await installed.workers.ready;
    const subscription = await pushManager?.getSubscription();
    if (subscription && (!isOwn || this.level === 'off')) await subscription.unsubscribe();
    else if (this.level !== 'off' && endpoint && subscription?.endpoint !== endpoint) await this.#subscribe(this.level);
  }

  /** @returns {import('../notice.js').Words} */
  get words() {
    return {
      message: wordsOf('notify.message'),
      files: wordsOf('notify.files'),
      mention: wordsOf('notify.mention'),
    };
  }

  // The worker speaks the language of the page.
  async speak() {
    const held = await device.read();
    if (held) await this.#write(held.endpoint);
  }

  /** @param {string | null} endpoint */
  async #write(endpoint) {
    // Signed out meanwhile: nothing may be stored after `erase`.
    if (session.read()?.profile?.id !== this.#profile) return;
    await device.write({ profile: this.#profile, lang: lang(), words: this.words, endpoint });
  }

  /**
   * Asks for the permission if there is none yet.
   * @param {Level} level
   */
  async choose(level) {
    if (level === 'off') return this.#off();
    if ((await Notification.requestPermission()) !== 'granted') return;
    local.set('notify', level);
    if (!this.#isSubscribed || !(await this.#change(level))) await this.#subscribe(level);
  }

  /**
   * A subscription that is made anew leaves out what was posted before it.
   * @param {Level} level
   * @returns {Promise<boolean>} false: the server has none
   */
  async #change(level) {
    try {
      await call('PUT /push/{session}', { session: await sessionId(), level });
      return true;
    } catch (error) {
      if (error.status !== 404) throw error;
      return false;
    }
  }

  /** @param {Level} level */
  async #subscribe(level) {
    this.#isSubscribed = false;
    try {
      const { pushManager } = await /** @type {ServiceWorkerContainer} */ (installed.workers).ready;
      const { key } = await call('GET /push', {});
      const held = await pushManager.getSubscription();
      // The server has another key: its pushes would be refused.
      if (held && base64url(held.options.applicationServerKey) !== key) await held.unsubscribe();
      const options = { userVisibleOnly: true, applicationServerKey: bytesOf(key) };
      const made = await within(SUBSCRIBE_MS_MAX, pushManager.subscribe(options));
      const [p256dh, auth] = [base64url(made.getKey('p256dh')), base64url(made.getKey('auth'))];
      await call('PUT /push', { endpoint: made.endpoint, p256dh, auth, level });
      await this.#write(made.endpoint);
      this.#isSubscribed = true;
    } catch {
      // No push service, or none that this server may use: notifications come while natter is open.
      await this.#write(null);
    }
  }

  async #off() {
    local.set('notify', 'off');
    const wasSubscribed = this.#isSubscribed;
    this.#isSubscribed = false;
    await this.#write(null);
    const subscription = await (await installed.workers?.ready)?.pushManager.getSubscription();
    await subscription?.unsubscribe();
    if (wasSubscribed) await call('DELETE /push/{session}', { session: await sessionId() });
  }

  async erase() {
    this.#isSubscribed = false;
    local.remove('notify');
    await device.erase();
  }
}

async function sessionId() {
  if (link.sessionId) return link.sessionId;
  const sessions = await all('GET /user/sessions', {});
  return sessions.find(({ current }) => current)?.id ?? '';
}

export const push = new Push();
