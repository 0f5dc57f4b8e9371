// @ts-check
// The signed-in page: the side list, and the conversation that the address names.
//
// Routes: #/  #/c/<conversation>[/<n>]  #/p/<profile>  #/i/<code of an invite>.
// Invariant: the address alone decides what is open.

import { t } from '../i18n.js';
import { SIGNAL, TOPIC } from '../names.js';
import { call } from '../net/http.js';
import { link as connection } from '../net/link.js';
import { model } from '../state/model.js';
import { inviteInAddress, linkInAddress } from '../util.js';
import { verifyForm } from './account.js';
import { startAlerts, startFocus } from './alerts.js';
import { chatView } from './chat/view.js';
import { h } from './dom.js';
import { icon, mark } from './icons.js';
import { openInvite } from './invites.js';
import { failed, openDialog, succeeded, toast } from './layers.js';
import { button, link, spinner } from './parts.js';
import { listenToKeys } from './shortcuts.js';
import { countWord, sidebar } from './sidebar.js';

const STRIP_AFTER_MS = 1_500;
const PRESS_MS_MAX = 3_000;
const NARROW = '(max-width: 760px)';

/** @typedef {import('../../types.d.ts').Profile} Profile */
/** What a view gets of a conversation: only the model changes it.
 * @typedef {Readonly<import('../state/conversation.js').Conversation>} Conversation
 */
/**
 * What a view may ask of the page.
 * @typedef {object} Shell
 * @property {(hash: string) => void} go
 * @property {() => string | null} openId
 * @property {(profile: Profile) => void} openPerson
 * @property {(peer: Profile | null) => void} wrote
 * @property {(conversation: Conversation) => void} searchIn
 * @property {() => void} verify
 * @property {() => Shell} redraw gives the page of after
 */
/** @typedef {{conversation?: string, profile?: string, at?: number}} Route */
/** @typedef {ReturnType<typeof chatView>} View */

/** @type {{shell: Shell, end: () => void} | null} */
let now = null;

/**
 * @param {HTMLElement} root
 * @returns {Shell}
 */
export function shellView(root) {
  now?.end();
  const ending = new AbortController();
  const { signal } = ending;
  const strip = connectionStrip(signal);
  const stage = new Stage(strip);
  const element = h('main.shell', { testid: 'shell' });
  // Whom the member found and may write to: the search has then done its work.
  let found = /** @type {string | null} */ (null);

  /** @type {Shell} */
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
  };
  const focus = startFocus(connection, () => router?.route.conversation ?? null, signal);
  startAlerts(signal);
  /** @param {Route} route */
  const show = (route) => {
    focus();
    element.dataset.pane = route.conversation || route.profile ? 'chat' : 'list';
    side?.drawList();
  };
  /** @type {Router} */
  const router = new Router(stage, shell, show);
  /** @type {ReturnType<typeof sidebar>} */
  const side = sidebar({ shell, signal });

  function drawTitle() {
    const total = model.unreadTotal();
    document.title = total ? `(${countWord(total)}) natter` : 'natter';
  }

  function searchAll() {
    if (matchMedia(NARROW).matches) element.dataset.pane = 'list';
    side.search.focus();
  }

  // Pressed again in the field, the key is the browser's own.
  function searchHere() {
    const conversation = model.conversations.get(router.route.conversation ?? '');
    if (!conversation || side.search.isWithin(conversation)) return false;
    shell.searchIn(conversation);
    return true;
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
  listenToKeys({ search: searchAll, find: searchHere }, signal);
  /**
   * @param {string} name
   * @param {number} ms
   */
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
  return shell;
}

export function endShell() {
  now?.end();
  now = null;
}

// The part of the page that shows a conversation, or a note in its place.
class Stage {
  /** @type {View | null} */
  view = null;
  element = h('div.stage');
  #strip;

  /** @param {HTMLElement} strip */
  constructor(strip) {
    this.#strip = strip;
  }

  leave() {
    this.view?.end();
    this.view = null;
  }

