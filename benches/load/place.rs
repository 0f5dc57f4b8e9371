//! The server under load: one that is started here, or one that the user names.
//!
//! Owns the server's process and folder, the accounts of the load, and what they prepare over HTTP. Invariant: a server of its own ends with
//! the value and leaves nothing; of a named server the accounts are deleted at the end, unless they are to be kept.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::TestDir;
use crate::support::process::{Launch, Natter};

use super::http::Http;
use super::line::{Target, Tls};
use super::shims::shim;

/// Accounts that sign up at the same time.
const THREADS: usize = 4;
const PASSWORD: &str = "correct horse of the load tool";
/// What a server of our own is set to, so that one machine may be all clients. Its durability is the default.
const ENV: [(&str, &str); 9] = [
    ("LOG_LEVEL", "info,natter::access=warn"),
    ("CONNECTIONS_PER_ADDRESS", "100000"),
    ("CONNECTIONS_MAX", "20000"),
    ("MEMBERS_MAX", "20000"),
    ("UPLOAD_QUOTA", "1099511627776"),
    ("UPLOAD_FILES_MAX", "1000000"),
    ("ACCESS_TTL", "86400"),
    ("RATE_LIMIT", "off"),
    ("ARGON2", "1024,1,1"),
];

/// Milliseconds that each sync of the server takes longer, by the library `slow_disk`.
pub const SLOW_DISK: &str = "SLOW_DISK_MS";

#[derive(Clone, Debug)]
pub struct Member {
    pub email: String,
    pub profile: String,
    pub access: String,
}

struct Local {
    natter: Natter,
    launch: Launch,
    /// Its data, which is removed with the value.
    _dir: TestDir,
}

pub struct Place {
    pub target: Target,
    local: Option<Local>,
    /// In the addresses of the accounts, so that two runs do not meet.
    run: String,
    members: Vec<Member>,
}

impl Place {
    /// Starts a server on loopback, with these settings in addition.
    pub fn start(binary: Option<&Path>, env: &[(&str, &str)]) -> io::Result<Place> {
        let dir = TestDir::new();
        // One port for all starts, as clients expect of a server.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        let mut launch = Launch::bare(dir.path()).with(&ENV).with(&[("PORT", &port)]).with(env);
        if let Some(binary) = binary {
            launch = launch.of(binary);
        }
        launch.env.retain(|_, value| !value.is_empty()); // an empty one is the server's default
        if launch.env.contains_key(SLOW_DISK) {
            let library = shim(dir.path(), "slow_disk")
                .ok_or_else(|| io::Error::other("a slow disk needs a C compiler and Linux"))?;
            launch = launch.with(&[("LD_PRELOAD", &library.to_string_lossy())]);
        }
        let natter = launch.start();
        let target = Target { address: natter.address, host: natter.address.to_string(), tls: None };
        let local = Some(Local { natter, launch, _dir: dir });
        Ok(Place { target, local, run: run_name(), members: Vec::new() })
    }

