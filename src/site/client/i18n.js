// @ts-check
// The languages: the choice of one, its texts and direction, numbers and times.
//
// Owns the key `lang` of the local storage. The texts are in `lang/`, one file for each language, and only the file of
// the language that is shown is loaded.
// Invariant: `t` is not called before `speak` has loaded a language.

import { phrase } from './phrase.js';
import { local } from './util.js';

const DAY_MS = 86_400_000;
const FALLBACK = 'en';

/** @typedef {Record<string, import('./phrase.js').Phrase>} Words */
/** @typedef {{name: string, dir: 'ltr' | 'rtl', words: Words}} Language */

// The build writes the names of the files into the page.
const listed = document.querySelector('meta[name=languages]')?.getAttribute('content') ?? '';
/** Every language, with its own name. @type {Map<string, string>} */
export const languages = new Map(
  listed.split(', ').map((entry) => {
    const [code, ...name] = entry.split(' ');
    return [code, name.join(' ')];
  }),
);

let current = FALLBACK;
/** @type {Language} */
let language;
/** @type {Intl.PluralRules} */
let plural;
/** @type {ReturnType<typeof formatsFor>} */
let formats;

export const lang = () => current;
export const dir = () => language.dir;

// What was chosen, else the first language of the browser that there is: its variant, or the language itself.
function preferred() {
  const tags = [local.get('lang') ?? '', ...(navigator.languages ?? [])];
  return tags.flatMap((tag) => [tag, tag.split('-')[0]]).find((tag) => languages.has(tag)) ?? FALLBACK;
}

/**
 * Loads a language and shows it. Fails if its file cannot be loaded: then nothing changes.
 * @param {string} [chosen]
 */
export async function speak(chosen) {
  const code = chosen ?? preferred();
  language = /** @type {Language} */ (await import(`./lang/${code}.js`));
  current = code;
  if (chosen) local.set('lang', code);
  plural = new Intl.PluralRules(code);
  formats = formatsFor(code);
  document.documentElement.lang = code;
  document.documentElement.dir = language.dir;
}

/** @param {string} code */
function formatsFor(code) {
  // The browser's own variant of the language, and its 12- or 24-hour clock in each language.
  const own = new Intl.DateTimeFormat(undefined, { hour: 'numeric' }).resolvedOptions();
  const locale =
    [own.locale, ...(navigator.languages ?? [])].find((tag) => tag.split('-')[0] === code.split('-')[0]) ?? code;
  const { hourCycle } = own;
  /** @param {Intl.DateTimeFormatOptions} options */
  const made = (options) => new Intl.DateTimeFormat(locale, options);
  return {
    time: made({ hour: 'numeric', minute: '2-digit', hourCycle }),
    weekday: made({ weekday: 'long' }),
    short: made({ day: 'numeric', month: 'short' }),
    day: made({ day: 'numeric', month: 'long' }),
    year: made({ day: 'numeric', month: 'short', year: 'numeric' }),
    full: made({ dateStyle: 'medium', timeStyle: 'short', hourCycle }),
    number: new Intl.NumberFormat(locale),
    two: new Intl.NumberFormat(locale, { minimumIntegerDigits: 2 }),
    ago: new Intl.RelativeTimeFormat(locale, { numeric: 'auto' }),
    list: new Intl.ListFormat(locale),
  };
}

/**
 * The text of a key, with its parameters; `count` chooses the plural form.
 * @param {string} key
 * @param {Record<string, string | number>} [params]
 * @returns {string}
 */
export function t(key, params = {}) {
  return phrase(wordsOf(key), params, plural, formats.number);
}

/**
 * What `t` makes a text of.
 * @param {string} key
 */
export const wordsOf = (key) => language.words[key] ?? key;

/** @param {string} word */
const capital = (word) => word[0].toLocaleUpperCase() + word.slice(1);
/** @param {Date} date */
const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
/** @param {Date} date */
const daysAgo = (date) => Math.round((midnight(new Date()) - midnight(date)) / DAY_MS);

/** @param {string} iso */
export const timeOf = (iso) => formats.time.format(new Date(iso));
/** @param {string} iso */
export const fullTime = (iso) => formats.full.format(new Date(iso));
/** @param {number} value */
export const number = (value) => formats.number.format(value);
/**
 * How long something plays: minutes and seconds.
 * @param {number} ms
 */
export function lengthOf(ms) {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  const minutes = Math.floor(seconds / 60);
  // The same order in each direction of text.
  return `\u2066${formats.number.format(minutes)}:${formats.two.format(seconds % 60)}\u2069`;
}
/** @param {string[]} items */
export const listOf = (items) => formats.list.format(items);

/** @param {string} iso */
export function briefly(iso) {
  const date = new Date(iso),
    days = daysAgo(date);
  if (days <= 0) return formats.time.format(date);
  if (days === 1) return capital(formats.ago.format(-1, 'day'));
  return days < 7 ? formats.weekday.format(date) : formats.short.format(date);
}

/** @param {string} iso */
export function dayOf(iso) {
  const date = new Date(iso),
    days = daysAgo(date);
  if (days <= 1) return capital(formats.ago.format(-Math.max(0, days), 'day'));
  if (days < 7) return formats.weekday.format(date);
  return (date.getFullYear() === new Date().getFullYear() ? formats.day : formats.year).format(date);
}

/** @param {string} iso */
export function ago(iso) {
  const minutes = Math.floor((Date.now() - Date.parse(iso)) / 60_000);
  if (minutes < 1) return formats.ago.format(0, 'second');
  if (minutes < 60) return formats.ago.format(-minutes, 'minute');
  if (minutes < 24 * 60) return formats.ago.format(-Math.floor(minutes / 60), 'hour');
  return formats.ago.format(-Math.floor(minutes / 1440), 'day');
}

/** @param {number} size */
export function bytes(size) {
  const units = ['byte', 'kilobyte', 'megabyte'];
  let i = 0;
  for (; size >= 1000 && i < units.length - 1; i++) size /= 1024;
  return new Intl.NumberFormat(current, {
    style: 'unit',
    unit: units[i],
    unitDisplay: i ? 'short' : 'long',
    maximumFractionDigits: size < 10 && i ? 1 : 0,
  }).format(size);
}
