// @ts-check
// What people mark in a text as they type it: **bold**, *italic*, ~~struck~~, `code`, fences, quotes, lists, addresses.
// Pure: a text becomes a tree of plain values, and never markup.
//
// A subset of CommonMark. Code is found as the server finds it when it looks for mentions. A backslash before a mark
// keeps the mark as it is written, and stays.
// Invariant: what is shown is what was written, without the marks that had an effect; and the time is linear in the
// length, whatever the text is.

/**
 * @typedef {{kind: 'text', text: string} | {kind: 'code', text: string} | {kind: 'link', text: string, url: string}
 *   | {kind: 'strong' | 'em' | 'del', parts: Inline[]}} Inline
 */
/** @typedef {{kind: 'item', number: number, parts: Inline[], list: List | null}} Item */
/** @typedef {{kind: 'list', isOrdered: boolean, items: Item[]}} List */
/** @typedef {{kind: 'fence', text: string, language: string}} Fence */
/** @typedef {{kind: 'text', parts: Inline[]} | {kind: 'quote', blocks: Block[]} | Fence | List} Block */
/** @typedef {{indent: number, isOrdered: boolean, number: number, lines: string[]}} Line of a list */
/** @typedef {{mark: string, length: number, parts: Inline[]}} Frame marks that are open, and what follows them */

// Quotes in quotes, lists in lists, marks in marks: what is deeper is text.
const QUOTES_MAX = 3;
const LISTS_MAX = 3;
const MARKS_MAX = 8;
const MARK_LENGTH_MAX = 3;

const FENCE = /^ {0,3}(`{3,})([^`]*)$/;
const QUOTE = /^> ?/;
const ITEM = /^( {0,12})(?:[-*]|(\d{1,3})[.)]) (?=\S)/;
const WORD = /[\p{L}\p{N}]/u;

/**
 * @param {string} text
 * @returns {Block[]}
 */
export const parse = (text) => blocksOf(text.split('\n'), 0);

/**
 * The text without marks, in one line: for a list or a notification.
 * @param {string} text
 */
export function plain(text) {
  /** @param {Inline} part @returns {string} */
  const words = (part) => ('parts' in part ? part.parts.map(words).join('') : part.text);
  /** @param {List} list @returns {string[]} */
  const items = (list) =>
    list.items.flatMap((item) => [item.parts.map(words).join(''), ...(item.list ? items(item.list) : [])]);
  /** @param {Block} block @returns {string} */
  const one = (block) => {
    if (block.kind === 'quote') return block.blocks.map(one).join(' ');
    if (block.kind === 'list') return items(block).join(' ');
    return block.kind === 'fence' ? block.text : block.parts.map(words).join('');
  };
  return parse(text).map(one).join(' ').replace(/\s+/g, ' ').trim();
}

/**
 * @param {string[]} lines
 * @param {number} depth of quotes
 * @returns {Block[]}
 */
function blocksOf(lines, depth) {
  /** @type {Block[]} */
  const blocks = [];
  /** @type {string[]} */
  let text = [];
  // Blank lines at a block are its margin; a text without blocks stays as it is.
  const endText = (isAll = false) => {
    while (!isAll && text.length && !text[text.length - 1].trim()) text.pop();
    let from = 0;
    while (!isAll && from < text.length && !text[from].trim()) from++;
    if (from < text.length) blocks.push({ kind: 'text', parts: inline(text.slice(from).join('\n')) });
    text = [];
  };
  for (let at = 0; at < lines.length; ) {
    const fence = FENCE.exec(lines[at]);
    const end = at + run(lines, at, fence, depth);
    if (end === at) {
      text.push(lines[at++]);
      continue;
    }
    endText();
    const own = lines.slice(at, end);
    if (fence) blocks.push(fenceOf(own, fence));
    else if (ITEM.test(lines[at])) blocks.push(listOf(own));
    else
      blocks.push({
        kind: 'quote',
        blocks: blocksOf(
          own.map((line) => line.replace(QUOTE, '')),
          depth + 1,
        ),
      });
    at = end;
  }
  endText(!blocks.length);
  return blocks;
}

