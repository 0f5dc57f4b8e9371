// @ts-check
// The service worker: serves the page and its files from the cache, and shows push notifications.
//
// Owns the cache of this version's files. It reads from IndexedDB whether a member is signed in; it has no token.
// Invariants: it stores no answer of the API; it shows nothing while no member is signed in; it opens pages of its own
// origin only.

import { noticeOf, isId, unreadOf, wordsOfNotice } from './notice.js';
import { claim, device } from './state/device.js';
import { isOwn, outdated, storedFor } from './worker/shell.js';

// The build adds the version to each path; VERSION is read from the first.
const FILES = [
  '/client/app.js',
  '/client/style.css',
  '/client/favicon.svg',
  '/client/manifest.webmanifest',
  '/client/icon-192.png',
  '/client/icon-512.png',
  '/client/icon-maskable.png',
  '/client/apple-touch-icon.png',
  '/client/badge.png',
];
const [, , VERSION] = FILES[0].split('/');
const CACHE = `natter:${VERSION}`;
const ICON = FILES[4];
const BADGE = FILES[8];

const scope = /** @type {import('../worker.d.ts').Scope} */ (/** @type {unknown} */ (globalThis));
const { origin } = scope.location;

async function fill() {
  const cache = await caches.open(CACHE);
  const answers = await Promise.all(
    ['/', ...FILES].map(async (path) => {
      const answer = await fetch(path, { cache: path === '/' ? 'no-store' : 'default', credentials: 'omit' });
      const text = path === '/' ? await answer.clone().text() : '';
      if (!isOwn(answer, path, text, FILES)) throw new Error(`${path} is not of version ${VERSION}`);
      return /** @type {const} */ ([path, answer]);
    }),
  );
  for (const [path, answer] of answers) await cache.put(path, answer);
}

// Sign-out deletes the cache; sign-in makes it again.
async function fillAgain() {
  if (!(await caches.has(CACHE))) await fill();
}

async function dropOthers() {
  for (const name of outdated(await caches.keys(), CACHE)) await caches.delete(name);
  await scope.clients.claim();
}

/**
 * @param {string} path
 * @param {Request} request
 */
async function stored(path, request) {
  return (await caches.match(path, { cacheName: CACHE, ignoreVary: true })) ?? fetch(request);
}

/** @param {string} text */
async function pushed(text) {
  const notice = noticeOf(text);
  const now = await device.read();
  if (!notice || !now) return;
  const { conversation, n, unread } = notice;
  const windows = await scope.clients.matchAll({ type: 'window', includeUncontrolled: true });
  // WebKit ends a subscription whose pushes show nothing; the others let a page in use show it.
  const mayShowNothing = 'userAgentData' in navigator || navigator.userAgent.includes('Firefox');
  if (mayShowNothing && windows.some(({ focused }) => focused)) return;
  const isNew = await claim(conversation, n);
  // The server sends no text to a device that did not ask for it.
  const { title, body } = wordsOfNotice(notice, 'text', now.words, now.lang);
  // A page was faster, or the push came twice: nothing rings again.
  await scope.registration.showNotification(title, {
    body,
    tag: conversation,
    lang: now.lang,
    dir: 'auto',
    icon: ICON,
    badge: BADGE,
    data: { conversation, n, unread },
    renotify: isNew,
    silent: !isNew,
  });
  const shown = await scope.registration.getNotifications();
  await scope.navigator.setAppBadge?.(unreadOf(shown.map(({ data }) => data)));
}

/** @param {unknown} conversation */
async function open(conversation) {
  const path = isId(conversation) ? `/#/c/${conversation}` : '/';
  const windows = await scope.clients.matchAll({ type: 'window', includeUncontrolled: true });
  const [page] = windows.sort((a, b) => Number(b.focused) - Number(a.focused));
  if (!page) return scope.clients.openWindow(path);
  page.postMessage({ kind: 'open', conversation });
  return page.focus();
}

scope.addEventListener('install', (event) => event.waitUntil(fill()));
scope.addEventListener('activate', (event) => event.waitUntil(dropOthers()));
scope.addEventListener('fetch', (event) => {
  const path = storedFor(event.request, origin, FILES);
  if (path) event.respondWith(stored(path, event.request));
});
scope.addEventListener('message', (event) => {
  const { kind } = event.data ?? {};
  if (kind === 'activate') event.waitUntil(scope.skipWaiting());
  if (kind === 'fill') event.waitUntil(fillAgain().catch(() => {}));
  if (kind === 'version') event.source?.postMessage({ kind, version: VERSION });
});
scope.addEventListener('push', (event) => event.waitUntil(pushed(event.data?.text() ?? '')));
scope.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data?.conversation));
});
