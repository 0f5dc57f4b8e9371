// @ts-check
// Requests of the API by their routes, and the ops of the WebSocket as requests: for networks that pass none.
//
// Invariant: routes, parameters and answers are those of the schema table; any other is a type error.

/** @typedef {import('../../types.d.ts').Routes} Routes */
/** @typedef {import('../../types.d.ts').RouteOf} RouteOf */
/** @typedef {import('../../types.d.ts').Ops} Ops */
/** @typedef {keyof Routes} Route */
/** @typedef {keyof RouteOf & keyof Ops} Op */
/**
 * @template {Route} R
 * @typedef {Routes[R]['answer'] extends {data: infer D} ? D : never} Data
 */
/** @typedef {{[R in Route]: Routes[R]['answer'] extends {data: unknown[], next: unknown} ? R : never}} Lists */
/** @typedef {Lists[Route]} ListRoute */
/** @typedef {{method: string, path: string, body?: Record<string, unknown>}} Request */

/** The ops that the client sends. */
export const ROUTES = /** @type {const} */ ({
  'message.post': 'POST /messages',
  'message.edit': 'PUT /messages/{message}',
  'message.delete': 'DELETE /messages/{message}',
  'message.react': 'PUT /messages/{message}/reactions/{emoji}',
  'message.unreact': 'DELETE /messages/{message}/reactions/{emoji}',
  'message.pin': 'PUT /messages/{message}/pin',
  'message.unpin': 'DELETE /messages/{message}/pin',
  'conversation.read': 'POST /conversations/{conversation}/read',
});

/** @typedef {keyof typeof ROUTES} SentOp */
/**
 * @template {SentOp} O
 * @typedef {Routes[(typeof ROUTES)[O]]['params']} Params
 */
/**
 * What an op is answered with.
 * @template {SentOp} O
 * @typedef {Data<(typeof ROUTES)[O]>} Ok
 */

/**
 * The parameters that the path does not name are the query of a read, and else the body.
 * @template {Route} R
 * @param {R} route
 * @param {Routes[R]['params']} params
 * @returns {Request}
 */
export function requestOf(route, params) {
  const [method, pattern] = route.split(' ');
  /** @type {Record<string, unknown>} */
  const rest = { ...params };
  const path = pattern.replace(/\{(\w+)\}/g, (_, name) => {
    const value = rest[name];
    delete rest[name];
    return encodeURIComponent(String(value));
  });
  const named = Object.entries(rest).filter(([, value]) => value !== undefined && value !== null);
  if (method !== 'GET') return { method, path, body: Object.keys(rest).length ? rest : undefined };
  const query = new URLSearchParams(named.map(([name, value]) => [name, String(value)]));
  return { method, path: named.length ? `${path}?${query}` : path };
}