/**
 * How many lines from `at` are one block; 0 for text.
 * @param {string[]} lines
 * @param {number} at
 * @param {RegExpExecArray | null} fence
 * @param {number} depth
 */
function run(lines, at, fence, depth) {
  let end = at;
  if (fence) {
    for (end++; end < lines.length; end++) if (closes(lines[end], fence[1].length)) return end + 1 - at;
    return end - at;
  }
  if (lines[at].startsWith('> ') && depth < QUOTES_MAX) {
    while (end < lines.length && (lines[end].startsWith('> ') || lines[end] === '>')) end++;
  } else if (ITEM.test(lines[at])) {
    // An indented line goes on with the item above it.
    while (end < lines.length && (ITEM.test(lines[end]) || (end > at && /^ {2,}\S/.test(lines[end])))) end++;
  }
  return end - at;
}

/**
 * @param {string} line
 * @param {number} length
 */
function closes(line, length) {
  const fence = FENCE.exec(line);
  return Boolean(fence && fence[1].length >= length && !fence[2].trim());
}

/**
 * A word after the first marks names the language; more is the first line, as people write it. They also close it at
 * the end of the last line.
 * @param {string[]} lines
 * @param {RegExpExecArray} fence the first line
 * @returns {Block}
 */
function fenceOf(lines, [, { length }, info]) {
  const rest = lines.slice(1);
  const last = rest[rest.length - 1] ?? '';
  if (closes(last, length)) rest.pop();
  else if (last.endsWith('`'.repeat(length))) rest[rest.length - 1] = last.replace(/`+$/, '');
  const isLanguage = /^\s*[\w+#-]*\s*$/.test(info) && rest.length > 0;
  return {
    kind: 'fence',
    language: isLanguage ? info.trim() : '',
    text: (isLanguage ? rest : [info, ...rest]).join('\n'),
  };
}

/**
 * @param {string[]} lines
 * @returns {List}
 */
function listOf(lines) {
  /** @type {Line[]} */
  const rows = [];
  for (const line of lines) {
    const found = ITEM.exec(line);
    if (!found) rows[rows.length - 1].lines.push(line.trim());
    else {
      const [mark, { length: indent }, number] = found;
      const isOrdered = number !== undefined;
      rows.push({ indent, isOrdered, number: Number(number ?? 0), lines: [line.slice(mark.length)] });
    }
  }
  const whole = newList(rows[0]);
  /** @type {Array<{indent: number, list: List}>} */
  const open = [{ indent: rows[0].indent, list: whole }];
  for (const row of rows) {
    while (open.length > 1 && row.indent < open[open.length - 1].indent) open.pop();
    const { indent, list } = open[open.length - 1];
    const above = list.items[list.items.length - 1];
    if (above && row.indent >= indent + 2 && open.length < LISTS_MAX) {
      above.list = newList(row);
      open.push({ indent: row.indent, list: above.list });
    }
    open[open.length - 1].list.items.push({
      kind: 'item',
      number: row.number,
      parts: inline(row.lines.join('\n')),
      list: null,
    });
  }
  return whole;
}

/**
 * @param {Line} first
 * @returns {List}
 */
const newList = ({ isOrdered }) => ({ kind: 'list', isOrdered, items: [] });

// ---- the parts of a line -------------------------------------------------------------------------------------------

/**
 * Where code between backticks is: from a run of them to the next run of as many.
 * @param {string} text
 * @returns {Map<number, {end: number, code: string}>}
 */
function spansOf(text) {
  const spans = new Map();
  const runs = [...text.matchAll(/\x60+/g)].map(({ index, 0: marks }) => ({ index, length: marks.length, next: -1 }));
  /** @type {Map<number, number>} */
  const later = new Map();
  for (let at = runs.length - 1; at >= 0; at--) {
    runs[at].next = later.get(runs[at].length) ?? -1;
    later.set(runs[at].length, at);
  }
  for (let at = 0; at < runs.length; at++) {
    const { index, length, next } = runs[at];
    if (next < 0) continue;
    const code = text.slice(index + length, runs[next].index);
    // One space at each end lets code begin or end with a backtick.
    const isPadded = code.length > 2 && code.startsWith(' ') && code.endsWith(' ') && code.trim();
    spans.set(index, { end: runs[next].index + length, code: isPadded ? code.slice(1, -1) : code });
    at = next;
  }
  return spans;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: an address ends before them
const ADDRESS = /(?<![A-Za-z0-9])(?:https?:\/\/|mailto:)[^\s<>"'\u0060\u0000-\u001f\u202a-\u202e\u2066-\u2069]+/gi;
const ENDS = '.,;:!?…،؛؟*~';

/**
 * The end of a sentence is not part of an address; a closing bracket only if the address has the opening one.
 * @param {string} found
 * @param {string} before
 */
function trimmed(found, before) {
  const count = (/** @type {string} */ sign) => found.split(sign).length - 1;
  let surplus = count(')') - count('(');
  let end = found.length;
  for (; end > 0; end--) {
    const last = found[end - 1];
    if (last === ')' && surplus > 0) surplus--;
    else if (!ENDS.includes(last) && !(last === '_' && before === '_')) break;
  }
  return found.slice(0, end);
}

/**
 * @param {string} address
 * @returns {string | null} null if it is not to be followed
 */
function urlOf(address) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return null;
  }
  if (url.protocol === 'mailto:') return /^mailto:[^@?]+@[^@?]+$/i.test(address) ? url.href : null;
  // Text before an @ may look like the name of another host.
  return /^https?:$/.test(url.protocol) && !url.username && !url.password ? url.href : null;
}

/**
 * @param {string} text
 * @returns {Map<number, {end: number, address: string, url: string}>}
 */
function addressesOf(text) {
  const found = new Map();
  for (const { index, 0: word } of text.matchAll(ADDRESS)) {
    const address = trimmed(word, text[index - 1] ?? '');
    const url = urlOf(address);
    if (url) found.set(index, { end: index + address.length, address, url });
  }
  return found;
}

/**
 * @param {string} text
 * @returns {Inline[]}
 */
function inline(text) {
  const spans = spansOf(text);
  const addresses = addressesOf(text);
  const marks = new Marks(text);
  let from = 0;
  for (let at = 0; at < text.length; ) {
    const span = spans.get(at);
    const address = addresses.get(at);
    const end = span?.end ?? address?.end ?? marks.endOf(at);
    if (end === at) {
      at++;
      continue;
    }
    marks.add({ kind: 'text', text: text.slice(from, at) });
    if (span) marks.add({ kind: 'code', text: span.code });
    else if (address) marks.add({ kind: 'link', text: address.address, url: address.url });
    else marks.take(at, end);
    at = end;
    from = end;
  }
  marks.add({ kind: 'text', text: text.slice(from) });
  return marks.end();
}

// The marks around words that are open at a place of the text, each with what follows it.
class Marks {
  #text;
  /** @type {Frame[]} */
  #open = [{ mark: '', length: 0, parts: [] }];

  /** @param {string} text */
  constructor(text) {
    this.#text = text;
  }

  get #top() {
    return this.#open[this.#open.length - 1];
  }

  /** @param {Inline} part */
  add(part) {
    if ('text' in part && !part.text) return;
    const { parts } = this.#top;
    const last = parts[parts.length - 1];
    if (part.kind === 'text' && last?.kind === 'text')
      parts[parts.length - 1] = { ...last, text: last.text + part.text };
    else parts.push(part);
  }

  /**
   * The end of the marks at a place, or of a line before a blank one: no mark reaches over it. The place itself, if
   * there are none.
   * @param {number} at
   */
  endOf(at) {
    const sign = this.#text[at];
    if (sign === '\n') return /^\n[ \t]*\n/.test(this.#text.slice(at, at + 80)) ? at + 1 : at;
    if (!'*_~'.includes(sign)) return at;
    let end = at;
    while (this.#text[end] === sign) end++;
    return end;
  }

  /**
   * @param {number} at
   * @param {number} end
   */
  take(at, end) {
    const sign = this.#text[at];
    const signs = this.#text.slice(at, end);
    if (sign === '\n') {
      while (this.#open.length > 1) this.#flatten();
      return this.add({ kind: 'text', text: signs });
    }
    const { mayOpen, mayClose } = this.#edges(at, end);
    let left = sign === '~' ? 2 : signs.length;
    const isMark = signs.length <= MARK_LENGTH_MAX && (sign !== '~' || signs.length === 2);
    if (!isMark || (!mayOpen && !mayClose)) return this.add({ kind: 'text', text: signs });
    while (mayClose && left > 0 && this.#open.some(({ mark }) => mark === sign)) left -= this.#close(sign, left);
    if (!left) return undefined;
    if (!mayOpen) return this.add({ kind: 'text', text: sign.repeat(left) });
    // The oldest gives way: it was not closed so far.
    if (this.#open.length > MARKS_MAX) this.#flatten(1);
    this.#open.push({ mark: sign, length: left, parts: [] });
    return undefined;
  }

  /**
   * Closes the last one that is open: two marks are bold, one is italic.
   * @param {string} sign
   * @param {number} left
   * @returns {number} how many marks that took
   */
  #close(sign, left) {
    while (this.#top.mark !== sign) this.#flatten();
    const frame = this.#top;
    const used = Math.min(2, frame.length, left);
    /** @type {Inline} */
    const part = { kind: kindOf(sign, used), parts: frame.parts };
    frame.length -= used;
    if (frame.length) frame.parts = [part];
    else {
      this.#open.pop();
      this.add(part);
    }
    return used;
  }

  /**
   * Marks that close nothing are text.
   * @param {number} [at]
   */
  #flatten(at = this.#open.length - 1) {
    const [{ mark, length, parts }] = this.#open.splice(at, 1);
    const below = this.#open[at - 1];
    const text = mark.repeat(length);
    const last = below.parts[below.parts.length - 1];
    if (last?.kind === 'text') below.parts[below.parts.length - 1] = { ...last, text: last.text + text };
    else below.parts.push({ kind: 'text', text });
    for (const part of parts) below.parts.push(part);
  }

  /**
   * A mark opens before a word and closes after one. Within a word it is a letter: of Latin ones for `*`, since other
   * scripts write no spaces or prefix letters, and of all for `_`.
   * @param {number} at
   * @param {number} end
   */
  #edges(at, end) {
    const [before, after] = [signBefore(this.#text, at), signAfter(this.#text, end)];
    const isWord = (/** @type {string} */ sign) =>
      this.#text[at] === '_' ? WORD.test(sign) : /[A-Za-z0-9]/.test(sign);
    const isKept = before === '\\';
    return {
      mayOpen: !isKept && /\S/.test(after) && !isWord(before),
      mayClose: !isKept && /\S/.test(before) && !isWord(after),
    };
  }

  end() {
    while (this.#open.length > 1) this.#flatten();
    return joined(this.#top.parts);
  }
}

/**
 * @param {string} sign
 * @param {number} used
 */
function kindOf(sign, used) {
  if (sign === '~') return 'del';
  return used === 2 ? 'strong' : 'em';
}

/**
 * Texts that follow each other as one.
 * @param {Inline[]} parts
 * @returns {Inline[]}
 */
function joined(parts) {
  /** @type {Inline[]} */
  const whole = [];
  /** @type {string[]} */
  let words = [];
  const end = () => {
    if (words.length) whole.push({ kind: 'text', text: words.join('') });
    words = [];
  };
  for (const part of parts) {
    if (part.kind === 'text') words.push(part.text);
    else {
      end();
      whole.push('parts' in part ? { ...part, parts: joined(part.parts) } : part);
    }
  }
  end();
  return whole;
}

/**
 * @param {string} text
 * @param {number} at
 */
function signBefore(text, at) {
  const unit = text.charCodeAt(at - 1);
  return unit >= 0xdc00 && unit <= 0xdfff ? text.slice(at - 2, at) : text.slice(Math.max(0, at - 1), at);
}

/**
 * @param {string} text
 * @param {number} at
 */
const signAfter = (text, at) => (at < text.length ? String.fromCodePoint(text.codePointAt(at) ?? 0) : '');
