//! SIGHUP: what it reloads, and when it ends the server instead.

use std::fs;
use std::process::Command;

use super::support::TestDir;
use super::support::net::Http;
use super::support::process::{Launch, Signal};
use super::until;

/// A session of its own has no controlling terminal, and SIGHUP has its default effect, whatever the tests were started from.
pub const DETACHED: &[&str] = &["env", "--default-signal=HUP", "setsid"];

pub fn is_detachable() -> bool {
    let found = Command::new(DETACHED[0]).args(&DETACHED[1..]).arg("true").status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        println!("SKIPPED: env(1) has no --default-signal here, or setsid is not installed");
    }
    found
}

#[test]
fn sighup_reads_the_log_level_again_from_the_file() {
    if !is_detachable() {
        return;
    }
    let dir = TestDir::new();
    let env_file = dir.path().join(".env");
    fs::write(&env_file, "LOG_LEVEL=warn,natter=info\n").expect("a file");
    let mut natter = Launch::new(dir.path()).by(DETACHED).start();
    let mut http = Http::connect(natter.address);
    let ask = |http: &mut Http| {
        assert_eq!(http.ask("GET", "/healthz", &[], None).expect("a response").status, 200);
    };
    ask(&mut http);
    natter.wait_for_line("route=healthz");
    fs::write(&env_file, "LOG_LEVEL=natter=info,natter::access=off\n").expect("a file");
    natter.signal(Signal::Hup);
    // The file is read by a thread: at some point no line of a request appears any more.
    natter.wait_for_line("reloading");
    until("requests are not logged", || {
        natter.log();
        ask(&mut http);
        ask(&mut http);
        let before = natter.log().len();
        ask(&mut http);
        ask(&mut http);
        natter.log().len() == before
    });
    // A fault keeps what is.
    fs::write(&env_file, "LOG_LEVEL=loud\n").expect("a file");
    natter.signal(Signal::Hup);
    natter.wait_for_line("LOG_LEVEL stays as it is");
    fs::write(&env_file, "LOG_LEVEL=debug\n").expect("a file");
    natter.signal(Signal::Hup);
    natter.wait_for_line("reloading");
    until("requests are logged", || {
        ask(&mut http);
        natter.log().iter().any(|line| line.contains("DEBUG")) || {
            drop(Http::connect(natter.address));
            natter.log().iter().any(|line| line.contains("DEBUG"))
        }
    });
    // The connection was open all the time.
    ask(&mut http);
    natter.stop();
}

#[test]
fn a_level_of_the_environment_stays_and_an_ignored_sighup_stays_ignored() {
    if !is_detachable() {
        return;
    }
    let dir = TestDir::new();
    fs::write(dir.path().join(".env"), "LOG_LEVEL=off\n").expect("a file");
    let mut natter = Launch::new(dir.path()).with(&[("LOG_LEVEL", "info")]).by(DETACHED).start();
    natter.signal(Signal::Hup);
    natter.wait_for_line("reloading");
    let mut http = Http::connect(natter.address);
    assert_eq!(http.ask("GET", "/healthz", &[], None).expect("a response").status, 200);
    natter.wait_for_line("route=healthz");
    natter.stop();

    let dir = TestDir::new();
    let mut natter = Launch::new(dir.path()).by(&["nohup"]).start();
    natter.signal(Signal::Hup);
    let mut http = Http::connect(natter.address);
    assert_eq!(http.ask("GET", "/healthz", &[], None).expect("a response").status, 200);
    assert!(!natter.log().iter().any(|line| line.contains("reloading")), "{:#?}", natter.log());
    natter.stop();
}

/// Starts its arguments in a terminal of their own, except for standard error, and closes the terminal at SIGHUP.
const IN_A_TERMINAL: &str = "
import os, pty, signal, sys
stderr = os.dup(2)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
pid, terminal = pty.fork()
if pid == 0:
    os.dup2(stderr, 2)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
    os.execv(sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGHUP, lambda *_: os.close(terminal))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[test]
fn a_server_in_a_terminal_ends_with_it() {
    let python = Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: python3 is not installed");
        return;
    }
    let dir = TestDir::new();
    let mut natter = Launch::new(dir.path()).by(&["python3", "-c", IN_A_TERMINAL]).start();
    natter.signal(Signal::Hup);
    assert_eq!(natter.wait().code(), Some(0), "{:#?}", natter.log());
}
