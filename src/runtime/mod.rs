//! Layer 5: the only code that uses the operating system. It performs the server's effects and delivers its inputs.
//!
//! Owns sockets, threads, the clock and signals. Knows no protocol, rule or row.
//! Invariant: one thread runs the server and never blocks on anything but `poll`. The other threads share only bounded
//! queues with it.

mod activation;
mod arrivals;
pub mod background;
#[cfg(feature = "cluster")]
pub mod copies;
pub mod data_dir;
mod disk;
mod event_loop;
mod handshakes;
pub mod in_memory;
mod inbox;
mod indexing;
mod journal;
mod kernel;
mod lanes;
mod listener;
#[cfg(feature = "cluster")]
mod log;
#[cfg(feature = "cluster")]
pub mod nats;
mod notify;
mod parts;
#[cfg(feature = "cluster")]
pub mod peers;
mod queue;
mod read_queue;
mod readers;
mod ready;
#[cfg(feature = "cluster")]
pub mod replica;
pub mod signals;
mod sizes;
mod socket;
mod storage;
#[cfg(test)]
mod testing;
mod threads;
mod workers;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use mio::unix::pipe::Receiver;
use mio::{Interest, Poll, Waker};

use crate::base::open_file::Closer;
use crate::base::send_queue::SendQueue;
use crate::base::time::Now;
use crate::limits::DRAIN_MAX;
use crate::model::measures::Measures;
use crate::proto::tls::server::Acceptor;
use crate::server::contract::{ConnId, Effect, Input, ListenerKind};
#[cfg(feature = "cluster")]
use crate::work::copies::Answerer;
pub use activation::{Assigned, Passed};
use arrivals::ARRIVALS_MAX;
use background::Background;
pub use disk::DatabaseSpace;
use disk::Disk;
use event_loop::{EventLoop, Parts, SIGNALS, WAKER, listener_token};
use handshakes::Handshakes;
use inbox::Inbox;
pub use indexing::Indexes;
pub use journal::is_journal;
pub use kernel::{NICE_UNAWAITED, Unseen, free_bytes, look_up_without_plugins, lower_priority};
use listener::Listener;
pub use notify::Notify;
pub use readers::{Interrupt, Reads};
pub use signals::Asked;
pub use storage::{Database, Storage, Writer, Writes};
pub use workers::{PoolKind, Worker, Workers};

/// Open files in addition to the sockets: database, listeners, uploads in progress, files being sent. If the system allows
/// fewer, `accept` fails and is retried later.
const FILES_SPARE: u64 = 2_048 + ARRIVALS_MAX as u64;

/// The state machine that the loop drives: the server, or a simpler one in the loop's own tests.
pub trait Machine {
    /// Accepts any input, in any order.
    fn handle(&mut self, now: Now, input: Input<'_>);
    fn poll_effect(&mut self) -> Option<Effect>;
    fn next_deadline(&self) -> Option<Instant>;
    /// Changes only while an input is handled. When it becomes true, a `Flush` of that connection follows.
    fn wants_read(&self, conn: ConnId) -> bool;
    /// Whether it is a connection of a member, which is read before those of unknown clients.
    fn is_of_member(&self, conn: ConnId) -> bool;
    fn send_queue(&mut self, conn: ConnId) -> Option<&mut SendQueue>;
    fn is_accepting(&self) -> bool;
    /// Whether it is the address of a trusted proxy, whose connections carry the requests of many people.
    fn is_proxy(&self, peer: IpAddr) -> bool;
    /// After `Drain`: no work is in progress any more.
    fn is_drained(&self) -> bool;
}

/// The source of requests to stop or to reload: signals, or a pipe in tests.
pub trait Stops {
    fn receiver(&mut self) -> &mut Receiver;
    /// What came since the last call.
    fn drain(&mut self) -> Asked;
}

/// What a reload does in addition to what the machine does. It may block.
#[derive(Clone)]
pub struct OnReload(pub Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for OnReload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnReload(..)")
    }
}

impl Stops for signals::Signals {
    fn receiver(&mut self) -> &mut Receiver {
        self.receiver()
    }

    fn drain(&mut self) -> Asked {
        self.drain()
    }
}

/// Where a listener comes from.
#[derive(Debug)]
pub enum Listen {
    /// Port 0 lets the kernel choose.
    Bind(SocketAddr),
    /// The service manager opened it.
    Passed(TcpListener),
}

impl Listen {
    fn open(self, kind: ListenerKind) -> Result<(Listener, SocketAddr), ServeFault> {
        match self {
            Listen::Bind(address) => {
                Listener::tcp(address, kind).map_err(|error| ServeFault::Listen { address, error })
            }
            Listen::Passed(listener) => {
                let opened = Listener::passed(listener, kind)
                    .map_err(|error| ServeFault::System { what: "no use of a passed socket", error })?;
                ::log::info!("the service manager opened {}", opened.1);
                Ok(opened)
            }
        }
    }
}

