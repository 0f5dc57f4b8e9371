//! Outgoing hooks of the real binary: what arrives over a socket, after a crash of either side, and what is not followed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use natter::base::crypto::{HmacKey, base64, base64url_decode};

use super::support::TestDir;
use super::support::http::Person;
use super::support::net::{Http, PATIENCE, at};
use super::support::process::{Launch, Natter};
use super::{post_in, stdout_of, until};

struct Arrived {
    fields: BTreeMap<String, String>,
    body: String,
}

/// A receiver of events. Its threads end with the process.
struct Receiving {
    origin: String,
    arrived: Receiver<Arrived>,
    /// What it answers.
    status: Arc<AtomicU16>,
}

impl Receiving {
    fn start() -> Receiving {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let (sender, arrived) = channel();
        let status = Arc::new(AtomicU16::new(200));
        let (answers, to) = (Arc::clone(&status), origin.clone());
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (sender, answers, to) = (sender.clone(), Arc::clone(&answers), to.clone());
                std::thread::spawn(move || serve(socket, &sender, &answers, &to));
            }
        });
        Receiving { origin, arrived, status }
    }

    fn next(&self) -> Arrived {
        self.arrived.recv_timeout(PATIENCE).expect("an event in time")
    }
}

/// Answers each request of a connection, until it ends.
fn serve(socket: TcpStream, sender: &Sender<Arrived>, answers: &AtomicU16, to: &str) {
    let mut reader = BufReader::new(socket.try_clone().expect("the same socket"));
    let mut writer = socket;
    loop {
        let mut fields = BTreeMap::new();
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
            match line.trim_end().split_once(": ") {
                Some((name, value)) => fields.insert(name.to_lowercase(), value.to_owned()),
                None => fields.insert("request".to_owned(), line.trim_end().to_owned()),
            };
            line.clear();
        }
        let Some(length) = fields.get("content-length").and_then(|length| length.parse().ok()) else {
            return;
        };
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let body = String::from_utf8(body).expect("UTF-8");
        let status = answers.load(Ordering::Relaxed);
        let answer = format!("HTTP/1.1 {status} X\r\nLocation: {to}/elsewhere\r\nContent-Length: 0\r\n\r\n");
        if sender.send(Arrived { fields, body }).is_err() || writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

struct Stage {
    launch: Launch,
    natter: Natter,
    http: Http,
    ann: Person,
    group: String,
    secret: String,
    receiving: Receiving,
    _dir: TestDir,
}

impl Stage {
    fn new(env: &[(&str, &str)]) -> Stage {
        let dir = TestDir::new();
        let launch = Launch::new(dir.path()).with(&[("HOOKS_PRIVATE", "on")]);
        let natter = launch.start();
        let mut http = Http::connect(natter.address);
        let ann = http.sign_up("ann");
        let printed = stdout_of(&launch.run(&["member", "add", "--bot", "disk"]));
        let body = format!(r#"{{"title":"Tea","members":["{}"]}}"#, &printed[..26]);
        let made = http.ask_as(&ann, "POST", "/api/v1/conversations", Some(&body)).expect("a response");
        let receiving = Receiving::start();
        let url = format!("{}/natter?a=b", receiving.origin);
        let secret = stdout_of(&launch.run(&["bot", "url", "disk", &url])).trim_end().to_owned();
        let group = made.at("data.id");
        let mut stage =
            Stage { launch: launch.with(env), natter, http, ann, group, secret, receiving, _dir: dir };
        if !env.is_empty() {
            stage.restart();
        }
        stage
    }

    fn restart(&mut self) {
        self.natter.kill();
        self.natter = self.launch.start();
        self.http = Http::connect(self.natter.address);
    }

    fn post(&mut self, text: &str) {
        post_in(&mut self.http, &self.ann, &self.group, text);
    }

    fn state(&self) -> String {
        stdout_of(&self.launch.run(&["bot", "url", "disk"]))
    }

    fn judge(&self, arrived: &Arrived) {
        assert_eq!(arrived.fields["request"], "POST /natter?a=b HTTP/1.1");
        let field = |name: &str| arrived.fields[name].as_str();
        // The alphabet of URLs is another one, and has no padding.
        let key = self.secret.strip_prefix("whsec_").expect("a key").trim_end_matches('=');
        let key = base64url_decode(&key.replace('+', "-").replace('/', "_")).expect("base64");
        let signed = format!("{}.{}.{}", field("webhook-id"), field("webhook-timestamp"), arrived.body);
        let expect = format!("v1,{}", base64(&HmacKey::new(&key).sign(signed.as_bytes())));
        assert_eq!(field("webhook-signature"), expect);
        let (_, seq) = field("webhook-id").rsplit_once('-').expect("a seq");
        assert_eq!(at(&arrived.body, "seq"), seq);
    }
}

#[test]
fn each_event_arrives_signed_and_in_order_also_after_a_crash() {
    let mut stage = Stage::new(&[]);
    let mut posted = Vec::new();
    let mut texts: Vec<String> = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    for round in 0..3 {
        for number in 0..10 {
            posted.push(format!("{round}.{number}"));
            stage.post(posted.last().expect("a text"));
        }
        // In the middle of them.
        while texts.len() < 10 * round + 4 {
            take(&stage, &mut ids, &mut texts);
        }
        stage.restart();
    }
    while texts.len() < posted.len() {
        take(&stage, &mut ids, &mut texts);
    }
    assert_eq!(texts, posted);
    until("the cursor is stored", || {
        let state = stage.state();
        let seq = ids.last().and_then(|id| id.rsplit('-').next()).expect("a seq");
        state.trim_end() == format!("{}/natter?a=b {seq} 0 -", stage.receiving.origin)
    });
}

/// Takes an event; one that came before is the same again, and its id says so.
fn take(stage: &Stage, ids: &mut Vec<String>, texts: &mut Vec<String>) {
    let arrived = stage.receiving.next();
    stage.judge(&arrived);
    let id = arrived.fields["webhook-id"].clone();
    if at(&arrived.body, "event") != "message.posted" || ids.contains(&id) {
        return;
    }
    ids.push(id);
    texts.push(at(&arrived.body, "data.body"));
}

#[test]
fn a_redirect_is_a_failure_that_is_shown_and_tried_again() {
    let mut stage = Stage::new(&[]);
    stage.receiving.status.store(302, Ordering::Relaxed);
    stage.post("one");
    let first = stage.receiving.next();
    until("the failure is shown", || stage.state().trim_end().ends_with(" 1 the answer was 302"));
    stage.receiving.status.store(204, Ordering::Relaxed);
    let second = stage.receiving.next();
    assert_eq!(
        (first.fields["webhook-id"].clone(), first.body),
        (second.fields["webhook-id"].clone(), second.body)
    );
    until("it is accepted", || stage.state().trim_end().ends_with(" 0 -"));
}

#[test]
fn an_address_inside_is_not_called_unless_the_operator_allows_it() {
    let mut stage = Stage::new(&[("HOOKS_PRIVATE", "off")]);
    stage.post("one");
    until("the failure is shown", || stage.state().contains(" 1 the address is not https"));
    assert!(stage.receiving.arrived.try_recv().is_err());
}
