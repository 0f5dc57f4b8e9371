//! Three nats-servers as one cluster: free ports on 127.0.0.1, a folder each, and an end with their value.
//!
//! Owns configuration files, processes and signals. Invariant: no server outlives the value.

#![allow(dead_code, reason = "the tests of the log and the campaign use different parts")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use natter::proto::nats::jetstream::{Holder, read_stream};
use natter::proto::nats::{Server, Servers as List};

/// A server that is stopped does not answer.
const MONITOR_MAX: Duration = Duration::from_secs(2);

/// On how many processors a server runs Go code at once. Three servers and three natters share the machine: where it has two cores, servers
/// that use both wait for a core longer than they run.
const PROCESSORS: &str = "1";

/// How the servers are configured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    /// One of them syncs only now and then.
    pub one_is_lazy: bool,
    /// They demand TLS of their clients.
    pub tls: bool,
}

/// Where a process of a test runs.
#[derive(Clone, Debug)]
pub struct Site {
    pub host: Ipv4Addr,
    /// A program and its arguments that become the process.
    pub wrapper: Vec<String>,
    /// Its data, if not in a temporary folder of this machine.
    pub folder: Option<PathBuf>,
}

impl Default for Site {
    fn default() -> Site {
        Site { host: Ipv4Addr::LOCALHOST, wrapper: Vec::new(), folder: None }
    }
}

pub struct Servers {
    folder: PathBuf,
    binary: PathBuf,
    sites: [Site; 3],
    ports: Vec<u16>,
    children: Vec<Option<Child>>,
}

/// The program, or the sentence that the test is left out.
pub fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(std::env::var_os("GOPATH").map(|path| PathBuf::from(path).join("bin")));
    folders.extend(std::env::var_os("HOME").map(|path| PathBuf::from(path).join("go/bin")));
    let found = folders.into_iter().map(|folder| folder.join("nats-server")).find(|path| path.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os("NATTER_REQUIRE_NATS").is_none(),
            "no nats-server, and NATTER_REQUIRE_NATS is set"
        );
        eprintln!("left out: there is no nats-server in PATH, GOPATH/bin or ~/go/bin");
    }
    found
}

impl Servers {
    /// `None` if there is no program.
    pub fn start(wish: Wish) -> Option<Servers> {
        Servers::start_at(wish, Default::default())
    }

    /// The same, each at its place.
    pub fn start_at(wish: Wish, sites: [Site; 3]) -> Option<Servers> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let binary = find()?;
        let name = format!("natter-log-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        // All are bound at once, so that they differ; the servers bind them again at once.
        let listeners: Vec<TcpListener> =
            (0..9).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let ports: Vec<u16> =
            listeners.iter().map(|listener| listener.local_addr().expect("an address").port()).collect();
        drop(listeners);
        let routes: Vec<String> = sites
            .iter()
            .zip(&ports[3..6])
            .map(|(site, port)| format!("\"nats://{}:{port}\"", site.host))
            .collect();
        for (index, Site { host, folder: its_folder, .. }) in sites.iter().enumerate() {
            let store = its_folder.clone().unwrap_or_else(|| folder.join(format!("{index}")));
            let certificates = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates");
            let tls = match wish.tls {
                true => format!(
                    "tls {{ cert_file: \"{certificates}/p256.pem\", key_file: \"{certificates}/p256.key.pem\" }}\n"
                ),
                false => String::new(),
            };
            let sync = if wish.one_is_lazy && index == 1 { "\"2m\"" } else { "always" };
            let text = format!(
                "server_name: n{index}\n{tls}listen: \"{host}:{}\"\nhttp: \"{host}:{}\"\n\
                 jetstream {{ store_dir: \"{}\", sync_interval: {sync} }}\n\
                 cluster {{ name: test, listen: \"{host}:{}\", routes: [{}] }}\n\
                 accounts {{\n\
                 SYS {{ users: [{{ user: sys, password: syspw }}] }}\n\
                 APP {{ jetstream: enabled, users: [{{ user: app, password: apppw }}] }}\n\
                 }}\nsystem_account: SYS\n",
                ports[index],
                ports[6 + index],
                store.display(),
                ports[3 + index],
                routes.join(", "),
            );
            fs::write(folder.join(format!("{index}.conf")), text).expect("a file");
        }
        let mut servers = Servers { folder, binary, sites, ports, children: vec![None, None, None] };
        (0..3).for_each(|index| servers.revive(index));
        Some(servers)
    }

    pub fn port(&self, index: usize) -> u16 {
        self.ports[index]
    }

