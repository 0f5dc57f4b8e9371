// The state of this tab: the member, people, conversations and their messages, presence and typing. It draws nothing.
//
// Invariants: each message, from an event, response, page or search, enters through one merge, so a position shows the
// greatest rev seen, once, and a run of positions has no gap.

import * as api from './api.js';
import { outbox } from './outbox.js';
import { debounce, Emitter, ulidMs } from './util.js';

class Window {
  #byN = new Map();
  #nById = new Map();
  lo = 1;
  hi = 0;
  loaded = false;

  // True if it changed the state. An equal rev is taken too: it is the same message with renewed signed URLs.
  put(message) {
    const held = this.#byN.get(message.n);
    if (held && held.rev > message.rev) return false;
    this.#byN.set(message.n, message);
    this.#nById.set(message.id, message.n);
    if (this.loaded) this.#extend();
    return true;
  }

  // A page of the list route: dense, in the order of n. It replaces the run unless it touches it; newer versions that
  // arrived by events meanwhile are kept.
  take(page, { replace = false } = {}) {
    for (const message of page) this.put(message);
    const first = page[0]?.n, last = page.at(-1)?.n;
    if (!this.loaded || replace) {
      this.loaded = true;
      this.lo = first ?? 1;
      this.hi = last ?? 0;
    } else if (page.length && first <= this.hi + 1 && last >= this.lo - 1) {
      this.lo = Math.min(this.lo, first);
      this.hi = Math.max(this.hi, last);
    }
    this.#extend();
  }

