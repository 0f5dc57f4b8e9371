//! Entries of a log, applied: the same rows on every node, whatever the transactions, restarts and faults are.

use natter::base::crypto::Entropy;
use natter::base::seal::{Chain, SealKey};
use natter::base::time::UnixMs;
use natter::model::duty::{DUTY_MS, Duty, HoldDuty};
use natter::model::entry::{Entry, EntryBody, Life, NodeName};
use natter::model::mail::{Content, FetchMail};
use natter::model::message::Destination;
use natter::model::operation::{Answer, Write};
use natter::model::profile::{ListProfiles, ReleaseNickNames};
use natter::store::{
    Access, Applied, AppliedEntry, Delivered, Fault, Ignored, OpenFault, Place, Sessions, Store,
    StoreOptions, adopt, adopt_node, cluster_rows, follow, leave,
};
use rusqlite::Connection;

use crate::store_kit::{Kit, NOW_MS, Seeded, options, posted};

const LOG: &str = "test log";

/// A log with several authors, as it is delivered to a node.
struct TestLog {
    key: SealKey,
    position: u64,
    chain: Chain,
    time: UnixMs,
    entries: Vec<Delivered>,
}

struct Author {
    node: NodeName,
    life: Life,
    n: u64,
}

pub fn node(name: &str) -> NodeName {
    NodeName::parse(name).expect("a name")
}

impl TestLog {
    fn new(epoch: &str) -> TestLog {
        let (key, chain) = (SealKey::new(&[1; 32]), Chain::START);
        let mut log = TestLog { key, position: 0, chain, time: NOW_MS, entries: Vec::new() };
        let genesis = EntryBody::Genesis { epoch: epoch.to_owned(), level: 1 };
        log.append(&Entry { node: node("init"), life: Life::from_u128(1), n: 1, body: genesis });
        log
    }

    fn append(&mut self, entry: &Entry) {
        let sealed = entry.seal(&self.key);
        self.position += 1;
        self.chain = self.chain.next(self.position, &sealed);
        let entry = Entry::open(&self.key, &sealed).expect("its own seal");
        let (position, time, chain) = (self.position, self.time, self.chain);
        self.entries.push(Delivered { position, time, chain, entry });
    }

    /// A life of a node begins.
    fn author(&mut self, name: &str, life: u128) -> Author {
        let mut author = Author { node: node(name), life: Life::from_u128(life), n: 0 };
        self.append(&author.next(EntryBody::hello()));
        author
    }

    fn write(&mut self, author: &mut Author, writes: Vec<Write>) {
        self.append(&author.next(EntryBody::Writes(writes)));
    }

    fn place(&self) -> Place {
        Place { log: LOG.to_owned(), position: self.position, chain: self.chain, level: 1 }
    }
}

impl Author {
    fn next(&mut self, body: EntryBody) -> Entry {
        self.n += 1;
        self.same(self.n, body)
    }

    fn same(&self, n: u64, body: EntryBody) -> Entry {
        Entry { node: self.node.clone(), life: self.life, n, body }
    }
}

pub fn cluster_options(name: &str) -> StoreOptions {
    StoreOptions { in_cluster: true, ..options(name) }
}

/// A node that has applied nothing.
fn new_node(name: &str) -> Kit {
    let mut kit = Kit::with(cluster_options(name));
    assert_eq!(kit.start.epoch, "", "the log names it");
    assert_eq!(kit.store().place(), Ok(None));
    assert_eq!(kit.store().enter(LOG), Ok(true));
    kit
}

fn apply(kit: &mut Kit, entries: &[Delivered]) -> Vec<AppliedEntry> {
    let mut delivered = entries.to_vec();
    let Applied { entries: applied, fault } = kit.store().apply(&mut delivered);
    assert_eq!((fault, delivered.len(), applied.len()), (None, 0, entries.len()));
    applied
}

