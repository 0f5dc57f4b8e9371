// @ts-check
// The signed-in page: the side list, and the conversation that the address names.
//
// Routes: #/  #/c/<conversation>[/<n>]  #/p/<profile>. Invariant: the address alone decides what is open.

import { t } from '../i18n.js';
import { SIGNAL, TOPIC } from '../names.js';
import { get } from '../net/http.js';
import { link as connection } from '../net/link.js';
import { model } from '../state/model.js';
import { verifyForm } from './account.js';
import { chatView } from './chat/view.js';
import { h } from './dom.js';
import { icon, mark } from './icons.js';
import { failed, openDialog, succeeded } from './layers.js';
import { button, link, spinner } from './parts.js';
import { listenToKeys } from './shortcuts.js';
import { countWord, sidebar } from './sidebar.js';

const STRIP_AFTER_MS = 1_500;
const PRESS_MS_MAX = 3_000;
const NARROW = '(max-width: 760px)';

/** @type {{shell: any, end: () => void} | null} */
let now = null;

export function shellView(root) {
  now?.end();
  const ending = new AbortController();
  const { signal } = ending;
  const strip = connectionStrip(signal);
  const stage = new Stage(strip);
  const element = h('main.shell', { testid: 'shell' });
  // Whom the member found and may write to: the search has then done its work.
  let found = /** @type {string | null} */ (null);

  const shell = {
    go: (hash) => {
      location.hash = hash;
    },
    openId: () => router.route.conversation ?? null,
    openPerson: (profile) => {
      model.learn(profile);
      found = profile.id;
      const conversation = model.direct(profile.id);
      shell.go(conversation ? `#/c/${conversation.id}` : `#/p/${profile.id}`);
    },
    wrote: (peer) => {
      if (peer?.id === found) side.search.reset();
      found = null;
    },
    searchIn: (conversation) => {
      if (matchMedia(NARROW).matches) element.dataset.pane = 'list';
      side.search.within(conversation);
    },
    verify: openVerification,
    redraw: () => shellView(root),
    current: () => now?.shell,
  };
  const show = (route) => {
    element.dataset.pane = route.conversation || route.profile ? 'chat' : 'list';
    side?.drawList();
  };
  const router = new Router(stage, shell, show);
  const side = sidebar({ shell, signal });

  function drawTitle() {
    const total = model.unreadTotal();
    document.title = total ? `(${countWord(total)}) natter` : 'natter';
  }

  function searchAll() {
    if (matchMedia(NARROW).matches) element.dataset.pane = 'list';
    side.search.focus();
  }

  model.on(
    TOPIC.list,
    () => {
      drawTitle();
      router.modelChanged();
    },
    signal,
  );
  addEventListener('hashchange', () => router.follow(), { signal });
  listenToKeys({ search: searchAll }, signal);
  const hold = (name, ms) => addEventListener(name, () => model.hold(ms), { capture: true, signal });
  // A release may never be reported (of a scroll bar): no press delays longer than this.
  hold('pointerdown', PRESS_MS_MAX);
  hold('pointerup', 0);
  hold('pointercancel', 0);

  now = {
    shell,
    end: () => {
      stage.leave();
      ending.abort();
    },
  };
  element.append(side.element, stage.element);
  root.replaceChildren(element);
  router.follow().catch(failed);
}

export function endShell() {
  now?.end();
  now = null;
}

// The part of the page that shows a conversation, or a note in its place.
class Stage {
  /** @type {any} */
  view = null;
  element = h('div.stage');
  #strip;

  constructor(strip) {
    this.#strip = strip;
  }

  leave() {
    this.view?.end();
    this.view = null;
  }

