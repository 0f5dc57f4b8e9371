//! A device that goes from node to node: what it has sent and knows, and the checks of what it is shown.
//!
//! Owns its connections, its posts and its cursor. Leaves the choice of what it does to `workload`, and streams over plain HTTP to
//! `http_streams`.
//! Invariant: posts are sent in order. After a loss or a refusal all that are not answered are sent again, from the
//! oldest on, and through one connection at a time: so the log must have them in this order, each once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use natter::base::json::{self, Value};
use natter::model::id::{ClientId, ConversationId, ProfileId, SessionId};
use natter::model::operation::Lane;
use natter::server::contract::ConnId;

use super::http_streams::Page;
use super::record::Record;
use crate::sim::codec::{self, at, id_at, number_at, text_at};
use crate::support::http::{Response, next_response};

/// The epoch of the log.
pub const EPOCH: &str = "simulated";

pub struct Token {
    pub access: String,
    pub session: SessionId,
}

pub struct Post {
    pub client_id: ClientId,
    pub body: String,
    /// Known with the answer.
    pub id: Option<String>,
    /// The other profile; `None`: the group.
    pub to: Option<ProfileId>,
    pub seq: Option<u64>,
}

/// A request, with what the check of its answer needs.
#[derive(Clone, Debug)]
pub enum What {
    SignUp,
    SignIn,
    Group,
    Post(usize),
    Logout(SessionId),
    /// What has no answer that says anything new.
    Change,
    /// `floor`: the greatest seq that the node knew.
    List {
        floor: u64,
    },
    Ready,
}

#[derive(Clone, Debug)]
pub struct Ask {
    pub what: What,
    pub at: Duration,
}

pub struct Http {
    pub node: usize,
    pub conn: ConnId,
    inbox: Vec<u8>,
    pub asks: VecDeque<Ask>,
    /// The server has said that it closes.
    pub is_closing: bool,
}

/// How a device follows the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Socket,
    /// Server-sent events.
    Events,
    /// Page after page, sometimes after a wait.
    Pages,
}

/// What one device was shown of another person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Online(ProfileId, bool),
    Typing(ProfileId, bool),
}

pub struct Stream {
    pub form: Form,
    pub node: usize,
    pub conn: ConnId,
    pub(super) inbox: Vec<u8>,
    pub session: SessionId,
    pub(super) is_open: bool,
    pub(super) begins: bool,
    pub is_live: bool,
    pub last: u64,
    /// The cursor is of another node, and further than this one was.
    pub(super) is_ahead: bool,
    /// Of an event stream: its body without the chunks.
    pub(super) text: Vec<u8>,
    /// The page that is asked for.
    pub page: Option<Page>,
    /// No further page is asked for on this connection.
    pub is_closing: bool,
    /// Who is shown as online, and all that was shown.
    pub online: BTreeSet<ProfileId>,
    pub shown: Vec<Shown>,
    asks: BTreeMap<u64, Ask>,
    next_id: u64,
}

impl Stream {
    /// The server knows that a device is there.
    pub fn is_device(&self) -> bool {
        self.form != Form::Pages && self.is_open
    }
}

/// What a client does about what it received.
#[derive(Debug, PartialEq, Eq)]
pub enum Then {
    /// The connection goes on.
    On,
    /// These bytes are sent.
    Sends(Vec<u8>),
    /// The client closes it.
    Closes,
}

/// What a check needs to know of the run.
pub struct Known<'a> {
    pub record: &'a Record,
    pub time: Duration,
    /// The head of the log when the node of its stream knew that the session is over: a replay reads what is stored
    /// before that.
    pub over_at: Option<u64>,
    /// The node shuts down.
    pub is_draining: bool,
    /// Its disk may fail.
    pub disk_fails: bool,
    /// Nothing fails any more.
    pub calm: bool,
    /// How long an answer to a write may take.
    pub answer_max: Duration,
}

pub struct Device {
    pub person: usize,
    pub address: u8,
    pub profile: Option<ProfileId>,
    pub token: Option<Token>,
    pub posts: Vec<Post>,
    /// The first post that was not sent through the current connection.
    pub next_post: usize,
    /// The connection that carries posts.
    pub carrier: Option<ConnId>,
    pub https: Vec<Http>,
    pub stream: Option<Stream>,
    pub cursor: Option<u64>,
    /// Every message since this seq must be known.
    pub since: Option<u64>,
    /// Known messages, and whether an event showed them.
    pub known: BTreeMap<u64, bool>,
    pub group: Option<ConversationId>,
    /// Streams and requests that ended without a word.
    pub cut_off: u64,
    /// An event is not noticed, which the checks must find.
    pub misses_one: bool,
    pub counts: Counts,
}

