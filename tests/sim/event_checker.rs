//! Checks everything that devices receive against the model: every answer, every event, every close.
//!
//! Owns the promises of `protocol.md` as assertions. Does not choose what happens next.

use natter::base::id::Id;
use natter::base::json::{self, Value};
use natter::model::id::{ClientId, ConversationId, MessageId, OfProfile, ProfileId};
use natter::server::contract::ConnId;

use super::Run;
use super::codec::{self, at, id_at, number_at, text_at};
use super::device::{Ask, Form, Point, Proof, Token};
use super::history::Message;
use super::http_checker::Search;
use crate::support::http::{Response, next_response, responses};

/// An answer, of HTTP or of a stream.
struct Reply<'v, 'a> {
    result: Result<&'v Value<'a>, Refused>,
    /// The object with `next`, `cursor`, `unread_total`, `duplicate`.
    envelope: &'v Value<'a>,
    conn: ConnId,
    /// Whether it came on the device's stream.
    stream: bool,
}

#[derive(Debug)]
pub struct Refused {
    pub code: String,
    pub retry: bool,
}

pub fn refused(problem: &Value<'_>) -> Refused {
    let code = text_at(problem, "code").unwrap_or_else(|| panic!("a problem without a code: {problem:?}"));
    let retry = at(problem, "retry") == Some(&Value::Bool(true));
    Refused { code, retry }
}

