//! Runs the real binary for a test: one process in one folder, on a port that the kernel chooses.
//!
//! Owns the start, signals and the lines of stderr. Invariant: the process ends with its value.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::net::PATIENCE;

/// How to run the binary.
#[derive(Clone, Debug)]
pub struct Launch {
    pub binary: PathBuf,
    /// Its working directory: `data` in it is DATA_DIR, unless `env` says otherwise.
    pub folder: PathBuf,
    pub env: BTreeMap<String, String>,
    /// A program and its arguments that run the binary.
    pub wrapper: Vec<String>,
}

impl Launch {
    /// The binary of this build, no rate limits, cheap password hashes, a free port.
    pub fn new(folder: &Path) -> Launch {
        let env = [("PORT", "0"), ("RATE_LIMIT", "off"), ("ARGON2", "1024,1,1")];
        Launch::bare(folder).with(&env)
    }

    /// The binary of this build with only a free port set.
    pub fn bare(folder: &Path) -> Launch {
        let binary = std::env::var_os("NATTER_BIN")
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_natter")), PathBuf::from);
        Launch { binary, folder: folder.to_owned(), env: BTreeMap::new(), wrapper: Vec::new() }
            .with(&[("PORT", "0")])
    }

    pub fn with(mut self, env: &[(&str, &str)]) -> Launch {
        self.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    /// Another binary.
    pub fn of(mut self, binary: &Path) -> Launch {
        self.binary = binary.to_owned();
        self
    }

    /// Runs the binary by another program, which becomes it.
    pub fn by(mut self, wrapper: &[&str]) -> Launch {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match self.wrapper.split_first() {
            None => Command::new(&self.binary),
            Some((program, words)) => {
                let mut command = Command::new(program);
                command.args(words).arg(&self.binary);
                command
            }
        };
        // The environment of the test runner has no influence.
        command.args(arguments).env_clear().envs(&self.env).current_dir(&self.folder);
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().expect("the binary runs")
    }

    /// Runs a command that reads `input` from stdin. One that succeeds without reading may end before it is written.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        // A command that fails early may not read its input: this is not an error of the test.
        let written = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("the binary ends");
        assert!(written.is_ok() || !output.status.success(), "{written:?}");
        output
    }

    /// Starts a server and waits for its start-up line.
    pub fn start(&self) -> Natter {
        self.start_with(&[])
    }

    /// The same with arguments. With NATTER_OVER_TLS in the environment of the tests the server speaks TLS, and the address is
    /// that of a forwarder to it, so that every test of the process can be run over TLS.
    pub fn start_with(&self, arguments: &[&str]) -> Natter {
        #[cfg(feature = "tls")]
        let brings_its_own = ["TLS_CERT", "TLS_DOMAIN"].iter().any(|name| self.env.contains_key(*name));
        #[cfg(feature = "tls")]
        if is_over_tls() && !brings_its_own {
            let mut launch = super::tls::secure_in_place(self.clone());
            let port = launch.env.get("PORT").and_then(|port| port.parse().ok());
            // The port of an earlier server, as a test knows it, is that of the forwarder to it.
            let forwarded = port.and_then(super::tls::forwarded_by);
            if let Some(server) = forwarded {
                launch = launch.with(&[("PORT", &server.port().to_string())]);
            }
            let mut natter = launch.start_here(arguments);
            natter.address = match (forwarded, port) {
                (Some(_), Some(port)) => SocketAddr::from(([127, 0, 0, 1], port)),
                _ => super::tls::forward_to(natter.address),
            };
            return natter;
        }
        self.start_here(arguments)
    }

    fn start_here(&self, arguments: &[&str]) -> Natter {
        self.spawn_with(arguments, [Stdio::null(), Stdio::null(), Stdio::piped()]).started()
    }

    /// Starts a process without waiting for anything.
    pub fn spawn(&self, stderr: Stdio) -> Natter {
        self.spawn_with(&[], [Stdio::null(), Stdio::null(), stderr])
    }

    /// Starts a process that gets these sockets as a service manager passes them: at most two, as descriptors from 3 on.
    /// `variables` sets the rest of the protocol, such as `LISTEN_FDNAMES=http`.
    pub fn spawn_with_sockets(&self, sockets: Vec<OwnedFd>, variables: &str) -> Natter {
        // A program gets no other descriptors from std than these three.
        let (count, mut sockets) = (sockets.len(), sockets.into_iter().map(Stdio::from));
        let mut next = || sockets.next().unwrap_or_else(Stdio::null);
        let (first, second) = (next(), next());
        assert!(sockets.next().is_none());
        let script = format!(
            "exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ LISTEN_FDS={count} {variables} exec \"$@\""
        );
        self.clone().by(&["sh", "-c", &script, "sh"]).spawn_with(&[], [first, second, Stdio::piped()])
    }

