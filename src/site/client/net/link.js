// @ts-check
// The connection of this tab to the server: which way it takes, where it resumes, how long it waits.
//
//     stopped ──start──▶ connecting ──caught up──▶ online
//                          ▲    │ refused            │ closed, silent, offline
//                          │    ▼                    ▼
//                          └── offline (waits, jittered) ◀┘
//
// A way that fails before it has caught up, although the server answers over HTTP, is followed by the next one at once:
// WebSocket, server-sent events, long poll.
// Invariant: the cursor moves only over events that were delivered, so a reconnect misses nothing. It is kept in
// memory, like the lists that it belongs to: a reload fetches both again.

import { SIGNAL } from '../names.js';
import { Emitter, jitter } from '../util.js';
import { Offline } from './http.js';
import { session } from './session.js';
import { PollWay, StreamWay } from './stream.js';
import { SocketWay } from './websocket.js';

const WATCH_EVERY_MS = 5_000;
// How long another way is kept before a WebSocket is tried again: the member may have left that network.
const OTHER_WAY_MS = 10 * 60_000;
const WAYS = [SocketWay, StreamWay, PollWay];

/** @typedef {'stopped' | 'connecting' | 'online' | 'offline'} State */
/** @typedef {SocketWay | StreamWay | PollWay} Way */
/** @typedef {import('../../types.d.ts').Ops['typing'] | import('../../types.d.ts').Ops['focus']} Lossy */
/** @typedef {Link} Connection */
/** @typedef {import('./websocket.js').Position} Position */
/** @typedef {import('./websocket.js').Lost} Lost */
/** @typedef {{state: State, event: import('../../types.d.ts').EventFrame, caught_up: {fresh: boolean}}} Signals */

/** @extends {Emitter<Signals>} */
class Link extends Emitter {
  /** @type {State} */
  state = 'stopped';
  /** @type {string | null} */
  sessionId = null;
  /** @type {Partial<import('../../types.d.ts').Events['hello']['limits']>} */
  limits = {};
  /** @type {Way | null} */
  #way = null;
  #wayIndex = 0;
  #wayUntil = 0;
  #tries = 0;
  #timer = 0;
  /** @type {Position | null} */
  #position = null;
  // Stays true until the listeners got a `caught_up`, however often the connection broke before.
  #fresh = true;

  constructor() {
    super();
    setInterval(() => this.#way?.watch(), WATCH_EVERY_MS);
    addEventListener('online', () => this.hurry());
    // The browser's report about the network is a hint: close a connection that may be dead, then keep trying, since a
    // server on the same machine needs no network.
    addEventListener('offline', () => this.#way && this.#lost(this.#way, {}));
    document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && this.hurry());
  }

  get online() {
    return this.state === 'online';
  }

  start() {
    if (this.state !== 'stopped') return;
    this.#tries = 0;
    this.#connect();
  }

  stop() {
    this.#close();
    clearTimeout(this.#timer);
    this.#position = null;
    this.#wayIndex = 0;
    this.#fresh = true;
    this.#enter('stopped');
  }

  hurry() {
    if (this.state === 'offline') {
      clearTimeout(this.#timer);
      this.#connect();
    } else if (this.state === 'online') this.#way?.watch();
  }

  /**
   * The server's response, or a `Problem`, or `Offline` if no response came: the op may then have been executed or not.
   * @template {import('./request.js').SentOp} O
   * @param {O} name
   * @param {import('./request.js').Params<O>} params
   * @returns {Promise<import('./request.js').Ok<O>>}
   */
  op(name, params) {
    if (!this.online || !this.#way) return Promise.reject(new Offline());
    return this.#way.call(name, params);
  }

  /**
   * An op that may be lost.
   * @param {Lossy} frame
   */
  tell(frame) {
    if (this.online) this.#way?.tell(frame);
  }

  #connect() {
    this.#close();
    this.#enter('connecting');
    if (Date.now() > this.#wayUntil) this.#wayIndex = 0;
    const cursor = this.#position && `${this.#position.epoch}:${this.#position.seq}`;
    /** @type {Way} */
    const way = new WAYS[this.#wayIndex](this.#reports(() => way));
    this.#way = way;
    way.open(cursor);
  }

  /**
   * @param {() => Way} way
   * @returns {import('./websocket.js').Reports}
   */
  #reports(way) {
    /**
     * @template V
     * @param {(value: V) => void} report
     * @returns {(value: V) => void}
     */
    const only = (report) => (value) => {
      if (way() === this.#way) report(value);
    };
    return {
      hello: only((hello) => {
        this.sessionId = hello.session;
        this.limits = hello.limits;
      }),
      reset: only((position) => {
        // Our data belongs to another epoch, or the events after it no longer exist.
        this.#fresh = true;
        this.#position = position;
      }),
      caughtUp: only((position) => this.#caughtUp(position)),
      reached: only((seq) => this.#reached(seq)),
      event: only((frame) => {
        this.emit(SIGNAL.event, frame);
        if ('seq' in frame) this.#reached(frame.seq);
      }),
      lost: (why) => this.#lost(way(), why),
    };
  }

  /** @param {number} seq */
  #reached(seq) {
    if (this.#position) this.#position.seq = Math.max(this.#position.seq, seq);
  }

  /** @param {Position} position */
  #caughtUp({ epoch, seq }) {
    const known = this.#position && this.#position.epoch === epoch ? this.#position.seq : 0;
    this.#position = { epoch, seq: Math.max(known, seq) };
    this.#tries = 0;
    this.#enter('online');
    this.emit(SIGNAL.caughtUp, { fresh: this.#fresh });
    this.#fresh = false;
  }

  /**
   * @param {Way} way
   * @param {Lost} why
   */
  #lost(way, { delayMs = null, tries = 0, error }) {
    if (way !== this.#way || this.state === 'stopped') return;
    const caughtUp = this.online;
    this.#close();
    if (!session.read()) return this.stop();
    this.#tries = Math.max(this.#tries, tries);
    // An error of a request says that the server, or the network, refuses every way.
    const mayGoOn = !caughtUp && !error && navigator.onLine && this.#wayIndex + 1 < WAYS.length;
    if (mayGoOn) {
      this.#wayIndex++;
      this.#wayUntil = Date.now() + OTHER_WAY_MS;
      return this.#connect();
    }
    if (!caughtUp) this.#wayIndex = 0;
    this.#enter('offline');
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), delayMs ?? jitter(this.#tries++));
  }

  #close() {
    const way = this.#way;
    this.#way = null;
    way?.close();
  }

  /** @param {State} state */
  #enter(state) {
    if (this.state === state) return;
    this.state = state;
    this.emit(SIGNAL.state, state);
  }
}

export const link = new Link();