/// The public listeners.
#[derive(Debug)]
pub struct Listeners {
    /// [`Runtime::address`] returns where it listens.
    pub public: Listen,
    /// Where plain requests are redirected to `public`.
    pub redirect: Option<Listen>,
}

/// The resources that the runtime uses.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// What public connections are accepted with, if they speak TLS.
    pub acceptor: Option<Acceptor>,
    /// The path of the control socket, in a folder whose lock the caller holds.
    pub control: Option<PathBuf>,
    /// The folder of uploads. Its subfolder `tmp` belongs to the runtime.
    pub uploads: PathBuf,
    /// What uploads leave to the database.
    pub database_space: DatabaseSpace,
    /// The maximum of connections the machine accepts: the limit of open files is raised to hold them.
    pub connections_max: usize,
    /// Bytes of uploads that are queued for their files at most.
    pub appends_max: usize,
    /// The service manager's socket, as NOTIFY_SOCKET names it.
    pub notify: Option<Notify>,
    /// Lines of the log that were dropped since the start.
    pub log_dropped: Arc<AtomicU64>,
    pub on_reload: Option<OnReload>,
}

/// Why serving did not start, or ended unexpectedly.
#[derive(Debug)]
pub enum ServeFault {
    /// A public address could not be listened on.
    Listen { address: SocketAddr, error: io::Error },
    /// The control socket could not be listened on.
    Control { path: PathBuf, error: io::Error },
    /// The system refused a resource that every server needs.
    System { what: &'static str, error: io::Error },
    /// A necessary thread ended, or the database must not be used any more.
    Lost(String),
    /// A second signal: the process must end now, with threads still running.
    Forced,
}

impl ServeFault {
    /// The exit status: 1 for a failure of the environment, 130 (128 + SIGINT, as shells report it) after a second signal.
    pub fn exit_code(&self) -> u8 {
        match self {
            ServeFault::Listen { .. }
            | ServeFault::Control { .. }
            | ServeFault::System { .. }
            | ServeFault::Lost(_) => 1,
            ServeFault::Forced => 130,
        }
    }
}

impl fmt::Display for ServeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeFault::Listen { address, error } => {
                write!(f, "can't listen on {address}: {error}")?;
                ways_out(error).iter().try_for_each(|ways| write!(f, ". {ways}"))
            }
            ServeFault::Control { path, error } => write!(f, "can't listen on {}: {error}", path.display()),
            ServeFault::System { what, error } => write!(f, "{what}: {error}"),
            ServeFault::Lost(reason) => write!(f, "natter must stop: {reason}"),
            ServeFault::Forced => f.write_str("stopped at once by a second signal"),
        }
    }
}

impl std::error::Error for ServeFault {}

/// What an operator can do about an address that can't be listened on.
fn ways_out(error: &io::Error) -> Option<&'static str> {
    Some(match error.raw_os_error()? {
        libc::EACCES => {
            "Ports below 1024 need a capability. There are three ways: AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit of \
             the service; socket activation, where the service manager opens the port; or ports from 1024 on in PORT and \
             HTTP_PORT"
        }
        libc::EADDRINUSE => {
            "A socket listens there already (`ss -ltnp` shows whose): end that process, or set another PORT or HTTP_PORT. A \
             port that the service manager opened is used by socket activation only"
        }
        libc::EADDRNOTAVAIL => {
            "No interface of this machine has this address: set HOST to one that `ip address` shows, or to 0.0.0.0 or :: for \
             all"
        }
        libc::EAFNOSUPPORT => {
            "This system does not have this version of IP: set HOST to an address of the other one"
        }
        _ => return None,
    })
}

/// The open resources: bound, not yet serving. New connections wait in the kernel.
pub struct Runtime {
    poll: Poll,
    listeners: Vec<Listener>,
    address: SocketAddr,
    redirect: Option<SocketAddr>,
    inbox: Arc<Inbox>,
    background: Background,
    options: RuntimeOptions,
    #[cfg(feature = "cluster")]
    peers: Option<peers::Peers>,
}