/// Every row that the nodes have in common.
pub fn rows(kit: &Kit) -> Vec<String> {
    let conn = Connection::open(&kit.options.path).expect("a second connection");
    let names: Vec<String> = conn
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name",
        )
        .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect())
        .expect("the tables");
    let mut rows = Vec::new();
    for name in names {
        let columns = if name == "state" { "epoch, pruned, pushed" } else { "*" };
        let mut select = conn.prepare(&format!("SELECT {columns} FROM {name}")).expect("a table");
        let count = select.column_count();
        let found = select.query_map([], |row| {
            (0..count).map(|i| row.get::<_, rusqlite::types::Value>(i)).collect::<rusqlite::Result<Vec<_>>>()
        });
        let mut found: Vec<String> =
            found.expect("rows").map(|row| format!("{name} {:?}", row.expect("a row"))).collect();
        found.sort();
        rows.append(&mut found);
    }
    rows
}

/// A log of people who post, with entries that do not count.
fn conversation(seed: u64) -> TestLog {
    let mut log = TestLog::new("ofthelog");
    let mut authors = [log.author("a", 10), log.author("b", 10)];
    // Only a source of commands: it is another database.
    let mut kit = Kit::new(&format!("commands-{seed}"));
    let sign_ups = [kit.sign_up_command("ann"), kit.sign_up_command("bob")];
    let (ann, bob) = (sign_ups[0].account.profile, sign_ups[1].account.profile);
    log.write(&mut authors[0], sign_ups.map(Write::from).into());
    let mut random = Seeded(seed);
    let random: &mut dyn Entropy = &mut random;
    for i in 0..40 {
        let author = random.below(2) as usize;
        log.time = log.time.after(random.below(3_000));
        let count = random.below(4);
        let posts = (0..count).map(|j| {
            let (from, to) = if random.below(2) == 0 { (ann, bob) } else { (bob, ann) };
            Write::from(kit.post(from, Destination::To(to), &format!("{i} {j}")))
        });
        let posts: Vec<Write> = posts.collect();
        let author = &mut authors[author];
        let entry = author.next(EntryBody::Writes(posts.clone()));
        match random.below(6) {
            // Its successor comes before it.
            0 => {
                log.append(&author.same(author.n + 1, EntryBody::Writes(posts)));
                log.append(&entry);
            }
            1 => {
                log.append(&entry);
                log.append(&entry);
            }
            // Of a life before.
            2 => {
                log.append(&entry);
                log.append(&Entry { life: Life::from_u128(5), n: author.n + 1, ..entry });
            }
            // A new life, after which the old one goes on.
            3 => {
                let late = author.same(author.n + 1, EntryBody::Writes(posts));
                log.append(&entry);
                *author = log.author(author.node.clone().as_str(), author.life.to_u128() + 1);
                log.append(&late);
            }
            _ => log.append(&entry),
        }
    }
    log
}

#[test]
fn one_log_gives_the_same_rows_in_any_transactions_and_with_any_restarts() {
    for seed in 1..=6 {
        let log = conversation(seed);
        let mut one = new_node(&format!("one-{seed}"));
        for entry in &log.entries {
            apply(&mut one, std::slice::from_ref(entry));
        }
        let mut other = new_node(&format!("other-{seed}"));
        let mut random = Seeded(seed);
        let random: &mut dyn Entropy = &mut random;
        let mut rest = &log.entries[..];
        while !rest.is_empty() {
            let count = (1 + random.below(9) as usize).min(rest.len());
            let (some, later) = rest.split_at(count);
            apply(&mut other, some);
            rest = later;
            match random.below(4) {
                0 => other.crash(),
                1 => other.close(),
                _ => continue,
            }
            other.reopen();
            let position = some.last().map(|entry| entry.position);
            assert_eq!(other.store().place().expect("a place").map(|place| place.position), position);
        }
        assert_eq!(one.store().place(), Ok(Some(log.place())));
        assert_eq!(other.store().place(), Ok(Some(log.place())));
        assert_eq!(rows(&one), rows(&other), "seed {seed}");
        assert!(rows(&one).iter().filter(|row| row.starts_with("messages")).count() > 20);
        for kit in [&mut one, &mut other] {
            assert_eq!(kit.store().start_values(NOW_MS).expect("a start").epoch, "ofthelog");
            kit.crash();
            kit.reopen();
            assert_eq!(kit.start.epoch, "ofthelog", "no start draws an epoch");
        }
    }
}