    fn spawn_with(&self, arguments: &[&str], [stdin, stdout, stderr]: [Stdio; 3]) -> Natter {
        let mut command = self.command(arguments);
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        let mut child = command.spawn().expect("the binary starts");
        let (tx, lines) = channel();
        if let Some(stderr) = child.stderr.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    if tx.send(line).is_err() {
                        return; // the test has ended; the pipe is closed with the reader
                    }
                }
            });
        }
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Natter { child, address, lines, log: Vec::new() }
    }
}

/// Whether [`Launch::start`] starts servers with TLS.
pub fn is_over_tls() -> bool {
    std::env::var_os("NATTER_OVER_TLS").is_some()
}

/// Whether a test is left out since a forwarder can't pass on what it is about; says so.
pub fn is_left_out_over_tls(what: &str) -> bool {
    if is_over_tls() {
        println!("SKIPPED: over TLS {what}");
    }
    is_over_tls()
}

/// The address in a start-up line.
pub fn address_in(line: &str) -> SocketAddr {
    let (_, rest) = line.split_once("://").expect("an address");
    let end = rest.find([',', ' ', '/']).unwrap_or(rest.len());
    rest[..end].parse().expect("an address of numbers")
}

/// A running server.
pub struct Natter {
    child: Child,
    pub address: SocketAddr,
    lines: Receiver<String>,
    log: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
pub enum Signal {
    Term,
    Int,
    Hup,
    Kill,
    /// The process stops until it gets SIGCONT.
    Stop,
    Continue,
}

impl Natter {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its start-up line.
    pub fn started(mut self) -> Natter {
        let line = self.wait_for_line(" listens on http");
        self.address = address_in(&line);
        self
    }

    /// The next line of the log that contains `text`.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.log.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no line with {text:?}: {:#?}", self.log),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("it ended without a line with {text:?}: {:#?}", self.log)
                }
            }
        }
    }

    /// All lines until the process ended, or until now.
    pub fn log(&mut self) -> &[String] {
        self.log.extend(self.lines.try_iter());
        &self.log
    }

    pub fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Term => "TERM",
            Signal::Int => "INT",
            Signal::Hup => "HUP",
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        };
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}");
    }

    /// The exit status; the process must end soon.
    pub fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                // The reader of stderr ends with the process: then all lines have arrived.
                self.log.extend(self.lines.iter());
                return status;
            }
            assert!(Instant::now() < until, "it did not end: {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(2)); // between two polls
        }
    }

    /// Closes the reading end of its stderr: from now on writes to it fail.
    pub fn close_stderr(&mut self) {
        self.lines = channel().1;
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Sends SIGKILL, and waits for the end of the process.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("a child");
    }

    /// Sends SIGTERM; the process must end with status 0.
    pub fn stop(mut self) -> Vec<String> {
        self.signal(Signal::Term);
        let status = self.wait();
        assert!(status.success(), "{status}: {:#?}", self.log);
        std::mem::take(&mut self.log)
    }

    /// CPU time that the process has used; zero if there is no `/proc`.
    pub fn cpu_time(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).unwrap_or_default();
        // After the name in parentheses, which may have any characters: utime and stime, in ticks of 10 ms.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks: u64 =
            fields.split_whitespace().skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Waits until it has completed its background work, such as the search index, and says so if that does not come.
    #[allow(dead_code, reason = "only benches measure")]
    pub fn wait_until_idle(&self, patience: Duration) {
        const LOOK: Duration = Duration::from_millis(200);
        let give_up = Instant::now() + patience;
        let mut before = self.cpu_time();
        while Instant::now() < give_up {
            std::thread::sleep(LOOK); // between two looks
            let now = self.cpu_time();
            if now.saturating_sub(before) < LOOK / 20 {
                return;
            }
            before = now;
        }
        eprintln!("the server is busy without any request: the measurements are less exact");
    }

    /// A number of `/proc/<pid>/status`, in KiB; `None` if there is no such file.
    pub fn memory_kib(&self, name: &str) -> Option<u64> {
        let mut text = String::new();
        let path = format!("/proc/{}/status", self.child.id());
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)).ok()?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
}

impl Drop for Natter {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
