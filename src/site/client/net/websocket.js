// @ts-check
// The way of the connection over a WebSocket: a ticket, frames, calls that wait for their answers.
//
// Invariant: after `lost` it reports nothing more, and every call that waited is rejected.

import { EVENT } from '../names.js';
import { jitter, wait } from '../util.js';
import { Offline, Problem, post, renew } from './http.js';
import { session } from './session.js';

const OP_MS_MAX = 30_000;
const CONNECT_MS_MAX = 15_000;
const HEARTBEAT_MS = 30_000;
// The server counts a peer as gone after the same time.
const HEARTBEATS_MISSED_MAX = 2.5;
// The attempt of the backoff at which to continue after the server closed the connection as a flood.
const FLOOD_TRIES = 5;

/**
 * What a way reports to the connection.
 * @typedef {object} Reports
 * @property {(hello: any) => void} hello
 * @property {(frame: any) => void} event
 * @property {(position: {epoch: string, seq: number}) => void} reset
 * @property {(position: {epoch: string, seq: number}) => void} caughtUp
 * @property {(seq: number) => void} reached
 * @property {(why: {delayMs?: number | null, tries?: number, error?: Error}) => void} lost
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
  /** @type {Map<number, {resolve: (ok: any) => void, reject: (error: Error) => void, timer: any}>} */
  #calls = new Map();

  /** @param {Reports} reports */
  constructor(reports) {
    this.#reports = reports;
  }

  /** @param {string | null} cursor */
  async open(cursor) {
    let ticket;
    try {
      ({ ticket } = await post('/user/ticket'));
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

  /** @returns {Promise<any>} */
  call(op, params) {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#lost({}), OP_MS_MAX);
      this.#calls.set(id, { resolve, reject, timer });
      this.#ws?.send(JSON.stringify({ id, op, ...params }));
    });
  }

  // Without an id, only a refusal is answered.
  tell(op, params) {
    this.#ws?.send(JSON.stringify({ op, ...params }));
  }

  #heard(text) {
    this.#heardAt = Date.now();
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

  #answered(frame) {
    const call = this.#calls.get(frame.re);
    if (!call) return;
    this.#calls.delete(frame.re);
    clearTimeout(call.timer);
    if (frame.error) call.reject(new Problem(0, frame.error));
    else call.resolve(frame.ok);
  }

  async #extend() {
    try {
      // Many clients that connected at once must not renew at once; and short-lived tokens must not be renewed without
      // a pause.
      await wait(jitter(4));
      if (!(await renew(this.#access))) return;
      this.#access = session.read()?.token.access ?? '';
      await this.call('auth', { access: this.#access });
    } catch {
      /* 4401 follows; the reconnect renews or signs out */
    }
  }

  #lost(why) {
    if (this.#over) return;
    this.close();
    this.#reports.lost(why);
  }
}

function reasonOf({ code, reason }) {
  if (code === 4429) return { tries: FLOOD_TRIES };
  if (code !== 1001) return {};
  try {
    return { delayMs: JSON.parse(reason).retry_after_ms };
  } catch {
    return {}; // our own delay
  }
}