#[test]
fn what_does_not_count_is_ignored_and_counts_as_read() {
    let mut kit = new_node("ignored");
    let mut log = TestLog::new("first");
    let mut author = log.author("a", 10);
    let quiet = || EntryBody::Writes(Vec::new());
    let genesis = EntryBody::Genesis { epoch: "second".to_owned(), level: 1 };
    let of = |node_name: &str, life: u128, n: u64, body: EntryBody| Entry {
        node: node(node_name),
        life: Life::from_u128(life),
        n,
        body,
    };
    log.write(&mut author, Vec::new());
    let expect = [
        (of("a", 10, 2, quiet()), Some(Ignored::Repeated)),
        (of("a", 10, 1, EntryBody::hello()), Some(Ignored::Repeated)),
        (of("a", 10, 4, quiet()), Some(Ignored::Early)),
        (of("a", 9, 3, quiet()), Some(Ignored::OtherLife)),
        (of("a", 9, 1, EntryBody::hello()), Some(Ignored::OtherLife)),
        (of("a", 11, 3, quiet()), Some(Ignored::OtherLife)),
        (of("b", 10, 3, quiet()), Some(Ignored::OtherLife)),
        (of("a", 10, 3, genesis), Some(Ignored::Misplaced)),
        (of("a", 10, 3, quiet()), None),
    ];
    let before = log.entries.len();
    expect.iter().for_each(|(entry, _)| log.append(entry));
    let applied = apply(&mut kit, &log.entries);
    assert!(matches!(
        applied[..before],
        [AppliedEntry::Begun, AppliedEntry::Begun, AppliedEntry::Performed(_)]
    ));
    for ((entry, expect), applied) in expect.iter().zip(&applied[before..]) {
        let ignored = match applied {
            AppliedEntry::Ignored(why) => Some(*why),
            _ => None,
        };
        assert_eq!(ignored, *expect, "{entry:?}");
    }
    assert_eq!(kit.store().place(), Ok(Some(log.place())));
    assert_eq!(kit.store().start_values(NOW_MS).expect("a start").epoch, "first");

    // A log that does not begin with an epoch.
    let mut strange = new_node("strange");
    let mut log = TestLog::new("never");
    (log.entries, log.position) = (Vec::new(), 0);
    log.author("a", 1);
    assert!(matches!(apply(&mut strange, &log.entries)[..], [AppliedEntry::Ignored(Ignored::Misplaced)]));
}

