// The connection to the server: session, HTTP and the one WebSocket of this tab.
//
// Owns the session of this browser; HTTP, with errors as `Problem` (the server refused) or `Offline` (no response
// came); and the socket's ticket, resume, heartbeat and backoff. It does not know what events mean.
//
//     stopped ──start──▶ connecting ──caught_up──▶ online
//                          ▲    │ refused            │ closed, silent, offline
//                          │    ▼                    ▼
//                          └── offline (waits, jittered) ◀┘
//
// Invariants: storage is the only source of the session, and one renewal of its tokens runs per browser. The cursor
// moves only over events that were delivered, and only by events, `caught_up`, `reset` and `heartbeat`: a reconnect
// misses nothing. It is kept in memory, like the lists that it belongs to: a reload fetches both again.

import { lang, t } from './i18n.js';
import { alone, Emitter, jitter, local, ulid, wait } from './util.js';

// Sent as `UniqueId` with each request. It outlives sign-out, so that a later sign-in is not reported as a new device.
export function deviceId() {
  let id = local.get('device');
  if (!id) local.set('device', (id = `web-${ulid()}`));
  return id;
}

function stored(key) {
  try { return JSON.parse(local.get(key)); } catch { return null; }
}

class Session extends Emitter {
  // `{token, member, profile}`, or null if no one is signed in.
  read() {
    const token = stored('token');
    return token && { token, ...stored('me') };
  }

  begin({ token, member, profile }) {
    this.remember({ member, profile });
    local.set('token', JSON.stringify(token));
    this.emit('change', this.read());
  }

  // Call it only under the lock of the renewal: writing an older token pair back would present a used refresh token,
  // which ends the session.
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

// Other tabs learn when a member signs in or out, or when another member signs in.
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
      // A network that drops packets must not make a caller wait without end.
      signal: signal ?? AbortSignal.timeout(ANSWER_MS_MAX),
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Offline();
  }
}

