//! Tests of a lost password secret: the start refuses, and after `natter secret reset` members sign in by reset codes.

use std::fs;
use std::process::Stdio;

use super::support::TestDir;
use super::support::net::Http;
use super::support::process::Launch;
use super::{stderr_of, stdout_of, until};

const LOST: &str = "the password secret is lost";

/// A start, a check and a command that hashes a password are refused for this reason; the start names the remedies.
fn check_refused(launch: &Launch, reason: &str, finding: &str, remedy: &str) {
    let mut natter = launch.spawn(Stdio::piped());
    assert_eq!(natter.wait().code(), Some(1));
    let text = natter.log().join("\n");
    for expect in [reason, finding, remedy, "PASSWORD_SECRET", "natter secret reset"] {
        assert!(text.contains(expect), "{expect} is missing in {text}");
    }
    let check = launch.run(&["check"]);
    assert_eq!(check.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&check.stderr).contains(reason));
    let create = launch.run_with(&["member", "add", "--create", "bob@example.org"], "correct horse 9\n");
    assert!(stderr_of(&create).contains(reason));
}

/// The six digits in the last mail of the file.
fn code_in(mails: &str) -> Option<String> {
    let last = mails.rsplit("Subject:").next()?;
    last.split(|c: char| !c.is_ascii_digit()).rfind(|word| word.len() == 6).map(str::to_owned)
}

#[test]
fn a_start_without_the_password_secret_of_its_members_is_refused() {
    let dir = TestDir::new();
    let data = dir.path().join("data");
    let launch = Launch::new(dir.path());
    let secret = data.join("password_secret");
    // Without members no password depends on it.
    launch.start().stop();
    fs::remove_file(&secret).expect("removed");
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    let ann = http.sign_up("ann");
    let error = stderr_of(&launch.run(&["secret", "reset"]));
    assert!(error.contains("is locked") && error.contains("stop the server first"), "{error}");
    natter.stop();
    let error = stderr_of(&launch.run(&["secret", "reset"]));
    assert!(error.contains("the password secret exists"), "{error}");

    let kept = fs::read(&secret).expect("a secret");
    fs::remove_file(&secret).expect("removed");
    let before = fs::read(data.join("natter.db")).expect("a database");
    check_refused(&launch, LOST, "data holds members", "Restore the file");
    assert!(!secret.exists(), "nothing was made");
    assert_eq!(fs::read(data.join("natter.db")).expect("a database"), before);

    // Both remedies: the file, or the variable.
    let kept = String::from_utf8(kept).expect("text");
    launch.clone().with(&[("PASSWORD_SECRET", kept.trim())]).start().stop();
    fs::write(&secret, &kept).expect("written");
    let natter = launch.start();
    let body = r#"{"email":"ann@example.org","password":"correct horse ann's"}"#;
    let mut http = Http::connect(natter.address);
    assert_eq!(http.ask("POST", "/api/v1/user/sign-in", &[], Some(body)).expect("a response").status, 200);
    natter.stop();

    // The other two keys are made again, with a log line: sessions end, passwords stay valid.
    for key in ["access_secret", "refresh_secret"] {
        fs::remove_file(data.join(key)).expect("removed");
    }
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    assert_eq!(http.ask_as(&ann, "GET", "/api/v1/user/me", None).expect("a response").status, 401);
    assert_eq!(http.ask("POST", "/api/v1/user/sign-in", &[], Some(body)).expect("a response").status, 200);
    let log = natter.stop();
    assert_eq!(
        log.iter().filter(|line| line.contains("was lost, and a new one is made")).count(),
        2,
        "{log:#?}"
    );
}

