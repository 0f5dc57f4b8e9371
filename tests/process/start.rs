//! Tests of the start: it succeeds, or it fails at once with a clear reason and the right status.

use std::fs::{self, File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use super::support::TestDir;
use super::support::net::Http;
use super::support::process::{Launch, Natter, is_over_tls};

#[track_caller]
fn stderr(output: &Output, code: i32) -> String {
    let text = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

/// A start that must fail: its status and its output.
#[track_caller]
fn stderr_of(mut natter: Natter, code: i32) -> String {
    let status = natter.wait();
    let text = natter.log().join("\n");
    assert_eq!(status.code(), Some(code), "{text}");
    text
}

#[test]
fn a_first_start_needs_no_configuration() {
    let dir = TestDir::new();
    let mut natter = Launch::bare(dir.path()).start();
    assert!(natter.address.ip().is_loopback());
    let data = dir.path().join("data");
    let mode = |name: &str| {
        let path = data.join(name);
        path.metadata().unwrap_or_else(|e| panic!("{name}: {e}")).permissions().mode() & 0o7777
    };
    for file in ["access_secret", "refresh_secret", "password_secret", "natter.db", "lock", "control.sock"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    assert_eq!(mode(""), 0o700);
    let start = natter.log().iter().find(|line| line.contains("listens on")).cloned().expect("one line");
    if !is_over_tls() {
        assert!(start.contains(&format!("http://{}, data in {}", natter.address, data.display())), "{start}");
    }
    let mut http = Http::connect(natter.address);
    for path in ["/", "/healthz", "/readyz"] {
        assert_eq!(http.ask("GET", path, &[], None).expect("a response").status, 200, "{path}");
    }
    let keys = |name: &str| fs::read(data.join(name)).expect("a key");
    let before: Vec<_> = ["access_secret", "refresh_secret", "password_secret"].map(keys).into();
    let person = http.sign_up("ann");
    let log = natter.stop();
    assert!(!data.join("control.sock").exists());
    // The second start uses the keys of the first one: tokens stay valid.
    let natter = Launch::bare(dir.path()).start();
    let me =
        Http::connect(natter.address).ask_as(&person, "GET", "/api/v1/user/me", None).expect("a response");
    assert_eq!((me.status, me.at("data.member.email")), (200, "ann@example.org".into()));
    assert_eq!(before, ["access_secret", "refresh_secret", "password_secret"].map(keys));
    for key in before {
        let key = String::from_utf8(key).expect("text");
        assert!(log.iter().all(|line| !line.contains(key.trim())), "a secret in the log");
    }
}

#[test]
fn all_faults_of_a_configuration_are_reported() {
    let dir = TestDir::new();
    fs::write(dir.path().join(".env"), "HOST=a b\nUNKNOWN=1\nnonsense").expect("a file");
    let env = [("PORT", "70000"), ("ACCESS_SECRET", "short"), ("RATE_WRITES", "20"), ("SIGN_UP", "perhaps")];
    let launch = Launch::bare(dir.path()).with(&env);
    for arguments in [&[][..], &["serve"], &["check"]] {
        let text = stderr(&launch.run(arguments), 2);
        for fault in [
            "PORT: \"70000\" is out of range; it accepts a whole number from 0 to 65535",
            "HOST: \"a b\"",
            "ACCESS_SECRET: the secret is too short; it accepts at least 32 bytes",
            "RATE_WRITES: ",
            "SIGN_UP: \"perhaps\"",
            ".env line 3: ",
        ] {
            assert!(text.contains(fault), "{fault} is missing in {text}");
        }
        assert!(!text.contains("short\""), "a secret is shown: {text}");
    }
    assert!(!dir.path().join("data").exists(), "nothing was made");
}

#[test]
fn a_second_server_on_the_same_folder_names_the_lock() {
    let dir = TestDir::new();
    let first = Launch::new(dir.path()).start();
    let text = stderr_of(Launch::new(dir.path()).spawn(Stdio::piped()), 1);
    let expect = format!("data/lock is locked: process {} uses this folder", first.pid());
    assert!(text.contains(&expect), "{text}");
    // The first server is not affected: its control socket exists too.
    assert!(dir.path().join("data/control.sock").exists());
    let health = Http::connect(first.address).ask("GET", "/readyz", &[], None).expect("a response");
    assert_eq!(health.status, 200);
}

#[test]
fn a_port_in_use_is_named() {
    let dir = TestDir::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let launch = Launch::new(dir.path()).with(&[("PORT", &address.port().to_string())]);
    let text = stderr_of(launch.spawn(Stdio::piped()), 1);
    assert!(text.contains(&format!("can't listen on {address}: ")), "{text}");
    drop(taken);
    // The failed start leaves nothing that prevents a later one.
    launch.start().stop();
}

#[test]
fn a_control_path_too_long_for_a_socket_is_a_fault_of_the_start() {
    let dir = TestDir::new();
    let data = dir.path().join("x".repeat(100));
    let launch = Launch::new(dir.path()).with(&[("DATA_DIR", data.to_str().expect("text"))]);
    let text = stderr_of(launch.spawn(Stdio::piped()), 1);
    assert!(text.contains("control.sock has ") && text.contains("choose a shorter DATA_DIR"), "{text}");
    assert!(!data.exists());
}

#[test]
fn a_corrupt_database_stops_the_start() {
    let dir = TestDir::new();
    let natter = Launch::new(dir.path()).start();
    Http::connect(natter.address).sign_up("ann");
    natter.stop();
    let path = dir.path().join("data/natter.db");
    let complete = fs::read(&path).expect("a database");
    // A page in the middle with other bytes; a file that is not a database; one that ends too early.
    let damages: [(&str, &dyn Fn()); 3] = [
        ("a page", &|| {
            let mut file = File::options().write(true).open(&path).expect("a file");
            file.seek(SeekFrom::Start(4_096)).expect("an offset");
            file.write_all(&[0xa5; 4_096 * 8]).expect("written");
        }),
        ("a header", &|| fs::write(&path, b"this is no database at all".repeat(400)).expect("written")),
        ("an end", &|| {
            File::options().write(true).open(&path).and_then(|f| f.set_len(20_000)).expect("cut");
        }),
    ];
    for (what, damage) in damages {
        fs::write(&path, &complete).expect("written");
        damage();
        let text = stderr_of(Launch::new(dir.path()).spawn(Stdio::piped()), 1);
        assert!(text.contains("data/natter.db is corrupt") && text.contains("restore"), "{what}: {text}");
        assert!(!text.contains("listens on"), "{what}: {text}");
        let text = stderr(&Launch::new(dir.path()).run(&["check"]), 1);
        assert!(text.contains("data/natter.db is corrupt"), "{what}: {text}");
    }
    fs::write(&path, &complete).expect("written");
    Launch::new(dir.path()).start().stop();
}

/// A clock that was reset: the server runs, logs it at once, and gives no message an earlier time than the previous one.
#[test]
fn a_clock_earlier_than_the_newest_stored_time_is_reported() {
    const EARLIER: &str = "the clock shows an earlier time than the newest stored row";
    const DAY_MS: u64 = 86_400_000;
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    let natter = launch.start();
    Http::connect(natter.address).sign_up("ann");
    let log = natter.stop();
    assert!(log.iter().all(|line| !line.contains(EARLIER)), "{log:#?}");
    let path = dir.path().join("data/natter.db");
    let shift = |by: i64| {
        let database = rusqlite::Connection::open(&path).expect("a database");
        let moved = database.execute("UPDATE sessions SET created_at = created_at + ?1", [by]);
        assert_eq!(moved.expect("a row"), 1);
    };
    // As if the sign-up had been tomorrow; then as if it had been yesterday.
    shift(DAY_MS as i64);
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    assert_eq!(http.ask("GET", "/readyz", &[], None).expect("a response").status, 200);
    let log = natter.stop();
    let lines: Vec<_> = log.iter().filter(|line| line.contains(EARLIER)).collect();
    assert!(matches!(lines[..], [line] if line.contains("WARN")), "{log:#?}");
    shift(-2 * DAY_MS as i64);
    let log = launch.start().stop();
    assert!(log.iter().all(|line| !line.contains(EARLIER)), "{log:#?}");
}

#[test]
fn another_programs_database_is_not_touched() {
    let dir = TestDir::new();
    let data = dir.path().join("data");
    fs::create_dir(&data).expect("a folder");
    let path = data.join("natter.db");
    let foreign = rusqlite::Connection::open(&path).expect("a database");
    foreign.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").expect("a table");
    drop(foreign);
    let before = fs::read(&path).expect("a database");
    let text = stderr_of(Launch::new(dir.path()).spawn(Stdio::piped()), 1);
    assert!(text.contains("is the database of another program"), "{text}");
    assert_eq!(fs::read(&path).expect("a database"), before);
}

#[test]
fn check_changes_nothing_and_reports_what_a_start_would() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    let output = launch.run(&["check"]);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("the configuration is valid; no database yet"));
    assert!(!dir.path().join("data").exists());
    let natter = launch.start();
    // Also while a server runs.
    for natter in [Some(natter), None] {
        let output = launch.run(&["check"]);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.starts_with("the configuration and the database are valid: /"), "{text}");
        assert!(text.ends_with("data/natter.db\n"), "{text}");
        natter.into_iter().for_each(|natter| drop(natter.stop()));
    }
}

