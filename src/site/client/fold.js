// @ts-check
// Letters as a search compares them: without case, accents and the variants of Arabic letters. Pure.

const WORD = /[\p{L}\p{N}]/u;
// These write no spaces between words.
const UNSPACED = /[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmr}\p{sc=Mymr}]/u;
/** @type {Record<string, string>} */
const ARABIC = { 'ٱ': 'ا', 'ى': 'ي', 'ة': 'ه', 'ـ': '' };

/** @param {string} text */
export const fold = (text) =>
  text
    .normalize('NFKD')
    .replace(/\p{M}+/gu, '')
    .toLowerCase()
    .replace(/[ٱىةـ]/g, (letter) => ARABIC[letter]);

/** @param {string} text */
export const wordsOf = (text) => fold(text).match(/[\p{L}\p{N}]+/gu) ?? [];

/**
 * Where words of a query begin words of a text, in order and apart.
 * @param {string} text
 * @param {string} query
 * @returns {Array<[from: number, to: number]>}
 */
export function hitsOf(text, query) {
  const wanted = wordsOf(query).sort((a, b) => b.length - a.length);
  let folded = '';
  /** @type {number[]} */
  const origin = [];
  let at = 0;
  for (const sign of text) {
    const part = fold(sign);
    folded += part;
    for (let i = 0; i < part.length; i++) origin.push(at);
    at += sign.length;
  }
  origin.push(text.length);
  /** @type {Array<[number, number]>} */
  const hits = [];
  for (let from = 0; from < folded.length; from++) {
    const begins = from === 0 || !WORD.test(folded[from - 1]) || UNSPACED.test(folded[from]);
    const word = begins ? wanted.find((one) => folded.startsWith(one, from)) : undefined;
    if (!word) continue;
    // Marks that follow the last letter belong to it.
    let end = origin[from + word.length];
    while (end < text.length && /\p{M}/u.test(text[end])) end++;
    hits.push([origin[from], end]);
    from += word.length - 1;
  }
  return hits;
}
