//! Tests of the example client: it stores each post once, even if answers are lost or the server is killed, and a reader resumes by
//! its cursor.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::stdout_of;
use super::support::TestDir;
use super::support::net::Http;
use super::support::process::{Launch, Natter};

/// Starts `examples/client.py`; `None` without Python.
fn start(natter: &Natter, folder: &Path, name: &str, post: &[&str]) -> Option<Child> {
    std::fs::create_dir_all(folder).expect("a folder");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/client.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(natter.address.to_string()).arg(folder);
    command.args([&format!("{name}@example.org"), &format!("correct horse {name}'s")]).args(post);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().ok()
}

/// Waits for its end, and returns its output.
fn shown(client: Child) -> String {
    stdout_of(&client.wait_with_output().expect("its end")).trim().to_owned()
}

fn client(natter: &Natter, folder: &Path, name: &str, post: &[&str]) -> Option<String> {
    start(natter, folder, name, post).map(shown)
}

#[test]
fn the_example_client_loses_nothing_and_stores_nothing_twice() {
    let dir = TestDir::new();
    let natter = Launch::new(dir.path()).start();
    let mut http = Http::connect(natter.address);
    let (_, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let (at_ann, at_bob) = (dir.path().join("ann"), dir.path().join("bob"));
    let Some(shown) = client(&natter, &at_ann, "ann", &[&bob.profile, "one"]) else {
        eprintln!("skipped: the example client needs python3");
        return;
    };
    assert_eq!(shown, r#"["one"]"#);
    assert_eq!(client(&natter, &at_bob, "bob", &[]).as_deref(), Some(r#"["one"]"#));

    // The answer was lost: the post is still in the outbox, with its client_id.
    let path = at_ann.join("client.json");
    let state = std::fs::read_to_string(&path).expect("the state of the client");
    let id =
        state.split("\"client_id\": \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a client_id");
    let waiting = format!(r#""outbox": [{{"to": "{}", "client_id": "{id}", "body": "one"}}]"#, bob.profile);
    std::fs::write(&path, state.replace(r#""outbox": []"#, &waiting)).expect("written");
    assert_eq!(client(&natter, &at_ann, "ann", &[&bob.profile, "two"]).as_deref(), Some(r#"["one", "two"]"#));
    assert_eq!(client(&natter, &at_bob, "bob", &[]).as_deref(), Some(r#"["one", "two"]"#));
}

#[test]
fn the_example_client_outlives_a_server_that_is_killed() {
    let dir = TestDir::new();
    let mut natter = Launch::new(dir.path()).start();
    let again = Launch::new(dir.path()).with(&[("PORT", &natter.address.port().to_string())]);
    let mut http = Http::connect(natter.address);
    let (_, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let texts: Vec<String> = (0..40).map(|number| format!("text {number}")).collect();
    let post: Vec<&str> = std::iter::once(&*bob.profile).chain(texts.iter().map(String::as_str)).collect();
    let Some(ann) = start(&natter, &dir.path().join("ann"), "ann", &post) else {
        eprintln!("skipped: the example client needs python3");
        return;
    };
    // Killed after its first message, and before most of the others.
    let first = http.ask_as(&bob, "GET", "/api/v1/events?wait=30", None).expect("an answer");
    assert_eq!(first.at("data.0.data.body"), "text 0");
    natter.kill();
    let natter = again.start();
    let all = format!("[{}]", texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", "));
    assert_eq!(shown(ann), all);
    assert_eq!(client(&natter, &dir.path().join("bob"), "bob", &[]), Some(all));
}