impl Run {
    /// A client receives bytes.
    pub fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(d) = self.owners.get(&conn).copied() else { return };
        let device = &mut self.devices[d];
        if let Some(http) = device.https.iter_mut().find(|http| http.conn == conn) {
            http.inbox.extend_from_slice(bytes);
            while let Some(http) = self.devices[d].https.iter_mut().find(|http| http.conn == conn) {
                let is_export = matches!(http.asks.front(), Some((Ask::Export { .. }, _)));
                if is_export && codec::is_chunked(&http.inbox) {
                    let Some(body) = codec::take_chunked(&mut http.inbox) else { return };
                    self.exported(d, conn, &body);
                    continue;
                }
                let Some(response) = next_response(&mut http.inbox, false) else { return };
                self.response(d, conn, &response);
            }
            return;
        }
        let Some(stream) = device.stream.as_mut().filter(|stream| stream.conn == conn) else { return };
        stream.inbox.extend_from_slice(bytes);
        match stream.form {
            Form::Poll => return self.polled(d, conn),
            Form::Events | Form::Counter | Form::Chats => {
                if stream.upgraded || self.begun(d) {
                    self.body(d, conn);
                }
                return;
            }
            Form::Native | Form::Legacy(_) => {}
        }
        if !stream.upgraded && !self.upgraded(d) {
            return;
        }
        while let Some(stream) = self.devices[d].stream.as_mut().filter(|stream| stream.conn == conn) {
            let Some((opcode, payload)) = codec::take_frame(&mut stream.inbox) else { return };
            self.frame(d, conn, opcode, &payload);
        }
    }

    /// A client receives the end of a connection.
    pub fn receive_end(&mut self, conn: ConnId) {
        let link = self.runtime.link(conn);
        link.client_open = false;
        // The client closes its side too.
        link.up_ended = true;
        self.lost(conn);
    }

    // ---- HTTP ---------------------------------------------------------------------------------------

    fn response(&mut self, d: usize, conn: ConnId, response: &Response) {
        let Some(http) = self.devices[d].https.iter_mut().find(|http| http.conn == conn) else { return };
        let closing = response.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        http.closing |= closing;
        let Some((ask, proof)) = http.asks.pop_front() else {
            // The answer to an incomplete head, or to a drain: there was no request.
            let code = response.code();
            assert!(["request_timeout", "unavailable"].contains(&code.as_str()), "unasked: {response:?}");
            return;
        };
        self.stats.responses += 1;
        if let (200, Ask::Download(download)) = (response.status, &ask) {
            let me = self.profile(d).expect("a profile");
            assert!(!proof.is_some_and(|proof| proof.over), "a file for an ended session");
            self.stats.downloads += 1;
            return self.model.check_downloaded(me, download, &response.body);
        }
        let value = if response.status == 204 { Value::Null } else { response.json() };
        let success = (200..300).contains(&response.status);
        let null = Value::Null;
        let result = if success { Ok(value.get("data").unwrap_or(&null)) } else { Err(refused(&value)) };
        if let (Ok(_), Ask::Post { .. }) = (&result, &ask) {
            let duplicate = value.get("duplicate").is_some();
            assert_eq!(response.status, if duplicate { 200 } else { 201 }, "{}", response.text());
        }
        if let (Err(refused), Ask::Post { .. }) = (&result, &ask) {
            assert!(closing || !refused.retry, "a post was refused with retry, and the connection continues");
        }
        let reply = Reply { result, envelope: &value, conn, stream: false };
        self.answered(d, ask, proof, reply);
    }

    /// Reads the answer to an upgrade. Returns whether frames follow.
    pub fn upgraded(&mut self, d: usize) -> bool {
        let stream = self.devices[d].stream.as_mut().expect("a stream");
        let Some(end) = stream.inbox.windows(4).position(|window| window == b"\r\n\r\n") else {
            return false;
        };
        if stream.inbox.starts_with(b"HTTP/1.1 101 ") {
            stream.inbox.drain(..end + 4);
            stream.upgraded = true;
            assert!(!stream.proof.over, "a stream opened for an ended session");
            self.stats.streams += 1;
            return true;
        }
        let all = responses(&mut stream.inbox, false);
        let Some(response) = all.first() else { return false };
        let (proof, form, conn) = (stream.proof.clone(), stream.form, stream.conn);
        let refused = refused(&response.json());
        if refused.code == "unauthorized_access" {
            self.unauthorized(d, conn, &proof);
        } else if refused.code == "not_found" {
            let hides = |peer| self.plan.blocks || self.model.is_gone(peer);
            assert!(matches!(form, Form::Legacy(peer) if hides(peer)), "{refused:?} for {form:?}");
        } else if refused.code != "request_timeout" {
            self.must_be_a_fault(conn, &refused, &format!("opening {form:?}"));
        }
        self.runtime.link(conn).up_ended = true;
        self.runtime.link(conn).client_open = false;
        self.lost(conn);
        false
    }

    // ---- answers ------------------------------------------------------------------------------------

    fn answered(&mut self, d: usize, ask: Ask, proof: Option<Proof>, reply: Reply<'_, '_>) {
        let conn = reply.conn;
        self.trace(|| format!("device {d} on {:x}: {ask:?} -> {:?}", conn.0, reply.result));
        match reply.result {
            Err(refused) => return self.refused(d, &ask, proof, conn, &refused),
            Ok(_) => {
                let over = proof.as_ref().is_some_and(|proof| proof.over);
                assert!(!over, "{ask:?} was answered for an ended session");
            }
        }
        let Ok(data) = reply.result else { return };
        match ask {
            Ask::SignUp | Ask::SignIn => self.signed(d, data),
            Ask::Refresh => {
                self.take_token(d, data);
                self.devices[d].signing = None;
            }
            Ask::Logout => {
                let session = proof.expect("a token").session;
                assert!(self.model.is_ended(session), "a logout that is not on disk");
                let device = &mut self.devices[d];
                device.token.take_if(|token| token.session == session);
            }
            Ask::Me { floor } => {
                let me = self.profile(d).expect("a profile");
                assert_eq!(text_at(data, "profile.id"), Some(me.to_string()));
                self.model.check_profile(at(data, "profile").expect("a profile"), floor);
            }
            Ask::Export { .. } => panic!("an export without chunks"),
            Ask::Download(_) => panic!("a file as JSON"),
            Ask::Push => {
                let level = text_at(data, "level");
                assert!(
                    level.is_some_and(|level| ["off", "who", "text"].contains(&level.as_str())),
                    "{data:?}"
                );
            }
            Ask::PushChange | Ask::Code => {}
            // A deletion has no data.
            Ask::ChangeUpload if *data == Value::Null => {}
            Ask::ChangeUpload => {
                self.model.check_upload(data);
            }
            Ask::DeleteAccount => {
                let me = self.profile(d).expect("a profile");
                assert!(self.model.is_gone(me), "a deletion that is not on disk");
            }
            Ask::Invite => {
                let id = text_at(data, "id").and_then(|id| Id::parse(&id)).expect("id");
                self.invites.push((id, text_at(data, "code").expect("a code")));
            }
            Ask::Upload => {
                self.model.check_upload(data);
                self.stats.uploads += 1;
            }
            Ask::Focus { shown } => {
                assert_eq!(data, &Value::Null);
                if let Some(stream) = self.devices[d].stream.as_mut().filter(|stream| stream.conn == conn) {
                    stream.showing = shown;
                }
            }
            Ask::Rename => self.model.check_profile(data, 0),
            Ask::Post { client_id, .. } => self.posted(d, client_id, data, &reply),
            Ask::Read { conversation } => {
                let (me, head) = (self.profile(d).expect("a profile"), self.model.head);
                let read_n = number_at(data, "read_n").expect("read_n");
                let now = self.model.conversations[&conversation].read_n(me, head);
                assert!(read_n <= now, "a read mark that is not on disk: {read_n}, it is {now}");
            }
            Ask::List { below, archived, floor } => {
                self.listed(d, conn, (below, archived), floor, data, reply.envelope);
            }
            Ask::Messages { conversation, point, limit, floor } => {
                self.page(d, conversation, point, limit, floor, data, reply.envelope);
            }
            Ask::Files { conversation, before, limit } => {
                let me = self.profile(d).expect("a profile");
                self.model.check_files_of(me, conversation, before, limit, data, reply.envelope);
            }
            Ask::Change => self.changed(d, data, &reply),
            Ask::Search { words, conversation, limit, below, floor, exact } => {
                let search = Search { words, conversation, limit, below, floor, exact };
                self.found(d, &search, data, reply.envelope);
            }
            Ask::Typing { conversation } => {
                let me = self.profile(d).expect("a profile");
                let known = &self.model.conversations[&conversation];
                assert!(
                    known.has(me) || known.was_left_by(me) || self.model.is_gone(me),
                    "{me} typed in a conversation they were never in"
                );
            }
            Ask::Auth { proof } => {
                assert!(!proof.over, "a stream continued with an ended session");
                if let Some(stream) = self.devices[d].stream.as_mut().filter(|_| reply.stream) {
                    stream.proof.exp = stream.proof.exp.max(proof.exp);
                }
            }
            Ask::Wrong { code } => panic!("expected {code}, got {data:?}"),
        }
    }

    fn refused(&mut self, d: usize, ask: &Ask, proof: Option<Proof>, conn: ConnId, refused: &Refused) {
        self.stats.refusals += 1;
        let device = &mut self.devices[d];
        device.signing.take_if(|signing| *signing == conn);
        if let Ask::Post { client_id, index } = ask {
            for draft in &mut device.drafts {
                if draft.client_id == *client_id {
                    draft.carrier.take_if(|carrier| *carrier == conn);
                }
            }
            let http = device.https.iter_mut().find(|http| http.conn == conn).map(|http| &mut http.carried);
            let stream = device.stream.as_mut().filter(|stream| stream.conn == conn);
            if let Some(carried) = http.or(stream.map(|stream| &mut stream.carried)) {
                carried.refusals.insert(*index);
                if refused.retry {
                    carried.refused.get_or_insert(*index);
                }
            }
        }
        if self.profile(d).is_some_and(|me| self.model.is_gone(me)) {
            // Its account was deleted meanwhile.
            self.devices[d].token = None;
            return;
        }
        match (refused.code.as_str(), ask) {
            (code, Ask::Wrong { code: expected }) if code == *expected => {}
            ("unauthorized_access", Ask::Refresh) => {
                // A logout may have been answered meanwhile.
                let Some(token) = self.devices[d].token.take() else { return };
                let unix_s = self.runtime.now.unix_s();
                let gone =
                    self.model.is_ended(token.session) || self.model.refresh_expired(token.session, unix_s);
                assert!(gone || self.clock_was_set, "a good refresh token was refused");
            }
            ("unauthorized_access", Ask::Auth { proof }) => self.unauthorized(d, conn, proof),
            ("unauthorized_access", _) => self.unauthorized(d, conn, &proof.expect("a token")),
            (
                "not_found" | "not_allowed" | "invalid_reply_to" | "invalid_attachments" | "invalid_forward",
                Ask::Post { client_id, .. },
            ) => {
                // Refused by the rules at the time of its transaction. A post that was stored before stays stored.
                let me = self.profile(d).expect("a profile");
                assert!(self.model.refused.contains(&(me, *client_id)), "{refused:?} for {ask:?}");
                if self.model.posted(me, *client_id).is_none() {
                    for draft in &mut self.devices[d].drafts {
                        if draft.client_id == *client_id {
                            (draft.answered, draft.given_up) = (true, true);
                        }
                    }
                }
            }
            ("invalid_invite", Ask::Change | Ask::SignUp) => {}
            ("not_found" | "not_allowed", Ask::Change | Ask::Invite)
            | ("not_found", Ask::PushChange)
            | ("not_found" | "not_allowed" | "in_use", Ask::ChangeUpload) => {}
            ("not_found", Ask::Download(download)) => {
                let me = self.profile(d).expect("a profile");
                self.model.check_not_downloaded(me, download);
            }
            // Too many at once, or the disk of the files failed.
            ("rate_limited", Ask::Upload | Ask::ChangeUpload) => {}
            ("storage_full" | "unavailable", Ask::Upload | Ask::ChangeUpload)
                if self.runtime.appends_failed > 0 => {}
            ("nickname_taken", Ask::Rename) => {}
            (
                "not_found",
                Ask::Read { conversation }
                | Ask::Messages { conversation, .. }
                | Ask::Typing { conversation }
                | Ask::Search { conversation: Some(conversation), .. },
            ) => {
                let me = self.profile(d).expect("a profile");
                let left = self.model.conversations[conversation].was_left_by(me);
                assert!(left, "{refused:?} for {ask:?}");
            }
            ("email_taken", Ask::SignUp) => {
                // The answer to an earlier sign-up was lost, or another device was faster.
                let person = self.devices[d].person;
                self.people[person].signed_up = true;
            }
            ("general_error", Ask::Post { .. }) => assert!(self.plan.sabotage, "{refused:?} for {ask:?}"),
            _ => self.must_be_a_fault(conn, refused, &format!("{ask:?}")),
        }
    }

    /// A refusal without a fault of the client: it must ask for a retry, and a fault must have happened.
    pub fn must_be_a_fault(&mut self, conn: ConnId, refused: &Refused, what: &str) {
        let expected = match refused.code.as_str() {
            "busy" | "unavailable" => {
                self.runtime.faults > 0 || self.runtime.link(conn).draining || self.plan.sabotage
            }
            "storage_full" => self.plan.forgetful,
            "rate_limited" => self.runtime.limits.rate_limit,
            "request_timeout" => true,
            _ => false,
        };
        assert!(expected, "{refused:?} for {what}");
        assert!(refused.retry || refused.code == "request_timeout", "{refused:?} for {what}");
    }

    /// A 401 needs a reason.
    pub fn unauthorized(&mut self, d: usize, conn: ConnId, proof: &Proof) {
        let expired = proof.exp <= self.runtime.now.unix_s().0 || self.clock_was_set;
        let over = self.model.is_ended(proof.session);
        let foreign = proof.epoch != self.runtime.epoch_of(conn);
        assert!(expired || over || foreign, "a good token was refused: {proof:?}");
        if over {
            let device = &mut self.devices[d];
            device.token.take_if(|token| token.session == proof.session);
        } else if let Some(token) = &mut self.devices[d].token
            && token.session == proof.session
            && token.exp == proof.exp
        {
            // The refresh token decides, whatever the reason was.
            token.exp = 0;
        }
    }

    fn signed(&mut self, d: usize, data: &Value<'_>) {
        let profile = id_at(data, "profile.id").expect("a profile");
        let person = &mut self.people[self.devices[d].person];
        let is_stored = self.model.profiles.contains(&profile) || self.model.is_gone(profile);
        assert!(is_stored, "a profile that is not on disk");
        assert!(person.profile.is_none_or(|known| known == profile), "another profile for the same person");
        person.profile = Some(profile);
        person.signed_up = true;
        self.take_token(d, at(data, "token").expect("a token"));
        self.devices[d].signing = None;
    }

    fn take_token(&mut self, d: usize, token: &Value<'_>) {
        let text = |name| text_at(token, name).expect("a token");
        let access = text("access");
        let (session, exp, epoch) = codec::claims(&access);
        let session = Id::parse(&session).expect("a session id");
        self.devices[d].token = Some(Token { access, refresh: text("refresh"), session, exp, epoch });
    }

    /// A changed message that is shown is stored, and all earlier events were delivered before.
    fn changed(&mut self, d: usize, data: &Value<'_>, reply: &Reply<'_, '_>) {
        if at(data, "rev").is_none() {
            return;
        }
        let me = self.profile(d).expect("a profile");
        let (_, rev) = self.model.check_message(data);
        if let Some(stream) = self.devices[d].stream.as_ref().filter(|_| reply.stream) {
            let missed = self.model.due(stream.last, rev, me, stream.conn.lane());
            assert!(missed.is_empty(), "the answer of rev {rev} came before the events {missed:?}");
        }
    }

    fn posted(&mut self, d: usize, client_id: ClientId, data: &Value<'_>, reply: &Reply<'_, '_>) {
        let me = self.profile(d).expect("a profile");
        let stored = self.model.posted(me, client_id).expect("an answered message is on disk");
        let seq = if at(data, "conversation").is_some() {
            self.model.check_message(data).0
        } else {
            // A sender that left the conversation, or has cleared it since, gets only a stub.
            let conversation = &self.model.conversations[&stored.conversation];
            let is_hidden = conversation.was_left_by(me) || conversation.first_n(me) > stored.n;
            assert!(is_hidden, "a stub for a member who sees the message: {data:?}");
            assert_eq!(text_at(data, "id"), Some(stored.id.to_string()));
            assert_eq!(number_at(data, "n"), Some(stored.n));
            number_at(data, "seq").expect("seq")
        };
        assert_eq!(stored.seq, seq, "the answer to {client_id} is another message");
        let fresh = at(reply.envelope, "duplicate").is_none();
        if fresh {
            assert_eq!(stored.lane, reply.conn.lane(), "a fresh answer to a message of another connection");
        }
        self.stats.posts += u64::from(fresh);
        self.stats.repeats += u64::from(!fresh);
        let device = &mut self.devices[d];
        for draft in device.drafts.iter_mut().filter(|draft| draft.client_id == client_id) {
            draft.answered = true;
        }
        if device.since.is_some_and(|since| seq > since) {
            device.knows(seq, false);
        }
        if let Some(stream) = device.stream.as_ref().filter(|_| reply.stream && fresh) {
            let missed = self.model.due(stream.last, seq, me, stream.conn.lane());
            assert!(missed.is_empty(), "the answer of seq {seq} came before the events {missed:?}");
        }
    }

    fn listed(
        &mut self,
        d: usize,
        conn: ConnId,
        (below, archived): (Option<(bool, u64)>, Option<bool>),
        floor: u64,
        rows: &Value<'_>,
        envelope: &Value<'_>,
    ) {
        let me = self.profile(d).expect("a profile");
        let Some(cursor) = text_at(envelope, "cursor") else {
            // Until the writes of the last process are proven to be on disk, no client may continue from this cursor.
            assert!(self.runtime.link(conn).began_unproven, "a list without a cursor");
            return;
        };
        let (epoch, as_of) = cursor.split_once(':').expect("epoch:seq");
        let as_of: u64 = as_of.parse().expect("a seq");
        assert_eq!(epoch, self.runtime.epoch_of(conn));
        assert!(
            floor <= as_of && as_of <= self.model.head,
            "a list as of {as_of}, not {floor}..={}",
            self.model.head
        );
        let mut all: Vec<((bool, u64), ConversationId)> = Vec::new();
        let (mut unread_total, mut archived_total) = (0, 0);
        for (id, conversation) in self.model.conversations.iter().filter(|(_, all)| all.had(me, as_of)) {
            unread_total += conversation.unread(me, as_of);
            let [_, is_pinned, is_archived, _, is_hidden] = conversation.preferences(me, as_of);
            if is_hidden {
                continue;
            }
            archived_total += u64::from(is_archived);
            if archived.is_none_or(|archived| archived == is_archived) {
                all.push(((is_pinned, conversation.activity(as_of)), *id));
            }
        }
        assert_eq!(number_at(envelope, "archived_total"), Some(archived_total), "archived as of {as_of}");
        assert_eq!(number_at(envelope, "unread_total"), Some(unread_total), "unread_total as of {as_of}");
        all.sort_unstable_by(|a, b| b.cmp(a));
        let expected = all.iter().filter(|(place, _)| below.is_none_or(|below| *place < below));
        let rows = rows.as_list().expect("a list");
        let mut shown = 0;
        for (row, (_, id)) in rows.iter().zip(expected.clone()) {
            let conversation = &self.model.conversations[id];
            let (last_n, read_n) = (conversation.last_n(as_of), conversation.read_n(me, as_of));
            assert_eq!(text_at(row, "id"), Some(id.to_string()), "the order of conversations as of {as_of}");
            assert_eq!(number_at(row, "last_n"), Some(last_n), "last_n as of {as_of}");
            assert_eq!(number_at(row, "read_n"), Some(read_n), "read_n as of {as_of}");
            assert_eq!(
                number_at(row, "unread"),
                Some(conversation.unread(me, as_of)),
                "unread as of {as_of}"
            );
            let mentions = (number_at(row, "unread_mentions"), number_at(row, "mention_n"));
            assert_eq!(mentions, conversation.unread_mentions(me, read_n, as_of), "mentions as of {as_of}");
            assert_eq!(text_at(row, "title").as_deref(), conversation.title(as_of), "title as of {as_of}");
            let count = conversation.members_count(as_of);
            assert_eq!(number_at(row, "members_count"), Some(count), "members_count as of {as_of}");
            let names = ["muted", "pinned", "archived", "marked_unread", "hidden"];
            let set = names.map(|name| at(row, name) == Some(&Value::Bool(true)));
            assert_eq!(set, conversation.preferences(me, as_of), "what {me} has set as of {as_of}");
            let first_n = conversation.first_n_since(me, as_of)[0];
            assert_eq!(number_at(row, "first_n").unwrap_or(1), first_n, "first_n as of {as_of}");
            let newest = last_n.checked_sub(1).filter(|_| first_n <= last_n);
            match newest.map(|index| &conversation.messages[index as usize]) {
                None => assert_eq!(at(row, "last_message"), Some(&Value::Null)),
                Some(last) => {
                    let shown = self.model.check_message(at(row, "last_message").expect("last_message"));
                    assert_eq!(shown, (last.seq, last.version(as_of).rev), "last_message as of {as_of}");
                }
            }
            shown += 1;
        }
        assert_eq!(shown, rows.len(), "more conversations than there are");
        let next = text_at(envelope, "next");
        assert_eq!(next.is_none(), shown == expected.clone().count(), "`next` after {shown} conversations");
        let last = expected.clone().nth(shown.saturating_sub(1)).map(|(place, _)| *place);
        if below.is_none() && archived.is_none() {
            self.devices[d].list_cursor = Some((epoch.to_owned(), as_of));
        }
        if let (Some(next), Some(last)) = (next, last)
            && self.rng.chance(500)
        {
            self.list(d, Some((next, last, archived)));
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what was asked, and what came")]
    fn page(
        &mut self,
        d: usize,
        conversation: ConversationId,
        point: Point,
        limit: u64,
        floor: u64,
        rows: &Value<'_>,
        envelope: &Value<'_>,
    ) {
        let me = self.profile(d).expect("a profile");
        let known = &self.model.conversations[&conversation];
        let (least, most) = (known.last_n(floor), known.messages.len() as u64);
        let rows = rows.as_list().expect("a list");
        assert!(rows.len() as u64 <= limit, "more than asked");
        let mut positions = Vec::new();
        for row in rows {
            let (seq, rev) = self.model.check_message(row);
            let message = self.model.message(seq).expect("it is there");
            assert_eq!(message.conversation, conversation, "a message of another conversation");
            assert!(rev >= message.version(floor).rev, "an old version of what was known to be changed");
            let is_gone = self.model.was_gone(message.sender, floor);
            assert!(!is_gone || id_at::<OfProfile>(row, "sender").is_none(), "a deleted sender is named");
            positions.push(message.n);
        }
        assert!(positions.windows(2).all(|pair| pair[0] + 1 == pair[1]), "not dense: {positions:?}");
        let (first, last) = (positions.first().copied(), positions.last().copied());
        let more = at(envelope, "next").is_some_and(|next| *next != Value::Null);
        // The first message that the member sees: of any membership that the answer may be of.
        let is_page_from = |seen: u64| match point {
            Point::Newest if first.is_none() => least < seen && !more,
            Point::Newest => {
                let last = last.unwrap_or(0);
                least <= last && last <= most && first >= Some(seen) && more == (first > Some(seen))
            }
            Point::Before(n) if n <= seen => first.is_none() && !more,
            Point::Before(n) => {
                let (low, high) = (least.min(n - 1), most.min(n - 1));
                match (first, last) {
                    (Some(first), Some(last)) => {
                        low <= last && last <= high && first >= seen && more == (first > seen)
                    }
                    _ => low < seen && !more,
                }
            }
            Point::After(n) => match first {
                Some(first) => first == (n + 1).max(seen),
                None => least <= n.max(seen - 1),
            },
        };
        let seen = known.first_n_since(me, floor);
        assert!(
            seen.iter().any(|seen| is_page_from(*seen)),
            "{positions:?}, more: {more}, for {point:?} of {least}..={most}, seen from {seen:?}"
        );
    }

    // ---- streams ------------------------------------------------------------------------------------

    fn frame(&mut self, d: usize, conn: ConnId, opcode: u8, payload: &[u8]) {
        match opcode {
            codec::TEXT => {
                let value = json::parse(payload).unwrap_or_else(|_| panic!("not JSON: {payload:?}"));
                let form = self.devices[d].stream.as_ref().expect("a stream").form;
                match form {
                    Form::Native if value.get("event").is_some() => self.event(d, &value),
                    Form::Native => self.op_answered(d, conn, &value),
                    Form::Legacy(peer) => self.legacy_line(d, peer, &value),
                    form => panic!("a frame for {form:?}"),
                }
            }
            codec::PING => {
                let stream = self.devices[d].stream.as_ref().expect("a stream");
                if !stream.closing {
                    let pong = codec::frame(&mut self.rng, codec::PONG, payload);
                    self.runtime.link(conn).up.extend(pong);
                }
            }
            codec::PONG => {}
            codec::CLOSE => {
                let code = payload.get(..2).map_or(0, |code| u16::from_be_bytes([code[0], code[1]]));
                self.closed(d, conn, code, payload);
            }
            _ => panic!("a frame of opcode {opcode}"),
        }
    }

    fn closed(&mut self, d: usize, conn: ConnId, code: u16, payload: &[u8]) {
        *self.stats.closes.entry(code).or_default() += 1;
        let stream = self.devices[d].stream.as_mut().expect("a stream");
        let (proof, was_closing, form) = (stream.proof.clone(), stream.closing, stream.form);
        stream.closing = true;
        let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
        match code {
            1_000 => assert!(was_closing, "1000 without our asking"),
            1_001 => {
                let is_drain = self.runtime.link(conn).draining && reason.contains("retry_after_ms");
                assert!(is_drain, "1001: {reason}");
            }
            // A legacy socket that was blocked while it opened has to retry, and then gets `not_found`.
            1_013 if matches!(form, Form::Legacy(_)) && (self.plan.blocks || self.model.deletions() > 0) => {}
            1_013 => assert!(self.runtime.faults > 0 || self.plan.sabotage, "1013 though nothing failed"),
            4_401 => self.unauthorized(d, conn, &proof),
            4_408 => {}
            code => panic!("closed with {code}: {reason}"),
        }
        if !was_closing {
            let echo = codec::frame(&mut self.rng, codec::CLOSE, &payload[..payload.len().min(2)]);
            self.runtime.link(conn).up.extend(echo);
        }
        let link = self.runtime.link(conn);
        link.up_ended = true;
        link.client_open = false;
        self.lost(conn);
    }

    /// An event of the log, on a socket or an event stream, or an ephemeral event.
    pub fn event(&mut self, d: usize, event: &Value<'_>) {
        let name = text_at(event, "event").expect("a name");
        let me = self.profile(d).expect("a profile");
        let epoch = self.runtime.epoch_of(self.devices[d].stream.as_ref().expect("a stream").conn);
        self.trace(|| format!("device {d}: {name} {:?}", at(event, "seq")));
        let seq = number_at(event, "seq");
        let device = &mut self.devices[d];
        let stream = device.stream.as_mut().expect("a stream");
        let lane = stream.conn.lane();
        if name == "hello" {
            assert!(!std::mem::replace(&mut stream.hello, true), "hello twice");
            assert_eq!(text_at(event, "epoch"), Some(epoch));
            assert_eq!(text_at(event, "profile"), Some(me.to_string()));
            assert_eq!(text_at(event, "session"), Some(stream.proof.session.to_string()));
            assert!(seq.expect("seq") <= self.model.head);
            return;
        }
        let socket = stream.form == Form::Native;
        assert!(stream.hello || !socket, "{name} before hello");
        if name == "expiring" {
            return;
        }
        if name == "presence" {
            let whose = id_at(event, "data.profile").expect("a profile");
            assert!(self.model.direct(me, whose).is_some(), "{me} must not see the presence of {whose}");
            return;
        }
        if name == "typing" {
            let (conversation, typist) = (
                id_at(event, "data.conversation").expect("a conversation"),
                id_at(event, "data.profile").expect("a profile"),
            );
            let may = socket && stream.live && self.runtime.may_know.contains(&(conversation, typist, me));
            assert!(may && seq.is_none(), "{me} must not see that {typist} types: {event:?}");
            self.stats.typings += 1;
            return;
        }
        let seq = seq.unwrap_or_else(|| panic!("{name} without seq"));
        self.stats.events += 1;
        // All earlier events must have been received. A replay may leave out all but the newest of a kind.
        let before = if ["caught_up", "heartbeat", "reset"].contains(&name.as_str()) { seq + 1 } else { seq };
        let begins = stream.cursor.is_none() && !stream.live || stream.resetting || name == "reset";
        // An event stream does not say when its replay is complete.
        let live = stream.live && socket;
        if !begins {
            let missed: Vec<u64> = self.model.due(stream.last, before, me, lane);
            let missed: Vec<&u64> =
                missed.iter().filter(|seq| live || !self.model.is_excused(**seq, me)).collect();
            assert!(missed.is_empty(), "{name} of seq {seq} came, but not {missed:?} after {}", stream.last);
            assert!(before > stream.last, "{name} of seq {seq} after {}", stream.last);
        }
        match name.as_str() {
            "reset" => {
                let caught_up = stream.live && (socket || stream.last > 0 && stream.cursor.is_none());
                assert!(!caught_up && !stream.resetting, "a reset of a live stream");
                let reason = text_at(event, "reason").expect("a reason");
                let (theirs, cursor) = stream.cursor.clone().expect("a reset without a cursor");
                let foreign = theirs != epoch || cursor > self.model.head;
                assert!(reason == "epoch" && foreign, "a reset ({reason}) of the cursor {theirs}:{cursor}");
                stream.resetting = socket;
                if !socket {
                    // No `caught_up` follows: the stream is live.
                    stream.last = seq;
                    device.begin_at(seq);
                }
                self.stats.resets += 1;
            }
            "caught_up" => {
                assert!(!stream.live, "caught_up twice");
                stream.live = true;
                assert!(seq >= stream.floor || stream.cursor.is_some(), "caught up to the past");
                if begins {
                    device.begin_at(seq);
                }
            }
            "heartbeat" => assert!(stream.live, "a heartbeat before caught_up"),
            _ => {
                assert_eq!(self.model.check_event(event, live), seq);
                let logged = &self.model.log[&seq];
                assert!(self.model.may_receive(seq, me, live), "{name} of seq {seq} is not for {me}");
                assert!(logged.lane != lane, "{name} of seq {seq} for the connection that caused it");
                if name == "message.posted" {
                    device.knows(seq, true);
                }
            }
        }
        let stream = device.stream.as_mut().expect("a stream");
        stream.last = stream.last.max(seq);
        device.cursor = Some((epoch, stream.last));
        if !["caught_up", "heartbeat", "reset"].contains(&name.as_str()) {
            self.not_after_the_end(d, seq);
        }
    }

    fn op_answered(&mut self, d: usize, conn: ConnId, value: &Value<'_>) {
        let stream = self.devices[d].stream.as_mut().expect("a stream");
        let Some(id) = number_at(value, "re") else {
            let code = text_at(value, "error.code");
            assert_eq!(code.as_deref(), Some("error_parsing_data"), "{value:?}");
            return;
        };
        let ask = stream.asks.remove(&id).unwrap_or_else(|| panic!("an answer to nothing: {value:?}"));
        if stream.writes.contains(&id) {
            let first = stream.writes.pop_front();
            assert_eq!(first, Some(id), "writes are answered in the order sent");
        }
        self.stats.responses += 1;
        let result = match (value.get("ok"), value.get("error")) {
            (Some(data), None) => Ok(data),
            (None, Some(problem)) => Err(refused(problem)),
            _ => panic!("neither ok nor error: {value:?}"),
        };
        let is_write = ask.is_write();
        if result.is_ok() && is_write {
            assert!(stream.carried.refused.is_none(), "a write was done after a refused post: {ask:?}");
        }
        let reply = Reply { result, envelope: value, conn, stream: true };
        self.answered(d, ask, None, reply);
    }

    /// A legacy socket: first the history, then each new text of the conversation, once and in order.
    fn legacy_line(&mut self, d: usize, peer: ProfileId, value: &Value<'_>) {
        let me = self.profile(d).expect("a profile");
        if let Some(problem) = value.get("error") {
            return self.legacy_refused(d, &refused(problem));
        }
        let rows = value.as_list().expect("an array");
        self.trace(|| format!("device {d}: legacy messages: {value:?}"));
        let conversation = self.model.direct(me, peer);
        let chat = format!("{me}-{peer}");
        let mut positions = Vec::new();
        for row in rows {
            let id: MessageId = id_at(row, "id").expect("an id");
            let message = self.model.message(id.seq()).expect("a stored message");
            assert_eq!(message.id, id);
            assert_eq!(Some(message.conversation), conversation, "a message of another conversation");
            assert_eq!(text_at(row, "chat_id").as_ref(), Some(&chat));
            let text = text_at(row, "message");
            assert!(
                message.versions.iter().any(|version| version.body == text),
                "a text it never had: {text:?}"
            );
            let sender = text_at(row, "sender");
            let is_gone = sender.is_none() && self.model.is_gone(message.sender);
            assert!(is_gone || sender == Some(message.sender.to_string()), "the sender {sender:?}");
            let receiver = if message.sender == me { peer } else { me };
            assert_eq!(text_at(row, "receiver"), Some(receiver.to_string()));
            positions.push(message.n);
        }
        self.stats.lines += positions.len() as u64;
        let device = &mut self.devices[d];
        let stream = device.stream.as_mut().expect("a stream");
        // Deleted messages are left out of a history at any position, and those that were cleared.
        let left_out = |from: u64, until: u64| {
            let messages = conversation.map_or(&[][..], |id| &self.model.conversations[&id].messages);
            let first_n = conversation.map_or(1, |id| self.model.conversations[&id].first_n(me));
            (from..until).all(|n| n < first_n || messages[n as usize - 1].is_deleted())
        };
        let Some(shown) = stream.shown else {
            let complete =
                positions.windows(2).all(|pair| pair[0] < pair[1] && left_out(pair[0] + 1, pair[1]));
            assert!(complete, "a history with gaps: {positions:?}");
            assert!(positions.len() <= 100, "a history of {}", positions.len());
            let least = conversation.map_or(0, |id| self.model.conversations[&id].last_n(stream.floor));
            let last = positions.last().copied().unwrap_or(0);
            assert!(
                last >= least || left_out(last + 1, least + 1),
                "the history ends at {last}, not {least}"
            );
            stream.shown = Some(last);
            stream.live = true;
            return;
        };
        if positions.is_empty() {
            // The answer to a repeated client_id whose original was deleted since.
            let gone =
                |client_id: &ClientId| self.model.posted(me, *client_id).is_some_and(Message::is_deleted);
            assert!(stream.carried.posts.iter().any(gone), "an empty line");
            for draft in device.drafts.iter_mut().filter(|draft| gone(&draft.client_id)) {
                draft.answered = true;
            }
            return;
        }
        let [n] = positions[..] else { panic!("a live line is one message: {value:?}") };
        let message = &self.model.conversations[&conversation.expect("it is there")].messages[n as usize - 1];
        let mine = message.sender == me && stream.carried.posts.contains(&message.client_id);
        if n <= shown && mine {
            // The answer to a repeated client_id.
            self.stats.repeats += 1;
        } else {
            assert!(n > shown && left_out(shown + 1, n), "a message is missing, or came twice");
            stream.shown = Some(n);
        }
        if message.sender == me {
            for draft in device.drafts.iter_mut().filter(|draft| draft.client_id == message.client_id) {
                draft.answered = true;
            }
        }
    }

    fn legacy_refused(&mut self, d: usize, refused: &Refused) {
        let conn = self.devices[d].stream.as_ref().expect("a stream").conn;
        let blocked = refused.code == "not_found" && (self.plan.blocks || self.model.deletions() > 0);
        if refused.code == "general_error" {
            assert!(self.plan.sabotage, "{refused:?} on a legacy socket");
        } else if !blocked {
            self.must_be_a_fault(conn, refused, "a legacy socket");
        }
        let device = &mut self.devices[d];
        device.stream.as_mut().expect("a stream").refused |= refused.retry || refused.code == "general_error";
        // The refusal does not name the post: all unanswered posts are sent again.
        for draft in device.drafts.iter_mut().filter(|draft| !draft.answered) {
            draft.carrier.take_if(|carrier| *carrier == conn);
        }
    }
}
