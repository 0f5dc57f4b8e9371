// @ts-check
// The ops that the client sends, as requests over HTTP: for networks that pass no WebSocket.

/** @type {Record<string, [method: string, path: string]>} */
export const ROUTES = {
  'message.post': ['POST', '/messages'],
  'message.edit': ['PUT', '/messages/{message}'],
  'message.delete': ['DELETE', '/messages/{message}'],
  'message.react': ['PUT', '/messages/{message}/reactions/{emoji}'],
  'message.unreact': ['DELETE', '/messages/{message}/reactions/{emoji}'],
  'conversation.read': ['POST', '/conversations/{conversation}/read'],
};

/**
 * The request of an op: the parameters that its path does not name are its body.
 * @param {string} op
 * @param {Record<string, unknown>} params
 */
export function requestOf(op, params) {
  const [method, pattern] = ROUTES[op];
  const body = { ...params };
  const path = pattern.replace(/\{(\w+)\}/g, (_, name) => {
    delete body[name];
    return encodeURIComponent(String(params[name]));
  });
  return { method, path, body: Object.keys(body).length ? body : undefined };
}
