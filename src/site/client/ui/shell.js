// The signed-in page: the side list with its search, and the conversation that the address names.
//
// Routes: #/  #/c/<conversation>[/<n>]  #/p/<profile> Invariants: the address alone decides what is open; the
// connection element always exists and shows exactly the socket's state.

import * as api from '../api.js';
import { briefly, fullTime, number, t } from '../i18n.js';
import { model } from '../model.js';
import { outbox } from '../outbox.js';
import { debounce, signAt } from '../util.js';
import { chatView } from './chat.js';
import { avatar, button, failed, h, icon, iconButton, link, mark, openDialog, reconcile, spinner, toast } from './kit.js';
import { nameOf, preview, titleOf } from './message.js';
import { openNew, openSettings, personRow, verifyForm } from './panels.js';

function sidebar({ shell, signal }) {
  let scope = null, results = null, turn = 0;

  const me = h('button.me', { type: 'button', testid: 'open-settings', 'aria-label': t('set.title'), title: t('set.title'), onclick: () => openSettings(shell) });
  const word = h('span');
  const connection = h('p.connection', { role: 'status', testid: 'connection' }, h('span.dot'), word);
  const input = h('input', { type: 'search', 'aria-label': t('list.search'), placeholder: t('list.search'), dir: 'auto', autocomplete: 'off', testid: 'search' });
  const clear = iconButton('close', t('cancel'), { hidden: true, testid: 'search-clear', onclick: reset });
  const chip = h('span.scope.line', { hidden: true, testid: 'search-scope' });
  const banner = h('div.banner', { hidden: true, testid: 'verify-banner' });
  const list = h('ul.conversations', { testid: 'conversations' });
  const found = h('div.results', { hidden: true, testid: 'search-results' });
  const note = h('div.list-note');
  const scroller = h('div.side-scroll', { tabindex: '-1' }, list, found, note);
  const element = h('nav.sidebar', { 'aria-label': t('list.title') },
    h('header.side-head', null, me,
      h('div.side-title', null, h('h1.brand', null, mark(), 'natter'), connection),
      iconButton('plus', t('list.new'), { testid: 'new-conversation', onclick: () => openNew(shell) })),
    h('div.side-search', { role: 'search' }, h('div.search-box', null, icon('search'), chip, input, clear)),
    banner, scroller);

  function drawMe() {
    if (model.me) me.replaceChildren(avatar({ id: model.me.id, name: model.me.display_name, image: model.me.profile_image }));
    banner.hidden = !model.member || model.member.verified;
    if (!banner.hidden) banner.replaceChildren(icon('info'), link('verify-open', t('verify.banner'), () => shell.verify()));
  }

  function drawConnection() {
    const state = api.socket.state === 'stopped' ? 'offline' : api.socket.state;
    connection.dataset.state = state;
    word.textContent = t({ online: 'conn.online', connecting: 'conn.connecting', offline: 'conn.offline_short' }[state]);
  }

  function drawList() {
    const now = shell.openId();
    const all = model.sorted();
    reconcile(list, all, {
      key: (conversation) => conversation.id,
      sign: (c) => [c.id === now, titleOf(c), c.image, c.peer?.profile_image, c.unread, c.muted, c.last_message?.id, c.last_message?.rev, c.peer_read_n, c.last_message && briefly(c.last_message.created_at),
        c.type === 'group' && c.last_message && nameOf(c.last_message.sender), model.typists(c).join(), model.presence.get(c.peer?.id)?.online, outbox.lane(model.lane(c)).map((row) => row.state).join()].join('|'),
      create: () => h('li'),
      draw: (target, conversation) => target.replaceChildren(row(conversation, conversation.id === now)),
    });
    drawNote(all.length === 0);
  }

  function drawNote(empty) {
    if (!empty || results !== null) return note.replaceChildren();
    if (model.listState === 'loading') return note.replaceChildren(spinner(t('app.loading')));
    note.replaceChildren(model.listState === 'failed'
      ? h('div.empty', { role: 'alert' }, icon('alert'), h('p', null, t('error.load')), button('list-retry', t('retry'), () => api.socket.hurry()))
      : h('div.empty', { testid: 'list-empty' }, icon('group'), h('h2', null, t('list.empty')), h('p.quiet', null, t('list.empty_more')),
        h('button.button.primary', { type: 'button', testid: 'list-find', onclick: () => openNew(shell) }, t('list.new'))));
  }

  function row(conversation, current) {
    const { peer, last_message: last } = conversation;
    const typists = model.typists(conversation);
    const waiting = outbox.lane(model.lane(conversation));
    const failedRow = waiting.some((entry) => entry.state === 'failed');
    const mine = last?.sender === model.me.id;
    const pending = waiting.at(-1);
    const text = pending ? t('list.you', { text: preview(pending) })
      : typists.length ? t('typing.short')
        : mine && !last.deleted_at ? t('list.you', { text: preview(last) })
          : conversation.type === 'group' && last && !last.deleted_at ? `${nameOf(last.sender)}: ${preview(last)}` : preview(last);
    const group = conversation.type === 'group';
    const state = failedRow ? 'alert' : pending ? 'clock' : typists.length ? null : mine && !last.deleted_at ? (!group && last.n <= conversation.peer_read_n ? 'checks' : 'check') : null;
    return h(`a.conversation${current ? '.current' : ''}${conversation.unread ? '.unread' : ''}`, {
      href: `#/c/${conversation.id}`, testid: 'conversation', 'aria-current': current ? 'page' : null, draggable: false,
      data: { id: conversation.id, unread: String(conversation.unread ?? 0) },
    },
    avatar({ id: group ? conversation.id : peer?.id, name: titleOf(conversation), image: group ? conversation.image : peer?.profile_image, size: group && 'group', online: model.presence.get(peer?.id)?.online }),
    h('span.conversation-main', null,
      h('span.conversation-top', null, h('span.conversation-name.line', { dir: 'auto' }, titleOf(conversation)),
        conversation.muted && h('span.muted-mark', { role: 'img', 'aria-label': t('list.muted') }, icon('mute')),
        last && h('time', { datetime: last.created_at, title: fullTime(last.created_at) }, briefly(last.created_at))),
      h('span.conversation-bottom', null,
        state && h(`span.ticks${state === 'checks' ? '.read' : ''}${failedRow ? '.bad' : ''}`, null, icon(state)),
        h(`span.conversation-text.line${typists.length && !pending ? '.accent' : ''}`, { dir: 'auto', testid: 'conversation-preview' }, text),
        conversation.unread > 0 && h(`span.unread-count${conversation.muted ? '.calm' : ''}`, { testid: 'unread-count', 'aria-label': t('list.unread', { count: conversation.unread }), role: 'img' }, conversation.unread > 999 ? '999+' : number(conversation.unread)))));
  }

  // A page may be empty and not be the last: the server stops a long search and returns where it continues.
  async function searchMessages(query, conversation, wanted) {
    let complete = true;
    for (let next; ;) {
      const page = await api.page('/search', { q: query, conversation, limit: 40, next });
      next = page.next;
      complete &&= page.complete !== false;
      if (page.data.length || !next || !wanted()) return { found: page.data, complete };
    }
  }

  const run = debounce(async () => {
    const query = input.value.trim();
    const mine = ++turn;
    clear.hidden = !query && !scope;
    if (!query) return close();
    const people = !scope && query.replace(/^@/, '').length > 1 ? api.get('/profiles', { query: query.replace(/^@/, ''), limit: 6 }) : [];
    const messages = searchMessages(query, scope?.id, () => mine === turn);
    const [a, b] = await Promise.allSettled([people, messages]);
    if (mine !== turn) return;
    results = { query, people: a.value ?? [], messages: b.value?.found ?? [], complete: b.value?.complete ?? true, error: a.reason ?? b.reason };
    drawResults();
  }, 220);

  function close() {
    results = null;
    found.hidden = true;
    list.hidden = false;
    drawList();
  }

  function reset() {
    turn++;
    input.value = '';
    setScope(null);
    clear.hidden = true;
    close();
  }

  function setScope(conversation) {
    scope = conversation;
    chip.hidden = !scope;
    chip.textContent = scope ? titleOf(scope) : '';
    input.placeholder = scope ? t('search.here') : t('list.search');
    clear.hidden = !scope && !input.value;
  }

  function drawResults() {
    const { query, people, messages, complete, error } = results;
    const low = query.toLocaleLowerCase();
    const chats = scope ? [] : model.sorted().filter((c) => titleOf(c).toLocaleLowerCase().includes(low)).slice(0, 6);
    const known = new Set(chats.map((c) => c.peer?.id));
    const others = people.filter((profile) => profile.id !== model.me.id && !known.has(profile.id));
    const part = (title, rows) => rows.length > 0 && h('section', null, h('h2.result-title', null, title), h('ul', null, rows));
    found.replaceChildren(...[
      !complete && h('p.empty.quiet', { role: 'status', testid: 'search-incomplete' }, t('search.incomplete')),
      part(t('search.chats'), chats.map((c) => h('li', null, row(c, false)))),
      part(t('search.people'), others.map((profile) => personRow(profile, { testid: 'found-person', onclick: () => shell.openPerson(profile) }))),
      part(t('search.messages'), messages.map((message) => h('li', null, messageHit(message, low)))),
      error && h('p.empty.quiet', { role: 'alert' }, error.message),
      !error && !chats.length && !others.length && !messages.length && h('p.empty.quiet', { role: 'status' }, t('search.none', { q: query })),
    ].filter(Boolean));
    found.hidden = false;
    list.hidden = true;
    note.replaceChildren();
  }

  function messageHit(message, low) {
    const conversation = model.conversations.get(message.conversation);
    const text = preview({ ...message, body: message.body && around(message.body, low) });
    // The title of a direct conversation names who wrote it, unless the member did.
    const by = message.sender === model.me.id ? t('people.you') : conversation?.type === 'group' && nameOf(message.sender);
    return h('a.conversation.hit', { href: `#/c/${message.conversation}/${message.n}`, testid: 'found-message' },
      h('span.conversation-main', null,
        h('span.conversation-top', null, h('span.conversation-name.line', { dir: 'auto' }, conversation ? titleOf(conversation) : nameOf(message.sender)), h('time', { datetime: message.created_at }, briefly(message.created_at))),
        h('span.conversation-text.line', { dir: 'auto' }, by && `${by}: `, marked(text, low))));
  }

  input.addEventListener('input', run);
  element.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && (input.value || scope)) reset();
  });
  scroller.addEventListener('scroll', () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 400 && model.moreConversations(), { passive: true });

  model.on('list', drawList, signal);
  model.on('people', drawList, signal);
  model.on('outbox', drawList, signal);
  model.on('me', drawMe, signal);
  api.socket.on('state', drawConnection, signal);
  drawMe();
  drawConnection();
  drawList();

  return {
    element, drawList,
    searchIn: (conversation) => {
      setScope(conversation);
      input.focus();
      if (input.value) run();
    },
  };
}