/// What happened to a device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub answered: u64,
    pub repeats: u64,
    pub refused: u64,
    pub events: u64,
    pub replays: u64,
    pub ahead: u64,
    pub typings: u64,
    pub lists: u64,
    pub unready: u64,
    pub sent_away: u64,
    pub blocks: u64,
    pub pages: u64,
    pub presences: u64,
}

impl Device {
    pub fn new(person: usize, address: u8) -> Device {
        Device {
            person,
            address,
            profile: None,
            token: None,
            posts: Vec::new(),
            next_post: 0,
            carrier: None,
            https: Vec::new(),
            stream: None,
            cursor: None,
            since: None,
            known: BTreeMap::new(),
            group: None,
            cut_off: 0,
            misses_one: false,
            counts: Counts::default(),
        }
    }

    pub fn me(&self) -> ProfileId {
        self.profile.expect("a profile")
    }

    pub fn unanswered(&self) -> usize {
        self.posts.iter().filter(|post| post.seq.is_none()).count()
    }

    /// Its connections, with the node of each.
    pub fn conns(&self) -> Vec<(usize, ConnId)> {
        let stream = self.stream.iter().map(|stream| (stream.node, stream.conn));
        self.https.iter().map(|http| (http.node, http.conn)).chain(stream).collect()
    }

    /// A connection is over. What it carried is sent again.
    pub fn lost(&mut self, conn: ConnId) {
        // After an answer with `Connection: close` nothing that was sent behind it is done.
        let waits = |http: &Http| http.conn == conn && !http.is_closing && !http.asks.is_empty();
        self.cut_off += u64::from(self.https.iter().any(waits));
        self.https.retain(|http| http.conn != conn);
        let stream = self.stream.take_if(|stream| stream.conn == conn);
        let had_more = |stream: Stream| stream.form != Form::Pages || stream.page.is_some();
        self.cut_off += u64::from(stream.is_some_and(had_more));
        if self.carrier == Some(conn) {
            self.go_back();
        }
    }

    fn go_back(&mut self) {
        self.carrier = None;
        let first = self.posts.iter().position(|post| post.seq.is_none());
        self.next_post = first.unwrap_or(self.posts.len());
    }

    // ---- writing ------------------------------------------------------------------------------------

    pub fn opened_http(&mut self, node: usize, conn: ConnId) {
        let (inbox, asks) = (Vec::new(), VecDeque::new());
        self.https.push(Http { node, conn, inbox, asks, is_closing: false });
    }

    /// A request on an open connection, as bytes.
    pub fn request(
        &mut self,
        conn: ConnId,
        ask: Ask,
        (method, path): (&str, &str),
        body: Option<&str>,
    ) -> Vec<u8> {
        let bearer = self.token.as_ref().map(|token| format!("Bearer {}", token.access));
        let is_public = matches!(ask.what, What::SignUp | What::SignIn | What::Ready);
        let fields: Vec<(&str, &str)> =
            bearer.iter().filter(|_| !is_public).map(|bearer| ("Authorization", bearer.as_str())).collect();
        let http = self.https.iter_mut().find(|http| http.conn == conn).expect("an open connection");
        http.asks.push_back(ask);
        codec::request(method, path, &fields, body)
    }

    /// Its stream, if it is a socket that shows what happens.
    pub fn live_socket(&self) -> Option<&Stream> {
        self.stream.as_ref().filter(|stream| stream.is_live && stream.form == Form::Socket)
    }

