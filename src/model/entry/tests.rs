//! Entries as bytes and sealed: every write as it was, what is refused and why, and how a batch is split.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{
    ENTRY_BYTES_MAX, Entry, EntryBody, EntryDraft, EntryError, FIRST_LEVEL, LEVEL, Level, NodeName, Pushed,
};
use crate::base::crypto::{Entropy, hex};
use crate::base::fields::sample::Sample;
use crate::base::fields::{Field, put_field};
use crate::base::id::Id;
use crate::base::seal::{SealKey, SealPurpose, SealedBy};
use crate::base::testing::Seeded;
use crate::base::time::UnixMs;
use crate::model::message::{Destination, EditMessage, Message, PostMessage};
use crate::model::operation::Write;

impl Sample for NodeName {
    fn sample(entropy: &mut dyn Entropy) -> NodeName {
        let len = 1 + entropy.below(32) as usize;
        let letters = b"abcxyz019-";
        let text = (0..len).map(|_| char::from(letters[entropy.below(letters.len() as u64) as usize]));
        NodeName::parse(&text.collect::<String>()).expect("the name of a node")
    }
}

impl Sample for EntryBody {
    fn sample(entropy: &mut dyn Entropy) -> EntryBody {
        let level = FIRST_LEVEL + entropy.below(3) as u32;
        match entropy.below(8) {
            0 => EntryBody::Genesis { epoch: String::sample(entropy), level },
            1 => EntryBody::Hello { level },
            2 => EntryBody::Continued { epoch: String::sample(entropy) },
            3 => EntryBody::End,
            5 => EntryBody::Level { level },
            4 => EntryBody::Skipped { position: u64::sample(entropy), chain: Sample::sample(entropy) },
            _ => EntryBody::Writes(Vec::sample(entropy)),
        }
    }
}

fn key() -> SealKey {
    SealKey::new(&[7; 32])
}

fn node() -> NodeName {
    NodeName::parse("node-1").expect("a name")
}

fn hello() -> Entry {
    Entry { node: node(), life: Id::from_u128(5), n: 1, body: EntryBody::hello() }
}

fn edit(body: String) -> Write {
    EditMessage { at: UnixMs(1), actor: Id::from_u128(2), message: Id::from_u128(3), body }.into()
}

#[test]
fn the_name_of_a_node() {
    for name in ["a", "node-1", "0", "-", "abcdefghijklmnopqrstuvwxyz012345"] {
        assert_eq!(NodeName::parse(name).map(|name| name.to_string()).as_deref(), Some(name));
    }
    for name in ["", "A", "a b", "a.b", "é", "abcdefghijklmnopqrstuvwxyz0123456"] {
        assert_eq!(NodeName::parse(name), None, "{name}");
    }
}

/// The same bytes again, so that also what is hidden in its `Debug` is the same.
#[test]
fn every_row_makes_the_round_trip() {
    let mut entropy = Seeded(1);
    let mut seen = BTreeSet::new();
    for round in 0..20_000 {
        let write = Write::sample(&mut entropy);
        let mut bytes = Vec::new();
        write.put(&mut bytes);
        let read: Write =
            crate::base::fields::read(&bytes).unwrap_or_else(|| panic!("round {round}: {write:?}"));
        let mut again = Vec::new();
        read.put(&mut again);
        assert_eq!(format!("{read:?}"), format!("{write:?}"), "round {round}");
        assert!(again == bytes, "round {round}: {write:?}");
        seen.insert(write.name());
    }
    let missing: Vec<&&str> = Write::NAMES.iter().filter(|name| !seen.contains(*name)).collect();
    assert!(missing.is_empty(), "no round trip of {missing:?}");
}

