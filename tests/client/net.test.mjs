// The ways without a WebSocket: the parser of server-sent events, and ops as requests.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { requestOf, ROUTES } from '../../src/site/client/net/request.js';
import { SseParser } from '../../src/site/client/net/sse.js';
import { Typing } from '../../src/site/client/state/typing.js';

const STREAM =
  'id: k3:7\n\n: comment\n\nid: k3:8\nevent: message.posted\ndata: {"a":\ndata: 1}\n\n' +
  'event: typing\r\ndata:{"b":"ü"}\r\n\r\nretry: 5\n\ndata\n\n';
const SENT = [
  { id: 'k3:7', event: 'message', data: '' },
  { id: 'k3:8', event: 'message.posted', data: '{"a":\n1}' },
  { id: null, event: 'typing', data: '{"b":"ü"}' },
  { id: null, event: 'message', data: '' },
];

test('however a stream is cut, the same events come out', () => {
  assert.deepEqual(new SseParser().push(STREAM), SENT);
  for (let cut = 0; cut <= STREAM.length; cut++) {
    const parser = new SseParser();
    const sent = [...parser.push(STREAM.slice(0, cut)), ...parser.push(STREAM.slice(cut))];
    assert.deepEqual(sent, SENT, `cut at ${cut}`);
  }
  const parser = new SseParser();
  assert.deepEqual(
    [...STREAM].flatMap((letter) => parser.push(letter)),
    SENT,
  );
});

test('a line without an end is refused', () => {
  const parser = new SseParser();
  parser.push('x'.repeat(1_048_576));
  assert.throws(() => parser.push('x'), RangeError);
});

test('an op is the request that the API documents for it', () => {
  const { paths } = JSON.parse(readFileSync(new URL('../../src/site/openapi.json', import.meta.url), 'utf8'));
  for (const [op, route] of Object.entries(ROUTES)) {
    const [method, path] = route.split(' ');
    const operation = paths[`/api/v1${path}`]?.[method.toLowerCase()];
    assert.equal(operation?.['x-natter-name'], op, `${method} ${path}`);
  }
  assert.deepEqual(requestOf(ROUTES['message.react'], { message: 'm', emoji: '👍' }), {
    method: 'PUT',
    path: '/messages/m/reactions/%F0%9F%91%8D',
    body: undefined,
  });
  assert.deepEqual(requestOf(ROUTES['conversation.read'], { conversation: 'c', n: 3 }), {
    method: 'POST',
    path: '/conversations/c/read',
    body: { n: 3 },
  });
  // What a read leaves open is not in its query.
  assert.deepEqual(requestOf('GET /search', { q: 'a&b', conversation: 'c', next: undefined }), {
    method: 'GET',
    path: '/search?q=a%26b&conversation=c',
  });
  assert.deepEqual(requestOf('GET /conversations', { next: undefined }), { method: 'GET', path: '/conversations' });
});

test('who types stops by a word, or by silence', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const changed = [];
  const typing = new Typing((conversation) => changed.push(conversation));
  typing.heard({ conversation: 'c', profile: 'ann', active: true });
  typing.heard({ conversation: 'c', profile: 'bob', active: true });
  typing.heard({ conversation: 'c', profile: 'bob', active: false });
  assert.deepEqual([typing.of('c'), typing.of('d'), changed.length], [['ann'], [], 3]);
  context.mock.timers.tick(6_050);
  assert.deepEqual([typing.of('c'), changed.length], [[], 5]);
});
