// The outbox: in order, once, whatever the connection does.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Outbox } from '../../src/site/client/state/outbox.js';
import { random, seeds } from './random.mjs';

class MemoryStore {
  rows = new Map();
  #last = 0;

  async all() {
    return structuredClone([...this.rows.values()]);
  }

  async put(row) {
    const key = row.key ?? ++this.#last;
    this.rows.set(key, structuredClone({ ...row, key }));
    return { ...row, key };
  }

  async update(row) {
    if (this.rows.has(row.key)) this.rows.set(row.key, structuredClone(row));
  }

  async remove(key) {
    this.rows.delete(key);
  }
}

/** One sender at a time, over all tabs that share it. */
function locks() {
  const chains = new Map();
  return (name, work) => {
    const run = (chains.get(name) ?? Promise.resolve()).then(work, work);
    chains.set(
      name,
      run.catch(() => {}),
    );
    return run;
  };
}

const lost = () => Object.assign(new Error('no response'), { retry: true, code: 'offline', status: 0 });
const refused = () => Object.assign(new Error('refused'), { retry: false, code: 'not_allowed', status: 403 });

/** A server that stores each client_id once, and a tab in front of it. */
function world({ answer = () => {}, upload, describe = async () => {} } = {}) {
  const stored = [];
  const dropped = [];
  const store = new MemoryStore();
  const alone = locks();
  const timers = [];
  const tab = () => {
    const link = {
      online: true,
      async op(_, post) {
        const fault = answer(post);
        if (fault?.before) throw fault.before;
        if (!stored.some(({ client_id }) => client_id === post.client_id)) stored.push(post);
        if (fault?.after) throw fault.after;
        return { ...post, conversation: 'c' };
      },
    };
    const outbox = new Outbox({
      store,
      link,
      alone,
      upload: upload ?? (async (file) => ({ id: `upload of ${file.name}` })),
      describe,
      drop: async (id) => dropped.push(id),
      tabs: null,
      later: (work) => timers.push(work),
    });
    return { outbox, link };
  };
  const settle = async () => {
    for (let i = 0; i < 200; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      for (const work of timers.splice(0)) work();
    }
  };
  return { stored, dropped, store, tab, settle };
}

const say = (outbox, body, more = {}) => outbox.add({ lane: 'to:peer', to: 'peer', body, files: [], ...more });
const bodies = (stored) => stored.map(({ body }) => body);

test('messages are sent in the order in which they were written, and removed once they are stored', async () => {
  const { stored, store, tab, settle } = world();
  const { outbox } = tab();
  await outbox.start('ann');
  for (const body of ['one', 'two', 'three']) await say(outbox, body);
  await settle();
  assert.deepEqual(bodies(stored), ['one', 'two', 'three']);
  assert.deepEqual([outbox.count, store.rows.size], [0, 0]);
});

test('without a connection they wait on disk, and another run of the page sends them', async () => {
  const { stored, store, tab, settle } = world();
  const first = tab();
  first.link.online = false;
  await first.outbox.start('ann');
  await say(first.outbox, 'later');
  await settle();
  assert.deepEqual([stored.length, store.rows.size, first.outbox.lane('to:peer').length], [0, 1, 1]);
  first.outbox.stop();
  const second = tab();
  await second.outbox.start('bob');
  await settle();
  assert.equal(stored.length, 0, 'not those of another member');
  await second.outbox.start('ann');
  await settle();
  assert.deepEqual(bodies(stored), ['later']);
});

test('whether a response is lost before or after the server stored the post: once, and in order', async () => {
  for (const seed of seeds(60)) {
    const below = random(seed);
    const answer = () => [{ before: lost() }, { after: lost() }, null, null][below(4)];
    const { stored, store, tab, settle } = world({ answer });
    const tabs = [tab(), tab()];
    for (const { outbox } of tabs) await outbox.start('ann');
    const said = [];
    for (let i = 0; i < 8; i++) {
      said.push(`message ${i}`);
      await say(tabs[below(2)].outbox, said[i]);
    }
    for (let i = 0; i < 5 && store.rows.size; i++) {
      await settle();
      for (const { outbox } of tabs) outbox.drain();
    }
    assert.deepEqual(bodies(stored), said, `seed ${seed}`);
    assert.equal(store.rows.size, 0, `seed ${seed}`);
  }
});

