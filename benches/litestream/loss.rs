//! The loss of the machine: kill -9 during posts, a restore of the replica, and a comparison with the source.
//!
//! Everything that was answered before the quiet time must be in the copy. Of the posts during the loss the newest may be
//! missing, but no other: the copy is a state that the source had.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use natter::base::id::Id;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::load::engine::Engine;
use super::replica::{self, Litestream};
use super::support::http::Person;
use super::support::net::{Http, Ws, at};
use super::support::process::{Launch, Natter};
use super::{kill, talk_at, verdict};

const RATE: u32 = 2_000;
/// The time of posts before the quiet time, and again before the kill.
const POSTS: Duration = Duration::from_secs(3);
/// Litestream looks at the database each second, and its replica at Litestream each second.
const QUIET: Duration = Duration::from_secs(5);
const UPLOADS: u64 = 8;
const KEYS: [&str; 3] = ["access_secret", "refresh_secret", "password_secret"];

/// Every row of a table, with its name, as text.
type Rows = BTreeSet<String>;

/// Ends the server of the bench. Returns whether all requirements are met.
pub fn play(dir: &Path, launch: &Launch, natter: Natter, mut people: Engine) -> bool {
    println!("a loss: kill -9 of both during {RATE} posts/s");
    let litestream = Litestream::start(dir);
    let mut http = Http::connect(natter.address);
    let [ann, bob] = ["ann", "bob"].map(|name| http.sign_up(name));
    for index in 0..UPLOADS {
        upload(&mut http, &ann, &bob, index);
    }
    talk_at(&mut people, RATE, POSTS);
    std::thread::sleep(QUIET); // until the replica must have everything
    let copies = copy_files(dir);
    let before = rows(&replica::database(dir));
    let newest_cursor = cursor(&natter, &ann);
    talk_at(&mut people, RATE, POSTS);
    kill(natter);
    litestream.kill();

    let restored = dir.join("restored.db");
    replica::restore(dir, &restored);
    let other = launch.clone().with(&[("DATA_DIR", "other")]);
    let output = other.run(&["restore", "restored.db"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut met = verdict(output.status.success(), format_args!("natter restore {text}"));
    for key in KEYS {
        std::fs::copy(copies.join(key), dir.join("other").join(key)).expect("a key");
    }
    mirror(&copies.join("uploads"), &dir.join("other/uploads"));

    let (source, copy) = (rows(&replica::database(dir)), rows(&dir.join("other/natter.db")));
    // A row that a post changed after the quiet time is in neither the source nor, necessarily, the copy.
    let lost = before.difference(&copy).filter(|row| source.contains(*row)).count();
    met &= verdict(
        lost == 0,
        format_args!("{lost} of {} rows from before the quiet time are missing", before.len()),
    );
    let of_messages = |rows: &Rows| rows.iter().filter(|row| row.starts_with("messages|")).cloned().collect();
    let (ours, theirs): (Rows, Rows) = (of_messages(&source), of_messages(&copy));
    let foreign = theirs.difference(&ours).count();
    met &= verdict(foreign == 0, format_args!("{foreign} messages of the copy are not in the source"));
    let gaps = gaps(&dir.join("other/natter.db"), &replica::database(dir));
    met &= verdict(gaps == 0, format_args!("{gaps} messages are missing before the newest of the copy"));
    let missing = ours.len().saturating_sub(theirs.len());
    println!(
        "  {missing} of {} messages were lost, {:.2} s of posts",
        ours.len(),
        missing as f64 / f64::from(RATE)
    );
    let files = |folder: PathBuf| files(&folder, &folder);
    let (here, there) = (files(dir.join("data/uploads")), files(dir.join("other/uploads")));
    met &= verdict(
        here == there && here.len() as u64 >= UPLOADS,
        format_args!("{} of {} files of uploads are the same", there.intersection(&here).count(), here.len()),
    );
    met && comes_back(&other, &newest_cursor)
}

/// Signs in on the restored server, and follows the log with a cursor of the lost one.
fn comes_back(other: &Launch, newest_cursor: &str) -> bool {
    let natter = other.start();
    let mut http = Http::connect(natter.address);
    let body = r#"{"email":"ann@example.org","password":"correct horse ann's"}"#;
    let session = http.ask("POST", "/api/v1/user/sign-in", &[], Some(body)).expect("a response");
    let mut met = verdict(session.status == 200, format_args!("a member signs in with the old password"));
    if !met {
        return false;
    }
    let ann = Person::from_response(&session);
    let epoch = newest_cursor.split(':').next().expect("an epoch");
    for cursor in [newest_cursor, &format!("{epoch}:999999999")] {
        let (mut ws, _) = Ws::native(natter.address, &ann.access, Some(cursor)).expect("a socket");
        let event = at(&ws.text(), "event");
        met &= verdict(event == "reset", format_args!("a client with the cursor {cursor} gets {event:?}"));
    }
    natter.stop();
    met
}

/// Posts a message with an upload.
fn upload(http: &mut Http, ann: &Person, bob: &Person, index: u64) {
    let bearer = format!("Bearer {}", ann.access);
    let fields =
        [("Authorization", bearer.as_str()), ("Content-Type", "text/plain"), ("X-Filename", "note.txt")];
    let bytes = format!("upload {index} ").repeat(1_000);
    let made = http.ask("POST", "/api/v1/uploads", &fields, Some(&bytes)).expect("a response");
    assert_eq!(made.status, 201, "{}", made.text());
    // The ids of a run need only differ.
    let client_id =
        String::from_utf8(<Id>::from_u128(u128::from(index + 1) << 80).text().to_vec()).expect("letters");
    let body = format!(
        r#"{{"to":"{}","client_id":"{client_id}","attachments":["{}"]}}"#,
        bob.profile,
        made.at("data.id")
    );
    let posted = http.ask_as(ann, "POST", "/api/v1/messages", Some(&body)).expect("a response");
    assert_eq!(posted.status, 201, "{}", posted.text());
}

/// The cursor of a stream that has caught up.
fn cursor(natter: &Natter, person: &Person) -> String {
    let (mut ws, epoch) = Ws::native(natter.address, &person.access, None).expect("a socket");
    let texts = ws.until("event", "caught_up");
    format!("{epoch}:{}", at(texts.last().expect("caught_up"), "seq"))
}

/// What a person copies: the keys, and the uploads by rsync where that is installed.
fn copy_files(dir: &Path) -> PathBuf {
    let copies = dir.join("copies");
    std::fs::create_dir_all(&copies).expect("a folder");
    for key in KEYS {
        std::fs::copy(dir.join("data").join(key), copies.join(key)).expect("a key");
    }
    mirror(&dir.join("data/uploads"), &copies.join("uploads"));
    copies
}

fn mirror(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    let inside = |path: &Path, rest: &str| format!("{}/{rest}", path.display());
    let rsync = ["-a", "--delete", &inside(from, ""), &inside(to, "")];
    let status = match std::process::Command::new("rsync").args(rsync).status() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("  rsync is not installed: cp copies the uploads");
            let cp = ["-a", &inside(from, "."), &inside(to, "")];
            std::process::Command::new("cp").args(cp).status()
        }
        status => status,
    };
    assert!(status.expect("a copy of the uploads").success(), "uploads are not copied");
}

