// Owns who is signed in, and HTTP: one function per shape of request, errors as
// `Problem` (the server refused) or `Offline` (no answer came), renewal of tokens.
// Invariants: storage is the one truth of the session, tabs keep no tokens of
// their own; one renewal runs per browser, and a refresh token's successor is
// stored before anybody uses it.

import { lang, t } from '/client/i18n.js';
import { alone, Emitter, jitter, local, ulid, wait } from '/client/util.js';

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

const BASE = '/api/v1';
const ANSWER_MS_MAX = 30_000;

export class Problem extends Error {
  constructor(status, body = {}) {
    super(body.title || t('error.general'));
    this.status = status;
    this.code = body.code ?? 'general_error';
    this.field = body.field ?? null;
    this.retry = body.retry ?? false;
    this.retryAfterMs = body.retry_after_ms ?? null;
  }
}

export class Offline extends Error {
  constructor() {
    super(t('error.offline'));
    this.code = 'offline';
    this.retry = true;
  }
}

function headers(access) {
  const list = { Accept: 'application/json', 'Accept-Language': lang(), UniqueId: deviceId() };
  if (access) list.Authorization = `Bearer ${access}`;
  return list;
}

function target(path, query) {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null);
  return BASE + path + (pairs.length ? `?${new URLSearchParams(pairs)}` : '');
}

async function problemOf(response) {
  try { return new Problem(response.status, await response.json()); } catch { return new Problem(response.status); }
}

async function attempt(method, path, { query, body, signal, access } = {}) {
  const list = headers(access);
  if (body !== undefined) list['Content-Type'] = 'application/json';
  try {
    return await fetch(target(path, query), {
      method, headers: list, cache: 'no-store', credentials: 'omit',
      // A network that swallows packets must not leave a caller waiting for ever.
      signal: signal ?? AbortSignal.timeout(ANSWER_MS_MAX),
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Offline();
  }
}

// Renews the pair unless another tab already replaced `stale`. False: the
// session is over (and this browser has been signed out).
export function renew(stale) {
  return alone('renew', async () => {
    const held = session.read();
    if (!held) return false;
    if (held.token.access !== stale) return true;
    // A lost answer is safe: within 60 s the server repeats the same pair.
    const response = await attempt('POST', '/user/refresh', { body: { refresh: held.token.refresh } });
    if (response.ok) {
      session.renewed((await response.json()).data);
      return true;
    }
    if (response.status === 401) {
      session.end('expired');
      return false;
    }
    throw await problemOf(response);
  });
}

async function send(method, path, options = {}) {
  for (let tries = 0; ; tries++) {
    const access = options.open ? null : session.read()?.token.access;
    if (!options.open && !access) throw new Problem(401, { code: 'unauthorized_access', title: t('error.signed_out') });
    const response = await attempt(method, path, { ...options, access });
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (problem.status === 401 && problem.code === 'unauthorized_access' && !options.open && tries === 0) {
      if (await renew(access)) continue;
    } else if (problem.retry && method === 'GET' && tries < 3) {
      // Only reads are repeated unasked; a write's repetition is its caller's to judge.
      await wait(problem.retryAfterMs ?? jitter(tries));
      continue;
    }
    throw problem;
  }
}

async function envelope(method, path, options) {
  const response = await send(method, path, options);
  return response.status === 204 ? { data: null } : response.json();
}

export const get = async (path, query, signal) => (await envelope('GET', path, { query, signal })).data;
export const page = (path, query, signal) => envelope('GET', path, { query, signal });
export const post = async (path, body) => (await envelope('POST', path, { body })).data;
export const put = async (path, body) => (await envelope('PUT', path, { body })).data;
export const remove = async (path, body) => (await envelope('DELETE', path, { body })).data;
// Without a token: sign-up, sign-in, reset.
export const open = async (path, body) => (await envelope('POST', path, { body, open: true })).data;
export const blob = async (path) => (await send('GET', path)).blob();

// All pages of a list that is short by nature (members, sessions, blocks).
export async function all(path, query) {
  const items = [];
  for (let next; ;) {
    const answer = await page(path, { ...query, limit: 200, next });
    items.push(...answer.data);
    next = answer.next;
    if (!next) return items;
  }
}

// Raw body with X-Filename: the server streams it to disk. XMLHttpRequest,
// because fetch tells nothing of an upload's progress.
export async function upload(file, { onProgress, signal } = {}) {
  for (let tries = 0; ; tries++) {
    const access = session.read()?.token.access;
    if (!access) throw new Problem(401, { code: 'unauthorized_access', title: t('error.signed_out') });
    const { status, body } = await transfer(file, access, onProgress, signal);
    if (status >= 200 && status < 300) return body.data;
    const problem = new Problem(status, body ?? {});
    if (status === 401 && tries === 0 && await renew(access)) continue;
    throw problem;
  }
}

function transfer(file, access, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', `${BASE}/uploads`);
    for (const [name, value] of Object.entries(headers(access))) request.setRequestHeader(name, value);
    request.setRequestHeader('Content-Type', file.type || 'application/octet-stream');
    request.setRequestHeader('X-Filename', encodeURIComponent(file.name || 'file'));
    request.responseType = 'json';
    request.upload.onprogress = (event) => event.lengthComputable && onProgress?.(event.loaded / event.total);
    request.onload = () => resolve({ status: request.status, body: request.response });
    request.onerror = () => reject(new Offline());
    request.onabort = () => reject(new DOMException('aborted', 'AbortError'));
    signal?.addEventListener('abort', () => request.abort());
    request.send(file);
  });
}