    /// Opens a stream at its cursor. `known` is how far the node is; `page` is the first that is asked for.
    pub fn open(&mut self, (node, conn): (usize, ConnId), form: Form, known: u64, page: Page) -> Vec<u8> {
        let token = self.token.as_ref().expect("a token");
        let bearer = format!("Bearer {}", token.access);
        self.counts.replays += u64::from(self.cursor.is_some());
        self.stream = Some(Stream {
            form,
            node,
            conn,
            inbox: Vec::new(),
            session: token.session,
            is_open: false,
            begins: self.cursor.is_none(),
            is_live: false,
            last: self.cursor.unwrap_or(0),
            is_ahead: self.cursor > Some(known),
            text: Vec::new(),
            page: None,
            is_closing: false,
            online: BTreeSet::new(),
            shown: Vec::new(),
            asks: BTreeMap::new(),
            next_id: 0,
        });
        let path = match form {
            Form::Socket => "/api/v1/ws",
            Form::Events => "/api/v1/events",
            Form::Pages => return self.next_page(known, page),
        };
        let target = match self.cursor {
            Some(seq) => format!("{path}?cursor={EPOCH}:{seq}"),
            None => path.to_owned(),
        };
        let mut fields = if form == Form::Socket { codec::UPGRADE.to_vec() } else { Vec::new() };
        fields.push(("Authorization", &bearer));
        if form == Form::Events {
            fields.push(("Accept", "text/event-stream"));
        }
        codec::request("GET", &target, &fields, None)
    }

