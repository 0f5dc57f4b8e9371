// @ts-check
// The state of this tab: the member, people, conversations and their messages, presence and typing. It draws nothing.
//
// Owns every change of this state: a view calls a method and draws what it is notified of.
// Invariant: each message, from an event, response, page or search, enters through `see`, so a position shows the
// greatest rev seen, once, and a run of positions has no gap.

import { all, ask, call, Offline } from '../net/http.js';
import { link } from '../net/link.js';
import { REVOKED, session } from '../net/session.js';
import { EVENT, SIGNAL, TOPIC } from '../names.js';
import * as rules from './conversation.js';
import { drafts, known, outbox } from './here.js';
import * as mentions from './mentions.js';
import { Notifier } from './notifier.js';
import { People } from './people.js';
import { Typing } from './typing.js';

/** @typedef {import('../../types.d.ts').Message} Message */
/** @typedef {import('../../types.d.ts').EventFrame} EventFrame */
/** @typedef {import('../../types.d.ts').Profile} Profile */
/** @typedef {import('../../types.d.ts').Member} Member */
/** @typedef {import('../../types.d.ts').GroupMember} GroupMember */
/** @typedef {import('../../types.d.ts').Events} Events */
/** @typedef {import('../../types.d.ts').Conversation} Listed */
/** @typedef {import('../../types.d.ts').ConversationBrief} Brief */
/** @typedef {import('../../types.d.ts').Routes['PUT /conversations/{conversation}']['params']} Update */
/** @typedef {import('../net/http.js').Problem} Problem */
/** @typedef {import('./conversation.js').Conversation} Conversation */

const PAGE_ITEMS = 50;
// A jump loads the target with about as many messages after it as before it.
const AFTER_TARGET = 26;
const AGAIN_MS = 3_000;
// A gap of more than a page is not closed: the view offers to go to the end.
const CLOSE_PAGES_MAX = 3;
// Where neither way of the connection works, requests may: show the lists in this case too.
const LISTS_WITHOUT_EVENTS_MS = 4_000;
const KEEP_EVERY_MS = 3_000;
const COUNT_AFTER_MS = 500;
const UNMUTE_AFTER_MS = 1_000;
const UNMUTE_AGAIN_MS = 60_000;
// A longer time does not fit a timer.
const UNMUTE_WAIT_MS_MAX = 86_400_000;

/** @extends {Notifier<{arrived: Message}>} */
class Model extends Notifier {
  /** @type {Profile | null} */
  me = null;
  /** @type {Member | null} */
  member = null;
  /** Whether the server lists all profiles that are not private. */
  hasDirectory = false;
  /** Whether the server can send mails about what is unread. */
  hasMails = false;
  people = new People({
    fetch: (ids) => call('GET /profiles', { ids: ids.join(',') }),
    learned: () => this.touch(TOPIC.people),
  });
  /** @type {Map<string, import('../../types.d.ts').Events['presence']['data']>} */
  presence = new Map();
  /** @type {Map<string, Conversation>} */
  conversations = new Map();
  /** @type {Set<string>} */
  blocked = new Set();
  /** Known: shown from this device, the server has not answered yet.
   * @type {'loading' | 'known' | 'ready' | 'failed'} */
  listState = 'loading';
  #keeping = 0;
  /** Conversations that the server does not know, or not for this member. At most one for each that was asked for.
   * @type {Set<string>} */
  #absent = new Set();
  /** @type {string | null} */
  #next = null;
  /** The same of the archive. @type {string | null} */
  #nextArchived = null;
  archivedTotal = 0;
  #counting = 0;
  #unmuting = 0;
  #typing = new Typing((conversation) => this.touch(TOPIC.list, conversation));
  /** @type {Map<string, Promise<Conversation | null>>} */
  #fetching = new Map();

