//! The clocks of the nodes, each of which can be moved while it runs.
//!
//! A library that is loaded into a node adds what a file says. Namespaces of time do not have the time of day. A nats-server can't be moved
//! so, since Go asks the kernel itself. Invariant: without a move the clocks are right.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Clocks {
    library: PathBuf,
    offsets: Vec<PathBuf>,
}

impl Clocks {
    /// `None` without a C compiler or LD_PRELOAD.
    pub fn make(folder: &Path) -> Option<Clocks> {
        let library = folder.join("clock.so");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/endurance/cluster/clock.c"))
            .arg("-ldl")
            .output();
        let output = compiled.ok().filter(|_| cfg!(target_os = "linux"))?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let offsets = (0..3).map(|index| folder.join(format!("clock{index}"))).collect();
        let clocks = Clocks { library, offsets };
        (0..3).for_each(|index| clocks.move_by(index, 0));
        Some(clocks)
    }

    /// The program, with its arguments, that runs a node with this clock.
    pub fn wrapper(&self, index: usize) -> [String; 3] {
        let variable = |name: &str, path: &Path| format!("{name}={}", path.display());
        [
            "env".to_owned(),
            variable("LD_PRELOAD", &self.library),
            variable("CLOCK_OFFSET", &self.offsets[index]),
        ]
    }

    /// From now on the clock of a node is off by so many seconds.
    pub fn move_by(&self, index: usize, seconds: libc::c_long) {
        let path = &self.offsets[index];
        // In place, since a node that runs has it in its memory.
        let mut options = fs::OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(path);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, &seconds.to_ne_bytes()))
            .expect("written");
    }
}