/// A fault inside of a statement, and one of the COMMIT.
#[test]
fn a_fault_in_the_middle_leaves_nothing_and_the_same_entries_are_applied_later() {
    let mut log = TestLog::new("epoch");
    let mut author = log.author("a", 1);
    let mut commands = Kit::new("fault-commands");
    let sign_ups = [commands.sign_up_command("ann"), commands.sign_up_command("bob")];
    let (ann, bob) = (sign_ups[0].account.profile, sign_ups[1].account.profile);
    log.write(&mut author, sign_ups.map(Write::from).into());
    log.write(&mut author, vec![commands.post(ann, Destination::To(bob), "before").into()]);
    let begun = log.entries.len();
    for body in ["one", "boom", "two"] {
        log.write(&mut author, vec![commands.post(ann, Destination::To(bob), body).into()]);
    }
    let mut sound = new_node("fault-sound");
    apply(&mut sound, &log.entries);
    for (name, trigger) in [
        ("statement", "SELECT RAISE(ABORT, 'sabotage')"),
        ("commit", "INSERT INTO sabotage_child VALUES (1)"),
    ] {
        let mut kit = new_node(&format!("fault-{name}"));
        apply(&mut kit, &log.entries[..begun]);
        let before = (rows(&kit), kit.store().place());
        kit.sql(&format!(
            "CREATE TABLE sabotage_parent (key INTEGER PRIMARY KEY);
             CREATE TABLE sabotage_child (
                 parent INTEGER REFERENCES sabotage_parent (key) DEFERRABLE INITIALLY DEFERRED
             );
             CREATE TRIGGER sabotage AFTER INSERT ON messages WHEN NEW.body = 'boom' BEGIN {trigger}; END;"
        ));
        for _ in 0..2 {
            // A fault takes the writes: they are read again.
            let mut delivered = log.entries[begun..].to_vec();
            let applied = kit.store().apply(&mut delivered);
            assert_eq!((applied.fault, applied.entries.len()), (Some(Fault::Internal), 0), "{name}");
            assert_eq!(delivered.len(), 3, "nothing is taken");
            assert_eq!((rows(&kit), kit.store().place()), before, "{name}");
            assert!(!kit.store().readiness().is_ready());
        }
        kit.sql("DROP TRIGGER sabotage; DROP TABLE sabotage_child; DROP TABLE sabotage_parent;");
        let applied = apply(&mut kit, &log.entries[begun..]);
        let outcomes: Vec<_> = applied
            .iter()
            .flat_map(|applied| match applied {
                AppliedEntry::Performed(outcomes) => outcomes,
                other => panic!("{other:?}"),
            })
            .map(|outcome| posted(&outcome.result))
            .collect();
        assert_eq!(outcomes, [Some((2, 2, false)), Some((3, 3, false)), Some((4, 4, false))], "{name}");
        assert_eq!(rows(&kit), rows(&sound), "{name}");
        assert!(kit.store().readiness().is_ready());
    }
}

#[test]
fn a_message_is_at_most_a_second_later_than_its_entry() {
    let mut log = TestLog::new("epoch");
    let mut author = log.author("a", 1);
    let mut commands = Kit::new("time-commands");
    let sign_ups = [commands.sign_up_command("ann"), commands.sign_up_command("bob")];
    let (ann, bob) = (sign_ups[0].account.profile, sign_ups[1].account.profile);
    log.write(&mut author, sign_ups.map(Write::from).into());
    commands.now_ms = NOW_MS.after(3_600_000);
    log.write(&mut author, vec![commands.post(ann, Destination::To(bob), "an hour ahead").into()]);
    commands.now_ms = NOW_MS.after(500);
    log.time = NOW_MS.after(5_000);
    log.write(&mut author, vec![commands.post(bob, Destination::To(ann), "not before the last one").into()]);
    commands.now_ms = NOW_MS.after(5_000);
    log.write(&mut author, vec![commands.post(ann, Destination::To(bob), "on time").into()]);
    let mut kit = new_node("time");
    apply(&mut kit, &log.entries);
    let times = |kit: &Kit| {
        let conn = Connection::open(&kit.options.path).expect("a second connection");
        conn.prepare("SELECT id_high >> 16 FROM messages ORDER BY seq")
            .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>())
            .expect("the times")
    };
    assert_eq!(times(&kit), [1_000, 1_000, 5_000].map(|ms| NOW_MS.after(ms).0 as i64));
}

