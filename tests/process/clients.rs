//! Tests of the example client: it stores each post once, even if answers are lost, and a reader resumes by its cursor.

use std::path::Path;
use std::process::Command;

use super::stdout_of;
use super::support::TestDir;
use super::support::net::Http;
use super::support::process::{Launch, Natter};

/// Runs `examples/client.py` and returns its output; `None` without Python.
fn client(natter: &Natter, folder: &Path, name: &str, post: &[&str]) -> Option<String> {
    std::fs::create_dir_all(folder).expect("a folder");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/client.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(natter.address.to_string()).arg(folder);
    command.args([&format!("{name}@example.org"), &format!("correct horse {name}'s")]).args(post);
    let output = command.output().ok()?;
    Some(stdout_of(&output).trim().to_owned())
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