    /// A server that runs already, such as `https://chat.example.org`; `ca` is a file with an authority that is trusted in addition.
    pub fn named(url: &str, ca: Option<&Path>) -> io::Result<Place> {
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| io::Error::other("--url needs https://…"))?;
        let host = rest.trim_end_matches('/').to_owned();
        let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name).to_owned();
        let port: u16 = match (host.rsplit_once(':'), scheme) {
            (Some((_, port)), _) => port.parse().map_err(io::Error::other)?,
            (None, "http") => 80,
            (None, _) => 443,
        };
        let mut addresses = (name.trim_matches(['[', ']']), port).to_socket_addrs()?;
        let address: SocketAddr = addresses.next().ok_or_else(|| io::Error::other("no address"))?;
        let tls = match scheme {
            "https" => Some(trust(&name, ca)?),
            "http" => None,
            _ => return Err(io::Error::other("--url needs https:// or http://")),
        };
        let target = Target { address, host, tls };
        Ok(Place { target, local: None, run: run_name(), members: Vec::new() })
    }

    pub fn is_local(&self) -> bool {
        self.local.is_some()
    }

    /// The server, if it was started here.
    pub fn natter(&self) -> Option<&Natter> {
        self.local.as_ref().map(|local| &local.natter)
    }

    pub fn cpu_time(&self) -> Option<Duration> {
        self.natter().map(Natter::cpu_time)
    }

    pub fn memory_kib(&self) -> Option<u64> {
        self.natter().and_then(|natter| natter.memory_kib("VmRSS:"))
    }

    /// Waits until a server of our own has no background work.
    pub fn wait_until_idle(&self) {
        if let Some(natter) = self.natter() {
            natter.wait_until_idle(super::line::CALL_MAX);
        }
    }

    /// Kills a server of our own and starts it again. Returns how long that took.
    pub fn crash(&mut self) -> Option<Duration> {
        let local = self.local.as_mut()?;
        let began = std::time::Instant::now();
        local.natter.kill();
        local.natter = local.launch.start();
        Some(began.elapsed())
    }

    pub fn http(&self) -> Http {
        Http::new(&self.target)
    }

    /// New accounts.
    pub fn members(&mut self, count: usize) -> io::Result<Vec<Member>> {
        let from = self.members.len();
        let numbers: Vec<usize> = (from..from + count).collect();
        let (target, run) = (&self.target, self.run.as_str());
        let made = std::thread::scope(|scope| {
            let sign_up = |numbers: &[usize]| -> io::Result<Vec<Member>> {
                let mut http = Http::new(target);
                numbers.iter().map(|number| sign_up(&mut http, &format!("load-{run}-{number}"))).collect()
            };
            let threads: Vec<_> = numbers
                .chunks(count.div_ceil(THREADS).max(1))
                .map(|numbers| scope.spawn(move || sign_up(numbers)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a thread that signs up"))
                .collect::<io::Result<Vec<Vec<Member>>>>()
        })?
        .concat();
        self.members.extend(made.iter().cloned());
        Ok(made)
    }

    /// A group of these, made by the first one. Returns its id.
    pub fn group(&self, members: &[Member]) -> io::Result<String> {
        let others: Vec<String> = members[1..].iter().map(|it| format!("\"{}\"", it.profile)).collect();
        let body = format!(r#"{{"title":"load","members":[{}]}}"#, others.join(","));
        let made = self.http().ask("POST", "/api/v1/conversations", &members[0].access, &body)?.good()?;
        Ok(made.at("/data/id"))
    }

    /// Another session of an account.
    #[cfg(feature = "tls")]
    pub fn sign_in(&self, member: &Member) -> io::Result<Member> {
        let answer = self.http().ask("POST", "/api/v1/user/sign-in", "", &sign_in_body(member))?.good()?;
        Ok(Member { access: answer.at("/data/token/access"), ..member.clone() })
    }

    /// The value of one series of `/metrics`, which is the operator's: of a server of our own only.
    #[cfg(feature = "tls")]
    pub fn metric(&self, name: &str) -> io::Result<u64> {
        let metrics = self.http().ask("GET", "/metrics", "", "")?.good()?;
        Ok(crate::support::http::series(&String::from_utf8_lossy(&metrics.body), name))
    }

    /// Ends the load. Returns how many accounts stay at a named server.
    pub fn end(mut self, keeps_accounts: bool) -> usize {
        if let Some(local) = self.local.take() {
            local.natter.stop();
            return 0;
        }
        let mut http = self.http();
        let body = format!(r#"{{"password":"{PASSWORD}","messages":"erase"}}"#);
        let mut is_left = |member: &Member| {
            keeps_accounts
                || !http
                    .ask("DELETE", "/api/v1/user/me", &member.access, &body)
                    .is_ok_and(|answer| answer.status == 204)
        };
        self.members.iter().filter(|member| is_left(member)).count()
    }
}

pub fn sign_in_body(member: &Member) -> String {
    format!(r#"{{"email":"{}","password":"{PASSWORD}"}}"#, member.email)
}

fn sign_up(http: &mut Http, name: &str) -> io::Result<Member> {
    let email = format!("{name}@example.org");
    let body = format!(r#"{{"display_name":"{name}","email":"{email}","password":"{PASSWORD}"}}"#);
    let answer = http.ask("POST", "/api/v1/user/sign-up", "", &body)?;
    let answer = answer.good().map_err(|error| {
        io::Error::other(format!(
            "no account ({error}); the server needs SIGN_UP=open, and RATE_LIMIT=off for one machine that is many people"
        ))
    })?;
    Ok(Member { email, profile: answer.at("/data/profile/id"), access: answer.at("/data/token/access") })
}

fn run_name() -> String {
    // Two places of one process may begin in the same millisecond: two nodes of a cluster do.
    static PLACES: AtomicU32 = AtomicU32::new(0);
    let place = PLACES.fetch_add(1, Ordering::Relaxed);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}-{place}", since.as_millis(), std::process::id())
}

#[cfg(feature = "tls")]
fn trust(name: &str, ca: Option<&Path>) -> io::Result<Tls> {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca {
        let read = rustls::pki_types::CertificateDer::from_pem_file(path).map_err(io::Error::other)?;
        roots.add(read).map_err(io::Error::other)?;
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    Ok((std::sync::Arc::new(config), name))
}

#[cfg(not(feature = "tls"))]
fn trust(_: &str, _: Option<&Path>) -> io::Result<Tls> {
    Err(io::Error::other("this build is without the feature tls"))
}

/// CPU time of a process, by its number or `self`; zero if there is no `/proc`.
pub fn cpu_time(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // After the name in parentheses, which may have any characters: utime and stime, in ticks of 10 ms.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