function around(body, low) {
  const at = body.toLocaleLowerCase().indexOf(low);
  if (at < 40) return body;
  const word = body.indexOf(' ', at - 30) + 1;
  return `…${body.slice(word > 0 && word <= at ? word : signAt(body, at - 20)[0])}`;
}

// The server folds accents and letter forms; only literal hits are marked here.
function marked(text, low) {
  const lowered = text.toLocaleLowerCase(), at = low ? lowered.indexOf(low) : -1;
  // If lower case has another length, an index in it is no index in the text.
  if (at < 0 || lowered.length !== text.length) return [text];
  const from = signAt(text, at)[0], to = signAt(text, at + low.length - 1)[1];
  return [text.slice(0, from), h('mark', null, text.slice(from, to)), text.slice(to)];
}

const STRIP_AFTER_MS = 1_500;
const PRESS_MS_MAX = 3_000;

let now = null;

export function shellView(root) {
  now?.end();
  const ending = new AbortController();
  const { signal } = ending;
  let view = null, route = null, turn = 0, stripTimer = null;

  const strip = h('div.strip', { hidden: true, testid: 'connection-strip' }, icon('alert'), h('span', null, t('conn.offline')), link('connection-retry', t('retry'), () => api.socket.hurry()));
  const stage = h('div.stage');
  const element = h('main.shell', { testid: 'shell' });
  const shell = {
    go: (hash) => { location.hash = hash; },
    openId: () => route?.conversation ?? null,
    openPerson: (profile) => {
      model.learn(profile);
      const conversation = model.direct(profile.id);
      shell.go(conversation ? `#/c/${conversation.id}` : `#/p/${profile.id}`);
    },
    searchIn: (conversation) => {
      if (matchMedia('(max-width: 760px)').matches) element.dataset.pane = 'list';
      side.searchIn(conversation);
    },
    left: (id) => {
      model.conversations.delete(id);
      model.touch('list');
      shell.go('#/');
    },
    verify,
    redraw: () => shellView(root),
    current: () => now.shell,
    end,
  };
  const side = sidebar({ shell, signal });

  function end() {
    view?.end();
    ending.abort();
    clearTimeout(stripTimer);
  }

  function verify() {
    openDialog({
      title: t('verify.title'), testid: 'verify-dialog',
      build: ({ close }) => verifyForm({
        address: model.member.email,
        done: () => {
          model.learnMe({ member: { ...model.member, verified: true } });
          close();
          toast(t('done'), { kind: 'good' });
        },
      }).slice(1),
    });
  }

  function parse() {
    const [, kind, id, n] = location.hash.split('/');
    if (kind === 'c' && id) return { conversation: id, at: Number(n) || undefined };
    if (kind === 'p' && id) return { profile: id };
    return {};
  }

  async function follow() {
    const next = parse();
    const mine = ++turn;
    if (next.at && next.conversation === route?.conversation && view?.jumpTo) {
      element.dataset.pane = 'chat';
      history.replaceState(null, '', `#/c/${next.conversation}`);
      return view.jumpTo(next.at);
    }
    if (view && route && next.conversation === route.conversation && next.profile === route.profile) {
      element.dataset.pane = next.conversation || next.profile ? 'chat' : 'list';
      return;
    }
    view?.end();
    view = null;
    route = next;
    element.dataset.pane = next.conversation || next.profile ? 'chat' : 'list';
    side.drawList();
    if (!next.conversation && !next.profile) return stage.replaceChildren(strip, emptyStage());
    if (!model.conversations.has(next.conversation)) stage.replaceChildren(strip, h('div.stage-note', null, spinner(t('app.loading'))));
    try {
      const source = await find(next);
      if (mine !== turn) return;
      if (!source) return stage.replaceChildren(strip, goneStage());
      view = chatView({ ...source, at: next.at, shell });
      if (next.at) history.replaceState(null, '', `#/c/${next.conversation}`);
      stage.replaceChildren(strip, view.element);
      side.drawList();
      if (matchMedia('(hover: hover)').matches && !next.at) view.focus();
    } catch (error) {
      if (mine !== turn) return;
      route = null;
      stage.replaceChildren(strip, h('div.stage-note', { role: 'alert' }, icon('alert'), h('p', null, error.message), button('stage-retry', t('retry'), follow)));
    }
  }

  async function find({ conversation, profile }) {
    if (conversation) {
      const found = await model.conversation(conversation);
      return found && { conversation: found };
    }
    try {
      const person = model.profiles.get(profile) ?? await api.get(`/profile/${profile}`);
      model.learn(person);
      const held = model.direct(person.id);
      if (!held) return { profile: person };
      history.replaceState(null, '', `#/c/${held.id}`);
      route = parse();
      return { conversation: held };
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }

  const emptyStage = () => h('div.stage-note', { testid: 'stage-empty' }, mark(), h('h1', null, t('empty.title')), h('p.quiet', null, t('empty.more')));
  const goneStage = () => h('div.stage-note', { testid: 'stage-gone' }, icon('info'), h('h1', null, t('error.gone')),
    h('button.button', { type: 'button', onclick: () => shell.go('#/') }, t('back')));

  // One timer for the complete interruption, however often it tries: offline, connecting, offline …
  function drawStrip() {
    if (api.socket.online) {
      clearTimeout(stripTimer);
      stripTimer = null;
      strip.hidden = true;
    } else stripTimer ??= setTimeout(() => { strip.hidden = false; }, STRIP_AFTER_MS);
  }

  function drawTitle() {
    const total = model.unreadTotal();
    document.title = total ? `(${total > 999 ? '999+' : total}) natter` : 'natter';
  }

  model.on('list', () => {
    drawTitle();
    // The first message created it, whichever side or tab sent it.
    const landed = route?.profile && model.direct(route.profile);
    if (landed) {
      history.replaceState(null, '', `#/c/${landed.id}`);
      follow();
    }
    // The member left the open conversation.
    else if (route?.conversation && view && !model.conversations.has(route.conversation)) {
      view.end();
      view = null;
      stage.replaceChildren(strip, goneStage());
    }
  }, signal);
  api.socket.on('state', drawStrip, signal);
  addEventListener('hashchange', follow, { signal });
  // A release may never be reported (of a scroll bar): no press delays longer than this.
  for (const [name, ms] of [['pointerdown', PRESS_MS_MAX], ['pointerup', 0], ['pointercancel', 0]]) addEventListener(name, () => model.hold(ms), { capture: true, signal });

  now = { shell, end };
  element.append(side.element, stage);
  root.replaceChildren(element);
  drawStrip();
  follow().catch(failed);
  return shell;
}

export function endShell() {
  now?.end();
  now = null;
}
