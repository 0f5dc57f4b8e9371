// @ts-check
// The worker of this page: it is registered while a member is signed in, and its updates are offered.
//
// Owns the registration and the caches of the files. Where a browser has no workers (plain http), nothing here does
// anything.

import { SIGNAL } from '../names.js';
import { Emitter, wait } from '../util.js';

const SCRIPT = '/client/worker.js';
// Many clients that lost one server must not ask for its worker at once.
const LOOK_MS_MAX = 120_000;

/** @typedef {{kind: string, version?: string, conversation?: string}} Told */

/** @extends {Emitter<{change: boolean, open: string}>} */
class Installed extends Emitter {
  /** Whether another version of the client waits to be used. */
  isOutdated = false;
  #isWanted = false;
  /** @type {ServiceWorkerRegistration | null} */
  #registration = null;

  constructor() {
    super();
    const { workers } = this;
    workers?.addEventListener('message', ({ data }) => this.#told(data));
    workers?.addEventListener('controllerchange', () => {
      if (this.#isWanted) return location.reload();
      workers.controller?.postMessage({ kind: 'version' });
    });
  }

  get workers() {
    return globalThis.navigator?.serviceWorker ?? null;
  }

  get registration() {
    return this.#registration;
  }

  /** @param {string} lang the language that the page has without the server too */
  async start(lang) {
    const { workers } = this;
    if (!workers) return;
    try {
      this.#registration = await workers.register(SCRIPT, { scope: '/' });
    } catch {
      return; // not with this certificate, or not in this window
    }
    this.#watch(this.#registration);
    const { active } = await workers.ready;
    active?.postMessage({ kind: 'fill', lang });
    active?.postMessage({ kind: 'version' });
  }

  /** @param {ServiceWorkerRegistration} registration */
  #watch(registration) {
    const look = () => registration.waiting && registration.active && this.#offer();
    registration.addEventListener('updatefound', () => {
      registration.installing?.addEventListener('statechange', look);
    });
    look();
  }

  /** @param {Told} data */
  #told({ kind, version, conversation }) {
    const [, , own] = new URL(
      /** @type {HTMLScriptElement} */ (document.querySelector('script[src]')).src,
    ).pathname.split('/');
    if (kind === 'version' && version !== own) this.#offer();
    if (kind === 'open' && conversation) this.emit(SIGNAL.open, conversation);
  }

  #offer() {
    if (this.isOutdated) return;
    this.isOutdated = true;
    this.emit(SIGNAL.change, true);
  }

  // The server may be another one since the connection broke.
  async look() {
    await wait(Math.random() * LOOK_MS_MAX);
    await this.#registration?.update().catch(() => {});
  }

  // The page is loaded again, in the other version.
  update() {
    this.#isWanted = true;
    const { waiting } = this.#registration ?? {};
    if (waiting) waiting.postMessage({ kind: 'activate' });
    else location.reload();
  }

  // At the end of a session: files and subscription go, and notifications that are shown.
  async erase() {
    const registration = this.#registration ?? (await this.workers?.getRegistration('/'));
    this.#registration = null;
    if (registration) {
      for (const notification of await registration.getNotifications()) notification.close();
      await (await registration.pushManager?.getSubscription())?.unsubscribe();
      await registration.unregister();
    }
    if (!globalThis.caches) return;
    for (const name of await caches.keys()) if (name.startsWith('natter:')) await caches.delete(name);
  }
}

export const installed = new Installed();