fn open(path: &Path) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("a database")
}

/// All rows of all tables, except Litestream's own and `state`, which a restore changes.
fn rows(path: &Path) -> Rows {
    let conn = open(path);
    let mut statement = conn
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
             AND name NOT LIKE '_litestream_%' AND name <> 'state'",
        )
        .expect("a statement");
    let tables: Vec<String> = statement
        .query_map([], |row| row.get(0))
        .and_then(Iterator::collect)
        .expect("the names of the tables");
    let mut all = Rows::new();
    for table in tables {
        let mut statement = conn.prepare(&format!("SELECT * FROM {table}")).expect("a statement");
        let columns = statement.column_count();
        let mut rows = statement.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            let mut text = table.clone();
            for column in 0..columns {
                text.push('|');
                match row.get_ref(column).expect("a value") {
                    ValueRef::Blob(bytes) => text.extend(bytes.iter().map(|byte| format!("{byte:02x}"))),
                    value => text.push_str(&format!("{value:?}")),
                }
            }
            all.insert(text);
        }
    }
    all
}

/// Messages of the source up to the newest of the copy that the copy lacks.
fn gaps(copy: &Path, source: &Path) -> i64 {
    let (copy, source) = (open(copy), open(source));
    let one =
        |conn: &Connection, sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a number");
    let newest = one(&copy, "SELECT max(seq) FROM messages");
    one(&source, &format!("SELECT count(*) FROM messages WHERE seq <= {newest}"))
        - one(&copy, "SELECT count(*) FROM messages")
}

/// Path and content of every file.
fn files(folder: &Path, base: &Path) -> BTreeSet<(PathBuf, Vec<u8>)> {
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            all.extend(files(&entry, base));
        } else {
            let name = entry.strip_prefix(base).expect("inside").to_owned();
            all.insert((name, std::fs::read(&entry).expect("a file")));
        }
    }
    all
}
