// @ts-check
// The ways of the connection over plain HTTP, for networks that pass no WebSocket: server-sent events, and long polls
// where a proxy holds a stream back. Ops are requests.
//
// They report what `SocketWay` reports. Typing and focus are not sent: they are ops of the WebSocket only.
// Invariant: a cursor is reported only after its event.

import { EVENT } from '../names.js';
import { ask, call, send } from './http.js';
import { ROUTES } from './request.js';
import { SseParser } from './sse.js';

// A comment comes every 15 s.
const SILENT_MS_MAX = 40_000;
// A proxy that holds a stream back shows nothing, not even its head.
const FIRST_MS_MAX = 8_000;
// A stream that ends earlier is not opened again at once.
const SHORT_MS = 3_000;
const POLL_WAIT_S = 25;
// A poll is answered after its wait at the latest.
const POLL_MS_MAX = (POLL_WAIT_S + 15) * 1_000;

/** @typedef {import('./websocket.js').Reports} Reports */
/** @typedef {import('./websocket.js').Lost} Lost */
/** @typedef {import('./request.js').SentOp} SentOp */
/** @typedef {import('../../types.d.ts').EventFrame} EventFrame */

/** @param {string} cursor */
function positionOf(cursor) {
  const [epoch, seq] = cursor.split(':');
  return { epoch, seq: Number(seq) };
}

class HttpWay {
  /** @type {Reports} */
  reports;
  ending = new AbortController();
  heardAt = Date.now();
  ready = false;

  /** @param {Reports} reports */
  constructor(reports) {
    this.reports = reports;
  }

  get over() {
    return this.ending.signal.aborted;
  }

  /** @param {string | null} cursor */
  async open(cursor) {
    try {
      const openedAt = Date.now();
      await this.run(cursor);
      // The server ends a stream with its token; the next one takes another.
      this.lost({ delayMs: Date.now() - openedAt > SHORT_MS ? 0 : SHORT_MS });
    } catch (error) {
      this.lost({ error, delayMs: error.retryAfterMs });
    }
  }

  /** @param {string | null} _cursor */
  async run(_cursor) {}

  silentMsMax() {
    return SILENT_MS_MAX;
  }

  close() {
    this.ending.abort();
  }

  watch() {
    if (Date.now() - this.heardAt > this.silentMsMax()) this.lost({});
  }

  /**
   * @template {SentOp} O
   * @param {O} op
   * @param {import('./request.js').Params<O>} params
   * @returns {Promise<import('./request.js').Ok<O>>}
   */
  call(op, params) {
    return call(ROUTES[op], params);
  }

  tell() {}

  /** @param {string} cursor */
  caughtUp(cursor) {
    this.ready = true;
    this.reports.caughtUp(positionOf(cursor));
  }

  /** @param {Lost} why */
  lost(why) {
    if (this.over) return;
    this.close();
    this.reports.lost(why);
  }
}

export class StreamWay extends HttpWay {
  silentMsMax() {
    return this.ready ? SILENT_MS_MAX : FIRST_MS_MAX;
  }

  /** @param {string | null} cursor */
  async run(cursor) {
    const { signal } = this.ending;
    const from = { cursor: cursor ?? undefined };
    const response = await send('GET /events', from, { accept: 'text/event-stream', signal });
    // Something between answers in the server's place: another way may pass.
    if (!response.headers.get('content-type')?.startsWith('text/event-stream')) return this.lost({});
    const reader = /** @type {ReadableStream} */ (response.body).pipeThrough(new TextDecoderStream()).getReader();
    const parser = new SseParser();
    // Of a replay only its events are sent, not its end: what it brings is merged like any other event.
    if (cursor) this.caughtUp(cursor);
    while (!this.over) {
      const { value, done } = await reader.read();
      if (done || this.over) return;
      this.heardAt = Date.now();
      for (const sent of parser.push(value)) this.#heard(sent);
    }
  }

  /** @param {import('./sse.js').Sent} sent */
  #heard({ id, event, data }) {
    if (event === EVENT.reset && id) {
      this.reports.reset(positionOf(id));
      this.caughtUp(id);
    } else {
      if (data) this.reports.event(JSON.parse(data));
      if (id && !this.ready) this.caughtUp(id);
    }
  }
}

export class PollWay extends HttpWay {
  silentMsMax() {
    return POLL_MS_MAX;
  }

  /** @param {string | null} cursor */
  async run(cursor) {
    let at = cursor;
    while (!this.over) {
      const answer = await this.#ask(at);
      if (this.over) return;
      this.heardAt = Date.now();
      for (const frame of answer.data) this.reports.event(/** @type {EventFrame} */ (frame));
      at = answer.cursor;
      if (!this.ready) this.caughtUp(answer.cursor);
      else this.reports.reached(positionOf(answer.cursor).seq);
    }
  }

  /**
   * @param {string | null} cursor
   * @returns {Promise<import('../../types.d.ts').Routes['GET /events']['answer']>}
   */
  async #ask(cursor) {
    const { signal } = this.ending;
    // The first answer comes at once: it shows that this way works.
    const wait = this.ready ? POLL_WAIT_S : 0;
    try {
      return await ask('GET /events', { cursor: cursor ?? 'now', wait }, { signal });
    } catch (error) {
      if (error.code !== 'cursor_reset' || !error.cursor) throw error;
      this.reports.reset(positionOf(error.cursor));
      return { data: [], cursor: error.cursor };
    }
  }
}
