// The worker's decisions: what it answers without the server, and what it may store.

import assert from 'node:assert/strict';
import test from 'node:test';
import { isOwn, languageOf, outdated, storedFor } from '../../src/site/client/worker/shell.js';

const ORIGIN = 'https://chat.example.org';
const FILES = ['/client/0123/app.js', '/client/0123/style.css'];
const stored = (url, { method = 'GET', mode = 'no-cors' } = {}) => storedFor({ method, mode, url }, ORIGIN, FILES);

test('the page and the files of this version are answered, and nothing else', () => {
  assert.equal(stored(`${ORIGIN}/`, { mode: 'navigate' }), '/');
  assert.equal(stored(`${ORIGIN}/#/c/01JB2M3N4P5Q6R7S8T9V0W1X2Y`, { mode: 'navigate' }), '/');
  assert.equal(stored(`${ORIGIN}/client/0123/app.js`), '/client/0123/app.js');
  // A part that is loaded at its first use.
  assert.equal(stored(`${ORIGIN}/client/0123/lang/ar.js`), '/client/0123/lang/ar.js');
  for (const path of [
    '/',
    '/client/01234/app.js',
    '/client/4567/app.js',
    '/client/app.js',
    '/client/worker.js',
    '/api/v1/conversations',
    '/uploads/x/y',
    '/docs',
    '/?x',
    '/client/0123/app.js?x',
  ]) {
    assert.equal(stored(`${ORIGIN}${path}`), null, path);
  }
  for (const path of ['/docs', '/?x', '/uploads/x/y', '/client/0123/app.js', '/api/v1/user/me']) {
    assert.equal(stored(`${ORIGIN}${path}`, { mode: 'navigate' }), null, path);
  }
  assert.equal(stored(`${ORIGIN}/`, { mode: 'navigate', method: 'POST' }), null);
  assert.equal(stored('https://evil.example/client/0123/app.js'), null);
  assert.equal(stored('https://evil.example/', { mode: 'navigate' }), null);
});

test('only whole answers of this version are stored', () => {
  const answer = { ok: true, redirected: false, type: 'basic' };
  const page = '<script type="module" src="/client/0123/app.js"></script>';
  assert.equal(isOwn(answer, '/', page, FILES), true);
  assert.equal(isOwn(answer, FILES[1], '', FILES), true);
  assert.equal(isOwn(answer, '/', page.replace('0123', '4567'), FILES), false, 'a server of another version');
  assert.equal(isOwn(answer, '/', 'Sign in to the network', FILES), false, 'a portal');
  for (const change of [{ ok: false }, { redirected: true }, { type: 'opaque' }]) {
    assert.equal(isOwn({ ...answer, ...change }, '/', page, FILES), false, JSON.stringify(change));
  }
});

test('other versions go, other caches stay', () => {
  assert.deepEqual(outdated(['natter:0123', 'natter:4567', 'other'], 'natter:0123'), ['natter:4567']);
});

test('a language is a file of this version', () => {
  assert.deepEqual(languageOf('pt-BR', FILES), ['/client/0123/lang/pt-BR.js']);
  for (const lang of [undefined, null, '', 7, '../app', 'en/x', 'en?']) assert.deepEqual(languageOf(lang, FILES), []);
});