#[test]
fn every_entry_makes_the_round_trip() {
    let mut entropy = Seeded(2);
    for round in 0..2_000 {
        let entry = Entry::sample(&mut entropy);
        let bytes = entry.to_bytes();
        let read =
            Entry::from_bytes(&bytes).unwrap_or_else(|error| panic!("round {round}: {error}: {entry:?}"));
        assert_eq!(
            (format!("{read:?}"), read.to_bytes() == bytes),
            (format!("{entry:?}"), true),
            "round {round}"
        );
        let sealed = entry.seal(&key());
        let opened = Entry::open(&key(), &sealed).map(|entry| entry.to_bytes());
        assert!(opened == Ok(bytes), "round {round}");
        assert_eq!(entry.seal(&key()), sealed, "a repeated entry has the same bytes");
    }
}

/// What other builds have in their logs: it never changes.
#[test]
fn the_bytes_of_a_post() {
    let draft = Message {
        client_id: Id::from_u128(0xc1),
        sender: Some(Id::from_u128(0x5e)),
        body: Some("hi".to_owned()),
        created_at: UnixMs(0x0102),
        ..Message::default()
    };
    let post = PostMessage {
        draft: Arc::new(draft),
        destination: Destination::To(Id::from_u128(0x70)),
        attachments: Box::new([]),
        conversation_if_new: Id::from_u128(0xce),
        random: 9,
    };
    let entry = Entry { n: 258, body: EntryBody::Writes(vec![post.into()]), ..hello() };
    let id = |low: &str| format!("{}{low}", "00".repeat(15));
    let draft = ["0110", &id("c1"), "021101", &id("5e"), "0303016869", "05020201"].concat();
    let post = ["012e", &draft, "021102", &id("70"), "0410", &id("ce"), "050109"].concat();
    let head = ["010101", "02066e6f64652d31", "0310", &id("05"), "04020201"].concat();
    assert_eq!(hex(&entry.to_bytes()), [&head, "055b", "03", "59", "18", &post].concat());
}

#[test]
fn an_entry_that_this_build_cannot_apply_is_refused() {
    // Of a newer build, also if its fields have another form.
    let mut newer = Vec::new();
    Level { level: LEVEL + 1 }.put(&mut newer);
    put_field(&mut newer, 5, &"something else".to_owned());
    assert_eq!(Entry::from_bytes(&newer).err(), Some(EntryError::Newer));
    // A field that is not known is ignored; a row that is not known needs a higher level.
    let mut extended = hello().to_bytes();
    put_field(&mut extended, 6, &"a new field".to_owned());
    put_field(&mut extended, 255, &"a new field".to_owned());
    let read = Entry::from_bytes(&extended).expect("an entry");
    assert_eq!(format!("{read:?}"), format!("{:?}", hello()));
    for body in [&b"\x03\x01\xfe"[..], b"\x03\x01", b"\xff", b""] {
        let mut entry = Entry { body: EntryBody::End, ..hello() }.to_bytes();
        entry.truncate(entry.len() - 3);
        entry.extend_from_slice(&[5, body.len() as u8]);
        entry.extend_from_slice(body);
        assert_eq!(Entry::from_bytes(&entry).err(), Some(EntryError::Malformed), "{body:?}");
    }
}

/// No part of an entry is another entry.
#[test]
fn an_entry_is_cut_nowhere() {
    let mut entropy = Seeded(3);
    let writes = (0..20).map(|_| Write::sample(&mut entropy)).collect();
    let entry = Entry { body: EntryBody::Writes(writes), ..hello() };
    let (bytes, sealed) = (entry.to_bytes(), entry.seal(&key()));
    for end in 0..bytes.len() {
        assert_eq!(Entry::from_bytes(&bytes[..end]).err(), Some(EntryError::Malformed), "{end}");
    }
    for end in (0..sealed.len()).step_by(1 + sealed.len() / 2_000) {
        let error = Entry::open(&key(), &sealed[..end]).err();
        assert!(matches!(error, Some(EntryError::Malformed | EntryError::Forged)), "{end}: {error:?}");
    }
}

