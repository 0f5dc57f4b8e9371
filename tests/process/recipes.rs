//! The recipes of the README for bots and hooks, and the example bot, against the real binary.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use super::support::TestDir;
use super::support::http::Person;
use super::support::net::Http;
use super::support::process::{Launch, Natter};
use super::{post_in, stdout_of, until};

/// Where the README's own server is.
const OF_README: &str = "https://chat.example.org/hooks/nh_…";

struct Stage {
    launch: Launch,
    natter: Natter,
    http: Http,
    ann: Person,
    token: String,
    group: String,
    hook: String,
    dir: TestDir,
}

impl Stage {
    fn new() -> Stage {
        let dir = TestDir::new();
        let launch = Launch::new(dir.path());
        let natter = launch.start();
        let mut http = Http::connect(natter.address);
        let ann = http.sign_up("ann");
        let printed = stdout_of(&launch.run(&["member", "add", "--bot", "alerts"]));
        let (id, token) = (&printed[..26], printed.lines().nth(1).expect("a token").to_owned());
        let body = format!(r#"{{"title":"Tea","members":["{id}"]}}"#);
        let made = http.ask_as(&ann, "POST", "/api/v1/conversations", Some(&body)).expect("a response");
        let group = made.at("data.id");
        let url = stdout_of(&launch.run(&["bot", "hook", "alerts", &group, "disk"]));
        let (_, path) = url.trim_end().split_once("/hooks/").expect("an address");
        let hook = format!("http://{}/hooks/{path}", natter.address);
        Stage { launch, natter, http, ann, token, group, hook, dir }
    }

    /// The newest messages, the newest first.
    fn texts(&mut self) -> Vec<String> {
        let path = format!("/api/v1/conversations/{}/messages", self.group);
        let page = self.http.ask_as(&self.ann, "GET", &path, None).expect("a response");
        let count = (0..).take_while(|n| page.at(&format!("data.{n}.id")) != "null").count();
        // A system message has no text.
        let texts = (0..count).map(|n| page.at(&format!("data.{n}.body"))).filter(|text| text != "null");
        let mut texts: Vec<String> = texts.collect();
        texts.reverse();
        texts
    }

    fn post(&mut self, text: &str) {
        post_in(&mut self.http, &self.ann, &self.group, text);
    }

    /// A call of the hook over a socket of its own.
    fn call(&mut self, fields: &[(&str, &str)], body: &str) -> u16 {
        let (_, path) = self.hook.split_once("/hooks/").expect("an address");
        let mut head =
            format!("POST /hooks/{path} HTTP/1.1\r\nHost: chat\r\nContent-Length: {}\r\n", body.len());
        fields.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        let mut http = Http::connect(self.natter.address);
        http.send(format!("{head}\r\n{body}").as_bytes()).expect("sent");
        http.response(false).expect("a response").expect("a response").status
    }
}

fn readme() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let text = std::fs::read_to_string(path).expect("the README");
    let (_, rest) = text.split_once("**Bots and hooks.**").expect("its part about bots");
    rest.to_owned()
}

#[test]
fn a_cron_job_posts_once_a_day() {
    let mut stage = Stage::new();
    let text = readme();
    let line = text.lines().find(|line| line.contains("curl ")).expect("a line for cron");
    let line = line.replace("/usr/local/bin/nightly", "false").replace(OF_README, &stage.hook);
    assert!(line.contains(&stage.hook), "{line}");
    for _ in 0..2 {
        let run = Command::new("sh").arg("-c").arg(&line).stdin(Stdio::null()).output().expect("a shell");
        if String::from_utf8_lossy(&run.stderr).contains("not found") {
            eprintln!("skipped: the recipe needs curl");
            return;
        }
        stdout_of(&run);
    }
    let texts = stage.texts();
    assert!(texts.len() == 1 && texts[0].starts_with("nightly failed on "), "{texts:?}");
}

