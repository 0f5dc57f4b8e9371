// The archive of an account: a ZIP that other programs read, and a page without a script.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { archive, crc32, Zip } from '../../src/site/client/state/archive.js';

const utf8 = new TextEncoder();
const bytesOf = async (blob) => new Uint8Array(await blob.arrayBuffer());
const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** The entries by the index at the end, as a program reads them. */
function entries(bytes) {
  const data = view(bytes);
  const end = bytes.length - 22;
  assert.equal(data.getUint32(end, true), 0x06054b50);
  const found = new Map();
  let at = data.getUint32(end + 16, true);
  for (let i = 0; i < data.getUint16(end + 10, true); i++) {
    assert.equal(data.getUint32(at, true), 0x02014b50);
    const [size, length, start] = [
      data.getUint32(at + 24, true),
      data.getUint16(at + 28, true),
      data.getUint32(at + 42, true),
    ];
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + length));
    assert.equal(data.getUint32(start, true), 0x04034b50);
    const content = bytes.subarray(start + 30 + length, start + 30 + length + size);
    assert.equal(data.getUint32(at + 16, true), crc32(content), name);
    found.set(name, new TextDecoder().decode(content));
    at += 46 + length;
  }
  assert.equal(at, end);
  return found;
}

test('the checksum is the known one', () => assert.equal(crc32(utf8.encode('123456789')), 0xcbf43926));

test('an archive has its entries, also for another program where there is one', async (t) => {
  const zip = new Zip();
  for (const [name, text] of [
    ['a.txt', 'hello'],
    ['é/ب.txt', ''],
    ['b', 'x'.repeat(70_000)],
  ]) {
    assert.equal(zip.add(name, utf8.encode(text)), true);
  }
  const bytes = await bytesOf(zip.blob());
  assert.deepEqual([...entries(bytes).keys()], ['a.txt', 'é/ب.txt', 'b']);
  const folder = mkdtempSync(join(tmpdir(), 'natter-archive-'));
  try {
    writeFileSync(join(folder, 'a.zip'), bytes);
    const check = 'import sys, zipfile; print(zipfile.ZipFile(sys.argv[1]).testzip())';
    assert.equal(String(execFileSync('python3', ['-c', check, join(folder, 'a.zip')])).trim(), 'None');
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    t.diagnostic('no python3: only read by this test');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('an export is read by people: names, times, texts and files', async () => {
  const file = { id: 'u1', name: '<a>.txt', url: '/uploads/u1' };
  const gone = { id: 'u2', name: 'gone.txt', url: '/uploads/u2' };
  const message = (id, conversation, body, more = {}) => ({
    kind: 'message',
    data: { id, conversation, body, attachments: [], created_at: 'then', deleted_at: null, ...more },
  });
  const lines = [
    { kind: 'member', data: { id: 'm' } },
    { kind: 'upload', data: file },
    { kind: 'upload', data: gone },
    { kind: 'conversation', data: { id: 'c1', title: null, peer: 'p1' } },
    { kind: 'conversation', data: { id: 'c2', title: 'Tea', peer: null } },
    message('1', 'c1', '<script>alert(1)</script> & "so"', { attachments: [file, gone] }),
    message('2', 'c2', 'second'),
    message('3', 'c2', null, { deleted_at: 'then' }),
    message('4', 'c2', null, { kind: 'joined' }),
    message('5', 'c3', 'left'),
  ];
  const text = `${lines.map((line) => JSON.stringify(line)).join('\n')}\n`;
  const blob = await archive(text, {
    fetchFile: async (url) => (url === file.url ? utf8.encode('hello') : null),
    namesOf: async (ids) => new Map(ids.map((id) => [id, `name of ${id}`])),
    time: (iso) => `at ${iso}`,
    texts: { title: 'All', missing: '(missing)', left: '(left)', files: 'Files' },
    lang: 'en',
    dir: 'ltr',
  });
  const found = entries(await bytesOf(blob));
  assert.deepEqual([...found.keys()], ['files/u1/_a_.txt', 'export.ndjson', 'index.html']);
  assert.deepEqual([found.get('files/u1/_a_.txt'), found.get('export.ndjson')], ['hello', text]);
  const page = found.get('index.html');
  for (const part of [
    '<h2 dir="auto">name of p1</h2>',
    '<h2 dir="auto">Tea</h2>',
    '<h2 dir="auto">(left)</h2>',
    '&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;so&quot;',
    '<a href="files/u1/_a_.txt">&lt;a&gt;.txt</a>',
    'gone.txt ((missing))',
    'at then',
  ]) {
    assert.ok(page.includes(part), `${part} in ${page}`);
  }
  assert.ok(!page.includes('<script') && page.split('<li>').length === 5, page);
});
