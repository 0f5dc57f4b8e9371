// Rules of the client's source that neither the linter nor the types know.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import test from 'node:test';
import { EVENT } from '../../src/site/client/names.js';

const ROOT = new URL('../../src/site/', import.meta.url);
const files = readdirSync(new URL('client/', ROOT), { recursive: true }).filter((path) =>
  /\.(js|css|html)$/.test(path),
);
const texts = new Map(files.map((path) => [path, readFileSync(new URL(`client/${path}`, ROOT), 'utf8')]));
const scripts = [...texts].filter(([path]) => path.endsWith('.js'));
const lines = (text) => text.split('\n');

/** The lines of the scripts that match, as `path: line`. */
function found(pattern, isIn = () => true) {
  const own = scripts.filter(([path]) => isIn(path));
  return own.flatMap(([path, text]) =>
    lines(text)
      .filter((line) => pattern.test(line))
      .map((line) => `${path}: ${line.trim()}`),
  );
}

test('no line has more than 120 columns', () => {
  const own = new Map(texts).set('../docs.css', readFileSync(new URL('docs.css', ROOT), 'utf8'));
  const wide = [...own].flatMap(([path, text]) =>
    lines(text)
      .filter((line) => [...line].length > 120)
      .map((line) => `${path}: ${line}`),
  );
  assert.deepEqual(wide, []);
});

test('every script has its types checked, and nothing is exempt', () => {
  for (const [path, text] of scripts) assert.ok(text.startsWith('// @ts-check\n// '), path);
  assert.deepEqual(found(/@ts-(ignore|expect-error|nocheck)/), []);
});

test('where a type is any, it crosses a border of the browser', () => {
  const borders = ['util.js', 'net/http.js', 'net/websocket.js', 'state/disk.js'];
  assert.deepEqual(
    found(/(@type|@param|@returns|@property|\* {2}).*\bany\b[>}\[,)]/, (path) => !borders.includes(path)),
    [],
  );
});

test('the names of events are in names.js alone', () => {
  const names = Object.values(EVENT).filter((name) => name.includes('.'));
  const quoted = new RegExp(`['"\`](${names.join('|').replaceAll('.', '\\.')})['"\`]`);
  // An op may be called like its event.
  const ops = /'conversation\.read'(: 'POST|, \{)|Events\[/;
  assert.deepEqual(
    found(quoted, (path) => path !== 'names.js').filter((line) => !ops.test(line)),
    [],
  );
  assert.deepEqual(found(/\.(on|emit|touch|notify)\(\s*['"`]/), []);
});

test('a view changes the model only by its methods', () => {
  const isView = (path) => path.startsWith('ui/');
  assert.deepEqual(found(/\bmodel\.\w+(\.\w+)* (=|\+=|\?\?=) /, isView), []);
  assert.deepEqual(found(/\bmodel\.\w+\.(set|add|delete|clear|push|splice|sort|learn)\(/, isView), []);
  assert.deepEqual(found(/\b(conversation|message|profile|peer|me)\.\w+ (=|\+=|\?\?=) /, isView), []);
  // What changes a conversation is imported by the model alone.
  const rules = found(/from '.*state\/conversation\.js'/, isView);
  for (const line of rules) assert.match(line, /import \{ (laneOf|atTail) \}/);
});
