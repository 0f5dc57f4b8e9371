// Drafts: on the device while the member is signed in, within their bounds.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Drafts } from '../../src/site/client/state/drafts.js';

function device() {
  const texts = new Map();
  const rows = new Map();
  let time = 0;
  const local = {
    get: (key) => texts.get(key) ?? null,
    set: (key, value) => texts.set(key, value),
    remove: (key) => texts.delete(key),
    keys: (prefix) => [...texts.keys()].filter((key) => key.startsWith(prefix)),
  };
  const store = {
    all: async () => [...rows.values()],
    put: async (row) => rows.set(row.key, row),
    remove: async (key) => rows.delete(key),
    clear: async () => rows.clear(),
  };
  const open = async (profile) => {
    const drafts = new Drafts({ local, store, now: () => ++time });
    await drafts.start(profile);
    return drafts;
  };
  return { texts, rows, open };
}

const file = (name, size) => Object.defineProperty(new File(['x'], name), 'size', { value: size });

test('a draft is read again by the same member, and by no other', async () => {
  const { open } = device();
  const before = await open('ann');
  const reply = { id: 'm', sender: 'bob', body: 'hm?', attachments: [], seq: 9 };
  Object.assign(before.of('to:bob'), { text: 'half', reply });
  before.of('to:bob').files.push({ file: file('a.txt', 5), alt: 'a list' });
  before.save('to:bob');
  assert.equal(await before.saveFiles('to:bob'), true);
  const draft = (await open('ann')).of('to:bob');
  assert.deepEqual([draft.text, draft.reply.body, draft.reply.seq], ['half', 'hm?', undefined]);
  assert.deepEqual(
    draft.files.map(({ file, alt }) => [file.name, alt]),
    [['a.txt', 'a list']],
  );
  const other = (await open('eve')).of('to:bob');
  assert.deepEqual([other.text, other.reply, other.files], ['', null, []]);
});

test('an empty draft is none, and a signed-out member stores none', async () => {
  const { texts, rows, open } = device();
  const drafts = await open('ann');
  drafts.of('l').text = 'x';
  drafts.save('l');
  drafts.of('l').files.push({ file: file('a', 1) });
  await drafts.saveFiles('l');
  assert.deepEqual([texts.size, rows.size], [1, 1]);
  Object.assign(drafts.of('l'), { text: '', files: [] });
  drafts.save('l');
  await drafts.saveFiles('l');
  assert.deepEqual([texts.size, rows.size], [0, 0]);
  drafts.of('l').text = 'y';
  drafts.save('l');
  await drafts.erase();
  drafts.of('l').text = 'z';
  drafts.save('l');
  assert.deepEqual([texts.size, rows.size], [0, 0]);
});

test('the oldest of more than 100 drafts goes', async () => {
  const { texts, open } = device();
  const drafts = await open('ann');
  for (let i = 0; i <= 100; i++) {
    drafts.of(`lane ${i}`).text = 'x';
    drafts.save(`lane ${i}`);
  }
  assert.deepEqual([texts.size, texts.has('draft:ann:lane 0'), texts.has('draft:ann:lane 1')], [100, false, true]);
});

test('files beyond 64 MiB in all are not stored, and it is said', async () => {
  const { rows, open } = device();
  const drafts = await open('ann');
  const MIB = 1_048_576;
  drafts.of('a').files.push({ file: file('a', 60 * MIB) });
  assert.equal(await drafts.saveFiles('a'), true);
  drafts.of('b').files.push({ file: file('b', 4 * MIB) });
  assert.equal(await drafts.saveFiles('b'), true, 'at the bound');
  drafts.of('b').files.push({ file: file('c', 1) });
  assert.equal(await drafts.saveFiles('b'), false);
  assert.deepEqual([...rows.keys()], ['draft:ann:a']);
});
