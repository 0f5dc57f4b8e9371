//! One server, and everything that can happen to it.
//!
//! Its disk is two libraries that are loaded into it: one that can be full or broken (`shim/quota.c`), and one that knows what a power cut
//! would leave (`shim/forgetful_disk.c`). As root its data is on an image, too, whose power can really be cut. Owns the process, the disk and
//! the checks of the database. Invariant: a fault that has ended has left nothing but what the server must bear.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::super::shims::shim;
use super::super::support::TestDir;
use super::super::support::process::{Launch, Natter, Signal};
use super::{Planted, Wish};

/// Longer than any run, so that nobody has to sign in again.
const ACCESS_TTL: &str = "86400";
/// Bytes of the image. The file is sparse.
#[cfg(feature = "cluster")]
const IMAGE: u64 = 4 << 30;
/// While a disk in memory gets no power.
const DARK: Duration = Duration::from_millis(50);
/// Lines of the log in a report.
const REPORT_LINES: usize = 20;
/// Lets the database forget each `client_id`, so that a repeated post is stored again.
const NO_DEDUPE: &str = "CREATE TRIGGER IF NOT EXISTS planted AFTER INSERT ON messages BEGIN \
     UPDATE messages SET client_low = client_low + 1000000000 + abs(random() % 1000000000) WHERE seq = NEW.seq; END";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill,
    Pause,
    /// It is told to end, drains, and is started again.
    Restart,
    FullDisk,
    FailedWrites,
    /// The next sync of this file fails, and what it should have written is lost.
    FailedSync(&'static str),
    PowerCut,
    /// The same on a real file system.
    ImageCut,
}

impl Fault {
    pub fn kind(self) -> &'static str {
        match self {
            Fault::Kill => "kill -9",
            Fault::Pause => "pause",
            Fault::Restart => "restart by SIGTERM",
            Fault::FullDisk => "full disk",
            Fault::FailedWrites => "writes that fail",
            Fault::FailedSync(_) => "a sync that fails and loses its writes",
            Fault::PowerCut => "power cut: unsynced writes are lost",
            Fault::ImageCut => "power cut of an ext4 image",
        }
    }
}

pub struct Machine {
    launch: Launch,
    running: Option<Natter>,
    address: SocketAddr,
    planted: Option<Planted>,
    /// Whether the libraries are loaded.
    has_disk: bool,
    data: PathBuf,
    /// After `running`, which uses it.
    #[cfg(feature = "cluster")]
    image: Option<super::super::cluster::disks::Disk>,
    dir: TestDir,
}

impl Machine {
    /// `None` if the planted fault can't be planted here.
    pub fn start(wish: &Wish) -> Option<Machine> {
        let dir = TestDir::new();
        let text = |path: &Path| path.to_str().expect("a path").to_owned();
        #[cfg(feature = "cluster")]
        let image = super::super::cluster::room::is_inside()
            .then(|| {
                let (image, mounted) = (dir.path().join("image"), dir.path().join("disk"));
                super::super::cluster::disks::Disk::make(&image, &mounted, IMAGE)
            })
            .flatten();
        #[cfg(feature = "cluster")]
        let data = image.as_ref().map_or_else(|| dir.path().join("data"), |disk| disk.folder());
        #[cfg(not(feature = "cluster"))]
        let data = dir.path().join("data");
        let libraries: Option<Vec<PathBuf>> = match wish.planted {
            Some(Planted::EarlyAnswer) => vec!["early_answer"],
            _ => vec!["quota", "forgetful_disk"],
        }
        .into_iter()
        .map(|name| shim(dir.path(), name))
        .collect();
        let libraries: Vec<String> = libraries.iter().flatten().map(|path| text(path)).collect();
        fs::create_dir(dir.path().join("durable")).expect("a folder");
        // One port for all starts.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
        let mut launch = Launch::new(dir.path()).with(&[
            ("PORT", &port.to_string()),
            ("DATA_DIR", &text(&data)),
            ("ACCESS_TTL", ACCESS_TTL),
            ("LOG_LEVEL", "info,natter::access=warn"),
            ("LD_PRELOAD", &libraries.join(":")),
            ("QUOTA_FOLDER", &text(&data)),
            ("QUOTA_USED_UP", &text(&dir.path().join("used-up"))),
            ("FORGETFUL_DURABLE", &text(&dir.path().join("durable"))),
            ("FORGETFUL_FAIL", &text(&dir.path().join("fail"))),
        ]);
        if wish.planted == Some(Planted::NoSync) {
            launch = launch.with(&[("FORGETFUL_LIES", &text(&dir.path().join("lies")))]);
        }
        let natter = launch_again(&launch, wish.planted, &data);
        let address = natter.address;
        // A static binary loads no library, and this one knows no file then.
        let is_early = wish.planted == Some(Planted::EarlyAnswer);
        let has_disk = is_early || !names(&dir.path().join("durable")).is_empty();
        if !has_disk {
            println!("left out: faults of the disk, which need a C compiler, Linux and a dynamic binary");
            if wish.planted.is_some() {
                return None;
            }
        }
        Some(Machine {
            launch,
            running: Some(natter),
            address,
            planted: wish.planted,
            has_disk,
            data,
            #[cfg(feature = "cluster")]
            image,
            dir,
        })
    }