  /** @param {View} view */
  show(view) {
    this.view = view;
    this.element.replaceChildren(this.#strip, view.element);
  }

  /**
   * @param {Parameters<typeof h>[1]} props
   * @param {import('./dom.js').Child[]} parts
   */
  note(props, ...parts) {
    this.leave();
    this.element.replaceChildren(this.#strip, h('div.stage-note', props, ...parts));
  }

  /** @param {HTMLElement} back */
  gone(back) {
    this.note({ testid: 'stage-gone' }, icon('info'), h('h1', null, t('error.gone')), back);
  }
}

class Router {
  /** @type {Route} */
  route = {};
  #turn = 0;
  #stage;
  #shell;
  #show;

  /**
   * @param {Stage} stage
   * @param {Shell} shell
   * @param {(route: Route) => void} show
   */
  constructor(stage, shell, show) {
    this.#stage = stage;
    this.#shell = shell;
    this.#show = show;
  }

  #back() {
    return h('button.button', { type: 'button', onclick: () => this.#shell.go('#/') }, t('back'));
  }

  async follow() {
    const invite = inviteInAddress();
    if (invite) {
      // A page that is loaded again does not ask again.
      history.replaceState(history.state, '', '#/');
      openInvite(invite, this.#shell);
    }
    if (linkInAddress()) {
      history.replaceState(history.state, '', '#/');
      toast(t('auth.link_signed_in'));
    }
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

  /**
   * The address names the conversation; the position was only the way into it.
   * @param {Route} route
   */
  #jump({ conversation, at = 0 }) {
    history.replaceState(history.state, '', `#/c/${conversation}`);
    this.#stage.view?.jumpTo(at);
  }

  /** @param {Route} route */
  async #open(route) {
    const mine = ++this.#turn;
    if (!model.conversations.has(route.conversation ?? '')) this.#stage.note(null, spinner(t('app.loading')));
    try {
      const source = await this.#find(route);
      if (mine !== this.#turn || route !== this.route) return;
      if (!source) return this.#stage.gone(this.#back());
      if (route.at) history.replaceState(null, '', `#/c/${route.conversation}`);
      const view = chatView({ ...source, at: route.at, shell: this.#shell });
      this.#stage.show(view);
      this.#show(this.route);
      if (matchMedia('(hover: hover)').matches && !route.at) view.focus();
    } catch (error) {
      if (mine !== this.#turn) return;
      this.route = {};
      const again = button('stage-retry', t('retry'), () => this.follow());
      this.#stage.note({ role: 'alert' }, icon('alert'), h('p', null, error.message), again);
    }
  }

  /**
   * @param {Route} route
   * @returns {Promise<{conversation?: Conversation, profile?: Profile} | null>}
   */
  async #find(route) {
    if (route.conversation) {
      const conversation = await model.find(route.conversation);
      return conversation && { conversation };
    }
    try {
      const { profile = '' } = route;
      const person = model.people.get(profile) ?? (await call('GET /profile/{profile}', { profile }));
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

/** @returns {Route} */
function parse() {
  const [, kind, id, n] = location.hash.split('/');
  if (kind === 'c' && id) return { conversation: id, at: Number(n) || undefined };
  if (kind === 'p' && id) return { profile: id };
  return {};
}

/**
 * One timer for the complete interruption, however often it tries: offline, connecting, offline …
 * @param {AbortSignal} signal
 */
function connectionStrip(signal) {
  const retry = link('connection-retry', t('retry'), () => connection.hurry());
  const text = h('span', null, t('conn.offline'));
  const element = h('div.strip', { hidden: true, testid: 'connection-strip' }, icon('alert'), text, retry);
  /** @type {number | null} */
  let timer = null;
  const draw = () => {
    if (!connection.online) {
      timer ??= setTimeout(() => {
        element.hidden = false;
      }, STRIP_AFTER_MS);
      return;
    }
    clearTimeout(timer ?? undefined);
    timer = null;
    element.hidden = true;
  };
  connection.on(SIGNAL.state, draw, signal);
  signal.addEventListener('abort', () => clearTimeout(timer ?? undefined));
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
        address: member.email ?? '',
        done: () => {
          model.learnMe({ member: { ...member, verified: true } });
          close();
          succeeded();
        },
      }),
  });
}