test('a refused message keeps its reason and its client_id, and lets the others pass', async () => {
  let isBlocked = true;
  const answer = ({ body }) => (isBlocked && body === 'no' ? { before: refused() } : null);
  const { stored, tab, settle } = world({ answer });
  const { outbox } = tab();
  await outbox.start('ann');
  const { client_id } = await say(outbox, 'no');
  await say(outbox, 'yes');
  await settle();
  const [row] = outbox.lane('to:peer');
  assert.deepEqual([bodies(stored), row.state, row.error.code], [['yes'], 'failed', 'not_allowed']);
  isBlocked = false;
  await outbox.retry(client_id);
  await settle();
  assert.deepEqual([stored[1].body, stored[1].client_id, outbox.count], ['no', client_id, 0]);
});

test('what is discarded, or was seen by an event, is not sent', async () => {
  const { stored, store, tab, settle } = world();
  const { outbox, link } = tab();
  link.online = false;
  await outbox.start('ann');
  const [a, b] = [await say(outbox, 'a'), await say(outbox, 'b')];
  await outbox.discard(a.client_id);
  outbox.settle(b.client_id);
  link.online = true;
  outbox.drain();
  await settle();
  assert.deepEqual([stored.length, store.rows.size], [0, 0]);
});

test('files are uploaded before the post that names them', async () => {
  const { stored, tab, settle } = world();
  const { outbox } = tab();
  await outbox.start('ann');
  const file = new File(['notes'], 'notes.txt', { type: 'text/plain' });
  await say(outbox, '', { files: [{ file }], reply_to: 'original' });
  await settle();
  const { attachments, reply_to, body, to } = stored[0];
  assert.deepEqual([attachments, reply_to, body, to], [['upload of notes.txt'], 'original', undefined, 'peer']);
});

test('a forwarded message is named, and its text is only shown', async () => {
  const { stored, tab, settle } = world();
  const { outbox } = tab();
  await outbox.start('ann');
  const row = await say(outbox, 'the text of others', { forward: 'original' });
  await settle();
  assert.deepEqual(stored, [{ to: 'peer', client_id: row.client_id, forward: 'original' }]);
});

test('what is said about a file reaches the server before the post, again after a lost answer', async () => {
  const said = [];
  let isLost = true;
  const describe = async ({ alt, original }, upload) => {
    if (isLost) {
      isLost = false;
      throw lost();
    }
    said.push([upload, alt, original, stored.length]);
  };
  let uploads = 0;
  const upload = async () => ({ id: `upload ${++uploads}` });
  const { stored, tab, settle } = world({ upload, describe });
  const { outbox } = tab();
  await outbox.start('ann');
  const file = new File(['pixels'], 'cat.png', { type: 'image/png' });
  await say(outbox, 'look', { files: [{ file, alt: 'a cat', original: true }] });
  await settle();
  assert.deepEqual(said, [['upload 1', 'a cat', true, 0]]);
  assert.deepEqual([stored[0].attachments, uploads], [['upload 1'], 1], 'uploaded once');
});

test('a file whose upload the server has deleted meanwhile is uploaded again when the message is tried again', async () => {
  const isGone = ({ attachments }) => attachments.includes('upload 1');
  const gone = Object.assign(new Error('gone'), { retry: false, code: 'invalid_attachments', status: 422 });
  let uploads = 0;
  const upload = async () => ({ id: `upload ${++uploads}` });
  const { stored, tab, settle } = world({ answer: (post) => (isGone(post) ? { before: gone } : null), upload });
  const { outbox } = tab();
  await outbox.start('ann');
  const file = new File(['pixels'], 'cat.png', { type: 'image/png' });
  const { client_id } = await say(outbox, 'look', { files: [{ file }] });
  await settle();
  assert.equal(outbox.lane('to:peer')[0].state, 'failed');
  await outbox.retry(client_id);
  await settle();
  assert.deepEqual([stored.map((post) => post.attachments), uploads, outbox.count], [[['upload 2']], 2, 0]);
});

test('a message that is discarded while its files are uploaded is not posted, and what was uploaded is dropped', async () => {
  const answers = [];
  const upload = (file, _, signal) =>
    new Promise((resolve, reject) => {
      answers.push(() => resolve({ id: `upload of ${file.name}` }));
      signal.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
    });
  const { stored, dropped, store, tab, settle } = world({ upload });
  const { outbox } = tab();
  await outbox.start('ann');
  const files = ['a.txt', 'b.txt'].map((name) => ({ file: new File(['x'], name) }));
  const row = await say(outbox, 'two', { files });
  await settle();
  answers[0]();
  await settle();
  assert.equal(answers.length, 2, 'the second is under way');
  await outbox.discard(row.client_id);
  await say(outbox, 'after');
  await settle();
  assert.deepEqual(
    stored.map(({ body }) => body),
    ['after'],
  );
  assert.deepEqual([dropped, store.rows.size, outbox.count], [['upload of a.txt'], 0, 0]);
});