    /// Where clients connect.
    pub fn address(&self, index: usize) -> SocketAddr {
        SocketAddr::from((self.sites[index].host, self.port(index)))
    }

    /// Where a server tells what it is.
    pub fn monitor(&self, index: usize) -> String {
        format!("http://{}:{}/varz", self.sites[index].host, self.ports[6 + index])
    }

    /// Of those that run.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.children.iter().flatten().map(Child::id)
    }

    /// All of them for a client, this one first.
    pub fn list(&self, first: usize, tls: bool) -> List {
        let server =
            |index: usize| Server { host: "127.0.0.1".to_owned(), port: self.port((first + index) % 3), tls };
        List::new((0..3).map(server).collect()).expect("three")
    }

    /// Publishes one message to a server as the user of natter, and waits for the reply.
    pub fn request(&self, index: usize, subject: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port(index))).expect("a connection");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        let login = r#"{"verbose":false,"user":"app","pass":"apppw"}"#;
        let asked = format!("CONNECT {login}\r\nSUB in 1\r\nPUB {subject} in {}\r\n{body}\r\n", body.len());
        socket.write_all(asked.as_bytes()).expect("written");
        let mut lines = BufReader::new(socket).lines().map(|line| line.expect("a line"));
        lines.find(|line| line.starts_with("MSG in 1 ")).expect("a reply");
        lines.next().expect("its payload")
    }

    /// The server that leads the stream of the tests, as the server `asked` says.
    pub fn leader(&self, asked: usize) -> usize {
        let info = self.request(asked, "$JS.API.STREAM.INFO.NATTER_c", "");
        let stream = read_stream(info.as_bytes()).expect("a stream");
        let leader = stream.holders.iter().find(|holder| holder.is_leader).expect("a leader");
        leader.name[1..].parse().expect("a number")
    }

    /// Whether all servers are reached, and the leader of the stream hears all others and they have what it has.
    pub fn is_whole(&self, asked: usize) -> bool {
        let info = self.request(asked, "$JS.API.STREAM.INFO.NATTER_c", "");
        let are_reached = (0..3).all(|index| TcpStream::connect(("127.0.0.1", self.port(index))).is_ok());
        let is_current =
            |holder: &Holder| holder.is_leader || !holder.is_offline && holder.silent.as_secs() < 1;
        are_reached
            && read_stream(info.as_bytes())
                .is_ok_and(|stream| stream.holders.len() == 3 && stream.holders.iter().all(is_current))
    }

    /// The server that leads a stream, as the monitoring port of the first server that answers tells.
    pub fn find_leader(&self, stream: &str) -> Option<usize> {
        (0..3).find_map(|index| {
            let text = self.details(index).ok()?;
            let (_, stream) = text.split_once(&format!("\"name\": \"{stream}\""))?;
            let (_, leader) = stream.split_once("\"leader\": \"n")?;
            leader.split('"').next()?.parse().ok()
        })
    }

    /// What its monitoring port tells of the streams.
    fn details(&self, index: usize) -> std::io::Result<String> {
        let address = SocketAddr::from((self.sites[index].host, self.ports[6 + index]));
        let mut stream = TcpStream::connect_timeout(&address, MONITOR_MAX)?;
        stream.set_read_timeout(Some(MONITOR_MAX))?;
        stream.write_all(b"GET /jsz?accounts=true&streams=true HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Starts a server that is not running.
    pub fn revive(&mut self, index: usize) {
        assert!(self.children[index].is_none());
        let log = fs::File::create(self.folder.join(format!("{index}.log"))).expect("a file");
        let mut words = self.sites[index].wrapper.iter();
        let mut command = match words.next() {
            None => Command::new(&self.binary),
            Some(program) => {
                let mut command = Command::new(program);
                command.args(words).arg(&self.binary);
                command
            }
        };
        let child = command
            .arg("-c")
            .arg(self.folder.join(format!("{index}.conf")))
            .env("GOMAXPROCS", PROCESSORS)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nats-server starts");
        self.children[index] = Some(child);
    }

    /// SIGKILL.
    pub fn kill(&mut self, index: usize) {
        let mut child = self.children[index].take().expect("it runs");
        child.kill().expect("a signal");
        child.wait().expect("its end");
    }

    pub fn pause(&self, index: usize) {
        self.signal(index, "STOP");
    }

    pub fn go_on(&self, index: usize) {
        self.signal(index, "CONT");
    }

    fn signal(&self, index: usize, name: &str) {
        let pid = self.children[index].as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().expect("kill");
        assert!(status.success());
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            // It may have ended already; what matters is that it does not run.
            let _ = child.kill();
            let _ = child.wait();
        }
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
