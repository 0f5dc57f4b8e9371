// @ts-check
// A text and its parameters. Pure: the page and its worker use it.

/** @typedef {string | Record<string, string>} Phrase a text, or one for each plural form */

/**
 * @param {Phrase} words
 * @param {Record<string, string | number>} params `count` chooses the plural form
 * @param {Intl.PluralRules} plural
 * @param {Intl.NumberFormat} numbers
 * @returns {string}
 */
export function phrase(words, params, plural, numbers) {
  const text = typeof words === 'object' ? (words[plural.select(Number(params.count))] ?? words.other) : words;
  return text.replace(/\{(\w+)\}/g, (_, name) =>
    typeof params[name] === 'number' ? numbers.format(params[name]) : String(params[name] ?? ''),
  );
}
