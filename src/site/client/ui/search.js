// @ts-check
// The search of the side list: conversations, people and messages.
//
// Owns the query, its scope and the results; the newest query wins.

import { hitsOf } from '../fold.js';
import { briefly, t } from '../i18n.js';
import { ask, call } from '../net/http.js';
import { model } from '../state/model.js';
import { debounce, signAt } from '../util.js';
import { h, those } from './dom.js';
import { seek } from './found.js';
import { icon, iconButton } from './icons.js';
import { personRow } from './people.js';
import { nameOf, preview, titleOf } from './words.js';

const SEARCH_AFTER_MS = 220;
const PEOPLE_MAX = 6;
const CHATS_MAX = 6;
const MESSAGES_MAX = 40;
const PERSON_QUERY_MIN = 2;

/** @typedef {import('./shell.js').Shell} Shell */
/** @typedef {import('./shell.js').Conversation} Conversation */
/** @typedef {import('../../types.d.ts').Message} Message */
/** @typedef {import('../../types.d.ts').Profile} Profile */
/** @typedef {{found: Message[], complete: boolean}} Hits */

/**
 * @param {{shell: Shell, row: (conversation: Conversation) => HTMLElement, changed: (isOpen: boolean) => void}} parts
 */
export function search({ shell, row, changed }) {
  let scope = /** @type {Conversation | null} */ (null);
  let turn = 0;

  const input = h('input', {
    type: 'search',
    'aria-label': t('list.search'),
    placeholder: t('list.search'),
    dir: 'auto',
    autocomplete: 'off',
    testid: 'search',
  });
  const clear = iconButton('close', t('cancel'), { hidden: true, testid: 'search-clear', onclick: reset });
  const chip = h('span.scope.line', { hidden: true, testid: 'search-scope' });
  const box = h('div.side-search', { role: 'search' }, h('div.search-box', null, icon('search'), chip, input, clear));
  const results = h('div.results', { hidden: true, testid: 'search-results' });

  const run = debounce(async () => {
    const query = input.value.trim();
    const mine = ++turn;
    clear.hidden = !query && !scope;
    if (!query) return close();
    const name = query.replace(/^@/, '');
    const byName = !scope && name.length >= PERSON_QUERY_MIN;
    const [people, messages] = await Promise.allSettled([
      byName ? call('GET /profiles', { query: name, limit: PEOPLE_MAX }) : [],
      searchMessages(query, scope?.id, () => mine === turn),
    ]);
    if (mine !== turn) return;
    const found = messages.status === 'fulfilled' ? messages.value : { found: [], complete: true };
    const errors = [people, messages].flatMap((part) => (part.status === 'rejected' ? [part.reason] : []));
    draw(query, { people: people.status === 'fulfilled' ? people.value : [], ...found, error: errors[0] });
  }, SEARCH_AFTER_MS);

  function close() {
    results.hidden = true;
    changed(false);
  }

  function reset() {
    turn++;
    seek('');
    input.value = '';
    setScope(null);
    close();
  }

  /** @param {Conversation | null} conversation */
  function setScope(conversation) {
    scope = conversation;
    chip.hidden = !scope;
    chip.textContent = scope ? titleOf(scope) : '';
    input.placeholder = t(scope ? 'search.here' : 'list.search');
    clear.hidden = !scope && !input.value;
  }

  /**
   * @param {string} query
   * @param {Hits & {people: Profile[], error?: Error}} results
   */
  function draw(query, { people, found: messages, complete, error }) {
    const low = query.toLocaleLowerCase();
    /** @param {Conversation} conversation */
    const titled = (conversation) => titleOf(conversation).toLocaleLowerCase().includes(low);
    const chats = scope ? [] : [...model.sorted(), ...model.sorted(true)].filter(titled).slice(0, CHATS_MAX);
    const known = new Set(chats.map((conversation) => conversation.peer?.id));
    const others = people.filter((profile) => !model.isMe(profile.id) && !known.has(profile.id));
    const isEmpty = !chats.length && !others.length && !messages.length;
    /** @param {Profile} profile */
    const person = (profile) =>
      personRow(profile, { testid: 'found-person', onclick: () => shell.openPerson(profile) });
    const parts = [
      !complete && h('p.empty.quiet', { role: 'status', testid: 'search-incomplete' }, t('search.incomplete')),
      part(
        t('search.chats'),
        chats.map((conversation) => h('li', null, row(conversation))),
      ),
      part(t('search.people'), others.map(person)),
      part(
        t('search.messages'),
        messages.map((message) => h('li', null, messageHit(message, query))),
      ),
      error && h('p.empty.quiet', { role: 'alert' }, error.message),
      !error && isEmpty && h('p.empty.quiet', { role: 'status' }, t('search.none', { q: query })),
    ];
    results.replaceChildren(...those(...parts));
    results.hidden = false;
    changed(true);
  }

  input.addEventListener('input', run);
  return {
    box,
    results,
    reset,
    escape: () => (input.value || scope) && reset(),
    focus: () => {
      input.focus();
      input.select();
    },
    /** @param {Conversation} conversation */
    isWithin: (conversation) => scope?.id === conversation.id && document.activeElement === input,
    /** @param {Conversation} conversation */
    within: (conversation) => {
      setScope(conversation);
      input.focus();
      if (input.value) run();
    },
  };
}