#[test]
fn one_node_at_a_time_holds_the_duty() {
    let mut log = TestLog::new("epoch");
    let (mut a, mut b) = (log.author("a", 1), log.author("b", 1));
    let hold = |node_name: &str| Write::from(HoldDuty { node: node(node_name) });
    let (first, mut expect) = (log.entries.len(), Vec::new());
    let mut ask = |log: &mut TestLog, after: u64, name: &str, held: (&str, u64)| {
        log.time = NOW_MS.after(after);
        let author = if name == "a" { &mut a } else { &mut b };
        log.write(author, vec![hold(name)]);
        expect.push(Duty { node: node(held.0), until: NOW_MS.after(held.1 + DUTY_MS) });
    };
    ask(&mut log, 0, "a", ("a", 0));
    ask(&mut log, 1, "b", ("a", 0));
    ask(&mut log, 5_000, "a", ("a", 5_000));
    ask(&mut log, 5_000 + DUTY_MS - 1, "b", ("a", 5_000));
    ask(&mut log, 5_000 + DUTY_MS, "b", ("b", 5_000 + DUTY_MS));
    ask(&mut log, 5_001 + DUTY_MS, "a", ("b", 5_000 + DUTY_MS));
    let mut kit = new_node("duty");
    let held: Vec<Duty> = apply(&mut kit, &log.entries)
        .into_iter()
        .skip(first)
        .map(|applied| match applied {
            AppliedEntry::Performed(mut outcomes) => match outcomes.remove(0).result {
                Ok(Answer::HoldDuty(duty)) => duty,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(held, expect);
}

#[test]
fn a_name_is_searched_as_the_command_says() {
    let mut commands = Kit::new("name-commands");
    let mut sign_up = commands.sign_up_command("ann");
    sign_up.account.display_name.key = "as another build folds it".to_owned();
    let mut log = TestLog::new("epoch");
    let mut author = log.author("a", 1);
    log.write(&mut author, vec![sign_up.into()]);
    let mut kit = new_node("name");
    apply(&mut kit, &log.entries);
    assert_eq!(
        kit.sql_number("SELECT count(*) FROM profiles WHERE name_key = 'as another build folds it'"),
        1
    );
}

#[test]
fn a_database_of_a_cluster_is_no_other_natters() {
    // It has rows that no log has.
    let mut alone = Kit::new("alone");
    alone.person("ann");
    alone.close();
    let options = StoreOptions { in_cluster: true, ..alone.options.clone() };
    let (mut store, start) = Store::open(&options, &mut Seeded(1), NOW_MS).expect("it opens");
    assert_eq!(start.epoch, alone.start.epoch);
    assert_eq!((store.enter(LOG), store.place()), (Ok(false), Ok(None)));
    drop(store);

    let mut kit = new_node("member");
    let mut log = TestLog::new("epoch");
    log.author("a", 1);
    apply(&mut kit, &log.entries);
    assert_eq!(kit.store().enter("another log"), Ok(false), "it follows one already");
    let life = kit.store().next_life(&node("a"), &mut Seeded(1), UnixMs(0)).expect("a life");
    assert!(life > Life::from_u128(1), "also while the clock is behind");
    kit.close();
    let alone = StoreOptions { in_cluster: false, ..kit.options.clone() };
    let refused = Store::open(&alone, &mut Seeded(1), NOW_MS).map(|_| ());
    assert!(matches!(refused, Err(OpenFault::InCluster { .. })), "{refused:?}");
    // A copy that is restored begins another history.
    adopt(&alone, Sessions::Kept, NOW_MS).expect("a restored copy");
    let (mut store, start) = Store::open(&alone, &mut Seeded(1), NOW_MS).expect("it opens");
    assert_eq!(store.place(), Ok(None));
    assert!(!start.epoch.is_empty() && start.epoch != "epoch");
    assert_eq!(store.commit(&mut Vec::new()).fault, None);
}

/// What the commands of a cluster make of a database: a node, another log's, one that is copied, and a natter alone again.
#[test]
fn a_database_comes_into_a_log_and_out_of_it() {
    let mut kit = Kit::new("comes_and_goes");
    let alone = kit.options.clone();
    let options = StoreOptions { in_cluster: true, ..alone.clone() };
    let epoch = kit.start.epoch.clone();
    kit.close();
    let rows = cluster_rows(&alone, Access::Exclusive).expect("rows").expect("a schema");
    assert_eq!((rows.place, rows.epoch.as_deref(), rows.nodes.len()), (None, Some(&*epoch), 0));
    assert_eq!(adopt_node(&alone).expect("a copy"), None, "it is no node's");
    for log in ["first", "second"] {
        let place =
            Place { log: log.to_owned(), position: 1, chain: Chain::START.next(1, b"entry"), level: 1 };
        follow(&options, &place, &epoch).expect("a place");
        let rows = cluster_rows(&options, Access::Exclusive).expect("rows").expect("a schema");
        assert_eq!((rows.place.as_ref(), rows.epoch.as_deref()), (Some(&place), Some(&*epoch)));
        assert_eq!(adopt_node(&options).expect("a copy"), Some(place));
        let opened = Store::open(&alone, &mut Seeded(1), NOW_MS);
        assert!(matches!(opened, Err(OpenFault::InCluster { .. })), "the log alone changes it");
    }
    for (keeps_epoch, is_same) in [(true, true), (false, false)] {
        leave(&options, keeps_epoch).expect("left");
        let (store, start) = Store::open(&alone, &mut Seeded(7), NOW_MS).expect("a natter alone");
        assert_eq!(start.epoch == epoch, is_same);
        store.close().expect("closed");
    }
}

/// Only the first entry of a log may be of that kind, and a database that applies entries never begins with it.
#[test]
fn entries_that_begin_or_end_a_log_change_no_row() {
    let mut log = TestLog::new("first");
    let mut a = log.author("a", 10);
    let skipped = EntryBody::Skipped { position: 1, chain: [0; 32] };
    for body in [EntryBody::Continued { epoch: "second".to_owned() }, EntryBody::End, skipped] {
        log.append(&a.next(body));
    }
    let mut kit = new_node("begin_or_end");
    let applied = apply(&mut kit, &log.entries);
    let ignored = |at: usize| matches!(applied[at], AppliedEntry::Ignored(Ignored::Misplaced));
    assert!(ignored(2) && ignored(3), "{applied:?}");
    assert_eq!(kit.store().start_values(NOW_MS).expect("values").epoch, "first");
}

/// Which names are reserved is a matter of the build, so a write says it, and what is drawn.
#[test]
fn reserved_nick_names_are_released_alike_on_all_nodes() {
    let mut commands = Kit::new("release-commands");
    let people = ["bots", "ann"].map(|name| commands.sign_up_command(name));
    let profiles = people.each_ref().map(|sign_up| sign_up.account.profile);
    let mut log = TestLog::new("epoch");
    let mut author = log.author("a", 5);
    log.write(&mut author, people.map(Write::from).into());
    let release = |seed| ReleaseNickNames::new(NOW_MS, &mut Seeded(seed));
    log.write(&mut author, vec![release(1).into()]);
    log.write(&mut author, vec![release(2).into()]);
    let kits = ["release-one", "release-two"].map(|name| {
        let mut kit = new_node(name);
        let applied = apply(&mut kit, &log.entries);
        let of_entry = |entry: &AppliedEntry| match entry {
            AppliedEntry::Performed(outcomes) => match &outcomes[0].result {
                Ok(Answer::ReleaseNickNames(holders)) => (*holders, outcomes[0].events.len()),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        assert_eq!(
            (of_entry(&applied[3]), of_entry(&applied[4])),
            ((1, 1), (0, 0)),
            "the second finds nobody"
        );
        kit
    });
    assert_eq!(rows(&kits[0]), rows(&kits[1]));
    let [mut kit, _] = kits;
    let list = ListProfiles { viewer: profiles[1], ids: profiles.to_vec() };
    let names: Vec<String> = kit.read(list).expect("profiles").into_iter().map(|one| one.nick_name).collect();
    assert!(names[0].starts_with("bots") && names[0].len() == 10 && names[1] == "ann", "{names:?}");
    let mails = kit.read(FetchMail { at: NOW_MS.after(60_000), limit: 9 }).expect("the outbox").mails;
    let renamed = mails.iter().filter(|mail| matches!(mail.content, Content::NickNameChanged(_)));
    assert_eq!(renamed.count(), 1);
}