    /// The text of an op on the stream.
    pub fn op(&mut self, ask: Ask, op: &str, members: &str) -> String {
        let stream = self.stream.as_mut().expect("a stream");
        stream.next_id += 1;
        stream.asks.insert(stream.next_id, ask);
        format!(r#"{{"id":{},"op":"{op}",{members}}}"#, stream.next_id)
    }

    /// The members of a post.
    pub fn post_members(&self, index: usize) -> String {
        let Post { client_id, body, to, .. } = &self.posts[index];
        let to = match (to, self.group) {
            (Some(profile), _) => format!(r#""to":"{profile}""#),
            (None, group) => format!(r#""conversation":"{}""#, group.expect("a group")),
        };
        format!(r#"{to},"client_id":"{client_id}","body":{}"#, json::to_string(body))
    }

    // ---- what it receives ---------------------------------------------------------------------------

    pub fn receive(&mut self, known: &Known<'_>, conn: ConnId, bytes: &[u8]) -> Then {
        if let Some(http) = self.https.iter_mut().find(|http| http.conn == conn) {
            http.inbox.extend_from_slice(bytes);
            while let Some(http) = self.https.iter_mut().find(|http| http.conn == conn) {
                let Some(response) = next_response(&mut http.inbox, false) else { break };
                http.is_closing |= response.field("connection") == Some("close");
                let ask = http.asks.pop_front();
                self.response(known, conn, ask, &response);
            }
            return Then::On;
        }
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.conn == conn) else { return Then::On };
        stream.inbox.extend_from_slice(bytes);
        match stream.form {
            Form::Socket => self.receive_frames(known, conn),
            Form::Events => self.receive_blocks(known),
            Form::Pages => self.receive_page(known),
        }
    }

    /// Reads the head of the answer to the request for a stream. `None` while it goes on.
    pub(super) fn begin(&mut self, known: &Known<'_>, status: &[u8]) -> Option<Then> {
        let stream = self.stream.as_mut().expect("a stream");
        let Some(end) = stream.inbox.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Some(Then::On);
        };
        if !stream.inbox.starts_with(status) {
            let Some(response) = next_response(&mut stream.inbox, false) else { return Some(Then::On) };
            self.not_opened(known, &response);
            return Some(Then::Closes);
        }
        stream.inbox.drain(..end + 4);
        stream.is_open = true;
        None
    }

    fn receive_frames(&mut self, known: &Known<'_>, conn: ConnId) -> Then {
        if !self.stream.as_ref().expect("a stream").is_open
            && let Some(then) = self.begin(known, b"HTTP/1.1 101 ")
        {
            return then;
        }
        let mut sent = Vec::new();
        while let Some(stream) = self.stream.as_mut()
            && let Some((opcode, payload)) = codec::take_frame(&mut stream.inbox)
        {
            match opcode {
                codec::TEXT => {
                    let value = json::parse(&payload).unwrap_or_else(|_| panic!("not JSON: {payload:?}"));
                    if value.get("event").is_some() {
                        self.event(known, &value);
                    } else {
                        self.op_answered(known, conn, &value);
                    }
                }
                codec::PING => sent.push(payload),
                codec::CLOSE => {
                    self.closed(known, &payload);
                    return Then::Closes;
                }
                _ => {}
            }
        }
        match sent.pop() {
            Some(payload) => Then::Sends(payload),
            None => Then::On,
        }
    }

    pub(super) fn unauthorized(&mut self, known: &Known<'_>, session: SessionId) {
        assert!(known.record.ended.contains_key(&session), "a good token was refused: session {session}");
        self.token.take_if(|token| token.session == session);
    }

    /// A stream was refused: its session is over, or the node has to be asked again.
    pub(super) fn not_opened(&mut self, known: &Known<'_>, response: &Response) {
        let session = self.told();
        match (response.status, response.code().as_str()) {
            (401, _) => self.unauthorized(known, session),
            (408, _) => {}
            (503, "unavailable" | "busy") => self.counts.ahead += 1,
            other => panic!("a stream was refused: {other:?}"),
        }
    }

    /// The node has said why the stream ends. Returns the session.
    pub(super) fn told(&mut self) -> SessionId {
        // What is no more is not cut off.
        self.stream.take().expect("a stream").session
    }

    fn closed(&mut self, known: &Known<'_>, payload: &[u8]) {
        let code = payload.get(..2).map_or(0, |code| u16::from_be_bytes([code[0], code[1]]));
        let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
        let session = self.told();
        match code {
            // The node has not come as far as the cursor, or a write on it was refused.
            1_013 => self.counts.ahead += 1,
            4_401 => self.unauthorized(known, session),
            4_408 => {}
            // It says when to come back.
            1_001 if known.is_draining && reason.contains("retry_after_ms") => self.counts.sent_away += 1,
            code => panic!("closed with {code}: {reason}"),
        }
    }

    fn response(&mut self, known: &Known<'_>, conn: ConnId, ask: Option<Ask>, response: &Response) {
        let Some(ask) = ask else {
            assert!([408, 503].contains(&response.status), "unasked: {response:?}");
            return;
        };
        if response.status == 204 {
            return self.answered(known, conn, &ask, &Value::Null, None);
        }
        let value = response.json();
        match response.status {
            200..300 => {
                self.answered(known, conn, &ask, value.get("data").unwrap_or(&Value::Null), Some(&value))
            }
            503 if matches!(ask.what, What::Ready) => self.counts.unready += 1,
            status => {
                let code = text_at(&value, "code").unwrap_or_default();
                let retry = at(&value, "retry") == Some(&Value::Bool(true));
                if status == 503 {
                    assert!(response.field("retry-after").is_some(), "503 without Retry-After: {response:?}");
                }
                self.refused(known, conn, &ask, (&code, retry));
            }
        }
    }

    fn op_answered(&mut self, known: &Known<'_>, conn: ConnId, value: &Value<'_>) {
        let stream = self.stream.as_mut().expect("a stream");
        let id = number_at(value, "re").expect("the id of an op");
        let ask = stream.asks.remove(&id).expect("an answer to an op");
        match (value.get("ok"), value.get("error")) {
            (Some(data), None) => self.answered(known, conn, &ask, data, Some(value)),
            (None, Some(problem)) => {
                let code = text_at(problem, "code").unwrap_or_default();
                let retry = at(problem, "retry") == Some(&Value::Bool(true));
                self.refused(known, conn, &ask, (&code, retry));
            }
            _ => panic!("neither ok nor error: {value:?}"),
        }
    }

    fn refused(&mut self, known: &Known<'_>, conn: ConnId, ask: &Ask, (code, retry): (&str, bool)) {
        self.counts.refused += 1;
        self.is_in_time(known, ask);
        match (code, &ask.what) {
            ("unauthorized_access", _) => {
                let token = self.token.as_ref();
                let is_over = |session: &SessionId| known.record.ended.contains_key(session);
                // A request of the session before may be answered after the next one began.
                assert!(token.is_none_or(|token| is_over(&token.session)) || !known.record.ended.is_empty());
                self.token.take_if(|token| is_over(&token.session));
            }
            ("unavailable" | "busy", what) => {
                assert!(retry && !known.calm, "{code} for {what:?}");
            }
            // The node has not applied what it is about.
            ("not_found", What::Change) => {}
            ("request_timeout", _) => {}
            (code, what) => panic!("{code} for {what:?}"),
        }
        if matches!(ask.what, What::Post(_)) && self.carrier == Some(conn) {
            self.go_back();
        }
    }

    fn is_in_time(&self, known: &Known<'_>, ask: &Ask) {
        let took = known.time - ask.at;
        assert!(took <= known.answer_max, "{ask:?} took {took:?}");
    }

    fn answered(
        &mut self,
        known: &Known<'_>,
        conn: ConnId,
        ask: &Ask,
        data: &Value<'_>,
        envelope: Option<&Value<'_>>,
    ) {
        self.is_in_time(known, ask);
        match &ask.what {
            What::SignUp | What::SignIn => {
                let profile = id_at(data, "profile.id").expect("a profile");
                assert!(self.profile.is_none_or(|known| known == profile), "another profile");
                self.profile = Some(profile);
                let access = text_at(data, "token.access").expect("a token");
                let (session, _, epoch) = codec::claims(&access);
                assert_eq!(epoch, EPOCH, "the epoch of a token");
                let session = natter::base::id::Id::parse(&session).expect("a session");
                self.token = Some(Token { access, session });
                // A post with the new token must not come before those with the old one, which are refused.
                self.https.iter_mut().for_each(|http| http.is_closing = true);
                self.go_back();
            }
            What::Group => self.group = id_at(data, "id"),
            What::Post(index) => self.posted(known, conn, *index, data, envelope),
            What::Logout(session) => {
                assert!(known.record.ended.contains_key(session), "a logout that is not in the log");
                self.token.take_if(|token| token.session == *session);
            }
            What::Change | What::Ready => {}
            What::List { floor } => {
                self.counts.lists += 1;
                let Some(cursor) = envelope.and_then(|envelope| text_at(envelope, "cursor")) else {
                    // The disk failed at the start of the node: what it has stored is not proven to be on it yet.
                    assert!(!known.calm, "a list without a cursor");
                    return;
                };
                let (epoch, seq) = cursor.split_once(':').expect("epoch:seq");
                let seq: u64 = seq.parse().expect("a seq");
                assert_eq!(epoch, EPOCH);
                assert!(*floor <= seq && seq <= known.record.head, "a list as of {seq}, not {floor}");
            }
        }
    }

    fn posted(
        &mut self,
        known: &Known<'_>,
        conn: ConnId,
        index: usize,
        data: &Value<'_>,
        envelope: Option<&Value<'_>>,
    ) {
        let (me, client_id) = (self.me(), self.posts[index].client_id);
        let stored = known.record.posted(me, client_id).expect("an answered post is in the log");
        let shown = (number_at(data, "seq"), number_at(data, "n"));
        assert_eq!(shown, (Some(stored.seq), Some(stored.n)), "the answer to {client_id}");
        let is_repeat = envelope.is_some_and(|envelope| at(envelope, "duplicate").is_some());
        self.counts.answered += u64::from(!is_repeat);
        self.counts.repeats += u64::from(is_repeat);
        self.posts[index].id = text_at(data, "id");
        let before = self.posts[index].seq.replace(stored.seq);
        assert!(before.is_none_or(|before| before == stored.seq), "{client_id} is answered with another seq");
        if self.since.is_some_and(|since| stored.seq > since) {
            self.knows(stored.seq, false);
        }
        if let Some(stream) = self.stream.as_ref().filter(|stream| stream.conn == conn && !is_repeat) {
            let missed = known.record.due((stream.last, stored.seq), me, conn.lane(), true);
            assert!(missed.is_empty(), "the answer of seq {} came before the events {missed:?}", stored.seq);
        }
    }

    pub(super) fn knows(&mut self, seq: u64, by_event: bool) {
        let was_shown = self.known.entry(seq).or_insert(false);
        assert!(!(*was_shown && by_event), "message {seq} was delivered twice");
        *was_shown |= by_event;
    }

    // ---- events -------------------------------------------------------------------------------------

    pub(super) fn event(&mut self, known: &Known<'_>, event: &Value<'_>) {
        let (name, me) = (text_at(event, "event").expect("a name"), self.me());
        let stream = self.stream.as_mut().expect("a stream");
        let seq = number_at(event, "seq");
        match name.as_str() {
            "hello" => return assert_eq!(text_at(event, "epoch").as_deref(), Some(EPOCH)),
            "expiring" => return,
            "presence" => {
                self.counts.presences += 1;
                let whose: ProfileId = id_at(event, "data.profile").expect("a profile");
                let is_online = at(event, "data.online") == Some(&Value::Bool(true));
                assert_eq!(stream.form, Form::Socket, "{name} on another stream");
                assert!(known.record.are_peers(me, whose), "{me} must not see the presence of {whose}");
                stream.shown.push(Shown::Online(whose, is_online));
                if is_online {
                    stream.online.insert(whose)
                } else {
                    stream.online.remove(&whose)
                };
                return;
            }
            "typing" => {
                self.counts.typings += 1;
                let who: ProfileId = id_at(event, "data.profile").expect("a profile");
                let is_active = at(event, "data.active") == Some(&Value::Bool(true));
                assert_eq!(stream.form, Form::Socket, "{name} on another stream");
                stream.shown.push(Shown::Typing(who, is_active));
                return assert_ne!(who, me, "one's own typing");
            }
            "reset" => panic!("a false reset: {event:?}"),
            _ => {}
        }
        let seq = seq.unwrap_or_else(|| panic!("{name} without a seq"));
        if self.misses_one && stream.is_live && stream.form == Form::Events && name == "message.posted" {
            self.misses_one = false;
            return;
        }
        let is_mark = name == "caught_up" || name == "heartbeat";
        let before = if is_mark { seq + 1 } else { seq };
        assert!(seq <= known.record.head, "{name} of seq {seq}, which is not in the log");
        let begins = stream.begins && !stream.is_live;
        if !begins {
            let missed = known.record.due((stream.last, before), me, stream.conn.lane(), says_all(stream));
            let (last, node) = (stream.last, stream.node);
            assert!(
                missed.is_empty(),
                "node {node}: {name} of seq {seq} came after {last}, but not {missed:?}"
            );
            assert!(before > last, "node {node}: {name} of seq {seq} came after {last}");
        }
        if is_mark {
            stream.is_live |= name == "caught_up";
            if begins {
                self.since = Some(seq);
                self.known.clear();
            }
        } else {
            let lane = stream.conn.lane();
            self.logged(known, event, lane);
        }
        let stream = self.stream.as_mut().expect("a stream");
        stream.last = stream.last.max(seq);
        self.cursor = Some(stream.last);
    }

    /// An event of the log.
    pub(super) fn logged(&mut self, known: &Known<'_>, event: &Value<'_>, lane: Lane) {
        let (name, me) = (text_at(event, "event").expect("a name"), self.me());
        let seq = number_at(event, "seq").expect("a seq");
        let logged = known.record.log.get(&seq).unwrap_or_else(|| panic!("seq {seq} is not in the log"));
        assert_eq!(logged.name, name, "the event of seq {seq}");
        assert!(logged.audience.contains(&me), "{name} of seq {seq} is not for {me}");
        assert_ne!(logged.lane, Some(lane), "{name} of seq {seq} for who caused it");
        assert!(known.over_at.is_none_or(|head| seq <= head), "seq {seq} after the end of its session");
        if let Some(client_id) = logged.client_id {
            assert_eq!(id_at(event, "data.client_id"), Some(client_id), "the message of seq {seq}");
        }
        self.counts.events += 1;
        if name == "message.posted" {
            self.knows(seq, true);
        }
    }

    /// Everything that happened is shown on its stream.
    pub fn is_up_to_date(&self, record: &Record) -> bool {
        self.stream.as_ref().is_some_and(|stream| {
            let span = (stream.last, record.head + 1);
            stream.is_live && record.due(span, self.me(), stream.conn.lane(), says_all(stream)).is_empty()
        })
    }

    /// What it must know at the end: its posts in order, and each message since its beginning.
    pub fn check(&self, record: &Record) {
        let mut last = 0;
        for (index, post) in self.posts.iter().enumerate() {
            let posted = record.posted(self.me(), post.client_id).expect("a post that is not in the log");
            assert_eq!(post.seq, Some(posted.seq), "the answer to {}", post.client_id);
            assert!(
                posted.seq > last,
                "post {index} ({}) came before the post sent before it",
                post.client_id
            );
            last = posted.seq;
        }
        let since = self.since.expect("a beginning");
        for (seq, logged) in record.log.range(since + 1..) {
            let is_message = logged.client_id.is_some() && logged.audience.contains(&self.me());
            assert!(!is_message || self.known.contains_key(seq), "message {seq} never came");
        }
    }
}

/// Whether no event is left out for a newer one: a replay leaves some out, and only a socket says when it is over.
fn says_all(stream: &Stream) -> bool {
    stream.is_live && stream.form == Form::Socket
}