#[test]
fn alertmanager_and_github_are_readable() {
    let mut stage = Stage::new();
    assert!(readme().contains(&format!("      - url: {OF_README}\n")), "the recipe for Alertmanager");
    // As Alertmanager 0.27 sends it.
    let body = r#"{"receiver":"natter","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"DiskFull","instance":"db1:9100","severity":"critical"},"annotations":{"summary":"4 % are left"},"startsAt":"2026-11-30T10:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://prometheus:9090/graph","fingerprint":"a0b1"}],"groupLabels":{"alertname":"DiskFull"},"commonLabels":{},"commonAnnotations":{},"externalURL":"http://alertmanager:9093","version":"4","groupKey":"{}:{}","truncatedAlerts":0}"#;
    let fields = [("User-Agent", "Alertmanager/0.27.0"), ("Content-Type", "application/json")];
    assert_eq!(stage.call(&fields, body), 201);
    // As GitHub delivers it, and delivers it again.
    let body = r#"{"ref":"refs/heads/main","repository":{"full_name":"ann/tea"},"pusher":{"name":"ann"},"sender":{"login":"ann"},"commits":[{"id":"1"}],"head_commit":{"message":"Better cups"},"compare":"https://github.com/ann/tea/compare/1...2"}"#;
    let fields = [
        ("User-Agent", "GitHub-Hookshot/1"),
        ("Content-Type", "application/json"),
        ("X-GitHub-Event", "push"),
        ("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
    ];
    assert_eq!([stage.call(&fields, body), stage.call(&fields, body)], [201, 200]);
    assert_eq!(
        stage.texts(),
        [
            "ann/tea: ann pushed 1 commit to main: \"Better cups\" https://github.com/ann/tea/compare/1...2",
            "firing: DiskFull db1:9100 (critical): 4 % are left\nhttp://alertmanager:9093",
        ]
    );
}

#[test]
fn the_example_bot_answers_each_question_once() {
    let mut stage = Stage::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/bot.py");
    let lines = std::fs::read_to_string(script).expect("the example").lines().count();
    assert!(lines <= 80, "{lines} lines");
    let cursor = stage.dir.path().join("cursor");
    let token = stage.token.clone();
    let start = |address: std::net::SocketAddr| {
        let mut command = Command::new("python3");
        command.arg(script).arg(&cursor).env("NATTER", format!("http://{address}"));
        command.env("TOKEN", &token).stdin(Stdio::null());
        command.spawn().ok()
    };
    // It begins with what comes after its first look.
    std::fs::write(&cursor, "").expect("a file");
    let now = stage.http.ask_as(&stage.ann, "GET", "/api/v1/events?cursor=now", None).expect("a response");
    std::fs::write(&cursor, now.at("cursor")).expect("a cursor");
    let Some(mut bot) = start(stage.natter.address) else {
        eprintln!("skipped: the example bot needs python3");
        return;
    };
    stage.post("ping");
    stage.post("count one two");
    until("two answers", || stage.texts().len() == 4);
    bot.kill().expect("killed");
    bot.wait().expect("its end");
    stage.post("ping");
    // The server was killed meanwhile, and the bot reads again what it has answered perhaps.
    let port = stage.natter.address.port().to_string();
    stage.natter.kill();
    std::fs::write(&cursor, now.at("cursor")).expect("an older cursor");
    stage.natter = stage.launch.clone().with(&[("PORT", &port)]).start();
    stage.http = Http::connect(stage.natter.address);
    let mut bot = start(stage.natter.address).expect("python3");
    until("one more answer", || stage.texts().len() == 6);
    stage.post("bye");
    stage.post("ping");
    until("one more answer", || stage.texts().len() == 9);
    bot.kill().expect("killed");
    bot.wait().expect("its end");
    let mut texts = stage.texts();
    texts.sort();
    let expect = ["2 words", "bye", "count one two", "ping", "ping", "ping", "pong", "pong", "pong"];
    assert_eq!(texts, expect);
}

/// Its address may lead to another program for a while.
#[test]
fn the_example_bot_asks_again_after_an_answer_that_is_not_http() {
    let dir = TestDir::new();
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("an address");
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/bot.py")).arg(dir.path().join("cursor"));
    command.env("NATTER", format!("http://{address}")).env("TOKEN", "nb_x").stdin(Stdio::null());
    let Ok(mut bot) = command.spawn() else {
        eprintln!("skipped: the example bot needs python3");
        return;
    };
    other.set_nonblocking(true).expect("no waiting");
    for question in ["the first question", "the same again"] {
        until(question, || match other.accept() {
            Ok((mut client, _)) => {
                client.write_all(b"SSH-2.0-other\r\n\r\n").expect("written");
                true
            }
            Err(_) => bot.try_wait().expect("its state").is_some_and(|status| panic!("it ended: {status}")),
        });
    }
    bot.kill().expect("killed");
    bot.wait().expect("its end");
}

/// What answers there is a program of somebody else, and then there is none.
#[test]
fn the_example_bot_says_that_no_natter_answers() {
    let dir = TestDir::new();
    let other = super::clients::answering(
        ["<html>a portal", "[]", r#""data""#, r#"{"code":"x","retry":true,"retry_after_ms":1}"#, "{}"]
            .map(str::to_owned)
            .to_vec(),
    );
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/bot.py")).arg(dir.path().join("cursor"));
    command.env("NATTER", format!("http://{other}")).env("TOKEN", "nb_x").stdin(Stdio::null());
    let Ok(bot) = command.stderr(Stdio::piped()).spawn() else {
        eprintln!("skipped: the example bot needs python3");
        return;
    };
    let output = bot.wait_with_output().expect("its end");
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{text}");
    let asking = format!("no answer of natter from http://{other}/api/v1, asking again: ");
    assert_eq!(text.matches(&asking).count(), 3, "{text}");
    assert!(text.ends_with("the server says None: None\n") && !text.contains("Traceback"), "{text}");
}
