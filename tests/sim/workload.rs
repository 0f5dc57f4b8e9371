//! What devices do: sign up, post, retry, read, list, search, and some things that no honest client does.
//!
//! How they connect is in `connecting`. Owns the choice and the bytes. Does not check an answer.

use natter::base::crypto::base64url;
use natter::base::id::Id;
use natter::base::json;
use natter::model::id::{ConversationId, MessageId, ProfileId, SessionId, UploadId};
use natter::server::contract::ConnId;

use super::Run;
use super::codec;
use super::device::{Ask, Carried, Device, Download, Draft, Form, Http, Point, Proof, To, Token};
use crate::support::pictures;

/// Maximum of requests pipelined on one connection, and of ops in flight on one stream.
const PIPELINED_MAX: usize = 5;
/// Maximum of files of one message.
const ATTACHMENTS_MAX: usize = 3;

impl Run {
    /// One random action of a device.
    pub fn act(&mut self, d: usize) {
        if self.is_gone(d) {
            return;
        }
        if self.devices[d].token.is_none() {
            return self.sign(d);
        }
        let expired =
            self.devices[d].token.as_ref().is_some_and(|token| token.exp <= self.runtime.now.unix_s().0);
        if expired && self.rng.chance(700) {
            return self.refresh(d);
        }
        let (groups, blocks) = (usize::from(self.plan.groups), usize::from(self.plan.blocks));
        let (pushes, uploads) = (usize::from(self.plan.pushes), usize::from(self.plan.uploads));
        let weights = [
            30,
            12,
            6,
            16,
            8,
            8,
            8,
            6,
            3,
            2,
            4,
            2,
            14,
            12 * groups,
            3 * blocks,
            4,
            10,
            3,
            4,
            1,
            1 + 3 * pushes,
            3,
            2 * pushes,
            2 * pushes,
            2,
            18 * uploads,
            20 * uploads,
            40 * uploads,
            4 * usize::from(self.plan.deletions),
            6 * groups,
        ];
        match self.rng.weighted(&weights) {
            0 => {
                // Sometimes several at once, which the writer may commit in one batch.
                for _ in 0..[1, 1, 4][self.rng.below(3)] {
                    self.compose(d);
                    self.send_draft(d);
                }
            }
            1 => self.send_draft(d),
            2 => self.send_again(d),
            3 => self.open_stream(d),
            4 => self.mark_read(d),
            5 => self.list(d, None),
            6 => self.list_messages(d, None),
            7 => self.lose_a_connection(d),
            8 => self.refresh(d),
            9 => self.log_out(d),
            10 => self.misbehave(d),
            11 => self.ask_me(d),
            12 => self.change_message(d),
            13 => self.change_group(d),
            14 => self.block(d),
            15 => self.search(d, None, false),
            16 => self.type_somewhere(d),
            17 => self.renew_stream(d),
            18 => self.rename(d),
            19 => self.export(d, false),
            20 => self.subscribe(d),
            21 => self.show(d),
            22 => self.change_subscription(d),
            23 => self.prefer(d),
            24 => self.ask_for_a_code(d),
            25 => self.upload(d),
            26 => self.change_upload(d),
            27 => self.download(d),
            28 => self.delete_account(d, 2),
            _ => self.invite(d),
        }
    }

    // ---- accounts -----------------------------------------------------------------------------------