impl Runtime {
    /// Binds all listeners, so that a start that can't succeed fails before a thread runs.
    pub fn bind(listen: Listeners, options: RuntimeOptions) -> Result<Runtime, ServeFault> {
        let system = |what| move |error| ServeFault::System { what, error };
        let files = options.connections_max as u64 + FILES_SPARE;
        let allowed = signals::raise_open_files(files);
        if allowed < files {
            ::log::warn!("{allowed} open files allowed, {files} wanted: raise the hard limit (ulimit -Hn)");
        }
        let poll = Poll::new().map_err(system("no poll"))?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(system("no waker"))?;
        let inbox = Arc::new(Inbox::new(waker));
        let kind = if options.acceptor.is_some() { ListenerKind::Tls } else { ListenerKind::Public };
        let (public, address) = listen.public.open(kind)?;
        let mut listeners = vec![public];
        let mut redirect = None;
        if let Some(from) = listen.redirect {
            let (listener, bound) = from.open(ListenerKind::Redirect)?;
            listeners.push(listener);
            redirect = Some(bound);
        }
        if let Some(path) = &options.control {
            let control =
                Listener::control(path).map_err(|error| ServeFault::Control { path: path.clone(), error })?;
            listeners.push(control);
        }
        for (index, listener) in listeners.iter_mut().enumerate() {
            listener.register(poll.registry(), listener_token(index)).map_err(system("no registration"))?;
        }
        let background = Background::new(Arc::clone(&inbox));
        Ok(Runtime {
            poll,
            listeners,
            address,
            redirect,
            inbox,
            background,
            options,
            #[cfg(feature = "cluster")]
            peers: None,
        })
    }

    /// The public address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The channel of background errors.
    pub fn background(&self) -> Background {
        self.background.clone()
    }

    /// What all threads measure.
    pub fn measures(&self) -> Arc<Measures> {
        Arc::clone(&self.inbox.measures)
    }

    /// The address that was bound for redirects.
    pub fn redirect(&self) -> Option<SocketAddr> {
        self.redirect
    }

    /// Starts the threads of the database. `writes` says what becomes of a write. If a later step of the start fails, dropping the queue
    /// ends them.
    pub fn storage<R: Reads>(
        &self,
        writer: impl Database,
        writes: Writes,
        readers: Vec<R>,
        searcher: R,
        index: impl Indexes,
    ) -> Result<Storage, ServeFault> {
        Storage::start(writer, writes, readers, searcher, index, &self.inbox, &self.background)
            .map_err(|error| ServeFault::System { what: "no thread for storage", error })
    }

    /// Gives what other nodes say to the loop. For the thread of the log.
    #[cfg(feature = "cluster")]
    pub fn hearing(&self, mut hearing: peers::Hearing) -> nats::OnWhisper {
        let inbox = Arc::clone(&self.inbox);
        Box::new(move |sealed| hearing.hear(&inbox, &sealed))
    }

    /// Answers other nodes that give files or ask for them, as long as the process lives.
    #[cfg(feature = "cluster")]
    pub fn answer_copies(&self, listener: TcpListener, answerer: Answerer) -> Result<(), ServeFault> {
        copies::start(listener, answerer, &self.inbox)
            .map_err(|error| ServeFault::System { what: "no thread for the files of other nodes", error })
    }

    /// What the server says reaches these nodes.
    #[cfg(feature = "cluster")]
    pub fn speak(&mut self, peers: peers::Peers) {
        self.peers = Some(peers);
    }

    /// A thread that closes files: no other thread waits for a slow close.
    pub fn closer(&self) -> Result<Closer, ServeFault> {
        threads::closer(&self.inbox)
            .map_err(|error| ServeFault::System { what: "no thread to close files", error })
    }

    /// The set of worker pools, empty at first. [`Workers::add`] adds each.
    pub fn workers(&self) -> Workers {
        Workers::new(&self.inbox, &self.background)
    }

    /// Serves until a signal, then finishes the work in progress. Joins every thread that does not wait for another system.
    pub fn serve(
        self,
        machine: impl Machine,
        signals: impl Stops,
        storage: Storage,
        workers: Workers,
    ) -> Result<(), ServeFault> {
        self.serve_at_most(DRAIN_MAX, machine, signals, storage, workers)
    }

    /// [`Runtime::serve`] with another limit of the time from the signal to the end.
    fn serve_at_most(
        mut self,
        drain_max: Duration,
        machine: impl Machine,
        mut signals: impl Stops,
        storage: Storage,
        workers: Workers,
    ) -> Result<(), ServeFault> {
        let system = |what| move |error| ServeFault::System { what, error };
        let disk = Disk::start(
            &self.options.uploads,
            &self.options.database_space,
            self.options.appends_max,
            &self.inbox,
            &self.background,
        )
        .map_err(system("no folder or thread for uploads"))?;
        let handshakes = match &self.options.acceptor {
            Some(_) => Some(Handshakes::start(&self.inbox).map_err(system("no thread for handshakes"))?),
            None => None,
        };
        self.poll
            .registry()
            .register(signals.receiver(), SIGNALS, Interest::READABLE)
            .map_err(system("no registration"))?;
        EventLoop::new(Parts {
            poll: self.poll,
            machine,
            signals,
            listeners: std::mem::take(&mut self.listeners),
            storage,
            workers,
            disk,
            acceptor: self.options.acceptor,
            handshakes,
            inbox: self.inbox,
            background: self.background,
            notify: self.options.notify,
            log_dropped: self.options.log_dropped,
            on_reload: self.options.on_reload,
            #[cfg(feature = "cluster")]
            peers: self.peers,
            drain_max,
        })
        .run()
    }
}
