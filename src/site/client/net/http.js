// @ts-check
// Requests over HTTP, with the session's tokens.
//
// Owns errors: `Problem` (the server refused) or `Offline` (no response came), and the renewal of the tokens.
// Invariant: one renewal runs per browser.

import { lang, t } from '../i18n.js';
import { alone, jitter, wait } from '../util.js';
import { requestOf } from './request.js';
import { deviceId, session } from './session.js';

/** @typedef {import('./request.js').Routes} Routes */
/** @typedef {import('./request.js').Route} Route */
/** @typedef {import('./request.js').ListRoute} ListRoute */
/** @typedef {import('./request.js').Request} Request */
/**
 * @template {Route} R
 * @typedef {import('./request.js').Data<R>} Data
 */

const BASE = '/api/v1';
const ANSWER_MS_MAX = 30_000;
const READ_TRIES_MAX = 3;
const PAGE_ITEMS = 200;

export class Problem extends Error {
  /**
   * @param {number} status
   * @param {Partial<import('../../types.d.ts').Problem>} body empty if a proxy answered
   */
  constructor(status, body = {}) {
    super(body.title || t('error.general'));
    this.status = status;
    this.code = body.code ?? 'general_error';
    this.field = body.field ?? null;
    this.retry = body.retry ?? false;
    this.retryAfterMs = body.retry_after_ms ?? null;
    /** The cursor to go on from, of a 410. */
    this.cursor = /** @type {{cursor?: string}} */ (body).cursor ?? null;
  }
}

export class Offline extends Error {
  status = 0;
  code = 'offline';
  field = null;
  retry = true;
  retryAfterMs = null;
  cursor = null;

  constructor() {
    super(t('error.offline'));
  }
}

/**
 * @param {string | null | undefined} access
 * @param {string} [accept]
 */
function headers(access, accept = 'application/json') {
  /** @type {Record<string, string>} */
  const list = { Accept: accept, 'Accept-Language': lang(), UniqueId: deviceId() };
  return access ? { ...list, Authorization: `Bearer ${access}` } : list;
}

/** @param {Response} response */
async function problemOf(response) {
  try {
    return new Problem(response.status, await response.json());
  } catch {
    return new Problem(response.status);
  }
}

/**
 * @typedef {object} Options
 * @property {AbortSignal} [signal]
 * @property {string | null} [access]
 * @property {boolean} [open] without an account
 * @property {string} [accept]
 */
/**
 * @param {Request} request
 * @param {Options} options
 */
