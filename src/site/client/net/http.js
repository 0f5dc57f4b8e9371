// @ts-check
// Requests over HTTP, with the session's tokens.
//
// Owns errors: `Problem` (the server refused) or `Offline` (no response came), and the renewal of the tokens.
// Invariant: one renewal runs per browser.

import { lang, t } from '../i18n.js';
import { alone, jitter, wait } from '../util.js';
import { deviceId, session } from './session.js';

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

function headers(access, accept = 'application/json') {
  const list = { Accept: accept, 'Accept-Language': lang(), UniqueId: deviceId() };
  return access ? { ...list, Authorization: `Bearer ${access}` } : list;
}

function target(path, query) {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null);
  return BASE + path + (pairs.length ? `?${new URLSearchParams(/** @type {any} */ (pairs))}` : '');
}

async function problemOf(response) {
  try {
    return new Problem(response.status, await response.json());
  } catch {
    return new Problem(response.status);
  }
}

/**
 * @typedef {{query?: object, body?: unknown, signal?: AbortSignal, access?: string | null, open?: boolean,
 *   accept?: string}} Options
 * @param {string} method
 * @param {string} path
 * @param {Options} options
 */
async function attempt(method, path, { query, body, signal, access, accept }) {
  /** @type {Record<string, string>} */
  const list = headers(access, accept);
  if (body !== undefined) list['Content-Type'] = 'application/json';
  try {
    return await fetch(target(path, query), {
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

const signedOut = () => new Problem(401, { code: 'unauthorized_access', title: t('error.signed_out') });
const isStale = (problem) => problem.status === 401 && problem.code === 'unauthorized_access';

/** @param {Options} [options] */
export async function send(method, path, options = {}) {
  for (let tries = 0; ; tries++) {
    const access = options.open ? null : session.read()?.token.access;
    if (!options.open && !access) throw signedOut();
    const response = await attempt(method, path, { ...options, access });
    if (response.ok) return response;
    const problem = await problemOf(response);
    const mayRenew = isStale(problem) && !options.open && tries === 0;
    if (mayRenew && (await renew(access))) continue;
    // Only reads are repeated here; the caller decides whether a write is repeated.
    if (!problem.retry || method !== 'GET' || tries >= READ_TRIES_MAX) throw problem;
    await wait(problem.retryAfterMs ?? jitter(tries));
  }
}

/** @param {Options} [options] */
export async function envelope(method, path, options) {
  const response = await send(method, path, options);
  return response.status === 204 ? { data: null } : response.json();
}

export const get = async (path, query, signal) => (await envelope('GET', path, { query, signal })).data;
export const page = (path, query, signal) => envelope('GET', path, { query, signal });
export const post = async (path, body) => (await envelope('POST', path, { body })).data;
export const put = async (path, body) => (await envelope('PUT', path, { body })).data;
export const remove = async (path, body) => (await envelope('DELETE', path, { body })).data;
// Without an account.
export const open = async (path, body) => (await envelope('POST', path, { body, open: true })).data;
// For a code: its data, and where it is delivered ('file', or undefined for the mailbox).
export const askCode = (path, body) => envelope('POST', path, { body });
export const openForCode = (path, body) => envelope('POST', path, { body, open: true });

// What the operator permits people without an account to do.
export const signUpPolicy = async () => (await envelope('GET', '/user/sign-up', { open: true })).data;

export async function all(path, query) {
  const items = [];
  for (let next; ; ) {
    const answer = await page(path, { ...query, limit: PAGE_ITEMS, next });
    items.push(...answer.data);
    next = answer.next;
    if (!next) return items;
  }
}

/**
 * Sends a raw body with X-Filename, which the server streams to disk.
 * @param {File} file
 * @param {{onProgress?: (part: number) => void, signal?: AbortSignal}} [options]
 */
export async function upload(file, { onProgress, signal } = {}) {
  for (let tries = 0; ; tries++) {
    const access = session.read()?.token.access;
    if (!access) throw signedOut();
    const { status, body } = await transfer(file, access, onProgress, signal);
    if (status >= 200 && status < 300) return body.data;
    const problem = new Problem(status, body ?? {});
    if (status === 401 && tries === 0 && (await renew(access))) continue;
    throw problem;
  }
}

// Uses XMLHttpRequest, because fetch reports no progress of an upload.
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
