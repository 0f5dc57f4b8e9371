// Owns the one WebSocket of this tab: ticket, resume, heartbeat, backoff, and
// the pairing of ops with their answers. It does not know what events mean.
//
//   stopped ──start──▶ connecting ──caught_up──▶ online
//                        ▲    │ refused            │ closed, silent, offline
//                        │    ▼                    ▼
//                        └── offline (waits, jittered) ◀┘
//
// Invariant: the cursor moves only over events that were handed on, and only
// by events, `caught_up`, `reset` and `heartbeat`: a reconnect misses nothing.
// It lives in memory, like the lists it stands for: a reload fetches both anew.

import { Emitter, jitter } from '/client/util.js';
import { Offline, post, Problem, renew, session } from '/client/api.js';

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
  // Stays true until a `caught_up` told the listeners, however often it broke before.
  #fresh = true;

  constructor() {
    super();
    setInterval(() => this.#watch(), 5_000);
    addEventListener('online', () => this.hurry());
    // The browser's word on the network is a hint: drop what may be dead, then
    // go on trying, for a server on this machine needs no network.
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

  // Somebody is looking, or the network is back: don't sit out the delay.
  hurry() {
    if (this.state === 'offline') {
      clearTimeout(this.#timer);
      this.#connect();
    } else if (this.state === 'online') {
      this.#watch();
    }
  }

  get online() { return this.state === 'online'; }

  // The server's answer, or a `Problem`, or `Offline` when no answer came: the
  // op may then have been done or not.
  op(name, params) {
    if (!this.online) return Promise.reject(new Offline());
    return this.#call(name, params);
  }

  // An op whose loss nobody would notice (typing): without an id, only a
  // refusal is answered.
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
        // What we hold belongs to another history, or its sequel is gone.
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

  // Sixty seconds before the end: a new access token in place, no reconnect.
  async #extend() {
    try {
      if (!(await renew(this.#access))) return;
      this.#access = session.read().token.access;
      await this.#call('auth', { access: this.#access });
    } catch { /* 4401 follows; the reconnect renews or signs out */ }
  }

  #watch() {
    const silentMs = Date.now() - this.#heardAt;
    if (this.#ws && silentMs > (this.online ? 2.5 * this.#heartbeatMs : CONNECT_MS_MAX)) this.#lost(0);
  }

  // Doesn't wait for a close frame: a dead network never sends one.
  #lost(code, reason) {
    this.#drop();
    if (this.state === 'stopped') return;
    let delayMs = null;
    if (code === 1001) {
      try { delayMs = JSON.parse(reason).retry_after_ms; } catch { /* then ours */ }
    }
    if (code === 4429) this.#tries = Math.max(this.#tries, 5);
    this.#later(delayMs);
  }

  #drop(code) {
    this.#turn++;
    const ws = this.#ws;
    this.#ws = null;
    try { ws?.close(code ?? 1000); } catch { /* it was not open yet */ }
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