// Renews the tokens unless another tab already replaced `stale`. False: the session has ended (and this browser is
// signed out).
export function renew(stale) {
  return alone('renew', async () => {
    // Another tab's write may become visible a little after it released the lock.
    if (session.read()?.token.access === stale) await wait(60);
    const held = session.read();
    if (!held) return false;
    if (held.token.access !== stale) return true;
    // A lost response is safe: within 60 s the server repeats the same tokens.
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
      // Only reads are repeated here; the caller decides whether a write is repeated.
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
export const open = async (path, body) => (await envelope('POST', path, { body, open: true })).data;
// For a code: its data, and where it is delivered ('file', or undefined for the mailbox).
export const askCode = (path, body) => envelope('POST', path, { body });
export const openForCode = (path, body) => envelope('POST', path, { body, open: true });

export async function all(path, query) {
  const items = [];
  for (let next; ;) {
    const answer = await page(path, { ...query, limit: 200, next });
    items.push(...answer.data);
    next = answer.next;
    if (!next) return items;
  }
}

// Sends a raw body with X-Filename, which the server streams to disk. Uses XMLHttpRequest, because fetch reports no
// progress of an upload.
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

const OP_MS_MAX = 30_000;
const CONNECT_MS_MAX = 15_000;

class Socket extends Emitter {
  state = 'stopped';
  sessionId = null;
  limits = {};
  #ws = null;
  #turn = 0;
  #tries = 0;
  #timer = null;
  #epoch = null;
  #seq = null;
  #access = null;
  #heartbeatMs = 30_000;
  #heardAt = 0;
  #lastId = 0;
  #calls = new Map();
  // Stays true until the listeners got a `caught_up`, however often the connection broke before.
  #fresh = true;

  constructor() {
    super();
    setInterval(() => this.#watch(), 5_000);
    addEventListener('online', () => this.hurry());
    // The browser's report about the network is a hint: close a connection that may be dead, then keep trying, since a
    // server on the same machine needs no network.
    addEventListener('offline', () => this.#ws && this.#lost(0));
    document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && this.hurry());
  }

  start() {
    if (this.state !== 'stopped') return;
    this.#tries = 0;
    this.#connect();
  }

  stop() {
    this.#drop(1000);
    clearTimeout(this.#timer);
    this.#epoch = this.#seq = null;
    this.#fresh = true;
    this.#enter('stopped');
  }

  hurry() {
    if (this.state === 'offline') {
      clearTimeout(this.#timer);
      this.#connect();
    } else if (this.state === 'online') {
      this.#watch();
    }
  }

  get online() { return this.state === 'online'; }

  // The server's response, or a `Problem`, or `Offline` if no response came: the op may then have been executed or not.
  op(name, params) {
    if (!this.online) return Promise.reject(new Offline());
    return this.#call(name, params);
  }

  // An op that may be lost (typing): without an id, only a refusal is answered.
  tell(name, params) {
    if (this.online) this.#ws.send(JSON.stringify({ op: name, ...params }));
  }

  #call(name, params) {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#lost(0), OP_MS_MAX);
      this.#calls.set(id, { resolve, reject, timer });
      this.#ws.send(JSON.stringify({ id, op: name, ...params }));
    });
  }

  async #connect() {
    const turn = ++this.#turn;
    this.#enter('connecting');
    let ticket;
    try {
      ({ ticket } = await post('/user/ticket'));
    } catch (error) {
      if (turn !== this.#turn) return;
      if (!session.read()) return this.stop();
      return this.#later(error.retryAfterMs);
    }
    if (turn !== this.#turn) return;
    this.#access = session.read()?.token.access;
    const query = new URLSearchParams({ ticket });
    if (this.#epoch !== null) query.set('cursor', `${this.#epoch}:${this.#seq}`);
    const ws = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/api/v1/ws?${query}`, ['natter.v1']);
    this.#ws = ws;
    this.#heardAt = Date.now();
    ws.onmessage = (event) => ws === this.#ws && this.#heard(event.data);
    ws.onclose = (event) => ws === this.#ws && this.#lost(event.code, event.reason);
  }

  #heard(text) {
    this.#heardAt = Date.now();
    const frame = JSON.parse(text);
    if ('re' in frame) return this.#answered(frame);
    switch (frame.event) {
      case 'hello':
        this.#heartbeatMs = frame.heartbeat_ms ?? this.#heartbeatMs;
        this.sessionId = frame.session;
        this.limits = frame.limits ?? {};
        this.hello = frame;
        return this.emit('hello', frame);
      case 'reset':
        // Our data belongs to another epoch, or the events after it no longer exist.
        this.#fresh = true;
        this.#epoch = this.hello.epoch;
        this.#seq = frame.seq;
        return;
      case 'caught_up':
        this.#epoch = this.hello.epoch;
        this.#seq = Math.max(this.#seq ?? 0, frame.seq);
        this.#tries = 0;
        this.#enter('online');
        this.emit('caught_up', { fresh: this.#fresh });
        this.#fresh = false;
        return;
      case 'heartbeat':
        this.#seq = Math.max(this.#seq ?? 0, frame.seq);
        return;
      case 'expiring':
        return this.#extend();
      default:
        this.emit('event', frame);
        if (frame.seq !== undefined && this.#epoch !== null) this.#seq = Math.max(this.#seq, frame.seq);
    }
  }

  #answered(frame) {
    const call = this.#calls.get(frame.re);
    if (!call) return;
    this.#calls.delete(frame.re);
    clearTimeout(call.timer);
    if (frame.error) call.reject(new Problem(frame.error.status ?? 0, frame.error));
    else call.resolve(frame.ok);
  }

  async #extend() {
    try {
      // Many clients that connected at once must not renew at once; and short-lived tokens must not be renewed without
      // a pause.
      await wait(jitter(4));
      if (!(await renew(this.#access))) return;
      this.#access = session.read().token.access;
      await this.#call('auth', { access: this.#access });
    } catch { /* 4401 follows; the reconnect renews or signs out */ }
  }

  #watch() {
    const silentMs = Date.now() - this.#heardAt;
    if (this.#ws && silentMs > (this.online ? 2.5 * this.#heartbeatMs : CONNECT_MS_MAX)) this.#lost(0);
  }

  #lost(code, reason) {
    this.#drop();
    if (this.state === 'stopped') return;
    let delayMs = null;
    if (code === 1001) {
      try { delayMs = JSON.parse(reason).retry_after_ms; } catch { /* then our own delay */ }
    }
    if (code === 4429) this.#tries = Math.max(this.#tries, 5);
    this.#later(delayMs);
  }

  #drop(code) {
    this.#turn++;
    const ws = this.#ws;
    this.#ws = null;
    try { ws?.close(code ?? 1000); } catch { /* it is not open yet */ }
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) {
      clearTimeout(call.timer);
      call.reject(new Offline());
    }
  }

  #later(delayMs) {
    this.#enter('offline');
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), delayMs ?? jitter(this.#tries++));
  }

  #enter(state) {
    if (this.state === state) return;
    this.state = state;
    this.emit('state', state);
  }
}

export const socket = new Socket();
