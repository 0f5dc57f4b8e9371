// @ts-check
// The service worker: serves the page and its files from the cache, and shows push notifications.
//
// Owns the cache of this version's files. It reads from IndexedDB whether a member is signed in; it has no token.
// Invariants: it stores no answer of the API; it shows nothing while no member is signed in; it opens pages of its own
// origin only.

import { noticeOf, isId, unreadOf, wordsOfNotice } from './notice.js';
import { claim, device } from './state/device.js';
import { isOwn, languageOf, outdated, storedFor } from './worker/shell.js';

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

/**
 * Stores what a page needs without the server, in this language.
 * @param {unknown} lang
 */
async function fill(lang) {
  const language = languageOf(lang, FILES);
  // The page is stored last, so that it is never there without its files.
  const isFilled = await caches.match('/', { cacheName: CACHE });
  const paths = isFilled ? language : [...language, ...FILES, '/'];
  const answers = await Promise.all(
    paths.map(async (path) => {
      const answer = await fetch(path, { cache: path === '/' ? 'no-store' : 'default', credentials: 'omit' });
      // This version may have lost the language: its page will choose another.
      if (answer.status === 404 && language.includes(path)) return [];
      const text = path === '/' ? await answer.clone().text() : '';
      if (!isOwn(answer, path, text, FILES)) throw new Error(`${path} is not of version ${VERSION}`);
      return [/** @type {const} */ ([path, answer])];
    }),
  );
  const cache = await caches.open(CACHE);
  for (const [path, answer] of answers.flat()) await cache.put(path, answer);
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
  const held = await caches.match(path, { cacheName: CACHE, ignoreVary: true });
  if (held) return held;
  const answer = await fetch(request);
  // A part that is loaded when it is first used: then the page has it without the server. Sign-out deletes the cache.
  if (path !== '/' && isOwn(answer, path, '', FILES) && (await caches.has(CACHE))) {
    const copy = answer.clone();
    // Without room for it, it is fetched again the next time.
    await caches
      .open(CACHE)
      .then((cache) => cache.put(path, copy))
      .catch(() => {});
  }
  return answer;
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

scope.addEventListener('install', (event) => event.waitUntil(device.read().then((now) => fill(now?.lang))));
scope.addEventListener('activate', (event) => event.waitUntil(dropOthers()));
scope.addEventListener('fetch', (event) => {
  const path = storedFor(event.request, origin, FILES);
  if (path) event.respondWith(stored(path, event.request));
});
scope.addEventListener('message', (event) => {
  const { kind, lang } = event.data ?? {};
  if (kind === 'activate') event.waitUntil(scope.skipWaiting());
  // Sign-out deletes the cache; sign-in makes it again.
  if (kind === 'fill') event.waitUntil(fill(lang).catch(() => {}));
  if (kind === 'version') event.source?.postMessage({ kind, version: VERSION });
});
scope.addEventListener('push', (event) => event.waitUntil(pushed(event.data?.text() ?? '')));
scope.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data?.conversation));
});