#[test]
fn after_a_reset_members_sign_in_by_codes() {
    let dir = TestDir::new();
    let data = dir.path().join("data");
    let launch = Launch::new(dir.path());
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    let ann = http.sign_up("ann");
    natter.stop();
    let mails = data.join("mail.mbox");
    let verification = fs::read_to_string(&mails).ok().and_then(|text| code_in(&text));
    fs::remove_file(data.join("password_secret")).expect("removed");
    let text = stdout_of(&launch.run(&["secret", "reset"]));
    assert!(text.contains("has a new password_secret") && text.contains("mail.mbox"), "{text}");
    let acts = stdout_of(&launch.run(&["audit"]));
    assert!(acts.lines().next().is_some_and(|act| act.ends_with("operator secret.reset -")), "{acts}");
    let _ = fs::remove_file(&mails);

    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    // Existing sessions continue; old passwords and old codes are wrong.
    assert_eq!(http.ask_as(&ann, "GET", "/api/v1/user/me", None).expect("a response").status, 200);
    if let Some(code) = verification {
        let body = format!(r#"{{"code":"{code}"}}"#);
        let checked =
            http.ask_as(&ann, "POST", "/api/v1/user/verify/check", Some(&body)).expect("a response");
        assert_eq!((checked.status, checked.code()), (400, "code_wrong".into()));
    }
    let sign_in = |http: &mut Http, password: &str| {
        let body = format!(r#"{{"email":"ann@example.org","password":"{password}"}}"#);
        http.ask("POST", "/api/v1/user/sign-in", &[], Some(&body)).expect("a response").status
    };
    assert_eq!(sign_in(&mut http, "correct horse ann's"), 401);
    let asked = http
        .ask("POST", "/api/v1/user/reset/code", &[], Some(r#"{"email":"ann@example.org"}"#))
        .expect("a response");
    assert_eq!(asked.status, 201);
    until("the mail is written", || code_in(&fs::read_to_string(&mails).unwrap_or_default()).is_some());
    let code = code_in(&fs::read_to_string(&mails).expect("mails")).expect("a code");
    let body = format!(r#"{{"email":"ann@example.org","code":"{code}","password":"a new battery 7"}}"#);
    let reset = http.ask("POST", "/api/v1/user/reset/password", &[], Some(&body)).expect("a response");
    assert_eq!(reset.status, 200, "{}", reset.text());
    assert_eq!(sign_in(&mut http, "a new battery 7"), 200);
    natter.stop();
}

#[test]
fn a_start_with_another_password_secret_than_its_members_need_is_refused() {
    const WRONG: &str = "the password secret is the wrong one";
    const OTHER: &str = "another-secret-of-forty-three-letters-here-0";
    let dir = TestDir::new();
    let data = dir.path().join("data");
    let launch = Launch::new(dir.path());
    let secret = data.join("password_secret");
    // Without members any secret is right.
    launch.start().stop();
    fs::remove_file(&secret).expect("removed");
    let natter = launch.start();
    Http::connect(natter.address).sign_up("ann");
    natter.stop();
    let right = fs::read(&secret).expect("a secret");
    assert!(launch.run(&["check"]).status.success());

    // A file or a variable: a start, a check and a command that hashes refuse.
    fs::write(&secret, OTHER).expect("written");
    let with_variable = launch.clone().with(&[("PASSWORD_SECRET", OTHER)]);
    for launch in [&launch, &with_variable] {
        check_refused(launch, WRONG, "holds members", "Restore the right file");
    }
    // A restore says so too.
    stdout_of(&launch.run(&["backup", "backup.tar"]));
    let other = launch.clone().with(&[("DATA_DIR", "other")]);
    let text = stdout_of(&other.run(&["restore", "backup.tar"]));
    assert!(
        text.contains("PASSWORD_SECRET is not the one that the passwords of this database need"),
        "{text}"
    );
    assert!(stderr_of(&other.run(&["check"])).contains(WRONG));

    // The right file, or a reset, which accepts the secret that is there.
    fs::write(&secret, right).expect("written");
    launch.start().stop();
    let text = stdout_of(&other.run(&["secret", "reset"]));
    assert!(text.contains("now uses the present password secret"), "{text}");
    assert_eq!(fs::read(dir.path().join("other/password_secret")).expect("a secret"), OTHER.as_bytes());
    let error = stderr_of(&other.run(&["secret", "reset"]));
    assert!(error.contains("the password secret exists"), "{error}");
    other.start().stop();
}
