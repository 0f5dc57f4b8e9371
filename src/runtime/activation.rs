//! Socket activation: the listening sockets that a service manager opened before it started this process (sd_listen_fds(3)).
//!
//! Owns the variables of that protocol, and which sockets are accepted under which name. Leaves listening to
//! [`Listener`](super::listener::Listener).
//! Invariant: after [`Passed::take`] no variable of the protocol is set and every descriptor is close-on-exec, so a child process
//! gets neither.
#![allow(unsafe_code)]

use std::env;
use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use super::kernel;

/// The first descriptor that is passed (SD_LISTEN_FDS_START).
const FIRST: RawFd = 3;
/// Sockets that have a use: one for PORT, one for HTTP_PORT.
const PASSED_MAX: u16 = 2;
/// All variables of the protocol. LISTEN_PIDFDID is checked by nobody here, since LISTEN_PID is enough.
const VARIABLES: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];

/// What a name says about a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Http,
    Https,
    /// No FileDescriptorName= was set.
    Unnamed,
}

/// The sockets that were passed.
#[derive(Debug, Default)]
pub struct Passed {
    sockets: Vec<(Name, TcpListener)>,
    /// Sockets were passed to another process; the text is for the log.
    pub warning: Option<String>,
}

/// The passed sockets by their use. `None` means that the server binds its own.
#[derive(Debug, Default)]
pub struct Assigned {
    /// Instead of HOST and PORT.
    pub public: Option<TcpListener>,
    /// Instead of HTTP_PORT, which need not be set then.
    pub redirect: Option<TcpListener>,
}

impl Passed {
    /// Takes the sockets of this process. To be called once, before another thread runs and before a file is opened.
    pub fn take() -> Result<Passed, String> {
        let [pid, count, names, _] = VARIABLES.map(env::var_os);
        for name in VARIABLES {
            // SAFETY: no other thread runs yet, so none reads the environment.
            unsafe { env::remove_var(name) };
        }
        let names = match names_for(std::process::id(), pid, count, names) {
            Ok(names) => names,
            Err(NotTaken::Ignored(warning)) => return Ok(Passed { warning, ..Passed::default() }),
            Err(NotTaken::Fault(fault)) => return Err(fault),
        };
        let mut passed = Passed::default();
        for (descriptor, name) in (FIRST..).zip(names) {
            let of_one = |problem: String| format!("LISTEN_FDS: descriptor {descriptor} {problem}");
            // SAFETY: the service manager opened it for this process, which has opened none of its own yet. It is taken once:
            // the variables are gone.
            let socket =
                unsafe { adopt(descriptor) }.map_err(|error| of_one(format!("is not open: {error}")))?;
            passed.sockets.push((name, listening(socket).map_err(of_one)?));
        }
        Ok(passed)
    }

    /// Gives each socket its use.
    pub fn assign(self, has_certificate: bool) -> Result<Assigned, String> {
        let mut assigned = Assigned::default();
        for (name, socket) in self.sockets {
            let slot = match (name, has_certificate) {
                (Name::Http, true) => &mut assigned.redirect,
                (Name::Https, false) => {
                    return Err(
                        "LISTEN_FDNAMES: a socket has the name https, and this server has no certificate (TLS_CERT)".to_owned()
                    );
                }
                (Name::Http, false) | (Name::Https, true) | (Name::Unnamed, _) => &mut assigned.public,
            };
            if slot.replace(socket).is_some() {
                return Err("LISTEN_FDS: two sockets have the same use. FileDescriptorName=http and \
                            FileDescriptorName=https tell them apart; one ListenStream=443 serves IPv4 and IPv6"
                    .to_owned());
            }
        }
        Ok(assigned)
    }
}

enum NotTaken {
    /// With what is to be said about it.
    Ignored(Option<String>),
    Fault(String),
}

