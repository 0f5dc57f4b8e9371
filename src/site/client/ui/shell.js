// Owns the signed-in page: side list and conversation, and which one the
// address names. Routes: #/  #/c/<conversation>[/<n>]  #/p/<profile>  #/@<nick>
// Invariant: the address is the one truth of what is open; everything that
// opens something sets the address.

import * as api from '/client/api.js';
import { t } from '/client/i18n.js';
import { model } from '/client/model.js';
import { socket } from '/client/socket.js';
import { local } from '/client/util.js';
import { verifyForm } from '/client/ui/auth.js';
import { chatView } from '/client/ui/chat.js';
import { failed, openDialog, toast } from '/client/ui/dialog.js';
import { h, icon, mark, spinner } from '/client/ui/dom.js';
import { nameOf, preview, titleOf } from '/client/ui/message.js';
import { sidebar } from '/client/ui/sidebar.js';

// A short break is not worth a strip: it would only flicker.
const STRIP_AFTER_MS = 1_500;

let now = null;

export function shellView(root) {
  now?.end();
  const ending = new AbortController();
  const { signal } = ending;
  let view = null, route = null, turn = 0, stripTimer = null;

  const strip = h('div.strip', { hidden: true, testid: 'connection-strip' });
  const stage = h('main.stage');
  const element = h('div.shell', { testid: 'shell' });
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
          toast(t('verify.done'), { kind: 'good' });
        },
      }).slice(1),
    });
  }

  // ---- the route

  function parse() {
    const [, kind, id, n] = location.hash.split('/');
    if (kind === 'c' && id) return { conversation: id, at: Number(n) || undefined };
    if (kind === 'p' && id) return { profile: id };
    if (kind?.startsWith('@')) return { nick: decodeURIComponent(kind.slice(1)) };
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
    if (view && route && next.conversation === route.conversation && next.profile === route.profile && !next.nick) {
      element.dataset.pane = next.conversation || next.profile ? 'chat' : 'list';
      return;
    }
    view?.end();
    view = null;
    route = next;
    element.dataset.pane = next.conversation || next.profile || next.nick ? 'chat' : 'list';
    side.drawList();
    if (!next.conversation && !next.profile && !next.nick) return stage.replaceChildren(strip, emptyStage());
    if (!model.conversations.has(next.conversation)) stage.replaceChildren(strip, h('div.stage-note', null, spinner(t('app.loading'))));
    try {
      const source = await find(next);
      if (mine !== turn) return;
      if (!source) return stage.replaceChildren(strip, goneStage());
      view = chatView({ ...source, at: next.at, shell });
      if (next.at) history.replaceState(null, '', `#/c/${next.conversation}`);
      stage.replaceChildren(strip, view.element);
      side.drawList();
      // A finger gets its keyboard when it asks for it.
      if (matchMedia('(hover: hover)').matches && !next.at) view.focus();
    } catch (error) {
      if (mine !== turn) return;
      route = null;
      stage.replaceChildren(strip, h('div.stage-note', { role: 'alert' }, icon('alert'), h('p', null, error.message), h('button.button', { type: 'button', testid: 'stage-retry', onclick: follow }, t('retry'))));
    }
  }

  async function find({ conversation, profile, nick }) {
    if (conversation) {
      const found = await model.conversation(conversation);
      return found && { conversation: found };
    }
    try {
      const person = nick ? await api.get(`/${encodeURIComponent(nick)}`, { source: 'qr_code' }) : model.profiles.get(profile) ?? await api.get(`/profile/${profile}`);
      model.learn(person);
      const held = model.direct(person.id);
      if (held || nick) history.replaceState(null, '', held ? `#/c/${held.id}` : `#/p/${person.id}`);
      route = parse();
      return held ? { conversation: held } : { profile: person };
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }

  const emptyStage = () => h('div.stage-note', { testid: 'stage-empty' }, mark(), h('h2', null, t('empty.title')), h('p.quiet', null, t('empty.more')));
  const goneStage = () => h('div.stage-note', { testid: 'stage-gone' }, icon('info'), h('h2', null, t('error.gone')), h('p.quiet', null, t('error.gone_more')),
    h('button.button', { type: 'button', onclick: () => shell.go('#/') }, t('back')));

  // ---- above all conversations

  function drawStrip() {
    clearTimeout(stripTimer);
    if (socket.online) return void (strip.hidden = true);
    strip.replaceChildren(icon('alert'), h('span', null, t('conn.offline')), h('button.link', { type: 'button', testid: 'connection-retry', onclick: () => socket.hurry() }, t('conn.now')));
    stripTimer = setTimeout(() => { strip.hidden = socket.online; }, STRIP_AFTER_MS);
  }

  function drawTitle() {
    const total = model.unreadTotal();
    document.title = total ? `(${total > 999 ? '999+' : total}) natter` : 'natter';
  }

  function notify(message) {
    const conversation = model.conversations.get(message.conversation);
    if (document.visibilityState === 'visible' || conversation?.muted || local.get('notify') !== 'on' || globalThis.Notification?.permission !== 'granted') return;
    const name = conversation ? titleOf(conversation) : nameOf(message.sender);
    // The tag makes several tabs one notice.
    const notice = new Notification(name, { body: conversation?.type === 'group' ? `${nameOf(message.sender)}: ${preview(message)}` : preview(message), tag: message.id, icon: '/client/favicon.svg' });
    notice.onclick = () => {
      focus();
      shell.go(`#/c/${message.conversation}`);
    };
  }

  model.on('list', () => {
    drawTitle();
    // The open one was left, or the first message made it exist.
    if (route?.conversation && view && !model.conversations.has(route.conversation)) {
      view.end();
      view = null;
      stage.replaceChildren(strip, goneStage());
    }
  }, signal);
  model.on('landed', ({ profile, conversation }) => {
    if (route?.profile === profile) {
      history.replaceState(null, '', `#/c/${conversation}`);
      follow();
    }
  }, signal);
  model.on('arrived', notify, signal);
  socket.on('state', drawStrip, signal);
  addEventListener('hashchange', follow, { signal });
  addEventListener('keydown', (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      element.dataset.pane = 'list';
      element.querySelector('[data-testid=search]').focus();
    }
  }, { signal });

  now = { shell, end };
  element.append(h('a.skip', { href: '#messages', onclick: (event) => { event.preventDefault(); document.getElementById('messages')?.focus(); } }, t('app.skip')), side.element, stage);
  root.replaceChildren(element);
  drawStrip();
  follow().catch(failed);
  return shell;
}

export function endShell() {
  now?.end();
  now = null;
}
