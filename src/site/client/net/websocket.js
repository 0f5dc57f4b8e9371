// @ts-check
// The way of the connection over a WebSocket: a ticket, frames, calls that wait for their answers.
//
// Invariant: after `lost` it reports nothing more, and every call that waited is rejected.

import { EVENT } from '../names.js';
import { jitter, wait } from '../util.js';
import { call, Offline, Problem, renew } from './http.js';
import { session } from './session.js';

const OP_MS_MAX = 30_000;
const CONNECT_MS_MAX = 15_000;
const HEARTBEAT_MS = 30_000;
// The server counts a peer as gone after the same time.
const HEARTBEATS_MISSED_MAX = 2.5;
// The attempt of the backoff at which to continue after the server closed the connection as a flood.
const FLOOD_TRIES = 5;

/** @typedef {import('../../types.d.ts').Events} Events */
/** @typedef {import('../../types.d.ts').EventFrame} EventFrame */
/** @typedef {import('../../types.d.ts').ErrorFrame} ErrorFrame */
/** @typedef {import('../../types.d.ts').AnswerFrame} AnswerFrame */
/** @typedef {import('./request.js').SentOp} SentOp */
/** @typedef {{epoch: string, seq: number}} Position */
/** @typedef {{delayMs?: number | null, tries?: number, error?: Error}} Lost */
/**
 * What a way reports to the connection.
 * @typedef {object} Reports
 * @property {(hello: Events['hello']) => void} hello
 * @property {(frame: EventFrame) => void} event
 * @property {(position: Position) => void} reset
 * @property {(position: Position) => void} caughtUp
 * @property {(seq: number) => void} reached
 * @property {(why: Lost) => void} lost
 */

export class SocketWay {
  #reports;
  /** @type {WebSocket | null} */
  #ws = null;
  #epoch = '';
  #access = '';
  #heartbeatMs = HEARTBEAT_MS;
  #heardAt = Date.now();
  #ready = false;
  #over = false;
  #lastId = 0;
  /** @type {Map<number, {resolve: (ok: any) => void, reject: (error: Error) => void, timer: number}>} */
  #calls = new Map();

  /** @param {Reports} reports */
  constructor(reports) {
    this.#reports = reports;
  }

  /** @param {string | null} cursor */
  async open(cursor) {
    let ticket;
    try {
      ({ ticket } = await call('POST /user/ticket', {}));
    } catch (error) {
      return this.#lost({ error, delayMs: error.retryAfterMs });
    }
    if (this.#over) return;
    this.#access = session.read()?.token.access ?? '';
    const query = new URLSearchParams(cursor === null ? { ticket } : { ticket, cursor });
    const ws = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/api/v1/ws?${query}`, ['natter.v1']);
    this.#ws = ws;
    this.#heardAt = Date.now();
    ws.onmessage = (event) => !this.#over && this.#heard(event.data);
    ws.onclose = (event) => this.#lost(reasonOf(event));
  }

  close() {
    this.#over = true;
    try {
      this.#ws?.close(1000);
    } catch {
      /* it is not open yet */
    }
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) {
      clearTimeout(call.timer);
      call.reject(new Offline());
    }
  }

  // Closes a connection that has been silent for too long.
  watch() {
    const most = this.#ready ? HEARTBEATS_MISSED_MAX * this.#heartbeatMs : CONNECT_MS_MAX;
    if (Date.now() - this.#heardAt > most) this.#lost({});
  }

  /**
   * @template {SentOp} O
   * @param {O} op
   * @param {import('./request.js').Params<O>} params
   * @returns {Promise<import('./request.js').Ok<O>>}
   */
  call(op, params) {
    return this.#call(op, params);
  }

  /**
   * @param {keyof import('../../types.d.ts').Ops} op
   * @param {object} params
   * @returns {Promise<any>} what the op gives
   */
  #call(op, params) {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#lost({}), OP_MS_MAX);
      this.#calls.set(id, { resolve, reject, timer });
      this.#ws?.send(JSON.stringify({ id, op, ...params }));
    });
  }

  /**
   * Without an id, only a refusal is answered.
   * @param {import('./link.js').Lossy} frame
   */
  tell(frame) {
    this.#ws?.send(JSON.stringify(frame));
  }

  /** @param {string} text */
  #heard(text) {
    this.#heardAt = Date.now();
    /** @type {EventFrame | AnswerFrame | ErrorFrame} */
    const frame = JSON.parse(text);
    if ('re' in frame) return this.#answered(frame);
    switch (frame.event) {
      case EVENT.hello:
        this.#heartbeatMs = frame.heartbeat_ms;
        this.#epoch = frame.epoch;
        return this.#reports.hello(frame);
      case EVENT.reset:
        return this.#reports.reset({ epoch: this.#epoch, seq: frame.seq });
      case EVENT.caughtUp:
        this.#ready = true;
        return this.#reports.caughtUp({ epoch: this.#epoch, seq: frame.seq });
      case EVENT.heartbeat:
        return this.#reports.reached(frame.seq);
      case EVENT.expiring:
        return this.#extend();
      default:
        return this.#reports.event(frame);
    }
  }

  /** @param {AnswerFrame | ErrorFrame} frame */
  #answered(frame) {
    const id = Number(frame.re);
    const call = this.#calls.get(id);
    if (!call) return;
    this.#calls.delete(id);
    clearTimeout(call.timer);
    if ('error' in frame) call.reject(new Problem(0, frame.error));
    else call.resolve(frame.ok);
  }

  async #extend() {
    try {
      // Many clients that connected at once must not renew at once; and short-lived tokens must not be renewed without
      // a pause.
      await wait(jitter(4));
      if (!(await renew(this.#access))) return;
      this.#access = session.read()?.token.access ?? '';
      await this.#call('auth', { access: this.#access });
    } catch {
      /* 4401 follows; the reconnect renews or signs out */
    }
  }

  /** @param {Lost} why */
  #lost(why) {
    if (this.#over) return;
    this.close();
    this.#reports.lost(why);
  }
}

/**
 * @param {CloseEvent} event
 * @returns {Lost}
 */
function reasonOf({ code, reason }) {
  if (code === 4429) return { tries: FLOOD_TRIES };
  if (code !== 1001) return {};
  try {
    return { delayMs: JSON.parse(reason).retry_after_ms };
  } catch {
    return {}; // our own delay
  }
}
