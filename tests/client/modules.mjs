// Node's loader for the client: its files are modules without a package.json that says so.

import { register } from 'node:module';

const hook = `export async function load(url, context, next) {
  return next(url, url.includes('/src/site/client/') ? { ...context, format: 'module' } : context);
}`;

register(`data:text/javascript,${encodeURIComponent(hook)}`);