  show(view) {
    this.view = view;
    this.element.replaceChildren(this.#strip, view.element);
  }

  note(props, ...parts) {
    this.leave();
    this.element.replaceChildren(this.#strip, h('div.stage-note', props, ...parts));
  }

  gone(back) {
    this.note({ testid: 'stage-gone' }, icon('info'), h('h1', null, t('error.gone')), back);
  }
}

class Router {
  route = /** @type {{conversation?: string, profile?: string, at?: number}} */ ({});
  #turn = 0;
  #stage;
  #shell;
  #show;

  constructor(stage, shell, show) {
    this.#stage = stage;
    this.#shell = shell;
    this.#show = show;
  }

  #back() {
    return h('button.button', { type: 'button', onclick: () => this.#shell.go('#/') }, t('back'));
  }

  async follow() {
    const next = parse();
    const { view } = this.#stage;
    const isSame = next.conversation === this.route.conversation && next.profile === this.route.profile;
    if (view && isSame) {
      this.#show(next);
      if (next.at) this.#jump(next);
      return;
    }
    this.#stage.leave();
    this.route = next;
    this.#show(next);
    if (next.conversation || next.profile) return this.#open(next);
    this.#stage.note(
      { testid: 'stage-empty' },
      mark(),
      h('h1', null, t('empty.title')),
      h('p.quiet', null, t('empty.more')),
    );
  }

  // The address names the conversation; the position was only the way into it.
  #jump({ conversation, at }) {
    history.replaceState(history.state, '', `#/c/${conversation}`);
    this.#stage.view.jumpTo(at);
  }

  async #open(route) {
    const mine = ++this.#turn;
    if (!model.conversations.has(route.conversation)) this.#stage.note(null, spinner(t('app.loading')));
    try {
      const source = await this.#find(route);
      if (mine !== this.#turn || route !== this.route) return;
      if (!source) return this.#stage.gone(this.#back());
      if (route.at) history.replaceState(null, '', `#/c/${route.conversation}`);
      this.#stage.show(chatView({ ...source, at: route.at, shell: this.#shell }));
      this.#show(this.route);
      if (matchMedia('(hover: hover)').matches && !route.at) this.#stage.view.focus();
    } catch (error) {
      if (mine !== this.#turn) return;
      this.route = {};
      const again = button('stage-retry', t('retry'), () => this.follow());
      this.#stage.note({ role: 'alert' }, icon('alert'), h('p', null, error.message), again);
    }
  }

  async #find(route) {
    if (route.conversation) {
      const conversation = await model.conversation(route.conversation);
      return conversation && { conversation };
    }
    try {
      const person = model.people.get(route.profile) ?? (await get(`/profile/${route.profile}`));
      model.learn(person);
      const conversation = model.direct(person.id);
      if (!conversation) return { profile: person };
      history.replaceState(null, '', `#/c/${conversation.id}`);
      Object.assign(route, { conversation: conversation.id, profile: undefined });
      return { conversation };
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }

  modelChanged() {
    const { conversation, profile } = this.route;
    const landed = profile && model.direct(profile);
    if (landed) {
      // The first message created it, whichever side or tab sent it.
      history.replaceState(null, '', `#/c/${landed.id}`);
      this.follow();
    } else if (conversation && this.#stage.view && !model.conversations.has(conversation)) {
      // The member left the open conversation.
      this.#stage.gone(this.#back());
    }
  }
}

function parse() {
  const [, kind, id, n] = location.hash.split('/');
  if (kind === 'c' && id) return { conversation: id, at: Number(n) || undefined };
  if (kind === 'p' && id) return { profile: id };
  return {};
}

// One timer for the complete interruption, however often it tries: offline, connecting, offline …
function connectionStrip(signal) {
  const retry = link('connection-retry', t('retry'), () => connection.hurry());
  const text = h('span', null, t('conn.offline'));
  const element = h('div.strip', { hidden: true, testid: 'connection-strip' }, icon('alert'), text, retry);
  /** @type {any} */
  let timer = null;
  const draw = () => {
    if (!connection.online) {
      timer ??= setTimeout(() => {
        element.hidden = false;
      }, STRIP_AFTER_MS);
      return;
    }
    clearTimeout(timer);
    timer = null;
    element.hidden = true;
  };
  connection.on(SIGNAL.state, draw, signal);
  signal.addEventListener('abort', () => clearTimeout(timer));
  draw();
  return element;
}

function openVerification() {
  const { member } = model;
  if (!member) return;
  openDialog({
    title: t('verify.title'),
    testid: 'verify-dialog',
    build: ({ close }) =>
      verifyForm({
        address: member.email,
        done: () => {
          model.learnMe({ member: { ...member, verified: true } });
          close();
          succeeded();
        },
      }),
  });
}
