//! What the devices do: they sign in, post, read, react, type, log out, and go from node to node.
//!
//! Owns the choice of what a device does and of the node that it asks. Leaves the bytes and their checks to `client`.

use natter::model::id::ProfileId;
use natter::server::contract::ConnId;

use super::client::{self, Ask, Device, Form, Known, Post, Then, What};
use super::http_streams::Page;
use super::node::Node;
use super::{PIPELINED_MAX, Run};
use crate::sim::codec;
use crate::sim::network::Link;

impl Run {
    /// A node that a client can connect to.
    pub fn some_node(&mut self) -> Option<usize> {
        let open: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].accepts()).collect();
        self.shared.rng.pick(&open).copied()
    }

    pub fn connect(&mut self, d: usize, node: usize) -> ConnId {
        let conn = self.nodes[node].connect(&mut self.shared, self.devices[d].address);
        self.owners.insert(conn, d);
        conn
    }

    pub fn link(&mut self, node: usize, conn: ConnId) -> &mut Link {
        self.nodes[node].links.get_mut(&conn).expect("a link")
    }

    pub fn pieces(&mut self, node: usize, conn: ConnId) -> usize {
        let link = self.nodes[node].links.get(&conn).expect("a link");
        link.pieces(&mut self.shared.rng)
    }

    /// An HTTP connection of a device that takes one more request.
    fn http(&mut self, d: usize) -> Option<(usize, ConnId)> {
        let is_over = |http: &&client::Http| http.is_closing && http.asks.is_empty();
        if let Some(conn) = self.devices[d].https.iter().find(is_over).map(|http| http.conn) {
            self.cut(d, conn);
        }
        let is_free = |http: &&client::Http| !http.is_closing && http.asks.len() < PIPELINED_MAX;
        let open = self.devices[d].https.iter().find(is_free).map(|http| (http.node, http.conn));
        if open.is_some() && self.shared.rng.chance(800) || self.devices[d].https.len() >= 3 {
            return open;
        }
        let node = self.some_node()?;
        let conn = self.connect(d, node);
        self.devices[d].opened_http(node, conn);
        Some((node, conn))
    }

    pub fn ask(&mut self, d: usize, what: What, method: &str, path: &str, body: Option<&str>) {
        if let Some((node, conn)) = self.http(d) {
            self.ask_on(d, (node, conn), what, (method, path), body);
        }
    }

    pub fn ask_on(
        &mut self,
        d: usize,
        (node, conn): (usize, ConnId),
        what: What,
        (method, path): (&str, &str),
        body: Option<&str>,
    ) {
        self.trace(|| format!("device {d} asks node {node} on {:x}: {what:?}", conn.0));
        let ask = Ask { what, at: self.shared.time };
        let bytes = self.devices[d].request(conn, ask, (method, path), body);
        self.link(node, conn).up.extend(bytes);
    }

    pub fn sign(&mut self, d: usize, what: What) {
        let is_signing =
            |http: &client::Http| http.asks.iter().any(|ask| matches!(ask.what, What::SignUp | What::SignIn));
        if self.devices[d].https.iter().any(is_signing) {
            return;
        }
        let person = self.devices[d].person;
        let account = format!(r#""email":"person{person}@example.org","password":"correct horse {person}""#);
        let (path, body) = match what {
            What::SignUp => ("sign-up", format!(r#"{{"display_name":"Person {person}",{account}}}"#)),
            _ => ("sign-in", format!("{{{account}}}")),
        };
        self.ask(d, what, "POST", &format!("/api/v1/user/{path}"), Some(&body));
    }

    /// Opens a stream in any form on any node, or asks for the next page.
    pub fn open_stream(&mut self, d: usize) {
        let forms = [Form::Socket, Form::Socket, Form::Events, Form::Pages];
        let form = forms[self.shared.rng.below(forms.len())];
        if self.devices[d].wants_page() && self.devices[d].token.is_some() {
            let stream = self.devices[d].stream.as_ref().expect("a stream");
            let conn = stream.conn;
            if !stream.is_closing && self.shared.rng.chance(600) {
                let page = self.some_page();
                return self.ask_for_page(d, page);
            }
            // The next page comes from another node.
            self.cut(d, conn);
        }
        self.open(d, form, None);
    }

    pub fn ask_for_page(&mut self, d: usize, page: Page) {
        let stream = self.devices[d].stream.as_ref().expect("a stream");
        let (node, conn) = (stream.node, stream.conn);
        self.trace(|| format!("device {d} asks node {node} for {page:?}"));
        let bytes = self.devices[d].next_page(self.nodes[node].published(), page);
        self.link(node, conn).up.extend(bytes);
    }

    /// Opens a stream if it has none.
    pub fn open(&mut self, d: usize, form: Form, node: Option<usize>) {
        if self.devices[d].token.is_none() || self.devices[d].stream.is_some() {
            return;
        }
        let Some(node) = node.or_else(|| self.some_node()) else { return };
        let (conn, page) = (self.connect(d, node), self.some_page());
        let known = self.nodes[node].published();
        let bytes = self.devices[d].open((node, conn), form, known, page);
        let cursor = self.devices[d].cursor;
        self.trace(|| format!("device {d} opens {form:?} on node {node} at {cursor:?}"));
        self.link(node, conn).up.extend(bytes);
    }

    fn some_page(&mut self) -> Page {
        let limit = [1, 3, 200][self.shared.rng.below(3)];
        Page { limit, wait: [0, 0, 1, 30][self.shared.rng.below(4)], at: self.shared.time }
    }

    pub fn act(&mut self, d: usize) {
        if self.devices[d].token.is_none() {
            return self.sign(d, What::SignIn);
        }
        match self.shared.rng.below(100) {
            0..40 => {
                self.compose(d);
                self.send_posts(d, 1);
            }
            40..55 => self.send_posts(d, 3),
            55..67 => self.open_stream(d),
            67..73 => self.list(d),
            73..79 => self.mark_read(d),
            79..85 => self.react(d),
            85..90 => self.type_something(d),
            90..97 => self.hop(d),
            _ if self.plan.logouts => self.log_out(d),
            _ => {}
        }
    }

    pub fn compose(&mut self, d: usize) {
        let me = self.devices[d].me();
        let others: Vec<ProfileId> =
            self.devices.iter().map(Device::me).filter(|other| *other != me).collect();
        let to = self.shared.rng.pick(&others).copied().filter(|_| self.shared.rng.chance(300));
        self.compose_to(d, to);
    }

    /// The next post of a device, to a person or to the group.
    pub fn compose_to(&mut self, d: usize, to: Option<ProfileId>) {
        self.bodies += 1;
        let (client_id, body) = (self.client_id(), format!("text {}", self.bodies));
        self.devices[d].posts.push(Post { client_id, body, id: None, to, seq: None });
    }

    /// Sends the next posts of a device, through the connection that carries them.
    pub fn send_posts(&mut self, d: usize, count: usize) {
        for _ in 0..count {
            let device = &self.devices[d];
            let under_way = device.posts[..device.next_post].iter().filter(|post| post.seq.is_none()).count();
            if device.next_post == device.posts.len() || under_way >= PIPELINED_MAX {
                return;
            }
            if let Some(carrier) = device.carrier {
                let http = device.https.iter().find(|http| http.conn == carrier);
                if http.is_some_and(|http| http.is_closing) {
                    return self.cut(d, carrier);
                }
                if http.is_some_and(|http| http.asks.len() >= PIPELINED_MAX) {
                    return;
                }
            } else {
                let stream = device.live_socket().map(|stream| stream.conn);
                let carrier = match stream.filter(|_| self.shared.rng.chance(600)) {
                    Some(conn) => Some(conn),
                    None => self.http(d).map(|(_, conn)| conn),
                };
                self.devices[d].carrier = carrier;
            }
            let device = &mut self.devices[d];
            let Some(carrier) = device.carrier else { return };
            let index = device.next_post;
            device.next_post += 1;
            let (members, what) = (device.post_members(index), What::Post(index));
            let is_stream = device.stream.as_ref().is_some_and(|stream| stream.conn == carrier);
            if is_stream {
                self.op(d, what, "message.post", &members);
            } else {
                let node = self.devices[d].https.iter().find(|http| http.conn == carrier);
                let node = node.expect("a carrier is open").node;
                let body = format!("{{{members}}}");
                self.ask_on(d, (node, carrier), what, ("POST", "/api/v1/messages"), Some(&body));
            }
        }
    }

    pub fn op(&mut self, d: usize, what: What, op: &str, members: &str) {
        let ask = Ask { what, at: self.shared.time };
        let text = self.devices[d].op(ask, op, members);
        let stream = self.devices[d].stream.as_ref().expect("a stream");
        let (node, conn) = (stream.node, stream.conn);
        self.trace(|| format!("device {d} on node {node}: {text}"));
        let frame = codec::text(&mut self.shared.rng, &text);
        self.link(node, conn).up.extend(frame);
    }

    fn list(&mut self, d: usize) {
        let Some((node, conn)) = self.http(d) else { return };
        let what = What::List { floor: self.nodes[node].published() };
        self.ask_on(d, (node, conn), what, ("GET", "/api/v1/conversations"), None);
    }

    fn mark_read(&mut self, d: usize) {
        let group = self.devices[d].group.expect("a group");
        let n = self.shared.rng.between(1, 1 + self.shared.record.messages().count());
        let path = format!("/api/v1/conversations/{group}/read");
        self.ask(d, What::Change, "POST", &path, Some(&format!(r#"{{"n":{n}}}"#)));
    }

    /// Reacts to a message of the group that was answered on any node.
    fn react(&mut self, d: usize) {
        let posts = self.devices.iter().flat_map(|device| &device.posts).filter(|post| post.to.is_none());
        let ids: Vec<String> = posts.filter_map(|post| post.id.clone()).collect();
        let Some(id) = self.shared.rng.pick(&ids).cloned() else { return };
        let emoji = natter::base::percent::encode("👍");
        let method = ["PUT", "DELETE"][self.shared.rng.below(2)];
        self.ask(d, What::Change, method, &format!("/api/v1/messages/{id}/reactions/{emoji}"), None);
    }

    fn type_something(&mut self, d: usize) {
        if self.devices[d].live_socket().is_some() {
            let group = self.devices[d].group.expect("a group");
            let members = format!(r#""conversation":"{group}","active":true"#);
            self.op(d, What::Change, "typing", &members);
        }
    }

    /// A device leaves its node, and comes back on any.
    fn hop(&mut self, d: usize) {
        self.stats.hops += 1;
        for (_, conn) in self.devices[d].conns() {
            if self.shared.rng.chance(800) {
                self.cut(d, conn);
            }
        }
        self.open_stream(d);
    }

    fn log_out(&mut self, d: usize) {
        let session = self.devices[d].token.as_ref().expect("a token").session;
        self.stats.logouts += 1;
        self.ask(d, What::Logout(session), "POST", "/api/v1/user/logout", None);
    }

    pub fn cut(&mut self, d: usize, conn: ConnId) {
        let node = self.devices[d].conns().into_iter().find(|(_, its)| *its == conn);
        let (node, _) = node.expect("an open connection");
        if let Some(link) = self.nodes[node].links.get_mut(&conn) {
            link.cut(&mut self.shared.rng);
        }
        self.lost(conn);
    }

    fn lost(&mut self, conn: ConnId) {
        if let Some(d) = self.owners.remove(&conn) {
            self.trace(|| format!("device {d} loses {:x}", conn.0));
            self.devices[d].lost(conn);
        }
    }

    /// A client receives something.
    pub fn receive(&mut self, node: usize, conn: ConnId) {
        let Some(link) = self.nodes[node].links.get_mut(&conn) else { return };
        let is_draining = link.draining;
        let bytes = link.take_down(&mut self.shared.rng);
        let Some(d) = self.owners.get(&conn).copied() else { return };
        let stream = self.devices[d].stream.as_ref().filter(|stream| stream.conn == conn);
        let over_at = stream.and_then(|stream| self.nodes[node].over_at(stream.session));
        let known = Known {
            record: &self.shared.record,
            time: self.shared.time,
            over_at,
            is_draining,
            disk_fails: self.plan.disks && !self.calm,
            calm: self.calm,
            answer_max: self.answer_max,
        };
        let then = self.devices[d].receive(&known, conn, &bytes);
        let pong = match &then {
            Then::Sends(payload) => Some(codec::frame(&mut self.shared.rng, codec::PONG, payload)),
            _ => None,
        };
        let link = self.link(node, conn);
        link.up.extend(pong.into_iter().flatten());
        if then == Then::Closes || link.down.is_empty() && link.down_ended {
            (link.client_open, link.up_ended) = (false, true);
            self.lost(conn);
        }
    }

    /// Links on which a client has something to read.
    pub fn receivable(&self) -> Vec<(usize, ConnId)> {
        let has_any = |link: &Link| link.client_open && (!link.down.is_empty() || link.down_ended);
        let of = |(at, node): (usize, &Node)| {
            let links = node.links.iter().filter(|(_, link)| has_any(link)).map(|(conn, _)| (at, *conn));
            links.collect::<Vec<_>>()
        };
        self.nodes.iter().enumerate().flat_map(of).collect()
    }
}