    pub fn sign(&mut self, d: usize) {
        if self.devices[d].signing.is_some() || self.is_gone(d) {
            return;
        }
        let person = &self.people[self.devices[d].person];
        let device = match &self.devices[d].unique_id {
            Some(id) => format!(r#","unique_id":"{id}""#),
            None => String::new(),
        };
        let (email, password, name) = (&person.email, &person.password, &person.name);
        let (ask, path, body) = if person.signed_up {
            let body = format!(r#"{{"email":"{email}","password":"{password}"{device}}}"#);
            (Ask::SignIn, "/api/v1/user/sign-in", body)
        } else {
            // Some come by the link of a group.
            let code = self.rng.pick(&self.invites).map(|(_, code)| format!(r#","invite":"{code}""#));
            let code = code.filter(|_| self.rng.chance(300)).unwrap_or_default();
            let body = format!(
                r#"{{"display_name":"{name}","email":"{email}","password":"{password}"{device}{code}}}"#
            );
            (Ask::SignUp, "/api/v1/user/sign-up", body)
        };
        let conn = self.request(d, ask, "POST", path, Some(&body));
        self.devices[d].signing = conn;
    }

    pub fn refresh(&mut self, d: usize) {
        let Some(token) = self.devices[d].token.as_ref().filter(|_| self.devices[d].signing.is_none()) else {
            return;
        };
        let body = format!(r#"{{"refresh":"{}"}}"#, token.refresh);
        let conn = self.request(d, Ask::Refresh, "POST", "/api/v1/user/refresh", Some(&body));
        self.devices[d].signing = conn;
    }

    fn log_out(&mut self, d: usize) {
        if self.rng.chance(500) {
            self.request(d, Ask::Logout, "POST", "/api/v1/user/logout", None);
        }
    }

    /// Deletes the account of a person, unless fewer than `left_min` others would be left. No device of the person is signing up meanwhile.
    pub fn delete_account(&mut self, d: usize, left_min: usize) {
        let person = self.devices[d].person;
        let own = |device: &Device| device.person == person;
        let is_signing =
            self.devices.iter().filter(|device| own(device)).any(|device| device.signing.is_some());
        if is_signing || self.model.profiles.len() <= left_min {
            return;
        }
        let messages = ["keep", "erase"][self.rng.below(2)];
        let body = format!(r#"{{"password":"{}","messages":"{messages}"}}"#, self.people[person].password);
        self.request(d, Ask::DeleteAccount, "DELETE", "/api/v1/user/me", Some(&body));
    }

    fn ask_me(&mut self, d: usize) {
        let floor = self.runtime.published;
        self.request(d, Ask::Me { floor }, "GET", "/api/v1/user/me", None);
    }

    pub fn export(&mut self, d: usize, exact: bool) {
        self.request(d, Ask::Export { exact }, "GET", "/api/v1/user/export", None);
    }

    /// Has notifications pushed, or no longer. The devices of all share two browsers; the secret says whose it is.
    pub fn subscribe(&mut self, d: usize) {
        let Some(session) = self.devices[d].token.as_ref().map(|token| token.session) else { return };
        let level = ["off", "who", "text", "text"][self.rng.below(4)];
        let (public, auth) = (base64url(&[4; 65]), base64url(&session.to_bytes()));
        let body = format!(
            r#"{{"endpoint":"https://push.example/{}","p256dh":"{public}","auth":"{auth}","level":"{level}"}}"#,
            self.rng.below(2)
        );
        self.request(d, Ask::Push, "PUT", "/api/v1/push", Some(&body));
    }

    /// Changes the level of a device of any person, or ends its subscription.
    fn change_subscription(&mut self, d: usize) {
        let tokens = self.devices.iter().filter_map(|device| device.token.as_ref());
        let sessions: Vec<SessionId> = tokens.map(|token| token.session).collect();
        let own = self.devices[d].token.as_ref().map(|token| token.session);
        let any = self.rng.pick(&sessions).copied();
        let Some(session) = own.filter(|_| self.rng.chance(600)).or(any) else { return };
        let path = format!("/api/v1/push/{session}");
        if self.rng.chance(200) {
            self.request(d, Ask::PushChange, "DELETE", &path, None);
        } else {
            let level = ["off", "who", "text"][self.rng.below(3)];
            let body = format!(r#"{{"level":"{level}"}}"#);
            self.request(d, Ask::PushChange, "PUT", &path, Some(&body));
        }
    }

    /// A code that verifies the address, or one for a new password.
    fn ask_for_a_code(&mut self, d: usize) {
        let person = &self.people[self.devices[d].person];
        if self.rng.chance(500) {
            self.request(d, Ask::Code, "POST", "/api/v1/user/verify/renew", Some("{}"));
        } else if person.signed_up {
            let body = format!(r#"{{"email":"{}"}}"#, person.email);
            self.request(d, Ask::Code, "POST", "/api/v1/user/reset/code", Some(&body));
        }
    }

    /// A file of text. Some have the same bytes, and some many.
    fn upload(&mut self, d: usize) {
        let number = self.rng.below(6);
        let length = [20, 20, 3_000, 50_000][self.rng.below(4)];
        let body = format!("{number}: {}", "text ".repeat(length / 5));
        let Some(index) = self.http(d) else { return };
        if self.devices[d].token.is_some() {
            let name = format!("file-{number}.txt");
            let file = [("X-Filename", name.as_str())];
            self.request_with(d, index, Ask::Upload, "POST", "/api/v1/uploads", &file, Some(&body));
        }
    }

    /// Describes a file, gives it a preview, or deletes it: mostly one's own, which no message shows yet.
    fn change_upload(&mut self, d: usize) {
        let own = self.profile(d).filter(|_| self.rng.chance(800));
        let uploads: Vec<UploadId> = match own {
            Some(me) => self.model.uploads_of(me).into_iter().collect(),
            None => self.model.all_uploads(),
        };
        let Some(upload) = self.rng.pick(&uploads).copied() else { return };
        let path = format!("/api/v1/uploads/{upload}");
        match self.rng.below(5) {
            0 => {
                self.request(d, Ask::ChangeUpload, "DELETE", &path, None);
            }
            1 | 2 => {
                let number = self.rng.below(4);
                let alt = if number == 0 { "null".to_owned() } else { format!("\"picture {number}\"") };
                self.request(d, Ask::ChangeUpload, "PUT", &path, Some(&format!(r#"{{"alt":{alt}}}"#)));
            }
            _ => self.preview(d, &format!("{path}/preview")),
        }
    }

    /// A small picture. Some are equal.
    fn preview(&mut self, d: usize, path: &str) {
        let Some(index) = self.http(d) else { return };
        if self.devices[d].token.is_some() {
            let number = self.rng.below(4) as u8;
            let picture = pictures::picture(number);
            let (length, name) = (picture.len().to_string(), format!("picture-{number}.png"));
            let fields = [("Content-Length", length.as_str()), ("X-Filename", name.as_str())];
            // Sometimes it becomes an upload, which may have its own bytes as a preview later.
            let conn = if self.rng.chance(300) {
                self.request_with(d, index, Ask::Upload, "POST", "/api/v1/uploads", &fields, None)
            } else {
                self.request_with(d, index, Ask::ChangeUpload, "PUT", path, &fields, None)
            };
            self.runtime.link(conn).up.extend(picture);
        }
    }

    /// The bytes of a file, mostly of one that exists. The answer may be stalled, and its row be erased meanwhile.
    fn download(&mut self, d: usize) {
        let is_any = self.rng.chance(200);
        let uploads = if is_any { self.model.all_uploads_ever() } else { self.model.all_uploads() };
        if let Some(upload) = self.rng.pick(&uploads).copied() {
            self.download_one(d, upload);
        }
    }

    pub fn download_one(&mut self, d: usize, upload: UploadId) {
        let Some(me) = self.profile(d) else { return };
        let (exists, may_read) = (self.model.upload_exists(upload), self.model.may_download(me, upload));
        let is_preview = self.model.has_preview(upload) && self.rng.chance(300);
        let download = Download { upload, is_preview, exists, may_read, floor: self.runtime.published };
        let name = if is_preview { "preview" } else { self.model.upload_name(upload) };
        let path = format!("/uploads/{upload}/{name}");
        self.request(d, Ask::Download(download), "GET", &path, None);
    }

    /// Changes what a member sets of a conversation for itself, or clears it.
    fn prefer(&mut self, d: usize) {
        if self.rng.chance(200) {
            let body = [r#"{"digest":true}"#, r#"{"digest":false}"#][self.rng.below(2)];
            self.request(d, Ask::Change, "PUT", "/api/v1/user/me", Some(body));
            return;
        }
        let Some((conversation, _)) = self.some_conversation(d) else { return };
        let (path, flag) = (format!("/api/v1/conversations/{conversation}"), self.rng.chance(500));
        let named = format!(r#""conversation":"{conversation}""#);
        let fields = match self.rng.below(7) {
            0 => r#""muted":true,"muted_until":"2199-01-01T00:00:00Z""#.to_owned(),
            1 | 2 => format!(r#""muted":{flag}"#),
            3 => format!(r#""pinned":{flag}"#),
            4 => format!(r#""archived":{flag}"#),
            5 => format!(r#""marked_unread":{flag}"#),
            _ => {
                let (body, path) = (format!(r#"{{"hide":{flag}}}"#), format!("{path}/clear"));
                let members = format!(r#"{named},"hide":{flag}"#);
                return self.change(d, "conversation.clear", &members, "POST", &path, Some(&body));
            }
        };
        let (members, body) = (format!("{named},{fields}"), format!("{{{fields}}}"));
        self.change(d, "conversation.update", &members, "PUT", &path, Some(&body));
    }

    /// Says which conversation a device shows.
    fn show(&mut self, d: usize) {
        let shown = self.some_conversation(d).map(|(id, _)| id).filter(|_| self.rng.chance(700));
        let (Some(me), true) = (self.profile(d), self.devices[d].live_native()) else { return };
        let text = shown.map_or("null".to_owned(), |conversation| format!("\"{conversation}\""));
        if let Some(conversation) = shown {
            self.model.shows(me, conversation);
        }
        self.devices[d].stream.as_mut().expect("a stream").showing = None;
        self.op(d, Ask::Focus { shown }, "focus", &format!(r#""conversation":{text}"#));
    }

    /// Changes what others see of a profile. The nick names are few, so that some are taken.
    fn rename(&mut self, d: usize) {
        let number = self.rng.below(4);
        let body = match self.rng.below(4) {
            0 | 1 => format!(r#"{{"display_name":"Renamed {number}"}}"#),
            2 => format!(r#"{{"nick_name":"renamed.{number}"}}"#),
            _ => format!(r#"{{"is_private":{}}}"#, number == 0),
        };
        self.request(d, Ask::Rename, "PUT", "/api/v1/profile", Some(&body));
    }

    // ---- messages -----------------------------------------------------------------------------------

    pub fn compose(&mut self, d: usize) {
        let me = self.people[self.devices[d].person].profile;
        let others: Vec<ProfileId> =
            self.people.iter().filter_map(|person| person.profile).filter(|id| Some(*id) != me).collect();
        let Some(to) = self.rng.pick(&others).copied() else { return };
        self.bodies += 1;
        let tag = match self.rng.below(1_000) {
            _ if !self.plan.sabotage => "hi",
            0..120 => super::sabotage::STATEMENT,
            120..180 => super::sabotage::COMMIT,
            _ => "hi",
        };
        let mut body = format!("{tag} {}", self.bodies);
        if self.rng.chance(200) {
            body.push_str(" \"quoted\"\\ \n é😀 \u{1}");
        }
        if self.rng.chance(self.plan.long_bodies) {
            body.push_str(&"ü".repeat(self.rng.between(100, 3_900)));
        }
        let group = me.and_then(|me| {
            let groups = self.model.of(me).filter(|(_, conversation)| conversation.is_group);
            let groups: Vec<ConversationId> = groups.map(|(id, _)| id).collect();
            self.rng.pick(&groups).copied()
        });
        let group = group.filter(|_| self.rng.chance(500));
        if group.is_some() || self.rng.chance(100) {
            body.push_str(&self.some_names());
        }
        let conversation = group.or(me.and_then(|me| self.model.direct(me, to)));
        let messages = conversation.map(|id| &self.model.conversations[&id].messages);
        let reply_to = match messages {
            Some(messages) if self.rng.chance(100) => self.rng.pick(messages).map(|message| message.id),
            _ => None,
        };
        let to = match conversation {
            Some(id) if group.is_some() || self.rng.chance(500) => To::Conversation(id),
            _ => To::Profile(to),
        };
        let mut random = [0; 10];
        random.iter_mut().for_each(|byte| *byte = self.rng.next() as u8);
        let client_id = Id::new(self.runtime.now.unix_ms, random);
        let uploads: Vec<UploadId> =
            me.map_or(Vec::new(), |me| self.model.uploads_of(me).into_iter().collect());
        let mut attachments = Vec::new();
        while self.rng.chance(150) && attachments.len() < ATTACHMENTS_MAX {
            let fresh = self.rng.pick(&uploads).copied().filter(|upload| !attachments.contains(upload));
            attachments.extend(fresh);
        }
        let forward = if self.rng.chance(80) { self.some_message(d) } else { None };
        let (answered, given_up, carrier) = (false, false, None);
        let draft =
            Draft { client_id, to, body, reply_to, attachments, forward, answered, given_up, carrier };
        self.devices[d].drafts.push(draft);
    }

    /// Of a conversation of the device: one that it sees or not, a tombstone, a system message.
    fn some_message(&mut self, d: usize) -> Option<MessageId> {
        let (conversation, _) = self.some_conversation(d)?;
        let messages = &self.model.conversations[&conversation].messages;
        self.rng.pick(messages).map(|message| message.id)
    }

    /// Names of people after an `@`, mostly of some that exist, and what is no name.
    fn some_names(&mut self) -> String {
        let mut text = String::new();
        while self.rng.chance(350) {
            let people: Vec<ProfileId> = self.people.iter().filter_map(|person| person.profile).collect();
            let name = self.rng.pick(&people).filter(|id| self.model.profiles.contains(id));
            let name = name.map(|id| self.model.name(*id, u64::MAX).nick_name.clone());
            let name = name.unwrap_or_else(|| "nobody.at.all".to_owned());
            text.push_str(&match self.rng.below(8) {
                0 => " @all".to_owned(),
                1 => format!(" a@{name}"),
                2 => format!(" @{name}x"),
                _ => format!(" @{name}"),
            });
        }
        text
    }

    /// Sends the oldest draft that is on no connection.
    pub fn send_draft(&mut self, d: usize) {
        let waiting = |draft: &Draft| !draft.answered && draft.carrier.is_none();
        let Some(index) = self.devices[d].drafts.iter().position(waiting) else { return };
        self.send_post(d, index);
    }

    /// Sends a draft that was answered already, or is in flight on another connection.
    fn send_again(&mut self, d: usize) {
        let count = self.devices[d].drafts.len();
        if count > 0 {
            let index = self.rng.below(count);
            self.send_post(d, index);
        }
    }

    pub fn send_post(&mut self, d: usize, index: usize) {
        let draft = self.devices[d].drafts[index].clone();
        let form = self.devices[d].stream.as_ref().filter(|stream| stream.live && !stream.closing);
        let (form, has_room) = match form {
            Some(stream) => (Some(stream.form), stream.asks.len() < PIPELINED_MAX),
            None => (None, false),
        };
        let body = json::to_string(&draft.body);
        let client_id = draft.client_id;
        let sent = match form {
            // A legacy socket has one peer only.
            Some(Form::Legacy(peer))
                if draft.to == To::Profile(peer)
                    && draft.forward.is_none()
                    && draft.reply_to.is_none()
                    && draft.attachments.is_empty() =>
            {
                let stream = self.devices[d].stream.as_mut().expect("a stream");
                stream.carried.posts.push(client_id);
                let conn = stream.conn;
                let frame =
                    codec::text(&mut self.rng, &format!(r#"{{"message":{body},"client_id":"{client_id}"}}"#));
                self.runtime.link(conn).up.extend(frame);
                Some(conn)
            }
            Some(Form::Native) if has_room && self.rng.chance(700) => {
                let stream = self.devices[d].stream.as_mut().expect("a stream");
                let ask = Ask::Post { client_id, index: stream.carried.posts.len() };
                stream.carried.posts.push(client_id);
                let members = post_members(&draft, &body);
                self.op(d, ask, "message.post", &members)
            }
            _ => self.post_over_http(d, &draft, &body),
        };
        if let Some(conn) = sent {
            self.devices[d].drafts[index].carrier = Some(conn);
        }
    }

    fn post_over_http(&mut self, d: usize, draft: &Draft, body: &str) -> Option<ConnId> {
        let client_id = draft.client_id;
        let index = self.http(d)?;
        let carried = &mut self.devices[d].https[index].carried;
        let ask = Ask::Post { client_id, index: carried.posts.len() };
        carried.posts.push(client_id);
        let text = format!("{{{}}}", post_members(draft, body));
        Some(self.request_on(d, index, ask, "POST", "/api/v1/messages", Some(&text)))
    }

    /// Edits, deletes, pins or reacts to a message of one of the device's conversations, of any sender.
    fn change_message(&mut self, d: usize) {
        let Some((conversation, last_n)) = self.some_conversation(d).filter(|(_, last_n)| *last_n > 0) else {
            return;
        };
        let messages = &self.model.conversations[&conversation].messages;
        // Mostly the newest ones, because they are in flight.
        let reach = if self.rng.chance(700) { 4 } else { 1_000 };
        let back = self.rng.below(reach) as u64;
        let message = messages[(last_n - 1).saturating_sub(back) as usize].id;
        let emoji = ["👍", "❤️", "\u{2764}"][self.rng.below(3)];
        let path = format!("/api/v1/messages/{message}");
        let encoded = natter::base::percent::encode(emoji);
        let reactions = format!("{path}/reactions/{encoded}");
        let (op, members, method, path, body) = match self.rng.below(12) {
            0..4 => {
                self.bodies += 1;
                let names = self.some_names();
                let body = json::to_string(&format!("edited {}{names}", self.bodies));
                let text = Some(format!(r#"{{"body":{body}}}"#));
                ("message.edit", format!(r#""message":"{message}","body":{body}"#), "PUT", path, text)
            }
            4..6 => ("message.delete", format!(r#""message":"{message}""#), "DELETE", path, None),
            6..9 => {
                let members = format!(r#""message":"{message}","emoji":"{emoji}""#);
                ("message.react", members, "PUT", reactions, None)
            }
            9 => ("message.pin", format!(r#""message":"{message}""#), "PUT", format!("{path}/pin"), None),
            11 => {
                ("message.unpin", format!(r#""message":"{message}""#), "DELETE", format!("{path}/pin"), None)
            }
            _ => {
                let members = format!(r#""message":"{message}","emoji":"{emoji}""#);
                ("message.unreact", members, "DELETE", reactions, None)
            }
        };
        self.change(d, op, &members, method, &path, body.as_deref());
    }

    /// Creates, renames, joins or leaves a group.
    fn change_group(&mut self, d: usize) {
        let Some(me) = self.profile(d) else { return };
        let groups: Vec<ConversationId> =
            self.model.of(me).filter(|(_, group)| group.is_group).map(|(id, _)| id).collect();
        let people: Vec<ProfileId> = self.people.iter().filter_map(|person| person.profile).collect();
        let Some(other) = self.rng.pick(&people).copied() else { return };
        let group = self.rng.pick(&groups).copied();
        let Some(group) = group.filter(|_| groups.len() > 1 || self.rng.chance(800)) else {
            return self.make_group(d, &people);
        };
        let path = format!("/api/v1/conversations/{group}");
        let named = format!(r#""conversation":"{group}""#);
        let members = format!(r#"{named},"profile":"{other}""#);
        let member_path = format!("{path}/members/{other}");
        let (op, members, method, path, body) = match self.rng.below(10) {
            0..4 => ("member.add", members, "PUT", member_path, None),
            4 => {
                let members = format!(r#"{members},"role":"admin""#);
                ("member.add", members, "PUT", member_path, Some(r#"{"role":"admin"}"#.to_owned()))
            }
            5..7 => ("member.remove", members, "DELETE", member_path, None),
            7 => {
                let members = format!(r#"{named},"profile":"{me}""#);
                ("member.remove", members, "DELETE", format!("{path}/members/{me}"), None)
            }
            _ => {
                self.bodies += 1;
                let title = match self.rng.below(4) {
                    0 | 1 if self.plan.days && self.rng.chance(500) => {
                        let days = ["1", "2", "null"][self.rng.below(3)];
                        format!(r#""messages_kept":{days}"#)
                    }
                    0 => r#""history":"joined""#.to_owned(),
                    1 => r#""history":"all""#.to_owned(),
                    _ => format!(r#""title":"Title {}""#, self.bodies),
                };
                ("conversation.update", format!("{named},{title}"), "PUT", path, Some(format!("{{{title}}}")))
            }
        };
        self.change(d, op, &members, method, &path, body.as_deref());
    }

    /// Makes an invite to a group of any admin or none, revokes one of any maker, or uses one.
    fn invite(&mut self, d: usize) {
        let known = self.rng.pick(&self.invites).cloned();
        match (known, self.rng.below(10)) {
            (Some((id, _)), 0) => {
                self.request(d, Ask::Change, "DELETE", &format!("/api/v1/invites/{id}"), None);
            }
            (Some((_, code)), 1..7) => {
                let body = format!(r#"{{"invite":"{code}"}}"#);
                self.request(d, Ask::Change, "POST", "/api/v1/invites/use", Some(&body));
            }
            _ => {
                let Some((group, _)) = self.some_conversation(d) else { return };
                let (uses, expires_s) = (self.rng.between(1, 3), [60, 86_400][self.rng.below(2)]);
                let body = format!(r#"{{"conversation":"{group}","uses":{uses},"expires_s":{expires_s}}}"#);
                self.request(d, Ask::Invite, "POST", "/api/v1/invites", Some(&body));
            }
        }
    }

    fn make_group(&mut self, d: usize, people: &[ProfileId]) {
        let members: Vec<ProfileId> = people.iter().copied().filter(|_| self.rng.chance(600)).collect();
        self.bodies += 1;
        let client_id = <Id>::new(self.runtime.now.unix_ms, [self.rng.below(3) as u8; 10]);
        let members = json::to_string(&members);
        let members =
            format!(r#""client_id":"{client_id}","title":"Group {}","members":{members}"#, self.bodies);
        let body = format!("{{{members}}}");
        self.change(d, "conversation.create", &members, "POST", "/api/v1/conversations", Some(&body));
    }

    fn block(&mut self, d: usize) {
        let me = self.profile(d);
        let people: Vec<ProfileId> =
            self.people.iter().filter_map(|person| person.profile).filter(|id| Some(*id) != me).collect();
        let Some(other) = self.rng.pick(&people).copied() else { return };
        // Most blocks are removed again, so that messages can be posted.
        let method = if self.rng.chance(400) { "PUT" } else { "DELETE" };
        self.request(d, Ask::Change, method, &format!("/api/v1/blocks/{other}"), None);
    }

    /// The same change, over the stream or over HTTP.
    fn change(&mut self, d: usize, op: &str, members: &str, method: &str, path: &str, body: Option<&str>) {
        let room = self.devices[d].stream.as_ref().is_some_and(|stream| stream.asks.len() < PIPELINED_MAX);
        if self.devices[d].live_native() && room && self.rng.chance(600) {
            self.op(d, Ask::Change, op, members);
        } else {
            self.request(d, Ask::Change, method, path, body);
        }
    }

    fn mark_read(&mut self, d: usize) {
        let Some((conversation, last_n)) = self.some_conversation(d) else { return };
        let n = self.rng.between(0, last_n as usize + 2);
        let ask = Ask::Read { conversation };
        if self.devices[d].live_native() && self.rng.chance(600) {
            let members = format!(r#""conversation":"{conversation}","n":{n}"#);
            self.op(d, ask, "conversation.read", &members);
        } else {
            let path = format!("/api/v1/conversations/{conversation}/read");
            self.request(d, ask, "POST", &path, Some(&format!(r#"{{"n":{n}}}"#)));
        }
    }

    /// `more`: where a list of these continues.
    pub fn list(&mut self, d: usize, more: Option<(String, (bool, u64), Option<bool>)>) {
        let floor = self.runtime.published;
        let limit = [1, 2, 50][self.rng.below(3)];
        let any = [None, None, Some(false), Some(true)][self.rng.below(4)];
        let (next, below, archived) = match more {
            Some((next, below, archived)) => (Some(next), Some(below), archived),
            None => (None, None, any),
        };
        let ask = Ask::List { below, archived, floor };
        if self.devices[d].live_native() && self.rng.chance(400) {
            let next = next.map_or(String::new(), |next| format!(r#","next":"{next}""#));
            let archived = archived.map_or(String::new(), |archived| format!(r#","archived":{archived}"#));
            self.op(d, ask, "conversation.list", &format!(r#""limit":{limit}{archived}{next}"#));
        } else {
            let next = next.map_or(String::new(), |next| format!("&next={next}"));
            let archived = archived.map_or(String::new(), |archived| format!("&archived={archived}"));
            let path = format!("/api/v1/conversations?limit={limit}{archived}{next}");
            self.request(d, ask, "GET", &path, None);
        }
    }

    pub fn list_messages(&mut self, d: usize, all_of: Option<ConversationId>) {
        let Some((conversation, last_n)) = self.some_conversation(d) else { return };
        let n = self.rng.between(0, last_n as usize + 2) as u64;
        let limit = [1, 7, 50, 200][self.rng.below(4)];
        let (conversation, point, limit) = match all_of {
            Some(id) => (id, Point::Newest, 200),
            None => {
                (conversation, [Point::Newest, Point::Before(n), Point::After(n)][self.rng.below(3)], limit)
            }
        };
        self.list_page(d, conversation, point, limit);
    }

    /// The files that are no pictures.
    pub fn list_files(&mut self, d: usize, conversation: ConversationId, last_n: u64) {
        let (before, limit) =
            (self.rng.between(0, last_n as usize + 2) as u64, [1, 3, 200][self.rng.below(3)]);
        let ask = Ask::Files { conversation, before, limit };
        if self.devices[d].live_native() && self.rng.chance(400) {
            let members =
                format!(r#""conversation":"{conversation}","kind":"file","before":{before},"limit":{limit}"#);
            self.op(d, ask, "file.list", &members);
        } else {
            let path =
                format!("/api/v1/conversations/{conversation}/files?kind=file&before={before}&limit={limit}");
            self.request(d, ask, "GET", &path, None);
        }
    }

    pub fn list_page(&mut self, d: usize, conversation: ConversationId, point: Point, limit: u64) {
        let ask = Ask::Messages { conversation, point, limit, floor: self.runtime.published };
        let (name, n) = match point {
            Point::Newest => ("", 0),
            Point::Before(n) => ("before", n),
            Point::After(n) => ("after", n),
        };
        if self.devices[d].live_native() && self.rng.chance(400) {
            let at = if name.is_empty() { String::new() } else { format!(r#","{name}":{n}"#) };
            let members = format!(r#""conversation":"{conversation}","limit":{limit}{at}"#);
            self.op(d, ask, "message.list", &members);
        } else {
            let at = if name.is_empty() { String::new() } else { format!("&{name}={n}") };
            let path = format!("/api/v1/conversations/{conversation}/messages?limit={limit}{at}");
            self.request(d, ask, "GET", &path, None);
        }
    }

    /// Search queries, as they are typed and as they are understood.
    pub fn search(&mut self, d: usize, below: Option<(String, u64)>, exact: bool) {
        const QUESTIONS: [(&str, &[&str]); 10] = [
            ("hi", &["hi"]),
            ("1", &["1"]),
            ("hi 2", &["hi", "2"]),
            ("EDIT", &["edit"]),
            ("\"quoted\"", &["quoted"]),
            ("(é* -", &["e"]),
            ("UUU", &["uuu"]),
            ("hi AND", &["hi", "and"]),
            ("quot^ed:NEAR/1", &["quot", "ed", "near", "1"]),
            ("boom", &["boom"]),
        ];
        let (text, words) = QUESTIONS[self.rng.below(QUESTIONS.len())];
        self.search_for(d, text, words, below, exact);
    }

    pub fn search_for(
        &mut self,
        d: usize,
        text: &str,
        words: &'static [&'static str],
        below: Option<(String, u64)>,
        exact: bool,
    ) {
        let conversation = self.some_conversation(d).map(|(id, _)| id).filter(|_| self.rng.chance(300));
        let limit = [1, 3, 50][self.rng.below(3)];
        let (next, below) = below.unzip();
        let floor = self.runtime.published;
        let ask = Ask::Search { words, conversation, limit, below, floor, exact };
        if self.devices[d].live_native() && self.rng.chance(500) {
            let conversation = conversation.map_or(String::new(), |id| format!(r#","conversation":"{id}""#));
            let next = next.map_or(String::new(), |next| format!(r#","next":"{next}""#));
            let members = format!(r#""q":{},"limit":{limit}{conversation}{next}"#, json::to_string(&text));
            self.op(d, ask, "message.search", &members);
        } else {
            let conversation = conversation.map_or(String::new(), |id| format!("&conversation={id}"));
            let next = next.map_or(String::new(), |next| format!("&next={next}"));
            let text = natter::base::percent::encode(text);
            let path = format!("/api/v1/search?q={text}&limit={limit}{conversation}{next}");
            self.request(d, ask, "GET", &path, None);
        }
    }

    fn type_somewhere(&mut self, d: usize) {
        let Some((conversation, _)) = self.some_conversation(d) else { return };
        if self.devices[d].live_native() {
            let active = self.rng.chance(700);
            let members = format!(r#""conversation":"{conversation}","active":{active}"#);
            self.op(d, Ask::Typing { conversation }, "typing", &members);
        }
    }

    /// A stream whose session has a newer token authenticates with it.
    fn renew_stream(&mut self, d: usize) {
        let device = &self.devices[d];
        let (Some(token), Some(stream)) = (&device.token, &device.stream) else { return };
        if device.live_native() && token.session == stream.proof.session && token.exp > stream.proof.exp {
            let ask = Ask::Auth { proof: self.proof(token) };
            let members = format!(r#""access":"{}""#, token.access);
            self.op(d, ask, "auth", &members);
        }
    }

    fn some_conversation(&mut self, d: usize) -> Option<(ConversationId, u64)> {
        let me = self.profile(d)?;
        let all: Vec<(ConversationId, u64)> =
            self.model.of(me).map(|(id, conversation)| (id, conversation.messages.len() as u64)).collect();
        self.rng.pick(&all).copied()
    }

    /// Requests that must be refused: for other profiles' conversations, messages to oneself, invalid JSON.
    fn misbehave(&mut self, d: usize) {
        let Some(me) = self.profile(d) else { return };
        // No profile can be added to these meanwhile.
        let theirs = |(_, conversation): &(&ConversationId, &super::history::Conversation)| {
            !conversation.is_group && !conversation.has(me)
        };
        let foreign: Vec<ConversationId> =
            self.model.conversations.iter().filter(theirs).map(|(id, _)| *id).collect();
        let unknown = Id::new(self.runtime.now.unix_ms, [7; 10]);
        let foreign = self.rng.pick(&foreign).copied().unwrap_or(unknown);
        let client_id = <Id>::new(self.runtime.now.unix_ms, [self.rng.next() as u8; 10]);
        let wrong = |code| Ask::Wrong { code };
        let choice = self.rng.below(7);
        if self.devices[d].live_native() && self.rng.chance(500) {
            let (ask, op, members) = match choice {
                0 => (wrong("not_found"), "message.list", format!(r#""conversation":"{foreign}""#)),
                1 => {
                    (wrong("not_found"), "conversation.read", format!(r#""conversation":"{foreign}","n":1"#))
                }
                2 => (wrong("unknown_op"), "message.steal", String::from(r#""n":1"#)),
                3 => {
                    let members =
                        format!(r#""conversation":"{foreign}","client_id":"{client_id}","body":"x""#);
                    (wrong("not_found"), "message.post", members)
                }
                4 => {
                    let members = format!(r#""to":"{me}","client_id":"{client_id}","body":"x""#);
                    (wrong("invalid_to"), "message.post", members)
                }
                5 => (wrong("not_found"), "typing", format!(r#""conversation":"{foreign}","active":true"#)),
                _ => {
                    let conn = self.devices[d].stream.as_ref().expect("a stream").conn;
                    let frame = codec::text(&mut self.rng, "{\"op\":");
                    return self.runtime.link(conn).up.extend(frame);
                }
            };
            self.op(d, ask, op, &members);
            return;
        }
        let post = |to: String| format!(r#"{{{to},"client_id":"{client_id}","body":"x"}}"#);
        let (code, method, path, body) = match choice {
            0 => ("not_found", "GET", format!("/api/v1/conversations/{foreign}/messages"), None),
            1 => {
                let body = r#"{"n":1}"#.to_owned();
                ("not_found", "POST", format!("/api/v1/conversations/{foreign}/read"), Some(body))
            }
            2 => ("invalid_to", "POST", "/api/v1/messages".to_owned(), Some(post(format!(r#""to":"{me}""#)))),
            3 => {
                let body = post(format!(r#""conversation":"{foreign}""#));
                ("not_found", "POST", "/api/v1/messages".to_owned(), Some(body))
            }
            4 => (
                "not_found",
                "POST",
                "/api/v1/messages".to_owned(),
                Some(post(format!(r#""to":"{unknown}""#))),
            ),
            _ => ("error_parsing_data", "POST", "/api/v1/messages".to_owned(), Some("{\"to\":".to_owned())),
        };
        self.request(d, wrong(code), method, &path, body.as_deref());
    }

    // ---- writing ------------------------------------------------------------------------------------

    pub fn op(&mut self, d: usize, ask: Ask, op: &str, members: &str) -> Option<ConnId> {
        let stream = self.devices[d].stream.as_mut()?;
        stream.next_id += 1;
        let id = stream.next_id;
        let wrong_write = ["message.post", "conversation.read"].contains(&op);
        if ask.is_write() || matches!(&ask, Ask::Wrong { .. }) && wrong_write {
            stream.writes.push_back(id);
        }
        stream.asks.insert(id, ask);
        let conn = stream.conn;
        let text = format!(r#"{{"id":{id},"op":"{op}",{members}}}"#);
        self.trace(|| format!("device {d} on {:x}: {text}", conn.0));
        let frame = codec::text(&mut self.rng, &text);
        self.runtime.link(conn).up.extend(frame);
        Some(conn)
    }

    /// A connection that takes one more request: an open one, or a new one.
    fn http(&mut self, d: usize) -> Option<usize> {
        let free = |http: &Http| !http.closing && http.asks.len() < PIPELINED_MAX;
        let open = self.devices[d].https.iter().position(free);
        if open.is_some() && self.rng.chance(800) {
            return open;
        }
        if self.devices[d].https.len() >= 2 {
            return open;
        }
        let conn = self.runtime.connect(&mut self.rng, self.devices[d].address);
        self.owners.insert(conn, d);
        self.devices[d].https.push(Http {
            conn,
            inbox: Vec::new(),
            asks: Default::default(),
            carried: Carried::default(),
            closing: false,
        });
        Some(self.devices[d].https.len() - 1)
    }

    fn request(
        &mut self,
        d: usize,
        ask: Ask,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> Option<ConnId> {
        let public = matches!(ask, Ask::SignUp | Ask::SignIn | Ask::Refresh);
        if !public && self.devices[d].token.is_none() {
            return None;
        }
        let index = self.http(d)?;
        Some(self.request_on(d, index, ask, method, path, body))
    }

    fn request_on(
        &mut self,
        d: usize,
        index: usize,
        ask: Ask,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> ConnId {
        self.request_with(d, index, ask, method, path, &[], body)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a request")]
    fn request_with(
        &mut self,
        d: usize,
        index: usize,
        ask: Ask,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
        body: Option<&str>,
    ) -> ConnId {
        let public = matches!(ask, Ask::SignUp | Ask::SignIn | Ask::Refresh);
        let token = self.devices[d].token.clone().filter(|_| !public);
        let proof = token.as_ref().map(|token| self.proof(token));
        let bearer = token.map(|token| format!("Bearer {}", token.access));
        let mut fields = more.to_vec();
        fields.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
        fields.extend(self.devices[d].unique_id.as_deref().map(|id| ("UniqueId", id)));
        let bytes = codec::request(method, path, &fields, body);
        let conn = self.devices[d].https[index].conn;
        self.trace(|| format!("device {d} on {:x}: {method} {path} {}", conn.0, body.unwrap_or_default()));
        self.devices[d].https[index].asks.push_back((ask, proof));
        self.runtime.link(conn).up.extend(bytes);
        conn
    }

    pub fn proof(&self, token: &Token) -> Proof {
        Proof {
            session: token.session,
            exp: token.exp,
            epoch: token.epoch.clone(),
            over: self.runtime.over.contains(&token.session),
        }
    }
}

fn post_members(draft: &Draft, body: &str) -> String {
    let to = match draft.to {
        To::Profile(id) => format!(r#""to":"{id}""#),
        To::Conversation(id) => format!(r#""conversation":"{id}""#),
    };
    if let Some(message) = draft.forward {
        return format!(r#"{to},"client_id":"{}","forward":"{message}""#, draft.client_id);
    }
    let reply_to = draft.reply_to.map_or(String::new(), |id| format!(r#","reply_to":"{id}""#));
    let files = match &draft.attachments[..] {
        [] => String::new(),
        files => format!(r#","attachments":{}"#, json::to_string(&files)),
    };
    format!(r#"{to},"client_id":"{}","body":{body}{reply_to}{files}"#, draft.client_id)
}