  constructor() {
    super();
    link.on(SIGNAL.event, (frame) => this.#apply(frame));
    link.on(SIGNAL.caughtUp, ({ fresh }) => fresh && this.#begin());
    link.on(SIGNAL.state, (state) => {
      if (state === 'online') return;
      this.presence.clear();
      this.#typing.clear();
      this.touch(TOPIC.list, ...this.conversations.keys());
    });
    outbox.onPosted = (message) => this.#posted(message);
    for (const signal of [SIGNAL.change, SIGNAL.progress]) outbox.on(signal, () => this.touch(TOPIC.outbox));
    this.on(TOPIC.list, () => this.#keepSoon());
    document.addEventListener('visibilitychange', () => document.visibilityState === 'hidden' && this.#keep());
  }

  /** @param {import('../net/session.js').Held} held */
  async start({ member, profile }) {
    this.#remember(member, profile);
    const recalled = known.start(profile.id).catch(() => null);
    const [list] = await Promise.all([recalled, outbox.start(profile.id), drafts.start(profile.id)]);
    if (!this.me) return;
    if (list) this.#recall(list);
    link.start();
    setTimeout(() => this.me && this.listState !== 'ready' && this.#begin(), LISTS_WITHOUT_EVENTS_MS);
    all('GET /blocks', {}).then(
      (list) => {
        this.blocked = new Set(list.map((profile) => profile.id));
        this.touch(TOPIC.list);
      },
      (error) => this.#refused(error),
    );
  }

  stop() {
    link.stop();
    outbox.stop();
    drafts.stop();
    known.stop();
    this.people.clear();
    for (const map of [this.presence, this.conversations, this.#typing]) map.clear();
    clearTimeout(this.#counting);
    clearTimeout(this.#unmuting);
    this.me = this.member = null;
    this.archivedTotal = 0;
    this.listState = 'loading';
  }

  /** @param {Problem} error */
  #refused(error) {
    if (error.code === 'not_verified') this.notify(TOPIC.notVerified);
  }

  /**
   * @param {Member | undefined} member
   * @param {Profile | undefined} profile
   */
  #remember(member, profile) {
    this.member = member ?? this.member;
    if (profile) {
      this.me = profile;
      this.people.learn(profile);
    }
    if (this.member && this.me) session.remember({ member: this.member, profile: this.me });
    this.touch(TOPIC.me);
  }

  /** @param {{member?: Member, profile?: Profile, directory?: true, mails?: true}} part */
  learnMe({ member, profile, directory, mails }) {
    this.hasDirectory ||= Boolean(directory);
    this.hasMails ||= Boolean(mails);
    this.#remember(member, profile);
  }

  /** @param {Profile | null} profile */
  learn(profile) {
    if (!profile) return;
    this.people.learn(profile);
    if (profile.id === this.me?.id) this.me = this.people.get(profile.id) ?? this.me;
  }

  /** @param {string | null} id */
  isMe(id) {
    return id === this.me?.id;
  }

  get #myId() {
    return this.me?.id ?? '';
  }

  /** @param {import('./known.js').List} list */
  #recall({ conversations, people }) {
    for (const profile of people) this.people.learn(profile);
    for (const conversation of conversations) {
      this.conversations.set(conversation.id, rules.merge(undefined, conversation));
      if (conversation.peer) this.people.learn(conversation.peer);
    }
    this.listState = 'known';
    this.touch(TOPIC.list, TOPIC.reloaded);
  }

  // What is shown comes from this device, and the server is about to answer.
  get isSettling() {
    return this.listState === 'known' && link.online;
  }

  #keepSoon() {
    this.#keeping ||= setTimeout(() => this.#keep(), KEEP_EVERY_MS);
  }

  #keep() {
    clearTimeout(this.#keeping);
    this.#keeping = 0;
    if (!this.me || this.listState !== 'ready') return;
    known.save(this.me.id, rules.sorted(this.conversations.values()), (id) => this.people.get(id)).catch(console.error);
  }

  async #begin() {
    // Without a connection, what is shown is the best there is.
    if (link.online) for (const conversation of this.conversations.values()) rules.forget(conversation);
    try {
      await this.#listBegin(false);
      this.listState = 'ready';
    } catch (error) {
      if (error.code === 'not_verified') return this.#refused(error);
      if (this.listState === 'loading') this.listState = 'failed';
      setTimeout(() => session.read() && this.#begin(), AGAIN_MS * (1 + Math.random()));
    }
    this.touch(TOPIC.list, TOPIC.reloaded);
  }

  /**
   * The first page of a list. What is in it no more, as far as it tells, is dropped.
   * @param {boolean} archived
   */
  async #listBegin(archived) {
    const answer = await this.#listPage(archived);
    if (answer.next) return;
    const listed = new Set(answer.data.map((conversation) => conversation.id));
    for (const conversation of this.conversations.values()) {
      const isOfList = Boolean(conversation.archived) === archived && !conversation.hidden;
      if (isOfList && !listed.has(conversation.id)) this.conversations.delete(conversation.id);
    }
  }

  /**
   * @param {boolean} archived
   * @param {string} [next]
   */
  async #listPage(archived, next) {
    const answer = await ask('GET /conversations', { next, archived });
    const seq = Number(answer.cursor?.split(':')[1] ?? 0);
    for (const conversation of answer.data) this.#merge(conversation, seq);
    this.#continue(archived, answer.next);
    this.archivedTotal = answer.archived_total;
    return answer;
  }

  /**
   * @param {boolean} archived
   * @param {string | null} next
   */
  #continue(archived, next) {
    if (archived) this.#nextArchived = next;
    else this.#next = next;
  }

  async moreConversations(archived = false) {
    const next = archived ? this.#nextArchived : this.#next;
    if (!next) return;
    this.#continue(archived, null);
    try {
      await this.#listPage(archived, next);
    } catch {
      this.#continue(archived, next);
    }
    this.touch(TOPIC.list);
  }

  async openArchive() {
    await this.#listBegin(true);
    this.touch(TOPIC.list);
  }

  // How many are archived is not in an event: the server is asked, once for many changes.
  #countArchived() {
    clearTimeout(this.#counting);
    this.#counting = setTimeout(async () => {
      try {
        const { archived_total } = await ask('GET /conversations', { archived: true, limit: 1 });
        this.archivedTotal = archived_total;
        this.touch(TOPIC.list);
      } catch {
        /* the next list has it too */
      }
    }, COUNT_AFTER_MS);
  }

  // A mute ends without an event.
  #unmuteInTime() {
    clearTimeout(this.#unmuting);
    const muted = [...this.conversations.values()].filter(({ muted_until }) => muted_until);
    /** @param {Conversation} conversation */
    const left = ({ muted_until }) => Date.parse(muted_until ?? '') - Date.now();
    const next = Math.min(...muted.map(left));
    if (next === Number.POSITIVE_INFINITY) return;
    const wake = () => {
      for (const conversation of muted) if (left(conversation) <= 0) this.refresh(conversation.id);
      this.#countArchived();
      this.#unmuteInTime();
    };
    // A clock that is fast asks too early, but not often.
    const wait = next < 0 ? UNMUTE_AGAIN_MS : Math.min(next + UNMUTE_AFTER_MS, UNMUTE_WAIT_MS_MAX);
    this.#unmuting = setTimeout(wake, wait);
  }

  /** @param {Listed} fresh */
  #merge(fresh, seq = 0) {
    const conversation = rules.merge(this.conversations.get(fresh.id), fresh, seq);
    this.conversations.set(fresh.id, conversation);
    this.#absent.delete(fresh.id);
    this.learn(fresh.peer);
    if (fresh.muted_until) this.#unmuteInTime();
    if (fresh.last_message) this.#note(fresh.last_message, conversation);
    return conversation;
  }

  /** @param {string} id */
  async conversation(id) {
    return this.conversations.get(id) ?? this.refresh(id);
  }

  /**
   * Null if there is no such conversation; throws if the server did not say so.
   * @param {string} id
   */
  async find(id) {
    const found = await this.conversation(id);
    if (!found && !this.#absent.has(id)) throw new Offline();
    return found;
  }

  /**
   * @param {string} id
   * @returns {Promise<Conversation | null>}
   */
  refresh(id) {
    const running = this.#fetching.get(id);
    if (running) return running;
    const fetching = this.#refresh(id).finally(() => this.#fetching.delete(id));
    this.#fetching.set(id, fetching);
    return fetching;
  }

  /** @param {string} id */
  async #refresh(id) {
    const seq = this.conversations.get(id)?.seq ?? 0;
    try {
      const fresh = await call('GET /conversations/{conversation}', { conversation: id });
      // Requested after all received events, so it is at least as new as they are.
      const conversation = this.#merge(fresh, this.conversations.get(id)?.seq === seq ? seq : 0);
      this.touch(TOPIC.list, id);
      return conversation;
    } catch (error) {
      if (error.status === 404) {
        this.#absent.add(id);
        this.forget(id);
      }
      // The event that named it was already processed: no other event would bring it back.
      else setTimeout(() => this.me && this.refresh(id), AGAIN_MS * (1 + Math.random()));
      return null;
    }
  }

  /**
   * @param {Conversation} conversation
   * @returns {Promise<GroupMember[]>}
   */
  async members(conversation, again = false) {
    if (!conversation.members || again) {
      const members = await all('GET /conversations/{conversation}/members', { conversation: conversation.id });
      for (const { profile } of members) this.learn(profile);
      conversation.members = members;
      this.touch(TOPIC.people, conversation.id);
      return members;
    }
    return conversation.members;
  }

  /**
   * The member is no longer in it.
   * @param {string} id
   */
  forget(id) {
    if (this.conversations.delete(id)) this.touch(TOPIC.list, id);
  }

  /** @param {string} profile */
  direct(profile) {
    for (const conversation of this.conversations.values()) {
      if (conversation.type === 'direct' && conversation.peer?.id === profile) return conversation;
    }
    return null;
  }

  sorted(archived = false) {
    const all = [...this.conversations.values()];
    return rules.sorted(all.filter((it) => Boolean(it.archived) === archived && !it.hidden));
  }

  unreadTotal() {
    let total = 0;
    for (const { muted, unread } of this.conversations.values()) if (!muted) total += unread;
    return total;
  }

  /**
   * @param {Message} message
   * @param {number} [seq] the event's position; absent for responses and pages
   */
  see(message, seq) {
    const conversation = this.conversations.get(message.conversation);
    if (!conversation) {
      const settle = () => this.isMe(message.sender) && outbox.settle(message.client_id);
      this.refresh(message.conversation).then((fetched) => (fetched ? this.see(message, seq) : settle()));
      return;
    }
    if (seq) conversation.seq = Math.max(conversation.seq, seq);
    const wasArchived = conversation.archived;
    this.#note(message, conversation);
    if (wasArchived && !conversation.archived) this.#countArchived();
    this.touch(TOPIC.list, conversation.id);
  }

  /**
   * @param {Message} message
   * @param {Conversation} conversation
   */
  #note(message, conversation) {
    const isUncertain = rules.note(conversation, message, this.#myId);
    if (message.sender === this.#myId) outbox.settle(message.client_id);
    if (isUncertain) this.#recount(conversation);
  }

  /** @param {Conversation} conversation */
  #recount(conversation) {
    if (!rules.recount(conversation, this.#myId)) this.refresh(conversation.id);
  }

  /** @param {import('./outbox.js').Posted} message */
  async #posted(message) {
    // A member who has left gets only the position of the original.
    const stored = /** @type {Message} */ (message);
    if (stored.conversation && (await this.conversation(stored.conversation))) this.see(stored);
  }

  /**
   * The newest page, or the page around a position.
   * @param {Conversation} conversation
   * @param {number} [n]
   */
  async load(conversation, n) {
    const { window } = conversation;
    const kept = link.online || window.loaded ? null : known.page(conversation.id);
    if (kept) {
      window.take(kept, { replace: true });
      return this.touch(conversation.id);
    }
    const before = n === undefined ? undefined : n + AFTER_TARGET;
    const answer = await this.#messages(conversation, { before });
    if (window !== conversation.window) return;
    window.take(answer, { replace: true });
    await this.#close(conversation);
    this.#keepSoon();
    this.touch(conversation.id);
  }

  /** @param {Conversation} conversation */
  async older(conversation) {
    if (conversation.window.lo > (conversation.first_n ?? 1))
      await this.#more(conversation, { before: conversation.window.lo });
  }

  /** @param {Conversation} conversation */
  async newer(conversation) {
    const { window, last_n } = conversation;
    if (window.hi < last_n) await this.#more(conversation, { after: window.hi });
  }

  /**
   * @param {Conversation} conversation
   * @param {{before?: number, after?: number}} query
   */
  async #more(conversation, query) {
    const { window } = conversation;
    const answer = await this.#messages(conversation, query);
    if (window !== conversation.window) return;
    window.take(answer);
    this.touch(conversation.id);
  }

  /**
   * @param {Conversation} conversation
   * @param {{before?: number, after?: number}} query
   */
  async #messages(conversation, query) {
    const { window } = conversation;
    const which = { conversation: conversation.id, limit: PAGE_ITEMS, ...query };
    const data = await call('GET /conversations/{conversation}/messages', which);
    if (window === conversation.window) for (const message of data) this.#note(message, conversation);
    return data;
  }

  /**
   * A message that was posted while a page was being fetched leaves a gap before it: fetch the gap.
   * @param {Conversation} conversation
   */
  async #close(conversation) {
    const gap = () => conversation.last_n - conversation.window.hi;
    for (let i = 0; i < CLOSE_PAGES_MAX && gap() > 0 && gap() < PAGE_ITEMS; i++) await this.newer(conversation);
  }

  /**
   * @param {Conversation} conversation
   * @param {number} n
   */
  async read(conversation, n) {
    const { read_n: before, marked_unread } = conversation;
    if ((n <= before && !marked_unread) || !link.online) return;
    conversation.read_n = Math.max(n, before);
    conversation.marked_unread = undefined;
    this.#recount(conversation);
    this.touch(TOPIC.list, conversation.id);
    try {
      const answer = await link.op('conversation.read', { conversation: conversation.id, n });
      if (answer.read_n >= conversation.last_n) conversation.unread = answer.unread;
      if (answer.read_n >= conversation.read_n) mentions.set(conversation, answer);
    } catch {
      if (conversation.read_n === n) conversation.read_n = before;
      conversation.marked_unread = marked_unread;
    }
    this.touch(TOPIC.list, conversation.id);
  }

  /** @param {Conversation} conversation */
  typists(conversation) {
    return this.#typing.of(conversation.id);
  }

  // Changes that a member makes. Each throws what the server refuses.

  /**
   * @param {Message} message
   * @param {string} body
   */
  async edit(message, body) {
    this.see(await link.op('message.edit', { message: message.id, body }));
  }

  /**
   * @param {Message} message
   * @param {string} emoji
   */
  async react(message, emoji) {
    const now = this.conversations.get(message.conversation)?.window.at(message.n) ?? message;
    const isMine = now.reactions.some((it) => it.emoji === emoji && it.profiles.includes(this.#myId));
    this.see(await link.op(isMine ? 'message.unreact' : 'message.react', { message: message.id, emoji }));
  }

  /**
   * @param {Message} message
   * @param {boolean} on
   */
  async pin(message, on) {
    this.see(await link.op(on ? 'message.pin' : 'message.unpin', { message: message.id }));
  }

  /**
   * What is pinned in a conversation, once: the events keep it.
   * @param {Conversation} conversation
   */
  async loadPinned(conversation) {
    if (conversation.arePinnedKnown || !link.online) return;
    conversation.arePinnedKnown = true;
    conversation.noted = [];
    try {
      const which = { conversation: conversation.id, pinned: true };
      rules.setPinned(conversation, await all('GET /conversations/{conversation}/messages', which));
      this.touch(conversation.id);
    } catch {
      // It is asked again when the conversation is opened again.
      conversation.arePinnedKnown = false;
      conversation.noted = undefined;
    }
  }

  /**
   * Posts what a message shows to another conversation.
   * @param {Message} message
   * @param {Conversation} to
   */
  async forward(message, to) {
    const row = { lane: rules.laneOf(to), conversation: to.id, body: message.body ?? '', files: [] };
    await outbox.add({ ...row, forward: message.id });
  }

  /** @param {Message} message */
  async erase(message) {
    await link.op('message.delete', { message: message.id });
    // The client that deletes gets an empty response and no event: fetch the tombstone.
    await this.renew(message);
    this.#mentionsChanged(message);
  }

  /**
   * Its signed URLs expire.
   * @param {Message} message
   */
  async renew(message) {
    this.see(await call('GET /messages/{message}', { message: message.id }));
  }

  /**
   * @param {Conversation} conversation
   * @param {Omit<Update, 'conversation'>} change
   */
  async change(conversation, change) {
    this.#took(await call('PUT /conversations/{conversation}', { conversation: conversation.id, ...change }));
    if ('archived' in change || 'pinned' in change) this.#countArchived();
  }

  /**
   * Hides all present messages from this member.
   * @param {Conversation} conversation
   * @param {boolean} hide the conversation too
   */
  async clear(conversation, hide) {
    this.#took(await call('POST /conversations/{conversation}/clear', { conversation: conversation.id, hide }));
  }

  /** @param {Listed} fresh */
  #took(fresh) {
    this.#merge(fresh);
    this.touch(TOPIC.list, fresh.id);
  }

  /** @param {Conversation} conversation */
  async leave(conversation) {
    const me = { conversation: conversation.id, profile: this.#myId };
    await call('DELETE /conversations/{conversation}/members/{profile}', me);
    this.forget(conversation.id);
  }

  /**
   * @param {Profile} profile
   * @param {boolean} blocked
   */
  async block(profile, blocked) {
    if (blocked) {
      await call('PUT /blocks/{profile}', { profile: profile.id });
      this.blocked.add(profile.id);
      this.presence.delete(profile.id);
    } else {
      await call('DELETE /blocks/{profile}', { profile: profile.id });
      this.blocked.delete(profile.id);
    }
    this.touch(TOPIC.list);
  }

  /** @param {import('../../types.d.ts').Routes['PUT /profile']['params']} change */
  async changeProfile(change) {
    this.learnMe({ profile: await call('PUT /profile', change) });
  }

  /** @param {boolean} digest */
  async setDigest(digest) {
    this.learnMe(await call('PUT /user/me', { digest }));
  }

  /** @param {EventFrame} frame */
  #apply(frame) {
    switch (frame.event) {
      case EVENT.posted:
        return this.#arrived(frame.data, frame.seq);
      case EVENT.edited:
      case EVENT.deleted:
        this.see(frame.data, frame.seq);
        return this.#mentionsChanged(frame.data);
      case EVENT.reacted:
      case EVENT.pinned:
        return this.see(frame.data, frame.seq);
      case EVENT.read:
        return this.#markRead(frame.data, frame.seq);
      case EVENT.created:
      case EVENT.updated:
        return this.#changed(frame.data);
      case EVENT.memberAdded:
      case EVENT.memberRemoved:
        return this.#membership(frame.event, frame.data);
      case EVENT.profile:
        return this.#renamed(frame.data);
      case EVENT.sessionEnded:
        if (frame.data.session === link.sessionId) session.end(REVOKED);
        return this.touch(TOPIC.sessions);
      case EVENT.typing:
        return this.isMe(frame.data.profile) || this.#typing.heard(frame.data);
      case EVENT.presence:
        this.presence.set(frame.data.profile, frame.data);
        return this.touch(TOPIC.list, TOPIC.presence);
    }
  }

  /**
   * @param {Message} message
   * @param {number} seq
   */
  #arrived(message, seq) {
    const known = this.conversations.get(message.conversation);
    const isNew = !known || message.n > known.last_n;
    this.see(message, seq);
    if (message.sender) this.#typing.stopped(message.conversation, message.sender);
    if (isNew && message.sender !== this.#myId) this.emit(TOPIC.arrived, message);
  }

  /**
   * @param {Events['conversation.read']['data']} data
   * @param {number} seq
   */
  #markRead({ conversation: id, profile, read_n }, seq) {
    const conversation = this.conversations.get(id);
    if (!conversation) return;
    conversation.seq = Math.max(conversation.seq, seq);
    if (!this.isMe(profile)) rules.peerRead(conversation, read_n);
    else if (read_n > conversation.read_n) {
      conversation.read_n = read_n;
      this.#recount(conversation);
      if (mentions.moved(conversation)) this.refresh(id);
    }
    this.touch(TOPIC.list, id);
  }

  /** @param {Message} message */
  #mentionsChanged(message) {
    const conversation = this.conversations.get(message.conversation);
    if (conversation && mentions.isStale(conversation, message, this.#myId)) this.refresh(conversation.id);
  }

  /** @param {Brief} brief */
  #changed(brief) {
    const conversation = this.conversations.get(brief.id);
    // The event of a direct conversation says only that it changed: its other member may have been deleted.
    if (brief.own) this.#countArchived();
    if (conversation && (brief.erased_n ?? 0) > (conversation.erased_n ?? 0))
      return this.#erasedOld(conversation, brief);
    if (!conversation || brief.own || brief.type === 'direct') return void this.refresh(brief.id);
    Object.assign(conversation, { messages_kept: undefined }, brief);
    this.touch(TOPIC.list, brief.id);
  }

  /**
   * Old messages became tombstones.
   * @param {Conversation} conversation
   * @param {Brief} brief
   */
  #erasedOld(conversation, { erased_n, messages_kept }) {
    Object.assign(conversation, { erased_n, messages_kept });
    rules.dropErased(conversation);
    this.touch(TOPIC.list, conversation.id);
    // How many of them were unread is not in the event.
    if (conversation.unread) this.refresh(conversation.id);
  }

  /**
   * @param {string} event
   * @param {Events['member.added']['data']} data
   */
  #membership(event, { conversation: id, profile }) {
    if (event === EVENT.memberRemoved && this.isMe(profile)) return this.forget(id);
    const conversation = this.conversations.get(id);
    if (conversation) conversation.members = null;
    this.refresh(id);
  }

  /** @param {Profile} profile */
  #renamed(profile) {
    this.learn(profile);
    const conversation = this.direct(profile.id);
    if (conversation) conversation.peer = this.people.get(profile.id) ?? null;
    this.touch(TOPIC.people, TOPIC.list, ...(this.isMe(profile.id) ? [TOPIC.me] : []));
  }
}

export const model = new Model();