/// The names of the sockets for the process `own_pid`, in the order of their descriptors.
fn names_for(
    own_pid: u32,
    pid: Option<OsString>,
    count: Option<OsString>,
    names: Option<OsString>,
) -> Result<Vec<Name>, NotTaken> {
    let fault = |problem: String| NotTaken::Fault(problem);
    let text =
        |name: &str, value: OsString| value.into_string().map_err(|_| fault(format!("{name}: is not UTF-8")));
    let Some(count) = count else { return Err(NotTaken::Ignored(None)) };
    // The variables of a parent that did not remove them, or of a shell that starts natter without `exec`.
    let pid = pid.map(|pid| text("LISTEN_PID", pid)).transpose()?;
    if pid.as_deref() != Some(own_pid.to_string().as_str()) {
        return Err(NotTaken::Ignored(Some(format!(
            "LISTEN_FDS is not used: its sockets are for process {}, and this is {own_pid}",
            pid.as_deref().unwrap_or("(LISTEN_PID is not set)"),
        ))));
    }
    let count = text("LISTEN_FDS", count)?;
    let count = match count.parse::<u16>() {
        Ok(count) if count <= PASSED_MAX => usize::from(count),
        _ => {
            return Err(fault(format!(
                "LISTEN_FDS: is {count:?}, and at most {PASSED_MAX} sockets have a use"
            )));
        }
    };
    let Some(names) = names else { return Ok(vec![Name::Unnamed; count]) };
    let names = text("LISTEN_FDNAMES", names)?;
    let named: Vec<&str> = if count == 0 { Vec::new() } else { names.split(':').collect() };
    if named.len() != count {
        return Err(fault(format!(
            "LISTEN_FDNAMES: names {} sockets, and LISTEN_FDS is {count}",
            named.len()
        )));
    }
    named.into_iter().map(name).collect()
}

fn name(text: &str) -> Result<Name, NotTaken> {
    match text {
        "http" => Ok(Name::Http),
        "https" => Ok(Name::Https),
        // systemd.socket(5): the default of FileDescriptorName= is the name of the unit.
        "" | "unknown" => Ok(Name::Unnamed),
        unit if unit.ends_with(".socket") => Ok(Name::Unnamed),
        other => Err(NotTaken::Fault(format!(
            "LISTEN_FDNAMES: a socket has the name {other:?}: FileDescriptorName= must be http or https, or not set"
        ))),
    }
}

