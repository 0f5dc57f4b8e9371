//! Tests of a failed sync by the kernel: a real file system on a block device with less space than it reports.
//!
//! The kernel forgets both the failure and the unwritten bytes. No answered write is lost.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::disk::SmallDisk;
use super::support::TestDir;
use super::support::net::Http;
use super::support::process::Launch;
use super::{client_id, post_to, until};

/// Bytes that the file system believes to have, and bytes that the device has.
const PROMISED: u64 = 64 << 20;
const THERE: &str = "size=12m,mode=700";
/// Bytes of a block of the file system: one page, so that no request covers parts of two blocks.
const BLOCK: &str = "4096";

fn run(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// An ext4 file system on a loop device over a sparse file. All of it is removed when the value is dropped.
struct Thin {
    mounted: PathBuf,
    device: String,
}

impl Thin {
    /// `None` if this process may not make one.
    fn mount(image: &Path, folder: &Path) -> Option<Thin> {
        File::create(image).and_then(|file| file.set_len(PROMISED)).expect("a sparse file");
        let image = image.to_str().expect("a path");
        // Without a journal, because the effects of a failed journal are not tested here.
        let options =
            ["-q", "-F", "-b", BLOCK, "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard", image];
        run("mkfs.ext4", &options)?;
        let device = run("losetup", &["--find", "--show", image])?;
        // From here on the device is released in any case.
        let thin = Thin { mounted: folder.to_owned(), device };
        fs::create_dir_all(folder).expect("a folder");
        (thin.one_page_a_write() && thin.mount_again()).then_some(thin)
    }

    /// Limits the requests to one page. A loop device reports a short write to its file as a success (`lo_complete_rq` of
    /// the kernel): the rest of the request is lost without an error, which no program can detect. A request of one page
    /// is written completely or fails.
    fn one_page_a_write(&self) -> bool {
        let name = self.device.trim_start_matches("/dev/");
        fs::write(format!("/sys/block/{name}/queue/max_sectors_kb"), "4").is_ok()
    }

    fn mount_again(&self) -> bool {
        let folder = self.mounted.to_str().expect("a path");
        run("mount", &["-t", "ext4", &self.device, folder]).is_some()
    }

    /// Drops the page cache of the file system: only the bytes on the device remain.
    fn power_cut(&self) {
        let unmounted = || run("umount", &[self.mounted.to_str().expect("a path")]).is_some();
        until("it is unmounted", unmounted);
        assert!(self.mount_again(), "mounted again");
    }
}

impl Drop for Thin {
    fn drop(&mut self) {
        // Lazily, because a server that a failed test left running has open files here.
        let _ = Command::new("umount").arg("-l").arg(&self.mounted).output();
        let _ = Command::new("losetup").args(["-d", &self.device]).output();
    }
}

#[test]
fn a_failed_sync_of_a_real_device_loses_nothing_that_is_answered() {
    let dir = TestDir::new();
    let skipped = || println!("SKIPPED: a loop device can be made only by root, with losetup and mkfs.ext4");
    let Some(room) = SmallDisk::mount(dir.path().join("room"), THERE) else { return skipped() };
    let Some(thin) = Thin::mount(&room.0.join("image"), &dir.path().join("thin")) else { return skipped() };
    let launch = Launch::new(dir.path()).with(&[("DATA_DIR", "thin/data")]);
    let mut natter = launch.start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let (ann, bob) = (&ann, &bob);
    let address = natter.address;
    let mut answered = Vec::new();
    let mut post = || {
        let id = client_id();
        let body = post_to(&bob.profile, &id, &"word ".repeat(700));
        let posted = Http::connect(address).ask_as(ann, "POST", "/api/v1/messages", Some(&body));
        let status = posted.expect("a response").status;
        if status == 201 {
            answered.push(id);
        }
        status
    };
    for _ in 0..20 {
        assert_eq!(post(), 201);
    }
    // No space is left under the device.
    let filler = room.0.join("filler");
    let mut file = File::create(&filler).expect("a file");
    while file.write_all(&[b'x'; 4_096]).is_ok() {}
    drop(file); // else its removal would free no space
    let failed = (0..2_000).any(|_| post() != 201);
    assert!(failed, "more bytes were written than the device has");
    let metrics = Http::connect(address).ask("GET", "/metrics", &[], None).expect("a response");
    assert!(metrics.text().contains(r#"natter_background_errors_total{kind="sync"}"#), "{}", metrics.text());
    fs::remove_file(&filler).expect("freed");
    let mut again = 0;
    until("posts are answered again", || {
        again += usize::from(post() == 201);
        again >= 20
    });
    natter.kill();
    thin.power_cut();
    natter = launch.start();
    let mut http = Http::connect(natter.address);
    let lost = answered
        .iter()
        .filter(|id| {
            let body = post_to(&bob.profile, id, &"word ".repeat(700));
            let again = http.ask_as(ann, "POST", "/api/v1/messages", Some(&body));
            again.expect("a response").at("duplicate") != "true"
        })
        .count();
    assert_eq!(lost, 0, "of {} answered posts", answered.len());
    natter.stop();
}
