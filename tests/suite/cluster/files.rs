//! The files of uploads on several nodes: fetched where they are missing, and removed where nothing refers to them.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use natter::base::id::Id;
use natter::base::time::UnixMs;
use natter::in_memory::StorageCommand;
use natter::limits::Limits;
use natter::model::operation::Refusal;

use crate::support::cluster::Cluster;
use crate::support::http::{Person, Response};
use crate::support::{START_MS, limits, settings};

/// Between two runs.
const EVERY: Duration = Duration::from_secs(20);
/// A whole round over the folders of UPLOADS, one in each run.
const ROUND: Duration = Duration::from_secs(256 * 20);

fn cluster() -> (Cluster, Person) {
    let mut cluster = Cluster::with(2, settings(Limits { access_ttl: 86_400, ..limits() }));
    let ann = cluster[0].sign_up("ann");
    cluster.settle();
    (cluster, ann)
}

/// An upload of `hello` on the first node, whose file the second one does not have.
fn upload(cluster: &mut Cluster, ann: &Person) -> Response {
    let bearer = format!("Bearer {}", ann.access);
    let fields = [("Authorization", bearer.as_str()), ("X-Filename", "a.txt"), ("Content-Length", "5")];
    let request = crate::support::http::request("POST", "/api/v1/uploads", &fields, None);
    let conn = cluster[0].connect();
    cluster[0].send(conn, &[request, b"hello".to_vec()].concat());
    let mut bytes = cluster[0].take(conn);
    let made = crate::support::http::next_response(&mut bytes, false).expect("a response");
    assert_eq!(made.status, 201, "{}", made.text());
    cluster.settle();
    made
}

fn stored(cluster: &Cluster, at: usize) -> usize {
    cluster[at].files.all().1.len()
}

fn get(id: &str) -> String {
    format!("/uploads/{id}/a.txt")
}

/// A file that another node has given, written at this time, and no row for it. A run looks at each folder in turn, from the first on.
fn give(cluster: &Cluster, at: usize, id: &str, written: UnixMs) -> PathBuf {
    let low = Id::<()>::parse(id).expect("an id").low() as u8;
    let folder = cluster[at].files.uploads.join(format!("{low:02x}"));
    fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(id);
    fs::write(&path, b"hello").expect("a file");
    let file = File::options().write(true).open(&path).expect("a file");
    file.set_modified(UNIX_EPOCH + Duration::from_millis(written.0)).expect("a time");
    path
}

#[test]
fn a_node_without_the_file_fetches_it_and_keeps_it() {
    let (mut cluster, ann) = cluster();
    let id = upload(&mut cluster, &ann).at("data.id");
    let refused = cluster[1].ask_as(&ann, "GET", &get(&id), None);
    assert_eq!((refused.status, refused.code().as_str()), (503, "unavailable"), "no node gives it");
    assert_eq!(refused.field("retry-after"), Some("1"));
    assert_eq!(cluster[1].ask_as(&ann, "GET", "/uploads/01ARZ3NDEKTSV4RRFFQ69G5FAV/a.txt", None).status, 404);
    cluster[1].files.other_node = Some(cluster[0].files.uploads.clone());
    let got = cluster[1].ask_as(&ann, "GET", &get(&id), None);
    assert_eq!((got.status, got.body.as_slice()), (200, &b"hello"[..]));
    cluster[1].files.other_node = None;
    assert_eq!(cluster[1].ask_as(&ann, "GET", &get(&id), None).status, 200, "it is here now");
}

#[test]
fn a_file_that_is_deleted_while_it_is_fetched_is_not_kept() {
    let (mut cluster, ann) = cluster();
    let id = upload(&mut cluster, &ann).at("data.id");
    cluster[1].files.other_node = Some(cluster[0].files.uploads.clone());
    cluster[1].holds = true;
    let bearer = format!("Bearer {}", ann.access);
    let conn = cluster[1].connect();
    let request =
        crate::support::http::request("GET", &get(&id), &[("Authorization", bearer.as_str())], None);
    cluster[1].send(conn, &request);
    cluster[1].release(1);
    assert_eq!(stored(&cluster, 1), 1, "it is fetched, and its row is asked for once more");
    let deleted = cluster[0].ask_as(&ann, "DELETE", &format!("/api/v1/uploads/{id}"), None);
    assert_eq!(deleted.status, 204);
    cluster[1].catch_up(usize::MAX);
    cluster[1].release(1);
    let mut bytes = cluster[1].take(conn);
    let response = crate::support::http::next_response(&mut bytes, false).expect("a response");
    assert_eq!((response.status, stored(&cluster, 1)), (404, 0));
}

#[test]
fn a_file_that_never_gets_a_row_is_removed_when_it_is_old() {
    let (mut cluster, ann) = cluster();
    let id = upload(&mut cluster, &ann).at("data.id");
    let known = stored(&cluster, 0);
    assert_eq!(known, 1);
    let old = give(&cluster, 0, "01ARZ3NDEKTSV4RRFFQ69G5F03", UnixMs(START_MS.0 - 3_700_000));
    let young = give(&cluster, 0, "01ARZ3NDEKTSV4RRFFQ69G5G03", UnixMs(START_MS.0 + 400_000));
    cluster.pass(Duration::from_secs(120));
    assert!(!old.exists() && young.exists());
    cluster.pass(ROUND);
    assert!(!young.exists());
    assert_eq!(cluster[0].ask_as(&ann, "GET", &get(&id), None).status, 200, "a file with a row stays");
}

/// It would not know the rows of the last files.
#[test]
fn a_node_that_does_not_reach_the_log_removes_no_such_file() {
    let (mut cluster, ann) = cluster();
    upload(&mut cluster, &ann);
    cluster.pass(Duration::from_secs(30));
    let old = give(&cluster, 1, "01ARZ3NDEKTSV4RRFFQ69G5F0Z", UnixMs(START_MS.0 - 3_700_000));
    cluster.behind.insert(1);
    cluster[1].holds = true;
    let end = cluster[1].now.instant + 40 * EVERY;
    let mut listed = 0;
    while cluster[1].now.instant < end {
        cluster.pass(Duration::from_secs(5));
        while let Some(asked) = cluster[1].asked.front() {
            listed += usize::from(asked.name() == "ListErasedFiles");
            match asked {
                StorageCommand::Write(..) => cluster[1].refuse(Refusal::Unavailable),
                _ => cluster[1].release(1),
            }
        }
    }
    assert!(old.exists() && listed > 30, "{listed} runs");
    cluster.behind.remove(&1);
    cluster[1].holds = false;
    cluster.pass(40 * EVERY);
    assert!(!old.exists());
}
