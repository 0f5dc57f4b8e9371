// @ts-check
// What the worker answers for the page: the page itself and its versioned files, never an answer of the API. Pure.
//
// Invariant: the files of two versions are never mixed.

/**
 * Where the worker takes an answer from: null is the network, as if there were no worker.
 * @param {{method: string, mode: string, url: string}} request
 * @param {string} origin
 * @param {readonly string[]} files the paths of this version that a page always needs
 * @returns {string | null} the path of a stored answer
 */
export function storedFor({ method, mode, url }, origin, files) {
  const { origin: from, pathname, search } = new URL(url);
  if (method !== 'GET' || from !== origin || search) return null;
  if (mode === 'navigate') return pathname === '/' ? '/' : null;
  return pathname.startsWith(folderOf(files)) ? pathname : null;
}

/**
 * Where this version's files are.
 * @param {readonly string[]} files
 */
export const folderOf = ([first]) => first.slice(0, first.lastIndexOf('/') + 1);

/**
 * The file of a language.
 * @param {unknown} lang
 * @param {readonly string[]} files
 * @returns {string[]}
 */
export const languageOf = (lang, files) =>
  typeof lang === 'string' && /^[A-Za-z-]{2,20}$/.test(lang) ? [`${folderOf(files)}lang/${lang}.js`] : [];

/**
 * Whether an answer may be stored. A page that names other files came from a server of another version.
 * @param {{ok: boolean, redirected: boolean, type: string}} response
 * @param {string} path
 * @param {string} text
 * @param {readonly string[]} files
 */
export function isOwn({ ok, redirected, type }, path, text, files) {
  if (!ok || redirected || type !== 'basic') return false;
  return path !== '/' || text.includes(`"${files[0]}"`);
}

/**
 * The caches of other versions.
 * @param {string[]} names
 * @param {string} own
 */
export const outdated = (names, own) => names.filter((name) => name.startsWith('natter:') && name !== own);
