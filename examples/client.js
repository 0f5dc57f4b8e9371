// A client of natter for browsers that keeps the complete promise: nothing lost, nothing twice, one order.
//
// It owns an outbox in localStorage (a post keeps its client_id until it is answered), a cursor (a new WebSocket gets what was missed)
// and a store that keeps, of each message, the greatest `rev`. One page at a time: two tabs need stores of their own.
//
//     const client = new Client("http://127.0.0.1:8080", { changed: () => draw(client.shown()) });
//     await client.signIn(email, password);
//     client.write(profile, "hello");

const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const RETRY_MS_MAX = 30_000;

/** The time in milliseconds, then 80 random bits. */
export function ulid() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  let [time, text] = [Date.now(), ""];
  for (let i = 0; i < 10; i++, time = Math.floor(time / 32)) text = CROCKFORD[time % 32] + text;
  for (const byte of random) text += CROCKFORD[byte % 32];
  return text;
}

export class Client {
  constructor(address, { store = "natter", changed = () => {} } = {}) {
    Object.assign(this, { base: `${address}/api/v1`, store, changed, token: null, socket: null, live: false, tries: 0 });
    const empty = { outbox: [], cursor: null, messages: {}, unseen: true };
    this.state = JSON.parse(localStorage.getItem(store)) ?? empty;
  }

  save() {
    localStorage.setItem(this.store, JSON.stringify(this.state));
    this.changed();
  }

  async ask(method, path, body) {
    const headers = { "Content-Type": "application/json" };
    if (this.token) headers.Authorization = `Bearer ${this.token.access}`;
    const response = await fetch(this.base + path, { method, headers, body: body && JSON.stringify(body) });
    const answer = response.status === 204 ? null : await response.json();
    // A problem (RFC 9457): `code` is stable, `retry` says whether the same request may succeed later.
    if (!response.ok) throw Object.assign(new Error(answer.title), answer);
    return answer;
  }

  async signIn(email, password) {
    this.token = (await this.ask("POST", "/user/sign-in", { email, password })).data.token;
    await this.connect();
  }

  /** Into the outbox first: from now on neither a crash nor a reload loses it. */
  write(to, body) {
    this.state.outbox.push({ to, client_id: ulid(), body });
    this.save();
    if (this.live) this.post(this.state.outbox.at(-1));
  }

  /** What is not answered is posted again on the next socket, under its client_id, which stores it once. */
  post(draft) {
    this.socket.send(JSON.stringify({ id: draft.client_id, op: "message.post", ...draft }));
  }

  /** A browser can't set headers on a WebSocket: a ticket opens it once. Another access token is needed once this one expires. */
  async connect() {
    try {
      if (this.token.token_expire * 1000 < Date.now() + 60_000) {
        this.token = (await this.ask("POST", "/user/refresh", { refresh: this.token.refresh })).data;
      }
      const { ticket } = (await this.ask("POST", "/user/ticket")).data;
      const cursor = this.state.cursor ? `&cursor=${this.state.cursor}` : "";
      this.socket = new WebSocket(`${this.base.replace(/^http/, "ws")}/ws?ticket=${ticket}${cursor}`);
      this.socket.onmessage = ({ data }) => this.heard(JSON.parse(data));
      this.socket.onclose = () => this.again();
    } catch (problem) {
      // 401: the session is over, and the outbox waits for the next sign-in. Any other may pass.
      if (problem.status === 401) throw problem;
      this.again();
    }
  }

  again() {
    this.live = false;
    const wait = Math.min(RETRY_MS_MAX, 250 * 2 ** this.tries++) * (0.5 + Math.random() / 2);
    setTimeout(() => this.connect().catch((problem) => console.warn(problem.message)), wait);
  }

  heard(frame) {
    if ("re" in frame) return this.answered(frame);
    // Of a cursor only events of the log, `caught_up`, `reset` and `heartbeat` count; `hello` names the epoch.
    if (frame.event === "hello") this.epoch = frame.epoch;
    else if (frame.seq) this.state.cursor = `${this.epoch}:${frame.seq}`;
    // The log does not reach back this far: the lists are fetched anew, and merged by `rev`.
    if (frame.event === "reset") this.state.unseen = true;
    if (frame.event.startsWith("message.")) this.keep(frame.data);
    if (frame.event === "caught_up") this.caughtUp();
    // A message and the cursor after it are stored together: an event counts once.
    if (frame.seq) this.save();
  }

  /** All that was missed has come. What waits is posted in its order: one socket keeps it. */
  caughtUp() {
    [this.live, this.tries] = [true, 0];
    this.state.outbox.forEach((draft) => this.post(draft));
    if (this.state.unseen) this.fetchAll().catch(() => this.socket.close());
  }

  answered({ re, ok, error }) {
    // With `retry` the server closes the socket, and the next one posts it and all after it again.
    if (error?.retry) return;
    if (error) console.warn(`not taken: ${error.code}: ${error.title}`);
    if (ok) this.keep(ok);
    this.state.outbox = this.state.outbox.filter((draft) => draft.client_id !== re);
    this.save();
  }

  /** An answer and an event may bring the same message, in any order: the greater `rev` is the newer one. */
  keep(message) {
    const known = this.state.messages[message.id];
    // Of a conversation that one has left there are only ids.
    if (message.rev && !(known?.rev >= message.rev)) this.state.messages[message.id] = message;
  }

  /** On a first visit, and after a reset. The socket is open already: nothing falls between the two. */
  async fetchAll() {
    for await (const conversation of this.pages("/conversations?limit=200")) {
      for await (const message of this.pages(`/conversations/${conversation.id}/messages?limit=200`)) this.keep(message);
    }
    this.state.unseen = false;
    this.save();
  }

  async *pages(path) {
    for (let next = ""; next !== null; ) {
      const page = await this.ask("GET", path + (next && `&next=${encodeURIComponent(next)}`));
      yield* page.data;
      next = page.next;
    }
  }

  /** In the one order, without tombstones. */
  shown() {
    const messages = Object.values(this.state.messages).filter((message) => message.deleted_at === null);
    return messages.sort((a, b) => a.seq - b.seq);
  }
}