    /// The people have come: from now on a planted fault is there.
    pub fn begin(&self) {
        if self.planted == Some(Planted::NoSync) {
            fs::write(self.dir.path().join("lies"), "").expect("a file");
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What can happen here. A planted fault is left to the faults that show it.
    pub fn faults(&self) -> Vec<Fault> {
        match self.planted {
            Some(Planted::EarlyAnswer | Planted::NoDedupe) => return vec![Fault::Kill],
            Some(Planted::NoSync) => return vec![Fault::PowerCut],
            None => {}
        }
        let mut faults = vec![Fault::Kill, Fault::Kill, Fault::Pause, Fault::Restart];
        if self.has_disk {
            faults.extend([
                Fault::PowerCut,
                Fault::PowerCut,
                Fault::FullDisk,
                Fault::FailedWrites,
                Fault::FailedSync("natter.db-wal"),
                Fault::FailedSync("natter.db"),
            ]);
        }
        #[cfg(feature = "cluster")]
        if self.image.is_some() {
            faults.extend([Fault::ImageCut, Fault::ImageCut]);
        }
        faults
    }

    /// Makes a fault that takes so long, and ends it. With `is_checked` the database is checked while the server is away: what is damaged.
    pub fn play(&mut self, fault: Fault, takes: Duration, is_checked: bool) -> Option<Option<String>> {
        let rest = || std::thread::sleep(takes);
        let (used_up, fail) = (self.dir.path().join("used-up"), self.dir.path().join("fail"));
        match fault {
            Fault::Pause => {
                self.signal(Signal::Stop);
                rest();
                self.signal(Signal::Continue);
            }
            Fault::FullDisk | Fault::FailedWrites => {
                let how = if fault == Fault::FullDisk { "" } else { "broken" };
                fs::write(&used_up, how).expect("a file");
                rest();
                fs::remove_file(&used_up).expect("a file");
            }
            Fault::FailedSync(file) => {
                fs::write(&fail, file).expect("a file");
                rest();
                // The database itself is synced rarely: then the fault did not come.
                let _ = fs::remove_file(&fail);
            }
            Fault::Kill | Fault::Restart | Fault::PowerCut | Fault::ImageCut => {
                return self.end_and_start(fault, is_checked);
            }
        }
        None
    }

    fn end_and_start(&mut self, fault: Fault, is_checked: bool) -> Option<Option<String>> {
        let mut natter = self.running.take().expect("it runs");
        match fault {
            Fault::Restart => drop(natter.stop()),
            Fault::ImageCut => self.cut_image(natter),
            _ => natter.kill(),
        }
        if fault == Fault::PowerCut {
            std::thread::sleep(DARK);
            self.forget();
        }
        let damage = is_checked.then(|| damage_of(&self.data.join("natter.db")));
        self.running = Some(launch_again(&self.launch, self.planted, &self.data));
        damage
    }

    #[cfg(feature = "cluster")]
    fn cut_image(&self, mut natter: Natter) {
        natter.signal(Signal::Stop);
        let image = self.image.as_ref().expect("an image");
        image.cut_power();
        natter.kill();
        image.come_back();
    }

    #[cfg(not(feature = "cluster"))]
    fn cut_image(&self, _: Natter) {
        unreachable!("there is no image");
    }

    /// The files are what the disk has. The search index, of which the library knows nothing, is lost: the server builds it again.
    fn forget(&self) {
        let is_lost = |name: &str| name.starts_with("natter.db") || name.starts_with("search.db");
        for name in names(&self.data).into_iter().filter(|name| is_lost(name)) {
            fs::remove_file(self.data.join(name)).expect("removed");
        }
        let durable = self.dir.path().join("durable");
        for name in names(&durable) {
            fs::copy(durable.join(&name), self.data.join(&name)).expect("what the disk has");
            // The image may lose its power next, and these bytes are on the disk.
            fs::File::open(self.data.join(&name)).and_then(|file| file.sync_all()).expect("synced");
        }
        fs::File::open(&self.data).and_then(|folder| folder.sync_all()).expect("synced");
    }

    fn signal(&self, signal: Signal) {
        self.running.as_ref().expect("it runs").signal(signal);
    }

    /// The server ends in order. Returns what is damaged.
    pub fn stop(&mut self) -> Option<String> {
        self.running.take().expect("it runs").stop();
        damage_of(&self.data.join("natter.db"))
    }

    /// Prints what the server says.
    pub fn report(&mut self) {
        let Some(natter) = &mut self.running else { return };
        println!("the server runs: {}", natter.is_running());
        natter.log().iter().rev().take(REPORT_LINES).rev().for_each(|line| println!("  {line}"));
    }
}

fn launch_again(launch: &Launch, planted: Option<Planted>, data: &Path) -> Natter {
    let natter = launch.start();
    if planted == Some(Planted::NoDedupe) {
        let conn = Connection::open(data.join("natter.db")).expect("the database");
        conn.busy_timeout(Duration::from_secs(5)).expect("a time");
        conn.execute_batch(NO_DEDUPE).expect("a trigger");
    }
    natter
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

/// Checks a copy of a database that nobody has open, so that the files stay as the end of the process left them.
pub fn damage_of(database: &Path) -> Option<String> {
    let dir = TestDir::new();
    let copy = dir.path().join("natter.db");
    for ending in ["", "-wal"] {
        let from = PathBuf::from(format!("{}{ending}", database.display()));
        if from.exists() {
            fs::copy(from, format!("{}{ending}", copy.display())).expect("a copy");
        }
    }
    let conn = Connection::open(&copy).expect("a database");
    let integrity: String = conn
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap_or_else(|error| error.to_string());
    let mut broken = conn.prepare("PRAGMA foreign_key_check").expect("a query");
    let strays = broken.query_map([], |_| Ok(())).map(Iterator::count).unwrap_or_default();
    let is_whole = integrity == "ok" && strays == 0;
    (!is_whole).then(|| format!("{}: {integrity}, {strays} rows without their parent", database.display()))
}