  // This is safe because n is dense: the message at hi + 1 is the next one.
  #extend() {
    while (this.#byN.has(this.hi + 1)) this.hi++;
    while (this.hi >= this.lo && this.#byN.has(this.lo - 1)) this.lo--;
  }

  at(n) { return this.#byN.get(n); }
  byId(id) { return this.#byN.get(this.#nById.get(id)); }
  covers(from, to) { return this.loaded && from >= this.lo && to <= this.hi; }

  run() {
    const list = [];
    for (let n = this.lo; n <= this.hi; n++) list.push(this.#byN.get(n));
    return list;
  }
}

const TYPING_MS = 6_000;

class Model extends Emitter {
  me = null;
  member = null;
  profiles = new Map();
  presence = new Map();
  conversations = new Map();
  blocked = new Set();
  listState = 'loading';
  #next = null;
  #typing = new Map();
  #asked = new Set();
  #wanted = new Set();
  #dirty = new Set();
  #held = 0;

  constructor() {
    super();
    api.socket.on('event', (frame) => this.#apply(frame));
    api.socket.on('caught_up', ({ fresh }) => fresh && this.#begin());
    api.socket.on('state', (state) => {
      if (state === 'online') return;
      this.presence.clear();
      this.#typing.clear();
      this.touch('list', ...this.conversations.keys());
    });
    outbox.onPosted = (message) => this.#posted(message);
    outbox.on('change', () => this.touch('outbox'));
    outbox.on('progress', () => this.touch('outbox'));
  }

  async start({ member, profile }) {
    this.#learnMe(member, profile);
    await outbox.start(profile.id);
    api.socket.start();
    // A proxy may pass HTTP and no WebSocket: show the lists in this case too.
    setTimeout(() => this.me && this.listState === 'loading' && this.#begin(), 4_000);
    api.all('/blocks').then((list) => {
      this.blocked = new Set(list.map((entry) => entry.id ?? entry.profile?.id ?? entry));
      this.touch('list');
    }).catch((error) => error.code === 'not_verified' && this.emit('not_verified'));
  }

  stop() {
    api.socket.stop();
    outbox.stop();
    for (const map of [this.profiles, this.presence, this.conversations, this.#typing]) map.clear();
    this.me = this.member = null;
    this.listState = 'loading';
    this.#asked.clear();
  }

  touch(...names) {
    if (!this.#dirty.size) setTimeout(() => this.#tell());
    for (const name of names) this.#dirty.add(name);
  }

  #tell() {
    if (this.#held) return;
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    for (const name of dirty) this.emit(name);
  }

  // Delays notifications for this time: an element that is redrawn during a press gets no click.
  hold(ms) {
    clearTimeout(this.#held);
    this.#held = setTimeout(() => {
      this.#held = 0;
      this.#tell();
    }, ms);
  }

  #learnMe(member, profile) {
    this.member = member ?? this.member;
    if (profile) {
      this.me = profile;
      this.profiles.set(profile.id, profile);
    }
    api.session.remember({ member: this.member, profile: this.me });
    this.touch('me');
  }

  learnMe(part) { this.#learnMe(part.member, part.profile); }

  learn(profile) {
    if (!profile) return;
    this.profiles.set(profile.id, { ...this.profiles.get(profile.id), ...profile });
    if (profile.id === this.me?.id) this.me = this.profiles.get(profile.id);
  }

  // Null until known. The first call fetches the person, many people per request.
  person(id) {
    const held = this.profiles.get(id);
    if (!held && id && !this.#asked.has(id)) {
      this.#asked.add(id);
      this.#wanted.add(id);
      this.#fetchPeople();
    }
    return held ?? null;
  }

  #fetchPeople = debounce(async () => {
    const ids = [...this.#wanted].slice(0, 100);
    for (const id of ids) this.#wanted.delete(id);
    try {
      for (const profile of await api.get('/profiles', { ids: ids.join(',') })) this.learn(profile);
      this.touch('people');
    } catch {
      for (const id of ids) this.#asked.delete(id);
    }
    if (this.#wanted.size) this.#fetchPeople();
  }, 30);

  async #begin() {
    for (const conversation of this.conversations.values()) Object.assign(conversation, { window: new Window(), seq: 0 });
    try {
      const answer = await this.#listPage();
      const listed = new Set(answer.data.map((conversation) => conversation.id));
      if (!answer.next) {
        for (const id of this.conversations.keys()) if (!listed.has(id)) this.conversations.delete(id);
      }
      this.listState = 'ready';
    } catch (error) {
      if (error.code === 'not_verified') return this.emit('not_verified');
      if (this.listState === 'loading') this.listState = 'failed';
      setTimeout(() => api.session.read() && this.#begin(), 3_000 + Math.random() * 3_000);
    }
    this.touch('list', 'reloaded');
  }

  async #listPage(next) {
    const answer = await api.page('/conversations', { next });
    const seq = Number(answer.cursor?.split(':')[1] ?? 0);
    for (const conversation of answer.data) this.#merge(conversation, seq);
    this.#next = answer.next;
    return answer;
  }

  async moreConversations() {
    if (!this.#next) return;
    const next = this.#next;
    this.#next = null;
    try { await this.#listPage(next); } catch { this.#next = next; }
    this.touch('list');
  }

  // A conversation from a response. What an event has already moved past `seq` is kept.
  #merge(fresh, seq = 0) {
    const held = this.conversations.get(fresh.id)
      ?? { window: new Window(), seq: 0, peer_read_n: 0, divider: null, last_n: 0, read_n: 0 };
    const late = held.seq > seq && held.id, heard = held.peer_read_n;
    const mine = late ? { last_n: held.last_n, read_n: Math.max(held.read_n, fresh.read_n), unread: held.unread, last_message: held.last_message } : {};
    const conversation = Object.assign(held, fresh, mine);
    conversation.seq = Math.max(held.seq, seq);
    conversation.peer_read_n = Math.max(heard, fresh.peer_read_n ?? 0);
    this.conversations.set(fresh.id, conversation);
    this.learn(fresh.peer);
    if (fresh.last_message) this.#note(fresh.last_message, conversation);
    return conversation;
  }

  async conversation(id) {
    const held = this.conversations.get(id);
    if (held) return held;
    return this.refresh(id);
  }

  #fetching = new Map();
  refresh(id) {
    if (!this.#fetching.has(id)) {
      const seq = this.conversations.get(id)?.seq ?? 0;
      this.#fetching.set(id, api.get(`/conversations/${id}`).then((fresh) => {
        // Requested after all received events, so it is at least as new as they are.
        const conversation = this.#merge(fresh, this.conversations.get(id)?.seq === seq ? seq : 0);
        this.touch('list', id);
        return conversation;
      }, (error) => {
        if (error.status === 404) this.#gone(id);
        // The event that named it was already processed: no other event would bring it back.
        else setTimeout(() => this.me && this.refresh(id), 3_000 * (1 + Math.random()));
        return null;
      }).finally(() => this.#fetching.delete(id)));
    }
    return this.#fetching.get(id);
  }

  async members(conversation, again = false) {
    if (!conversation.members || again) {
      const members = await api.all(`/conversations/${conversation.id}/members`);
      for (const { profile } of members) this.learn(profile);
      conversation.members = members;
      this.touch('people', conversation.id);
    }
    return conversation.members;
  }

  #gone(id) {
    if (this.conversations.delete(id)) this.touch('list', id);
  }

  direct(profile) {
    for (const conversation of this.conversations.values()) {
      if (conversation.type === 'direct' && conversation.peer?.id === profile) return conversation;
    }
    return null;
  }

  lane(conversation) {
    return conversation.type === 'direct' && conversation.peer ? `to:${conversation.peer.id}` : conversation.id;
  }

  sorted() {
    const at = (c) => (c.last_message ? Date.parse(c.last_message.created_at) : ulidMs(c.id));
    return [...this.conversations.values()].sort((a, b) => at(b) - at(a) || (a.id < b.id ? 1 : -1));
  }

  unreadTotal() {
    let total = 0;
    for (const conversation of this.conversations.values()) if (!conversation.muted) total += conversation.unread ?? 0;
    return total;
  }

  // `seq`: the event's position; absent for responses and pages.
  see(message, seq) {
    const conversation = this.conversations.get(message.conversation);
    if (!conversation) {
      const settle = () => message.sender === this.me?.id && outbox.settle(message.client_id);
      this.refresh(message.conversation).then((fetched) => (fetched ? this.see(message, seq) : settle()));
      return;
    }
    if (seq) conversation.seq = Math.max(conversation.seq, seq);
    this.#note(message, conversation);
    this.touch('list', conversation.id);
  }

  #note(message, conversation) {
    const before = conversation.window.at(message.n);
    const changed = conversation.window.put(message);
    const mine = message.sender === this.me.id;
    if (mine) outbox.settle(message.client_id);
    const isNew = message.n > conversation.last_n;
    if (isNew) {
      conversation.last_n = message.n;
      if (mine) {
        conversation.read_n = message.n;
        conversation.unread = 0;
      } else if (!message.deleted_at) {
        conversation.unread = (conversation.unread ?? 0) + 1;
      }
    } else if (changed && message.deleted_at && !before?.deleted_at && message.n > conversation.read_n && !mine) {
      this.#recount(conversation);
    }
    if (message.n >= (conversation.last_message?.n ?? 0)) {
      if (!(conversation.last_message?.n === message.n && conversation.last_message.rev > message.rev)) conversation.last_message = message;
    }
    if (!mine && conversation.type === 'direct') this.#peerRead(conversation, message.n);
    return isNew;
  }

  #recount(conversation) {
    const { window, read_n, last_n } = conversation;
    if (read_n >= last_n) conversation.unread = 0;
    else if (window.covers(read_n + 1, last_n)) {
      conversation.unread = window.run().filter((m) => m.n > read_n && m.sender !== this.me.id && !m.deleted_at).length;
    } else this.refresh(conversation.id);
  }

  async #posted(message) {
    // A member who has left gets only the position of the original.
    if (!message.conversation) return;
    if (await this.conversation(message.conversation)) this.see(message);
  }

  async load(conversation, n) {
    const { window } = conversation;
    const before = n === undefined ? undefined : n + 26;
    const answer = await api.page(`/conversations/${conversation.id}/messages`, { limit: 50, before });
    if (window !== conversation.window) return;
    for (const message of answer.data) this.#note(message, conversation);
    window.take(answer.data, { replace: true });
    await this.#close(conversation);
    this.touch(conversation.id);
  }

  async older(conversation) {
    const { window } = conversation;
    if (window.lo <= 1) return;
    await this.#more(conversation, { before: window.lo });
  }

  async newer(conversation) {
    const { window } = conversation;
    if (window.hi >= conversation.last_n) return;
    await this.#more(conversation, { after: window.hi });
  }

  async #more(conversation, query) {
    const { window } = conversation;
    const answer = await api.page(`/conversations/${conversation.id}/messages`, { limit: 50, ...query });
    if (window !== conversation.window) return;
    for (const message of answer.data) this.#note(message, conversation);
    window.take(answer.data);
    this.touch(conversation.id);
  }

  // A message that was posted while a page was being fetched leaves a gap before it: fetch the gap.
  async #close(conversation) {
    for (let i = 0; i < 3 && conversation.last_n - conversation.window.hi > 0 && conversation.last_n - conversation.window.hi < 50; i++) {
      await this.newer(conversation);
    }
  }

  atTail(conversation) { return conversation.window.loaded && conversation.window.hi >= conversation.last_n; }

  async read(conversation, n) {
    if (n <= conversation.read_n || !api.socket.online) return;
    const before = conversation.read_n;
    conversation.read_n = n;
    this.#recount(conversation);
    this.touch('list', conversation.id);
    try {
      const answer = await api.socket.op('conversation.read', { conversation: conversation.id, n });
      if (answer.read_n >= conversation.last_n) conversation.unread = answer.unread;
    } catch {
      if (conversation.read_n === n) conversation.read_n = before;
    }
    this.touch('list', conversation.id);
  }

  #peerRead(conversation, n) {
    if (n <= conversation.peer_read_n) return;
    conversation.peer_read_n = n;
  }

  typists(conversation) {
    const now = Date.now();
    return [...(this.#typing.get(conversation.id) ?? [])].filter(([, until]) => until > now).map(([id]) => id);
  }

  #types({ conversation, profile, active }) {
    if (profile === this.me.id) return;
    const list = this.#typing.get(conversation) ?? new Map();
    this.#typing.set(conversation, list);
    if (active) {
      list.set(profile, Date.now() + TYPING_MS);
      setTimeout(() => this.touch('list', conversation), TYPING_MS + 50);
    } else list.delete(profile);
    this.touch('list', conversation);
  }

  #apply({ event, seq, data }) {
    switch (event) {
      case 'message.posted': {
        const known = this.conversations.get(data.conversation);
        const isNew = !known || data.n > known.last_n;
        this.see(data, seq);
        this.#typing.get(data.conversation)?.delete(data.sender);
        if (isNew && data.sender !== this.me.id) this.emit('arrived', data);
        return;
      }
      case 'message.edited': case 'message.deleted': case 'message.reacted':
        return this.see(data, seq);
      case 'conversation.read': {
        const conversation = this.conversations.get(data.conversation);
        if (!conversation) return;
        conversation.seq = Math.max(conversation.seq, seq ?? 0);
        if (data.profile === this.me.id) {
          if (data.read_n > conversation.read_n) {
            conversation.read_n = data.read_n;
            this.#recount(conversation);
          }
        } else this.#peerRead(conversation, data.read_n);
        return this.touch('list', conversation.id);
      }
      case 'conversation.created': case 'conversation.updated': {
        const conversation = this.conversations.get(data.id);
        // The event of a direct conversation says only that it changed: its other member may have been deleted.
        if (!conversation || data.type === 'direct') return void this.refresh(data.id);
        Object.assign(conversation, data);
        return this.touch('list', data.id);
      }
      case 'member.added': case 'member.removed': {
        if (event === 'member.removed' && data.profile === this.me.id) return this.#gone(data.conversation);
        const conversation = this.conversations.get(data.conversation);
        if (conversation) conversation.members = null;
        this.refresh(data.conversation);
        return;
      }
      case 'profile.updated': {
        this.learn(data);
        const conversation = this.direct(data.id);
        if (conversation) conversation.peer = this.profiles.get(data.id);
        return this.touch('people', 'list', ...(data.id === this.me.id ? ['me'] : []));
      }
      case 'session.ended':
        if (data.session === api.socket.sessionId) api.session.end('revoked');
        return this.touch('sessions');
      case 'typing': return this.#types(data);
      case 'presence':
        this.presence.set(data.profile, data);
        return this.touch('list', 'presence');
    }
  }
}

export const model = new Model();