#[test]
fn help_and_version_and_a_wrong_word() {
    let dir = TestDir::new();
    let launch = Launch::bare(dir.path());
    let output = launch.run(&["--version"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"natter 0.1.0\n".as_slice()));
    let output = launch.run(&["--help"]);
    let help = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success() && help.starts_with("natter: a self-hosted real-time chat server.\n"));
    for word in ["serve", "check", "backup FILE", "restore FILE", "member", "PORT=8080", "ACCESS_SECRET"] {
        assert!(help.contains(word), "{word} is missing");
    }
    let text = stderr(&launch.run(&["srve"]), 2);
    assert_eq!(text, "natter: unknown command \"srve\"\nTry `natter --help`.\n");
    assert!(!dir.path().join("data").exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let dir = TestDir::new();
    let data = dir.path().join("data");
    fs::write(&data, "a file where the folder should be").expect("a file");
    let text = stderr_of(Launch::new(dir.path()).spawn(Stdio::piped()), 1);
    assert!(text.contains("cannot use as a folder data: "), "{text}");
    fs::remove_file(&data).expect("gone");
    fs::create_dir(&data).expect("a folder");
    fs::set_permissions(&data, Permissions::from_mode(0o700)).expect("set");
    fs::create_dir(data.join("natter.db")).expect("a folder where the database should be");
    let text = stderr_of(Launch::new(dir.path()).spawn(Stdio::piped()), 1);
    assert!(text.contains("data/natter.db can't be opened"), "{text}");
}

#[test]
fn a_closed_stderr_does_not_end_the_server() {
    let dir = TestDir::new();
    // The port is read from the first lines; then the reader is closed.
    let launch = Launch::new(dir.path());
    let mut natter = launch.start();
    natter.close_stderr();
    for _ in 0..20 {
        let mut http = Http::connect(natter.address);
        assert_eq!(http.ask("GET", "/nothing", &[], None).expect("a response").status, 404);
    }
    assert!(natter.is_running());
    natter.stop();
}
