// @ts-check
// Every emoji with its names, from Unicode's data: the table, the search in it, and skin tones.
//
// `emoji.txt` is loaded when it is first used; scripts/emoji_table.py writes it and says what its lines are.

import { fold, wordsOf } from './fold.js';

/** @typedef {{emoji: string, hasTones: boolean, names: Record<string, string>, folded: string[]}} Entry */
/** @typedef {{name: string, entries: Entry[]}} Group */

// Fitzpatrick types, from light to dark; the first is none.
export const TONES = ['', '🏻', '🏼', '🏽', '🏾', '🏿'];

/** @type {Promise<Group[]> | null} */
let loading = null;

/** @returns {Promise<Group[]>} */
export function loadEmoji() {
  loading ??= fetch(new URL('./emoji.txt', import.meta.url))
    .then((answer) => (answer.ok ? answer.text() : Promise.reject(new Error(`${answer.status}`))))
    .then(groupsOf)
    .catch((error) => {
      loading = null; // the next use tries again
      throw error;
    });
  return loading;
}

/**
 * @param {string} table
 * @returns {Group[]}
 */
export function groupsOf(table) {
  const [list, ...languages] = table.trimEnd().split('\n\n');
  const named = languages.map((part) => {
    const [code, ...rows] = part.split('\n');
    return { code, rows };
  });
  /** @type {Group[]} */
  const groups = [];
  let at = 0;
  for (const line of list.split('\n').filter((line) => !line.startsWith('# '))) {
    if (line.startsWith('=')) {
      groups.push({ name: line.slice(1), entries: [] });
      continue;
    }
    const hasTones = line.endsWith('+');
    const names = named.map(({ code, rows }) => [code, rows[at].split('|')[0]]);
    const folded = named.map(({ rows }) => ` ${wordsOf(rows[at]).join(' ')}`);
    const emoji = hasTones ? line.slice(0, -1) : line;
    groups[groups.length - 1].entries.push({ emoji, hasTones, names: Object.fromEntries(names), folded });
    at++;
  }
  return groups;
}

/**
 * Those whose words in one language begin like each word of the query; first those whose name begins so.
 * @param {Group[]} groups
 * @param {string} query
 * @returns {Entry[]}
 */
export function searchEmoji(groups, query) {
  const wanted = wordsOf(query).map((word) => ` ${word}`);
  if (!wanted.length) return [];
  const start = fold(query.trim());
  const found = groups
    .flatMap(({ entries }) => entries)
    .filter(({ folded }) => folded.some((words) => wanted.every((word) => words.includes(word))));
  /** @param {Entry} entry */
  const isFirst = ({ names }) => Object.values(names).some((name) => fold(name).startsWith(start));
  return [...found.filter(isFirst), ...found.filter((entry) => !isFirst(entry))];
}

/**
 * The emoji with this skin tone, if it takes one.
 * @param {Entry} entry
 * @param {number} tone
 */
export function toned({ emoji, hasTones }, tone) {
  if (!hasTones || !TONES[tone]) return emoji;
  // Hands between two people take the tone of these (UTS #51, 2.6).
  const isPair = emoji.includes('\u200d🤝\u200d');
  return emoji.replace(/(\p{Emoji_Modifier_Base})\ufe0f?/gu, (sign, base) =>
    isPair && base === '🤝' ? sign : base + TONES[tone],
  );
}
