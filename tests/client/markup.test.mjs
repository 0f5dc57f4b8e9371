// What people mark in a text: what each mark becomes, and that no text takes long.

import assert from 'node:assert/strict';
import test from 'node:test';
import { parse, plain } from '../../src/site/client/markup.js';
import { random as randomFrom } from './random.mjs';

const TAGS = { strong: 'b', em: 'i', del: 's' };

/** The tree as a text: <b>…</b> and so on. */
const shown = (part) => {
  if (part.kind === 'link') assert.match(part.url, /^(https?|mailto):/);
  if (part.kind === 'text') return part.text;
  if (part.kind === 'code') return `<c>${part.text}</c>`;
  if (part.kind === 'link') return `<${part.text}>`;
  return `<${TAGS[part.kind]}>${part.parts.map(shown).join('')}</${TAGS[part.kind]}>`;
};
const line = (parts) => parts.map(shown).join('');
const block = (it) => {
  if (it.kind === 'text') return line(it.parts);
  if (it.kind === 'fence') return `[${it.language && `${it.language}: `}${it.text}]`;
  if (it.kind === 'quote') return `> (${it.blocks.map(block).join(' | ')})`;
  const item = ({ number, parts, list }) => `${number || ''}(${line(parts)}${list ? ` ${block(list)}` : ''})`;
  return `${it.isOrdered ? 'ol' : 'ul'} ${it.items.map(item).join(' ')}`;
};
const drawn = (text) => parse(text).map(block).join(' | ');

test('marks around words', () => {
  const rows = [
    ['plain', 'plain'],
    [
      '**bold** and *italic* and _italic_ and ~~gone~~',
      '<b>bold</b> and <i>italic</i> and <i>italic</i> and <s>gone</s>',
    ],
    ['__bold__', '<b>bold</b>'],
    ['***both***', '<i><b>both</b></i>'],
    ['**bold *italic***', '<b>bold <i>italic</i></b>'],
    ['***a** b*', '<i><b>a</b> b</i>'],
    ['*a **b** c*', '<i>a <b>b</b> c</i>'],
    // No marks: between letters, around spaces, alone.
    ['snake_case_name 2*3*4 a*b', 'snake_case_name 2*3*4 a*b'],
    ['5 * 3 * 2 and f(*args, **kwargs)', '5 * 3 * 2 and f(*args, **kwargs)'],
    ['*not closed', '*not closed'],
    ['**open *closed*', '**open <i>closed</i>'],
    ['**** ~~~~ ~one~ ____', '**** ~~~~ ~one~ ____'],
    // What people write that looks like marks.
    ['¯\\_(ツ)_/¯', '¯\\_(ツ)_/¯'],
    ['\\*as it is*', '\\*as it is*'],
    ['>_< :* o_O', '>_< :* o_O'],
    // Scripts without spaces, and with prefix letters.
    ['请**看**这里', '请<b>看</b>这里'],
    ['و*مرحبًا* **بالجميع**', 'و<i>مرحبًا</i> <b>بالجميع</b>'],
    // A blank line ends what is open.
    ['*a\nb*', '<i>a\nb</i>'],
    ['*a\n\nb*', '*a\n\nb*'],
    ['😀*a*😀', '😀<i>a</i>😀'],
  ];
  for (const [text, expect] of rows) assert.equal(drawn(text), expect, text);
});

test('code is as it is written', () => {
  const rows = [
    ['`a *b* c`', '<c>a *b* c</c>'],
    ['``a ` b``', '<c>a ` b</c>'],
    ['`` `a` ``', '<c>`a`</c>'],
    ['`a', '`a'],
    ['a``b`', 'a``b`'],
    ['**`a`**', '<b><c>a</c></b>'],
    ['*a `b* c`', '*a <c>b* c</c>'],
    ['```\nlet a = `1`;\n\n> no\n```\nafter', '[let a = `1`;\n\n> no] | after'],
    ['```js\na', '[js: a]'],
    ['```one two\nthree```', '[one two\nthree]'],
    ['```hello', '[hello]'],
    ['````\n```\n````', '[```]'],
    ['before\n```\n```', 'before | []'],
    ['```a```', '<c>a</c>'],
  ];
  for (const [text, expect] of rows) assert.equal(drawn(text), expect, text);
});