/**
 * @param {string} title
 * @param {HTMLElement[]} rows
 */
const part = (title, rows) =>
  rows.length > 0 && h('section', null, h('h2.result-title', null, title), h('ul', null, rows));

/**
 * A page may be empty and not be the last: the server stops a long search and returns where it continues.
 * @param {string} query
 * @param {string | undefined} conversation
 * @param {() => boolean} isWanted
 * @returns {Promise<Hits>}
 */
async function searchMessages(query, conversation, isWanted) {
  let complete = true;
  /** @type {string | undefined} */
  let next;
  for (;;) {
    const answer = await ask('GET /search', { q: query, conversation, limit: MESSAGES_MAX, next });
    next = answer.next ?? undefined;
    complete &&= answer.complete !== false;
    if (answer.data.length || !next || !isWanted()) return { found: answer.data, complete };
  }
}

/**
 * @param {Message} message
 * @param {string} query
 */
function messageHit(message, query) {
  const conversation = model.conversations.get(message.conversation);
  const text = preview({ ...message, body: message.body && around(message.body, query) });
  const by = authorOf(message, conversation);
  const title = conversation ? titleOf(conversation) : nameOf(message.sender);
  return h(
    'a.conversation.hit',
    {
      href: `#/c/${message.conversation}/${message.n}`,
      testid: 'found-message',
      onclick: () => seek(query),
    },
    h(
      'span.conversation-main',
      null,
      h(
        'span.conversation-top',
        null,
        h('span.conversation-name.line', { dir: 'auto' }, title),
        h('time', { datetime: message.created_at }, briefly(message.created_at)),
      ),
      h('span.conversation-text.line', { dir: 'auto' }, by && `${by}: `, marked(text, query)),
    ),
  );
}

/**
 * The title of a direct conversation names who wrote it, unless the member did.
 * @param {Message} message
 * @param {Conversation | undefined} conversation
 */
function authorOf({ sender }, conversation) {
  if (model.isMe(sender)) return t('people.you');
  return conversation?.type === 'group' && nameOf(sender);
}

const SHOWN_BEFORE = 30;
const CUT_FROM = 40;

/**
 * @param {string} body
 * @param {string} query
 */
function around(body, query) {
  const [[at] = [0]] = hitsOf(body, query);
  if (at < CUT_FROM) return body;
  const word = body.indexOf(' ', at - SHOWN_BEFORE) + 1;
  const isBefore = word > 0 && word <= at;
  return `…${body.slice(isBefore ? word : signAt(body, at - 20)[0])}`;
}

/**
 * @param {string} text
 * @param {string} query
 * @returns {import('./dom.js').Child[]}
 */
function marked(text, query) {
  /** @type {import('./dom.js').Child[]} */
  const parts = [];
  let at = 0;
  for (const [from, to] of hitsOf(text, query)) {
    parts.push(text.slice(at, from), h('mark', null, text.slice(from, to)));
    at = to;
  }
  return [...parts, text.slice(at)];
}