/// Takes a descriptor, and makes it close-on-exec.
///
/// SAFETY of use: no other code of this process owns the descriptor.
unsafe fn adopt(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: a call without pointers, which fails for a descriptor that is not open.
    if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and the caller says that nobody owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The listener that a descriptor is, or what it is instead.
fn listening(socket: OwnedFd) -> Result<TcpListener, String> {
    let kind =
        kernel::socket_option(&socket, libc::SO_TYPE).map_err(|error| format!("is not a socket: {error}"))?;
    if kind != libc::SOCK_STREAM {
        return Err("is not a stream socket: the unit must set ListenStream=".to_owned());
    }
    let is_listening = kernel::socket_option(&socket, libc::SO_ACCEPTCONN);
    if !is_listening.is_ok_and(|is_listening| is_listening != 0) {
        return Err("does not listen: the unit must not set Accept=yes".to_owned());
    }
    let listener = TcpListener::from(socket);
    // std reads addresses of IPv4 and IPv6 only.
    if listener.local_addr().is_err() {
        return Err("is not a TCP socket: ListenStream= must be a port, or an address and a port".to_owned());
    }
    listener.set_nonblocking(true).map_err(|error| format!("can't be used: {error}"))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpStream, UdpSocket};
    use std::os::unix::net::UnixListener;
    use std::process::{Command, Stdio};

    use crate::base::testing::Folder;

    fn names(pid: &str, count: &str, names: Option<&str>) -> Result<Vec<Name>, String> {
        let names = names.map(OsString::from);
        names_for(7, Some(pid.into()), Some(count.into()), names).map_err(|not| match not {
            NotTaken::Ignored(warning) => warning.unwrap_or_default(),
            NotTaken::Fault(fault) => fault,
        })
    }

    #[test]
    fn the_variables_say_which_sockets_there_are() {
        use Name::{Http, Https};
        for (count, list, expect) in [
            ("0", None, &[][..]),
            ("0", Some(""), &[]),
            ("1", None, &[Name::Unnamed]),
            ("1", Some(""), &[Name::Unnamed]),
            ("1", Some("unknown"), &[Name::Unnamed]),
            ("1", Some("natter.socket"), &[Name::Unnamed]),
            ("1", Some("https"), &[Https]),
            ("2", Some("https:http"), &[Https, Http]),
            ("2", Some("http:"), &[Http, Name::Unnamed]),
        ] {
            assert_eq!(names("7", count, list).as_deref(), Ok(expect), "{count} {list:?}");
        }
        for (pid, count, list, expect) in [
            ("8", "1", None, "for process 8, and this is 7"),
            ("", "1", None, "for process , and this is 7"),
            ("07", "1", None, "and this is 7"),
            ("7", "-1", None, "LISTEN_FDS: is \"-1\""),
            ("7", "3", None, "at most 2"),
            ("7", "many", None, "LISTEN_FDS: is \"many\""),
            ("7", "2", Some("http"), "names 1 sockets, and LISTEN_FDS is 2"),
            ("7", "1", Some("http:https"), "names 2 sockets"),
            ("7", "1", Some("web"), "has the name \"web\""),
            ("7", "1", Some("HTTP"), "has the name \"HTTP\""),
        ] {
            let problem = names(pid, count, list).expect_err(expect);
            assert!(problem.contains(expect), "{problem}");
        }
        assert!(matches!(names_for(7, Some("7".into()), None, None), Err(NotTaken::Ignored(None))));
        let nobody = names_for(7, None, Some("1".into()), None);
        assert!(
            matches!(nobody, Err(NotTaken::Ignored(Some(warning))) if warning.contains("LISTEN_PID is not set"))
        );
    }

    #[test]
    fn only_a_listener_of_tcp_is_accepted() {
        let folder = Folder::new();
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = tcp.local_addr().expect("an address");
        let stream = TcpStream::connect(address).expect("a connection");
        let unix = UnixListener::bind(folder.join("s")).expect("a listener");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let file = std::fs::File::create(folder.join("f")).expect("a file");
        assert_eq!(listening(tcp.into()).map(|tcp| tcp.local_addr().ok()), Ok(Some(address)));
        for (socket, expect) in [
            (OwnedFd::from(stream), "does not listen"),
            (unix.into(), "is not a TCP socket"),
            (udp.into(), "is not a stream socket"),
            (file.into(), "is not a socket"),
        ] {
            let problem = listening(socket).expect_err(expect);
            assert!(problem.starts_with(expect), "{problem}");
        }
    }

    #[test]
    fn a_name_and_a_certificate_give_a_socket_its_use() {
        let assign = |names: &[Name], has_certificate| {
            let socket = || TcpListener::bind("127.0.0.1:0").expect("a listener");
            let sockets = names.iter().map(|name| (*name, socket())).collect();
            let assigned = Passed { sockets, warning: None }.assign(has_certificate);
            assigned.map(|assigned| (assigned.public.is_some(), assigned.redirect.is_some()))
        };
        use Name::{Http, Https};
        for (names, has_certificate, expect) in [
            (&[][..], true, (false, false)),
            (&[Name::Unnamed], false, (true, false)),
            (&[Name::Unnamed], true, (true, false)),
            (&[Http], false, (true, false)),
            (&[Http], true, (false, true)),
            (&[Https], true, (true, false)),
            (&[Http, Https], true, (true, true)),
            (&[Name::Unnamed, Http], true, (true, true)),
        ] {
            assert_eq!(assign(names, has_certificate), Ok(expect), "{names:?}");
        }
        assert!(assign(&[Https], false).is_err_and(|problem| problem.contains("no certificate")));
        for (names, has_certificate) in [
            (&[Http, Http][..], true),
            (&[Https, Https], true),
            (&[Https, Name::Unnamed], true),
            (&[Http, Name::Unnamed], false),
            (&[Name::Unnamed, Name::Unnamed], true),
        ] {
            let problem = assign(names, has_certificate).expect_err("twice");
            assert!(problem.contains("two sockets have the same use"), "{names:?}");
        }
    }

    /// This test runs itself in a process that gets a listener, and there looks at what a child of that process gets.
    #[test]
    fn a_child_process_gets_neither_variables_nor_sockets() {
        const NAME: &str = "runtime::activation::tests::a_child_process_gets_neither_variables_nor_sockets";
        if env::var_os("LISTEN_FDS").is_none() {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
            let own = env::current_exe().expect("a path");
            let output = Command::new("sh")
                .args([
                    "-c",
                    "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http exec \"$@\"",
                    "sh",
                ])
                .arg(own)
                .args(["--exact", NAME, "--nocapture"])
                .stdin(Stdio::from(OwnedFd::from(listener)))
                .output()
                .expect("a shell");
            assert!(output.status.success(), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
            return;
        }
        let passed = Passed::take().expect("a socket");
        assert!(passed.warning.is_none(), "{passed:?}");
        let assigned = passed.assign(false).expect("a use");
        assert!(assigned.public.is_some());
        let seen = Command::new("sh").args(["-c", "env; true 2>/dev/null <&3 && echo inherited"]).output();
        let seen = String::from_utf8(seen.expect("a shell").stdout).expect("UTF-8");
        assert!(!seen.contains("LISTEN_") && !seen.contains("inherited"), "{seen}");
        assert!(Passed::take().expect("nothing").sockets.is_empty());
    }
}
