// The languages: every file of lang/ has every text, with the same parameters and the plural forms of its language; and
// every text is used.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import test from 'node:test';

const ROOT = new URL('../../src/site/client/', import.meta.url);
const paths = readdirSync(ROOT, { recursive: true }).filter((path) => path.endsWith('.js'));
const codes = paths.filter((path) => path.startsWith('lang/')).map((path) => path.slice(5, -3));
const languages = await Promise.all(codes.map(async (code) => ({ code, ...(await import(`${ROOT}lang/${code}.js`)) })));
const english = languages.find(({ code }) => code === 'en').words;
const scripts = paths
  .filter((path) => !path.startsWith('lang/'))
  .map((path) => readFileSync(new URL(path, ROOT), 'utf8'));
const source = scripts.join('\n');

const parameters = (text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
const union = (texts) => [...new Set(texts.flatMap(parameters))].sort();
const formsOf = (text) => (typeof text === 'string' ? { other: text } : text);

test('a language has a tag, a name and a direction', () => {
  assert.ok(codes.includes('en') && codes.length > 1, `${codes}`);
  for (const { code, name, dir } of languages) {
    assert.deepEqual(Intl.getCanonicalLocales(code), [code]);
    assert.ok(Intl.PluralRules.supportedLocalesOf(code).length, `${code}: the browser does not know its plural rules`);
    assert.ok(name && ['ltr', 'rtl'].includes(dir), code);
  }
});

test('no text is missing in a language, and none is left over', () => {
  for (const { code, words } of languages) {
    const keys = (table) => Object.keys(table).sort();
    assert.deepEqual(keys(words), keys(english), code);
    // A key that is written twice has one value in the object.
    const text = readFileSync(new URL(`lang/${code}.js`, ROOT), 'utf8');
    const written = [...text.matchAll(/^ {2}'([a-z0-9_.]+)':/gm)].map(([, key]) => key).sort();
    assert.deepEqual(written, keys(words), code);
  }
});

test('a text has the parameters of the English one, in each of its plural forms', () => {
  for (const { code, words } of languages) {
    const { pluralCategories } = new Intl.PluralRules(code).resolvedOptions();
    for (const [key, text] of Object.entries(words)) {
      const at = `${code}: ${key}`;
      assert.equal(typeof text, typeof english[key], at);
      const forms = formsOf(text);
      assert.deepEqual(union(Object.values(forms)), union(Object.values(formsOf(english[key]))), at);
      assert.ok('other' in forms, `${at}: the form for all other numbers`);
      for (const [form, words] of Object.entries(forms)) {
        assert.ok(words.trim(), at);
        assert.ok(pluralCategories.includes(form), `${at}: ${form} is no form of this language`);
        // One, two and none may be said without digits.
        const left = union(Object.values(forms)).filter((name) => !parameters(words).includes(name));
        const isNamed = ['zero', 'one', 'two'].includes(form) && left.join() === 'count';
        assert.ok(!left.length || isNamed, `${at}: ${form} has no {${left}}`);
      }
    }
  }
});

test('every text is used, and every text that is used exists', () => {
  const quoted = new Set([...source.matchAll(/'([a-z]+(\.[a-z0-9_]+)?)'/g)].map(([, key]) => key));
  // `set.theme_${name}`: what is before the variable is more than a section.
  const begun = [...source.matchAll(/\bt\(`([a-z]+\.[a-z_]+)\$\{/g)].map(([, start]) => start);
  const isUsed = (key) => quoted.has(key) || begun.some((start) => key.startsWith(start));
  assert.deepEqual(
    Object.keys(english).filter((key) => !isUsed(key)),
    [],
  );
  const asked = [...source.matchAll(/\b(?:t|wordsOf)\('([^']+)'/g)].map(([, key]) => key);
  assert.ok(asked.length > 100, `${asked.length} keys were read`);
  assert.deepEqual(
    asked.filter((key) => !(key in english)),
    [],
  );
  for (const start of begun)
    assert.ok(
      Object.keys(english).some((key) => key.startsWith(start)),
      start,
    );
});