async function attempt({ method, path, body }, { signal, access, accept }) {
  const list = headers(access, accept);
  if (body !== undefined) list['Content-Type'] = 'application/json';
  try {
    return await fetch(BASE + path, {
      method,
      headers: list,
      cache: 'no-store',
      credentials: 'omit',
      // A network that drops packets must not make a caller wait without end.
      signal: signal ?? AbortSignal.timeout(ANSWER_MS_MAX),
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Offline();
  }
}

/**
 * Renews the tokens unless another tab already replaced `stale`.
 * @param {string | null | undefined} stale
 * @returns {Promise<boolean>} false: the session has ended, and this browser is signed out
 */
export function renew(stale) {
  return alone('renew', async () => {
    // Another tab's write may become visible a little after it released the lock.
    if (session.read()?.token.access === stale) await wait(60);
    const held = session.read();
    if (!held) return false;
    if (held.token.access !== stale) return true;
    // A lost response is safe: within 60 s the server repeats the same tokens.
    const response = await attempt(requestOf('POST /user/refresh', { refresh: held.token.refresh }), {});
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

const signedOut = () => new Problem(401, { code: 'unauthorized_access', title: t('error.signed_out') });
/** @param {Problem} problem */
const isStale = (problem) => problem.status === 401 && problem.code === 'unauthorized_access';

/**
 * @template {Route} R
 * @param {R} route
 * @param {Routes[R]['params']} params
 * @param {Options} [options]
 */
export async function send(route, params, options = {}) {
  const request = requestOf(route, params);
  for (let tries = 0; ; tries++) {
    const access = options.open ? null : session.read()?.token.access;
    if (!options.open && !access) throw signedOut();
    const response = await attempt(request, { ...options, access });
    if (response.ok) return response;
    const problem = await problemOf(response);
    const mayRenew = isStale(problem) && !options.open && tries === 0;
    if (mayRenew && (await renew(access))) continue;
    // Only reads are repeated here; the caller decides whether a write is repeated.
    if (!problem.retry || request.method !== 'GET' || tries >= READ_TRIES_MAX) throw problem;
    await wait(problem.retryAfterMs ?? jitter(tries));
  }
}

/**
 * The complete answer.
 * @template {Route} R
 * @param {R} route such as `GET /messages/{message}`
 * @param {Routes[R]['params']} params those that its path does not name are its query or its body
 * @param {Options} [options]
 * @returns {Promise<Routes[R]['answer']>}
 */
export async function ask(route, params, options) {
  const response = await send(route, params, options);
  return response.status === 204 ? { data: null } : response.json();
}

/**
 * The data of the answer.
 * @template {Route} R
 * @param {R} route
 * @param {Routes[R]['params']} params
 * @param {Options} [options]
 * @returns {Promise<Data<R>>}
 */
export async function call(route, params, options) {
  const answer = /** @type {{data: Data<R>}} */ (await ask(route, params, options));
  return answer.data;
}

// What the operator permits people without an account to do.
export const signUpPolicy = () => call('GET /user/sign-up', {}, { open: true });

/**
 * Every item of a list, page by page.
 * @template {ListRoute} R
 * @param {R} route
 * @param {Routes[R]['params']} params
 * @returns {Promise<Data<R>>}
 */
export async function all(route, params) {
  /** @type {any[]} */
  const items = [];
  /** @type {string | undefined} */
  let next;
  do {
    const answer = /** @type {{data: any[], next: string | null}} */ (
      await ask(route, { ...params, limit: PAGE_ITEMS, next })
    );
    items.push(...answer.data);
    next = answer.next ?? undefined;
  } while (next);
  return /** @type {Data<R>} */ (items);
}

/** @typedef {{onProgress?: (part: number) => void, signal?: AbortSignal}} UploadOptions */

/**
 * Sends a raw body with X-Filename, which the server streams to disk.
 * @param {{blob: Blob, name: string, type: string}} file
 * @param {UploadOptions} [options]
 */
export const upload = (file, options) => sendFile('POST /uploads', file, options);

/**
 * Gives an upload its preview.
 * @param {string} id
 * @param {Blob} blob
 * @param {UploadOptions} [options]
 */
export const uploadPreview = (id, blob, options) =>
  sendFile(`PUT /uploads/${id}/preview`, { blob, name: 'preview', type: blob.type }, options);

/**
 * @param {string} route
 * @param {{blob: Blob, name: string, type: string}} file
 * @param {UploadOptions} [options]
 * @returns {Promise<import('../../types.d.ts').Upload>}
 */
async function sendFile(route, file, { onProgress, signal } = {}) {
  for (let tries = 0; ; tries++) {
    const access = session.read()?.token.access;
    if (!access) throw signedOut();
    const { status, body } = await transfer(route, file, access, onProgress, signal);
    if (status >= 200 && status < 300) return body.data;
    const problem = new Problem(status, body ?? {});
    if (status === 401 && tries === 0 && (await renew(access))) continue;
    throw problem;
  }
}

/**
 * Uses XMLHttpRequest, because fetch reports no progress of an upload.
 * @param {string} route
 * @param {{blob: Blob, name: string, type: string}} file
 * @param {string} access
 * @param {((part: number) => void) | undefined} onProgress
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<{status: number, body: any}>}
 */
function transfer(route, file, access, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const [method, path] = route.split(' ');
    request.open(method, BASE + path);
    for (const [name, value] of Object.entries(headers(access))) request.setRequestHeader(name, value);
    request.setRequestHeader('Content-Type', file.type || 'application/octet-stream');
    request.setRequestHeader('X-Filename', encodeURIComponent(file.name || 'file'));
    request.responseType = 'json';
    request.upload.onprogress = (event) => event.lengthComputable && onProgress?.(event.loaded / event.total);
    request.onload = () => resolve({ status: request.status, body: request.response });
    request.onerror = () => reject(new Offline());
    request.onabort = () => reject(new DOMException('aborted', 'AbortError'));
    if (signal?.aborted) return request.onabort?.(new ProgressEvent('abort'));
    signal?.addEventListener('abort', () => request.abort());
    request.send(file.blob);
  });
}