#[test]
fn only_the_node_that_seals_an_entry_is_its_author() {
    let entry = hello();
    let sealed = entry.seal(&key());
    assert_eq!(Entry::open(&SealKey::new(&[8; 32]), &sealed).err(), Some(EntryError::Forged));
    // Each part of the head says who it was: a node "b", or another life or number.
    for at in 2..sealed.len() {
        let mut other = sealed.clone();
        other[at] ^= 1;
        assert_eq!(Entry::open(&key(), &other).err(), Some(EntryError::Forged), "{at}");
    }
    // Sealed with the right key, but with the content of another entry.
    for by in [
        SealedBy { node: "node-2", life: 5, n: 1 },
        SealedBy { node: "node-1", life: 6, n: 1 },
        SealedBy { node: "node-1", life: 5, n: 2 },
    ] {
        let sealed = key().seal(SealPurpose::Entry, by, &entry.to_bytes());
        assert_eq!(Entry::open(&key(), &sealed).err(), Some(EntryError::Malformed), "{by:?}");
    }
}

#[test]
fn a_batch_becomes_entries_that_a_broker_takes() {
    let mut entropy = Seeded(4);
    let batch: Vec<Write> = (0..1_500)
        .map(|i| match i % 10 {
            0 => edit("x".repeat(entropy.below(16_000) as usize)),
            _ => Write::sample(&mut entropy),
        })
        .collect();
    let mut drafts = vec![EntryDraft::new(node(), Id::from_u128(5), 1, FIRST_LEVEL)];
    for write in &batch {
        let last = drafts.last_mut().expect("a draft");
        if last.push(write) == Pushed::Full {
            let n = drafts.len() as u64 + 1;
            drafts.push(EntryDraft::new(node(), Id::from_u128(5), n, FIRST_LEVEL));
            assert_eq!(drafts.last_mut().expect("a draft").push(write), Pushed::Added);
        }
    }
    assert!(drafts.len() > 2, "{}", drafts.len());
    let (count, mut applied) = (drafts.len() as u64, Vec::new());
    for (draft, n) in drafts.into_iter().zip(1..) {
        let writes = draft.writes();
        let sealed = draft.seal(&key());
        assert!(sealed.len() <= ENTRY_BYTES_MAX && (n == count || sealed.len() > ENTRY_BYTES_MAX - 110_000));
        let entry = Entry::open(&key(), &sealed).expect("an entry");
        assert!(entry.n == n && entry.seal(&key()) == sealed, "as an entry of the same writes");
        let EntryBody::Writes(opened) = entry.body else { panic!("no writes") };
        assert_eq!(opened.len(), writes);
        applied.extend(opened);
    }
    assert!(format!("{applied:?}") == format!("{batch:?}"), "every write once, in order");
}

#[test]
fn a_write_larger_than_an_entry_is_in_none() {
    let draft = || EntryDraft::new(node(), Id::from_u128(5), u64::MAX, FIRST_LEVEL);
    let fits = |len: usize| draft().push(&edit("x".repeat(len)));
    let (mut below, mut above) = (0, ENTRY_BYTES_MAX);
    assert_eq!((fits(below), fits(above)), (Pushed::Added, Pushed::TooLarge));
    while above - below > 1 {
        let middle = below.midpoint(above);
        if fits(middle) == Pushed::Added { below = middle } else { above = middle }
    }
    let mut full = draft();
    assert_eq!(full.push(&edit("x".repeat(below))), Pushed::Added);
    assert_eq!((full.push(&edit("x".repeat(100))), full.writes()), (Pushed::Full, 1));
    let sealed = full.seal(&key());
    assert!((ENTRY_BYTES_MAX - 4..=ENTRY_BYTES_MAX).contains(&sealed.len()), "{}", sealed.len());
    assert!(Entry::open(&key(), &sealed).is_ok());
    let body = EntryBody::Writes(vec![edit("x".repeat(above + 4))]);
    let larger = Entry { n: u64::MAX, body, ..hello() }.seal(&key());
    assert_eq!(Entry::open(&key(), &larger).err(), Some(EntryError::Malformed));
}
