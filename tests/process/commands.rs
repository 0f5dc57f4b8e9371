//! Tests that a command finds its server, or names the folder in which it found none.
//!
//! Only `serve`, `restore`, `member add --create`, `cluster init` and `cluster join` create a DATA_DIR.

use std::fs;
use std::path::Path;
use std::process::Output;

use super::support::TestDir;
use super::support::net::Http;
use super::support::process::Launch;
use super::{stderr_of, stdout_of};

/// All files below a folder with their bytes; a folder has no bytes.
fn everything(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return all };
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            all.extend(everything(&path));
        }
        let bytes = if path.is_file() { fs::read(&path).expect("a file") } else { Vec::new() };
        all.push((path, bytes));
    }
    all.sort();
    all
}

/// Runs each command that works on a server, with a password for the one that reads it.
fn each(launch: &Launch, options: &[&str]) -> Vec<(String, Output)> {
    [
        &["backup", "all.tar"][..],
        &["member", "list"],
        &["member", "add", "ann@example.org"],
        &["member", "disable", "ann@example.org"],
        &["member", "enable", "ann@example.org"],
        &["member", "delete", "ann@example.org"],
        &["secret", "reset"],
        #[cfg(feature = "cluster")]
        &["cluster", "leave", "--new-epoch"],
    ]
    .into_iter()
    .map(|command| {
        let arguments = [options, command].concat();
        (arguments.join(" "), launch.run_with(&arguments, "correct horse 9\n"))
    })
    .collect()
}

#[test]
fn no_command_creates_a_server() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    let looked = |what: &str, output: &Output, folder: &str| {
        let text = stderr_of(output);
        let folder = dir.path().canonicalize().expect("a folder").join(folder);
        let expect = format!("no natter server in {}: ", folder.display());
        assert!(text.contains(&expect) && text.contains("--data DIR"), "{what}: {text}");
    };
    // No folder; an empty folder; a folder with an empty database, as after an interrupted first start.
    for prepare in
        [&(|| {}) as &dyn Fn(), &|| fs::create_dir(dir.path().join("data")).expect("a folder"), &|| {
            fs::write(dir.path().join("data/natter.db"), b"").expect("a file");
        }]
    {
        prepare();
        let before = everything(dir.path());
        for (what, output) in each(&launch, &[]) {
            looked(&what, &output, "data");
        }
        for (what, output) in each(&launch, &["--data", "else/where"]) {
            looked(&what, &output, "else/where");
        }
        let checked = stdout_of(&launch.run(&["check"]));
        assert!(checked.contains("no database yet at /") && checked.contains("data/natter.db"), "{checked}");
        assert_eq!(everything(dir.path()), before, "nothing was made");
    }
    // Without a password no server is created either.
    let output = launch.run(&["member", "add", "--create", "--data", "new", "ann@example.org"]);
    assert!(stderr_of(&output).contains("no password on stdin"));
    assert!(!dir.path().join("new").exists());
}

#[test]
fn data_names_the_server_for_every_command() {
    let dir = TestDir::new();
    let elsewhere = TestDir::new();
    let folder = elsewhere.path().join("deep/data");
    let folder = folder.to_str().expect("text");
    let launch = Launch::new(dir.path());
    let with = |arguments: &[&str]| launch.run(&[&["--data", folder], arguments].concat());
    let add = ["--data", folder, "member", "add", "--create", "ann@example.org"];
    stdout_of(&launch.run_with(&add, "correct horse 9\n"));
    assert!(stdout_of(&with(&["member", "list"])).contains("ann@example.org"));
    assert!(stdout_of(&with(&["check"])).contains("deep/data/natter.db"));
    let text = stdout_of(&with(&["backup", "all.tar"]));
    assert!(text.contains(&format!("of the server in {folder}")), "{text}");
    // It takes precedence over the variable.
    let other = launch.clone().with(&[("DATA_DIR", "nothing/here")]);
    assert!(stdout_of(&other.run(&["--data", folder, "member", "list"])).contains("ann@example.org"));
    assert!(stderr_of(&other.run(&["member", "list"])).contains("nothing/here"));
    // Also for a server, and for commands while it runs.
    let natter = launch.clone().with(&[("DATA_DIR", folder)]).start();
    assert_eq!(
        Http::connect(natter.address).ask("GET", "/readyz", &[], None).expect("a response").status,
        200
    );
    stdout_of(&with(&["member", "disable", "ann@example.org"]));
    assert!(stdout_of(&with(&["member", "list"])).contains("disabled"));
    natter.stop();
    let restored = elsewhere.path().join("restored");
    stdout_of(&launch.run(&["restore", "all.tar", "--data", restored.to_str().expect("text")]));
    assert!(restored.join("natter.db").exists() && restored.join("uploads").is_dir());
    assert!(!dir.path().join("data").exists() && !dir.path().join("nothing").exists());
}

/// A check adds no file next to a closed database, and makes no key.
#[test]
fn a_check_changes_nothing() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    stdout_of(&launch.run_with(&["member", "add", "--create", "ann@example.org"], "correct horse 9\n"));
    let before = everything(&dir.path().join("data"));
    stdout_of(&launch.run(&["check"]));
    assert_eq!(everything(&dir.path().join("data")), before);
    for key in ["access_secret", "refresh_secret", "password_secret"] {
        fs::remove_file(dir.path().join("data").join(key)).expect("removed");
    }
    stdout_of(&launch.run(&["member", "list"]));
    stdout_of(&launch.run(&["member", "disable", "ann@example.org"]));
    let text = stdout_of(&launch.run(&["backup", "all.tar"]));
    assert!(text.contains("the keys are in variables"), "{text}");
    let error = stderr_of(&launch.run_with(&["member", "add", "bob@example.org"], "correct horse 9\n"));
    assert!(error.contains("password secret is lost"), "{error}");
    for key in ["access_secret", "refresh_secret", "password_secret"] {
        assert!(!dir.path().join("data").join(key).exists(), "{key}");
    }
}

#[test]
fn a_backup_that_would_miss_the_uploads_is_refused() {
    let dir = TestDir::new();
    let media = dir.path().join("media");
    let launch = Launch::new(dir.path());
    let natter = launch.clone().with(&[("UPLOADS", media.to_str().expect("text"))]).start();
    let mut http = Http::connect(natter.address);
    let ann = http.sign_up("ann");
    let bearer = format!("Bearer {}", ann.access);
    let fields = [("Authorization", bearer.as_str()), ("X-Filename", "note.txt")];
    let made = http.ask("POST", "/api/v1/uploads", &fields, Some("bytes")).expect("a response");
    assert_eq!(made.status, 201, "{}", made.text());
    // Without the UPLOADS of the server.
    let error = stderr_of(&launch.run(&["backup", "all.tar"]));
    assert!(error.contains("knows 1 files of uploads") && error.contains("set UPLOADS"), "{error}");
    assert!(!dir.path().join("all.tar").exists());
    let with = launch.with(&[("UPLOADS", media.to_str().expect("text"))]);
    assert!(stdout_of(&with.run(&["backup", "all.tar"])).contains("with 1 files of uploads"));
    natter.stop();
}
