//! Tests of the example client: it stores each post once, even if answers are lost or the server is killed, and a reader resumes by
//! its cursor.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::support::TestDir;
use super::support::hop::Hop;
use super::support::net::Http;
use super::support::process::Launch;
use super::{stdout_of, until};

/// Starts `examples/client.py`; `None` without Python.
fn start(hop: &Hop, folder: &Path, name: &str, post: &[&str]) -> Option<Child> {
    start_by(&["python3"], hop, folder, name, post)
}

/// The words of a shell that starts it as a script starts a command in the background: with SIGINT ignored.
const IN_BACKGROUND: [&str; 4] = ["sh", "-c", "trap '' INT; exec python3 \"$@\"", "sh"];

fn start_by(words: &[&str], hop: &Hop, folder: &Path, name: &str, post: &[&str]) -> Option<Child> {
    std::fs::create_dir_all(folder).expect("a folder");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/client.py");
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(script).arg(hop.address.to_string()).arg(folder);
    command.args([&format!("{name}@example.org"), &format!("correct horse {name}'s")]).args(post);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().ok()
}

/// A server that gives these answers, each to one connection; returns its address.
pub(super) fn answering(bodies: Vec<String>) -> std::net::SocketAddr {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address");
    std::thread::spawn(move || {
        for body in bodies {
            let (mut client, _) = server.accept().expect("a client");
            let mut request = [0; 4_096];
            assert!(client.read(&mut request).expect("a request") > 0);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            write!(client, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("written");
        }
    });
    address
}

fn start_at(address: std::net::SocketAddr, folder: &Path, name: &str) -> Option<Child> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/client.py");
    let mut command = Command::new("python3");
    command.args([script, &address.to_string()]).arg(folder).args([name, "a password"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().ok()
}

/// Waits for its end, and returns its output.
fn shown(client: Child) -> String {
    stdout_of(&client.wait_with_output().expect("its end")).trim().to_owned()
}

fn client(hop: &Hop, folder: &Path, name: &str, post: &[&str]) -> Option<String> {
    start(hop, folder, name, post).map(shown)
}

#[test]
fn the_example_client_loses_nothing_and_stores_nothing_twice() {
    let dir = TestDir::new();
    let natter = Launch::new(dir.path()).start();
    let hop = Hop::to(natter.address);
    let mut http = Http::connect(hop.address);
    let (_, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let (at_ann, at_bob) = (dir.path().join("ann"), dir.path().join("bob"));
    let Some(shown) = client(&hop, &at_ann, "ann", &[&bob.profile, "one"]) else {
        eprintln!("skipped: the example client needs python3");
        return;
    };
    assert_eq!(shown, r#"["one"]"#);
    assert_eq!(client(&hop, &at_bob, "bob", &[]).as_deref(), Some(r#"["one"]"#));

    // The answer was lost: the post is still in the outbox, with its client_id.
    let path = at_ann.join("client.json");
    let state = std::fs::read_to_string(&path).expect("the state of the client");
    let id =
        state.split("\"client_id\": \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a client_id");
    let waiting = format!(r#""outbox": [{{"to": "{}", "client_id": "{id}", "body": "one"}}]"#, bob.profile);
    std::fs::write(&path, state.replace(r#""outbox": []"#, &waiting)).expect("written");
    assert_eq!(client(&hop, &at_ann, "ann", &[&bob.profile, "two"]).as_deref(), Some(r#"["one", "two"]"#));
    assert_eq!(client(&hop, &at_bob, "bob", &[]).as_deref(), Some(r#"["one", "two"]"#));
}

#[test]
fn the_example_client_outlives_a_server_that_is_killed() {
    let dir = TestDir::new();
    let mut natter = Launch::new(dir.path()).start();
    let hop = Hop::to(natter.address);
    let again = Launch::new(dir.path()).with(&[("PORT", &natter.address.port().to_string())]);
    let mut http = Http::connect(hop.address);
    let (_, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let texts: Vec<String> = (0..40).map(|number| format!("text {number}")).collect();
    let post: Vec<&str> = std::iter::once(&*bob.profile).chain(texts.iter().map(String::as_str)).collect();
    let Some(ann) = start(&hop, &dir.path().join("ann"), "ann", &post) else {
        eprintln!("skipped: the example client needs python3");
        return;
    };
    // Killed after its first message, and before most of the others.
    let first = http.ask_as(&bob, "GET", "/api/v1/events?wait=30", None).expect("an answer");
    assert_eq!(first.at("data.0.data.body"), "text 0");
    natter.kill();
    let _natter = again.start();
    let all = format!("[{}]", texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", "));
    assert_eq!(shown(ann), all);
    assert_eq!(client(&hop, &dir.path().join("bob"), "bob", &[]), Some(all));
}

#[test]
fn a_hop_reports_what_the_documents_do_not_describe() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let hop = Hop::to(server.local_addr().expect("an address"));
    let answering = std::thread::spawn(move || {
        let (mut client, _) = server.accept().expect("a client");
        let mut head = [0; 1_024];
        let count = client.read(&mut head).expect("a request");
        let body = r#"{"data":{"open":"perhaps","verification_required":false}}"#;
        let head = "HTTP/1.1 200 OK\r\nX-Request-Id: 1\r\nContent-Type: application/json";
        write!(client, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("written");
        count
    });
    let mut client = TcpStream::connect(hop.address).expect("the hop");
    client.write_all(b"GET /api/v1/user/sign-up HTTP/1.1\r\nHost: natter\r\n\r\n").expect("written");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("the answer, to its end");
    assert!(answer.ends_with("false}}"), "passed on all the same: {answer}");
    assert!(answering.join().expect("no panic") > 0);
    let faults = hop.take_faults();
    assert!(faults.len() == 1 && faults[0].contains("/api/v1/user/sign-up 200"), "{faults:?}");
}

/// Neither a server that is away, nor a wrong password, nor Ctrl-C shows a traceback.
#[test]
fn the_example_client_says_in_a_sentence_what_is_wrong() {
    let dir = TestDir::new();
    let natter = Launch::new(dir.path()).start();
    let hop = Hop::to(natter.address);
    Http::connect(hop.address).sign_up("ann");
    let folder = dir.path().join("client");
    let Some(stranger) = start(&hop, &folder, "eve", &[]) else {
        eprintln!("skipped: the example client needs python3");
        return;
    };
    let said = |client: Child, status: i32| {
        let output = client.wait_with_output().expect("its end");
        let text = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(status), "{text}");
        assert!(!text.contains("Traceback"), "{text}");
        text
    };
    let text = said(stranger, 1);
    assert!(text.starts_with("the server refuses it: 401 ") && text.lines().count() == 1, "{text}");
    std::fs::write(folder.join("client.json"), "{").expect("a file");
    let text = said(start(&hop, &folder, "ann", &[]).expect("python3"), 1);
    assert!(text.starts_with("the files of this client can't be used: "), "{text}");
    std::fs::write(folder.join("client.json"), "{}").expect("a file");
    let text = said(start(&hop, &folder, "ann", &[]).expect("python3"), 1);
    assert!(text.contains("client.json is not a state of this client"), "{text}");
    std::fs::remove_file(folder.join("client.json")).expect("removed");
    // A message without what each has.
    let page = r#"{"data":{"token":{"access":"x"}}}"#.to_owned()
        + "\n"
        + r#"{"data":[{"event":"message.posted","data":{}}],"cursor":"x"}"#;
    let other = answering(page.lines().map(str::to_owned).collect());
    let text = said(start_at(other, &folder, "ann").expect("python3"), 1);
    assert!(text.starts_with("the server's answer is not one of natter: KeyError"), "{text}");
    natter.stop();
    // It asks until it is told to stop.
    let mut waiting = start_by(&IN_BACKGROUND, &hop, &folder, "ann", &[]).expect("a shell");
    let mut errors = waiting.stderr.take().expect("a pipe");
    let mut first = Vec::new();
    while !first.contains(&b'\n') {
        let mut byte = [0];
        assert_eq!(errors.read(&mut byte).expect("a line"), 1, "{first:?}");
        first.push(byte[0]);
    }
    let first = String::from_utf8(first).expect("text");
    assert!(first.starts_with("no answer from http://"), "{first}");
    let kill = Command::new("kill").args(["-INT", &waiting.id().to_string()]).status().expect("a shell");
    assert!(kill.success());
    until("Ctrl-C ends it", || waiting.try_wait().expect("its state").is_some());
    let mut rest = String::new();
    errors.read_to_string(&mut rest).expect("its end");
    assert_eq!(waiting.wait().expect("its end").code(), Some(130), "{rest}");
    assert!(!rest.contains("Traceback") && rest.contains("stopped: "), "{rest}");
}
