// @ts-check
// The archive of an account: what the server exports, its files, and a page that shows them. Pure; loaded when it is
// first needed.
//
// The archive is a ZIP without compression: its files are compressed already. One file at a time is in memory; the
// parts that are done are blobs, which the browser keeps on disk.
// Invariant: a name in the archive is used once, and the page has no script and loads nothing.

/** @typedef {import('../../types.d.ts').ExportLine} Line */
/** @typedef {import('../../types.d.ts').Message} Message */
/** @typedef {Extract<Line, {kind: 'upload'}>['data']} Upload */
/** @typedef {Extract<Line, {kind: 'conversation'}>['data']} Conversation */
/**
 * What the page that asks for the archive gives.
 * @typedef {object} Parts
 * @property {(url: string) => Promise<Uint8Array<ArrayBuffer> | null>} fetchFile null if the file is gone
 * @property {(ids: string[]) => Promise<Map<string, string>>} namesOf the names of profiles
 * @property {(iso: string) => string} time
 * @property {{title: string, missing: string, left: string, files: string}} texts
 * @property {string} lang
 * @property {string} dir
 */

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let bits = n;
  for (let i = 0; i < 8; i++) bits = bits & 1 ? (bits >>> 1) ^ 0xedb88320 : bits >>> 1;
  return bits >>> 0;
});

/** @param {Uint8Array} bytes */
export function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

const UTF8_NAMES = 0x0800;
// 1980-01-01, the first day of the format: the page has the times.
const DATE = 0x21;
// Beyond these the format has other fields, which not every program reads.
const BYTES_MAX = 0xffff_ffff;
const ENTRIES_MAX = 0xffff;

/** @param {number[]} numbers each with its bytes: `[value, bytes]` in turn */
function little(numbers) {
  /** @type {number[]} */
  const out = [];
  for (let i = 0; i < numbers.length; i += 2) {
    for (let byte = 0; byte < numbers[i + 1]; byte++) out.push(Math.floor(numbers[i] / 256 ** byte) & 255);
  }
  return new Uint8Array(out);
}

export class Zip {
  /** @type {BlobPart[]} */
  #parts = [];
  /** @type {BlobPart[]} */
  #index = [];
  #bytes = 0;
  #indexBytes = 0;
  #count = 0;

  /**
   * False if there is no room for it.
   * @param {string} name
   * @param {Uint8Array<ArrayBuffer>} bytes
   */
  add(name, bytes) {
    const path = new TextEncoder().encode(name);
    const more = 76 + 2 * path.length + bytes.length;
    if (this.#bytes + this.#indexBytes + more > BYTES_MAX || this.#count >= ENTRIES_MAX) return false;
    const sizes = [crc32(bytes), 4, bytes.length, 4, bytes.length, 4, path.length, 2, 0, 2];
    const common = [20, 2, UTF8_NAMES, 2, 0, 2, 0, 2, DATE, 2, ...sizes];
    this.#parts.push(little([0x04034b50, 4, ...common]), path, new Blob([bytes]));
    this.#index.push(little([0x02014b50, 4, 20, 2, ...common, 0, 2, 0, 2, 0, 2, 0, 4, this.#bytes, 4]), path);
    this.#bytes += 30 + path.length + bytes.length;
    this.#indexBytes += 46 + path.length;
    this.#count += 1;
    return true;
  }

  blob() {
    const end = [0x06054b50, 4, 0, 4, this.#count, 2, this.#count, 2, this.#indexBytes, 4, this.#bytes, 4, 0, 2];
    return new Blob([...this.#parts, ...this.#index, little(end)], { type: 'application/zip' });
  }
}

/** @param {string} text */
const safe = (text) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** @param {{id: string, name: string}} file */
const pathOf = ({ id, name }) => `files/${id}/${name.replaceAll(/[\\/:*?"<>|]/g, '_').replace(/^\.+/, '_') || 'file'}`;

/** @param {{id: string, name: string}} file */
const hrefOf = (file) => pathOf(file).split('/').map(encodeURIComponent).join('/');

/**
 * @param {Message} message
 * @param {Set<string>} kept the uploads that are in the archive
 * @param {Parts} parts
 */
function messageItem(message, kept, { time, texts }) {
  /** @param {Message['attachments'][number]} file */
  const link = (file) =>
    kept.has(file.id)
      ? `<a href="${hrefOf(file)}">${safe(file.name)}</a>`
      : `${safe(file.name)} (${safe(texts.missing)})`;
  const files = message.attachments.map((file) => `<br>${link(file)}`).join('');
  const when = `<time datetime="${safe(message.created_at)}">${safe(time(message.created_at))}</time>`;
  return `<li>${when}<p dir="auto">${safe(message.body ?? '')}${files}</p></li>`;
}

const STYLE =
  'body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}' +
  'ul{list-style:none;padding:0}time{color:#555;font-size:.85em}p{margin:0 0 .8em;white-space:pre-wrap}';

/**
 * @param {{name: string, messages: Message[]}[]} conversations
 * @param {Upload[]} uploads
 * @param {Set<string>} kept
 * @param {Parts} parts
 */
export function pageOf(conversations, uploads, kept, parts) {
  const { texts, lang, dir } = parts;
  /** @param {{name: string, messages: Message[]}} conversation */
  const section = ({ name, messages }) =>
    `<h2 dir="auto">${safe(name)}</h2><ul>${messages.map((it) => messageItem(it, kept, parts)).join('\n')}</ul>`;
  const files = uploads.filter(({ id }) => kept.has(id));
  const list = files.map((file) => `<li><a href="${hrefOf(file)}">${safe(file.name)}</a></li>`).join('\n');
  return (
    `<!doctype html><html lang="${lang}" dir="${dir}"><meta charset="utf-8"><title>${safe(texts.title)}</title>` +
    `<style>${STYLE}</style><h1>${safe(texts.title)}</h1>${conversations.map(section).join('\n')}` +
    `<h2>${safe(texts.files)}</h2><ul>${list}</ul></html>\n`
  );
}

/**
 * @param {string} exported the lines of the server
 * @param {Parts} parts
 */
export async function archive(exported, parts) {
  const zip = new Zip();
  const utf8 = new TextEncoder();
  /** @type {Map<string, Conversation>} */
  const conversations = new Map();
  /** @type {Map<string, Message[]>} */
  const messages = new Map();
  /** @type {Upload[]} */
  const uploads = [];
  for (const text of exported.split('\n')) {
    if (!text) continue;
    const line = /** @type {Line} */ (JSON.parse(text));
    if (line.kind === 'upload') uploads.push(line.data);
    else if (line.kind === 'conversation') conversations.set(line.data.id, line.data);
    else if (line.kind === 'message' && !line.data.deleted_at && !line.data.kind) {
      const { conversation } = line.data;
      const list = messages.get(conversation);
      if (list) list.push(line.data);
      else messages.set(conversation, [line.data]);
    }
  }
  const kept = new Set();
  for (const upload of uploads) {
    const bytes = await parts.fetchFile(upload.url);
    if (bytes && zip.add(pathOf(upload), bytes)) kept.add(upload.id);
  }
  const names = await parts.namesOf([...conversations.values()].flatMap(({ peer }) => peer ?? []));
  const sections = [...messages].map(([id, list]) => {
    const conversation = conversations.get(id);
    const name = conversation?.title ?? names.get(conversation?.peer ?? '') ?? parts.texts.left;
    return { name, messages: list };
  });
  zip.add('export.ndjson', utf8.encode(exported));
  zip.add('index.html', utf8.encode(pageOf(sections, uploads, kept, parts)));
  return zip.blob();
}