test('quotes and lists', () => {
  const rows = [
    ['> one\n> *two*\n\nanswer', '> (one\n<i>two</i>) | answer'],
    ['> a\n> > b\n> > > c\n> > > > d', '> (a | > (b | > (c\n> d)))'],
    ['> - a\n> - b', '> (ul (a) (b))'],
    ['>:( >_<', '>:( >_<'],
    ['- a\n- **b**\n* c', 'ul (a) (<b>b</b>) (c)'],
    ['3. a\n4) b', 'ol 3(a) 4(b)'],
    ['- a\n  - b\n    1. c\n- d', 'ul (a ul (b ol 1(c))) (d)'],
    ['- a\n  goes on\nno more', 'ul (a\ngoes on) | no more'],
    ['-5 degrees\n2024. A year.\n1.5 metres\n- ', '-5 degrees\n2024. A year.\n1.5 metres\n- '],
    ['Shopping:\n- milk\n- bread\n\nThanks', 'Shopping: | ul (milk) (bread) | Thanks'],
    ['\n\na\n\nb\n', '\n\na\n\nb\n'],
  ];
  for (const [text, expect] of rows) assert.equal(drawn(text), expect, text);
});

test('addresses that may be followed', () => {
  const rows = [
    ['https://x.org/a_b_c*d* *it*', '<https://x.org/a_b_c*d>* <i>it</i>'],
    ['(https://x.org/a_(b)).', '(<https://x.org/a_(b)>).'],
    ['**https://x.org/**', '<b><https://x.org/></b>'],
    ['_https://x.org/a_', '<i><https://x.org/a></i>'],
    ['mailto:ann@x.org?', '<mailto:ann@x.org>?'],
    ['`https://x.org/`', '<c>https://x.org/</c>'],
    // Another scheme, another host than it looks like, and what is no address.
    ['javascript:alert(1) data:text/html,x ftp://x.org', 'javascript:alert(1) data:text/html,x ftp://x.org'],
    ['https://bank.example@x.org/ https://', 'https://bank.example@x.org/ https://'],
    ['mailto:a@b?body=x mailto:x', 'mailto:a@b?body=x mailto:x'],
  ];
  for (const [text, expect] of rows) {
    assert.equal(drawn(text), expect, text);
  }
});

test('a list shows a text without its marks, in one line', () => {
  assert.equal(plain('**Hi** `you`\n> a\n> b\n\n- *one*\n  - two\n```\ncode\n```'), 'Hi you a b one two code');
  assert.equal(plain('snake_case *'), 'snake_case *');
});

test('nothing of a text is lost but marks, whatever it is', () => {
  const random = randomFrom(20);
  const signs = [
    '*',
    '**',
    '_',
    '~~',
    '`',
    '```',
    '> ',
    '- ',
    '1. ',
    '\n',
    '\n\n',
    ' ',
    'a',
    'م',
    '字',
    '\\',
    'https://x.org/',
    '😀',
    ')',
    '  ',
  ];
  for (let round = 0; round < 3_000; round++) {
    const text = Array.from({ length: 1 + random(30) }, () => signs[random(signs.length)]).join('');
    const letters = (words) => words.replace(/[^aم字😀]/gu, '');
    assert.equal(letters(drawn(text)), letters(text), JSON.stringify(text));
  }
});

test('hostile texts: a parser that is not linear would not end', () => {
  const seeds = ['*a ', '**a *b ', '_a', '`', '``` ', '`a``b```c', '> ', '- a\n', '  - a\n', 'https://', ')', '.,'];
  const more = [
    'https://x.org/)',
    '~~a ',
    '*a** ',
    '***a',
    '\n',
    ' \n',
    'mailto:a',
    '\\*',
    '1. \n',
    '*`_',
    '>',
    '\n> ',
  ];
  for (const seed of [...seeds, ...more]) {
    for (const start of ['', 'https://x.org/', '*', '```\n']) {
      assert.equal(typeof plain(start + seed.repeat(100_000 / seed.length)), 'string');
    }
  }
});
