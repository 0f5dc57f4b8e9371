//! `natter import FILE...`: brings the accounts, profiles and messages of the predecessor, a server with MongoDB, into an empty DATA_DIR.
//!
//! Everything is read and checked once before anything is written; the database is made in the staging folder of a restore, by the
//! same writes that a server performs, and moved at the end.
//! Passwords do not come over: their hashes had one salt. Each person asks for a reset code.
//! Invariant: existing files are never touched; after a failure DATA_DIR is as empty as before.

mod documents;
mod files;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use self::documents::{Document, Member, Message, Profile, Rules};
use super::output::say;
use super::restoring::{Restoring, text};
use super::serve::{clock, password_options, store_options};
use super::{DataFolder, absolute, keys, with_config};
use crate::auth::rules;
use crate::base::crypto::{Entropy, SystemEntropy, base64url};
use crate::base::id::Id;
use crate::base::secret::Secret;
use crate::base::time::UnixMs;
use crate::config::{Config, Secrets};
use crate::limits::DISPLAY_NAME_MAX;
use crate::model::conversation::MarkRead;
use crate::model::id::{ConversationId, MemberId, ProfileId};
use crate::model::job::{Done, Job};
use crate::model::member::{AddMember, NewAccount, SetActive};
use crate::model::message::{Destination, Message as NewMessage, PostMessage, PostedMessage};
use crate::model::operation::{Answer, Lane, Write};
use crate::model::profile::UpdateProfile;
use crate::store::{self, Store, StoreOptions};
use crate::work::password::PasswordHasher;

/// Bytes of a line. Above it, the export is refused: the predecessor closed a connection at a message of more than 512 bytes.
const LINE_MAX: u64 = 1 << 20;
/// Members and profiles, which are in memory. Above it, the export is refused.
const PEOPLE_MAX: usize = 1_000_000;
/// Messages, of which the place is in memory: 40 bytes each. Above it, the export is refused.
const MESSAGES_MAX: usize = 20_000_000;
/// How far a time of the export may be ahead of the clock here: a day. Above it, the line is refused.
const AHEAD_MS_MAX: u64 = 86_400_000;
/// Problems that are shown at once.
const PROBLEMS_MAX: usize = 20;
/// Writes of one transaction.
const BATCH_WRITES: usize = 500;

pub fn run(folder: &DataFolder, files: &[PathBuf]) -> ExitCode {
    with_config(folder, |config| {
        let Imported { members, messages, conversations, left_out } = import(config, files)?;
        say!(
            "imported {members} members and {messages} messages in {conversations} conversations into {}",
            absolute(&config.data_dir)
        );
        for reason in left_out {
            say!("left out: {reason}");
        }
        say!(
            "passwords are not brought over: each person asks for a reset code where they sign in, and chooses a new one"
        );
        Ok(())
    })
}

struct Imported {
    members: usize,
    messages: usize,
    conversations: usize,
    left_out: Vec<String>,
}

fn import(config: &Config, files: &[PathBuf]) -> Result<Imported, String> {
    if config.cluster.is_some() {
        return Err("without CLUSTER_NODE: import as a natter alone, then `natter cluster init`".to_owned());
    }
    // A clock of the past may have been ahead of this one.
    let rules =
        Rules { message_max: config.limits.message_max, made_by: clock().unix_ms.after(AHEAD_MS_MAX) };
    let export = Export::read(files, rules)?;
    let people = People::of(&export)?;
    let (_data_dir, restoring) = Restoring::begin(config)?;
    let staged = Config { data_dir: restoring.stage.clone(), ..config.clone() };
    let made = restoring.make_stages().map_err(text(&restoring.stage));
    let result = made.and_then(|()| write(&staged, &export, &people));
    restoring.end(result.and_then(|imported| restoring.move_in().map(|()| imported)))
}

// ---- reading -------------------------------------------------------------------------------------

/// Where a document is: for people, and to read a message again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    file: u32,
    number: u32,
    offset: u64,
    bytes: u32,
}

#[derive(Default)]
struct Export {
    files: Vec<(PathBuf, Option<File>)>,
    members: Vec<(Line, Member)>,
    profiles: Vec<(Line, Profile)>,
    /// In order: by time, then as they are in the export.
    messages: Vec<(UnixMs, Line)>,
    blank: usize,
    others: usize,
    rules: Rules,
}

impl Export {
    fn read(paths: &[PathBuf], rules: Rules) -> Result<Export, String> {
        let mut export = Export { rules, ..Export::default() };
        let mut problems = Vec::new();
        for path in files::expand(paths)? {
            export.read_file(&path, &mut problems)?;
        }
        if !problems.is_empty() {
            return Err(format!("nothing is imported:\n  {}", problems.join("\n  ")));
        }
        if export.members.is_empty() {
            return Err(
                "the export has no member: name the files of all collections, or their folder".to_owned()
            );
        }
        export.members.sort_by_key(|(line, member)| (member.created_at, *line));
        export.messages.sort_unstable();
        Ok(export)
    }

    fn read_file(&mut self, path: &Path, problems: &mut Vec<String>) -> Result<(), String> {
        let fault = text(path);
        let number = u32::try_from(self.files.len()).map_err(|_| "too many files")?;
        let mut line = Line { file: number, number: 0, offset: 0, bytes: 0 };
        let mut reader = BufReader::new(File::open(path).map_err(&fault)?);
        self.files.push((path.to_owned(), Some(File::open(path).map_err(&fault)?)));
        let mut bytes = Vec::new();
        loop {
            line.offset += u64::from(line.bytes);
            line.number += 1;
            bytes.clear();
            let read = reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut bytes).map_err(&fault)?;
            if read == 0 {
                return Ok(());
            }
            if read as u64 == LINE_MAX && bytes.last() != Some(&b'\n') {
                return Err(format!("{} has more than {LINE_MAX} bytes", self.place(line)));
            }
            line.bytes = read as u32;
            let content = bytes.trim_ascii();
            if content.is_empty() {
                continue;
            }
            match documents::read(content, self.rules) {
                Ok(Document::Member(member)) => self.members.push((line, member)),
                Ok(Document::Profile(profile)) => self.profiles.push((line, profile)),
                Ok(Document::Message(message)) => self.messages.push((message.created_at, line)),
                Ok(Document::Blank) => self.blank += 1,
                Ok(Document::Other) => self.others += 1,
                Err(problem) => problems.push(format!("{}: {problem}", self.place(line))),
            }
            if problems.len() >= PROBLEMS_MAX
                || self.members.len() > PEOPLE_MAX
                || self.profiles.len() > PEOPLE_MAX
                || self.messages.len() > MESSAGES_MAX
            {
                problems.push(format!("{}: the rest was not read", self.place(line)));
                return Err(format!("nothing is imported:\n  {}", problems.join("\n  ")));
            }
        }
    }

    /// `messages.json:12`.
    fn place(&self, line: Line) -> String {
        format!("{}:{}", self.files[line.file as usize].0.display(), line.number)
    }

    /// The message of a line, which was well-formed when it was read first.
    fn message(&self, line: Line) -> Result<Message, String> {
        let (path, file) = &self.files[line.file as usize];
        let mut bytes = vec![0; line.bytes as usize];
        let file = file.as_ref().ok_or("an open file")?;
        file.read_exact_at(&mut bytes, line.offset).map_err(text(path))?;
        match documents::read(bytes.trim_ascii(), self.rules) {
            Ok(Document::Message(message)) => Ok(message),
            _ => Err(format!("{} has changed", self.place(line))),
        }
    }
}

// ---- who is who ----------------------------------------------------------------------------------

/// Members with their profiles.
struct People<'a> {
    all: Vec<Person<'a>>,
    /// By what a message calls sender and receiver.
    by_name: BTreeMap<&'a str, ProfileId>,
    /// Profiles whose member is not in the export.
    ownerless: usize,
}

struct Person<'a> {
    member: &'a Member,
    profile: Option<&'a Profile>,
    profile_id: ProfileId,
}

impl<'a> People<'a> {
    fn of(export: &'a Export) -> Result<People<'a>, String> {
        let mut profiles: BTreeMap<&str, (Line, &Profile)> = BTreeMap::new();
        for (line, profile) in &export.profiles {
            let Some(member) = &profile.member else { continue };
            if let Some((other, _)) = profiles.insert(member, (*line, profile)) {
                let (this, other) = (export.place(*line), export.place(other));
                return Err(format!("{this} and {other} are profiles of one member"));
            }
        }
        let (mut by_name, mut ids, mut emails) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut all = Vec::with_capacity(export.members.len());
        let mut owned = 0;
        for (line, member) in &export.members {
            if let Some(other) = emails.insert(&*member.email, *line) {
                let (this, other) = (export.place(*line), export.place(other));
                return Err(format!(
                    "{this} and {other} have one e-mail address; the predecessor told capital letters apart: remove one"
                ));
            }
            let found = member.names.texts.iter().find_map(|name| profiles.get(&**name));
            owned += usize::from(found.is_some());
            let profile = found.map(|(_, profile)| *profile);
            // A sign-up of the predecessor could fail between the two: the e-mail address was taken, without a profile.
            let id = profile.map_or(member.names.id, |profile| profile.names.id);
            for (id, line) in [(member.names.id, *line), (id, found.map_or(*line, |(line, _)| *line))] {
                if let Some(other) = ids.insert(id, line)
                    && other != line
                {
                    return Err(format!("{} and {} have one id", export.place(line), export.place(other)));
                }
            }
            let profile_id = ProfileId::from_u128(id);
            let names =
                member.names.texts.iter().chain(profile.iter().flat_map(|profile| &profile.names.texts));
            by_name.extend(names.map(|name| (&**name, profile_id)));
            all.push(Person { member, profile, profile_id });
        }
        Ok(People { all, by_name, ownerless: export.profiles.len() - owned })
    }
}

// ---- writing -------------------------------------------------------------------------------------

/// Makes the database in this DATA_DIR, and its keys.
fn write(config: &Config, export: &Export, people: &People<'_>) -> Result<Imported, String> {
    let mut entropy = SystemEntropy::new();
    let secrets = keys::load_or_make(config, &mut entropy)?.0;
    let hash = unknown_hash(config, &secrets, &mut entropy)?;
    let options = StoreOptions { password_tag: Some(keys::tag(&secrets.password)), ..store_options(config) };
    let fault = |error: store::OpenFault| error.to_string();
    let now = clock().unix_ms;
    let (store, _) = Store::open(&options, &mut entropy, now).map_err(fault)?;
    let mut writer = Writer { export, store, batch: Vec::new(), pairs: BTreeMap::new(), now };
    for person in &people.all {
        writer.add(person, &hash, &mut entropy)?;
    }
    writer.commit(&[])?;
    let mut unknown = Vec::new();
    let mut posts: Vec<Post> = Vec::with_capacity(BATCH_WRITES);
    let (mut messages, mut to_oneself) = (0, 0);
    for (at, line) in &export.messages {
        let message = export.message(*line)?;
        let who = |name: &String| people.by_name.get(name.as_str()).copied();
        let (Some(sender), Some(receiver)) = (who(&message.sender), who(&message.receiver)) else {
            unknown.push(*line);
            continue;
        };
        if sender == receiver {
            to_oneself += 1;
            continue;
        }
        messages += 1;
        posts.push(Post { line: *line, sender, receiver, is_read: message.is_read });
        writer.post(message, sender, receiver, (*at).min(now), &mut entropy);
        if posts.len() == BATCH_WRITES {
            writer.commit(&posts)?;
            posts.clear();
        }
    }
    writer.commit(&posts)?;
    writer.mark_read(now)?;
    let conversations = writer.pairs.len();
    writer.store.close().map_err(|fault| format!("the database can't be completed: {fault}"))?;
    let unverified: Vec<MemberId> =
        people.all.iter().filter(|person| !person.member.verified).map(Person::id).collect();
    store::unverify(&options, &unverified).map_err(fault)?;
    let left_out = [
        (export.others, "documents that are no member, profile or message".to_owned()),
        (export.blank, "messages without text".to_owned()),
        (people.ownerless, "profiles whose member is not in the export".to_owned()),
        (to_oneself, "messages of people to themselves".to_owned()),
        (
            unknown.len(),
            format!(
                "messages whose sender or receiver is not in the export, the first at {}",
                unknown.first().map(|line| export.place(*line)).unwrap_or_default()
            ),
        ),
    ];
    let left_out = left_out.into_iter().filter(|(count, _)| *count > 0);
    let left_out = left_out.map(|(count, what)| format!("{count} {what}")).collect();
    Ok(Imported { members: people.all.len(), messages, conversations, left_out })
}

/// The hash of a password that nobody knows. All members have the same one: it is computed for half a second once, not for hours.
fn unknown_hash(config: &Config, secrets: &Secrets, entropy: &mut dyn Entropy) -> Result<Secret, String> {
    let (mut password, mut salt) = ([0; 32], [0; 16]);
    entropy.fill(&mut password);
    entropy.fill(&mut salt);
    let mut hasher = PasswordHasher::new(password_options(config, secrets))
        .map_err(|_| "ARGON2: these costs can't be used".to_owned())?;
    match hasher.run(Job::HashPassword { password: Secret::new(base64url(&password)), salt }) {
        Done::PasswordHashed(hash) => Ok(hash),
        _ => Err("the memory for a password hash is missing".to_owned()),
    }
}

impl Person<'_> {
    fn id(&self) -> MemberId {
        MemberId::from_u128(self.member.names.id)
    }
}

/// A message that is being written.
struct Post {
    line: Line,
    sender: ProfileId,
    receiver: ProfileId,
    is_read: bool,
}

/// A direct conversation, and up to where each of the two has read.
struct Pair {
    conversation: ConversationId,
    read: BTreeMap<ProfileId, u64>,
}

struct Writer<'a> {
    export: &'a Export,
    store: Store,
    batch: Vec<(Lane, Write)>,
    pairs: BTreeMap<(ProfileId, ProfileId), Pair>,
    /// When the import began: no row is of a later time.
    now: UnixMs,
}

impl Writer<'_> {
    fn add(&mut self, person: &Person<'_>, hash: &Secret, entropy: &mut dyn Entropy) -> Result<(), String> {
        let Person { member, profile, profile_id } = person;
        let local: String =
            member.email.split('@').next().unwrap_or_default().chars().take(DISPLAY_NAME_MAX).collect();
        let display_name = profile.and_then(|profile| profile.display_name.clone()).unwrap_or(local);
        let own = profile.and_then(|profile| profile.nick_name.clone());
        let account = NewAccount {
            at: member.created_at.min(self.now),
            member: person.id(),
            profile: *profile_id,
            email: Secret::new(member.email.clone()),
            hash: hash.clone(),
            nick_names: own.into_iter().chain(rules::nick_names(&display_name, entropy)).collect(),
            display_name: display_name.into(),
        };
        self.batch.push((Lane(0), AddMember { account, by: None }.into()));
        if profile.is_some_and(|profile| profile.is_private) {
            let hidden = UpdateProfile {
                at: member.created_at.min(self.now),
                profile: *profile_id,
                is_private: Some(true),
                ..UpdateProfile::default()
            };
            self.batch.push((Lane(0), hidden.into()));
        }
        if !member.active {
            let disabled = SetActive {
                at: member.created_at.min(self.now),
                by: None,
                member: person.id(),
                active: false,
            };
            self.batch.push((Lane(0), disabled.into()));
        }
        if self.batch.len() >= BATCH_WRITES { self.commit(&[]) } else { Ok(()) }
    }

    fn post(
        &mut self,
        message: Message,
        sender: ProfileId,
        to: ProfileId,
        at: UnixMs,
        entropy: &mut dyn Entropy,
    ) {
        let draft = NewMessage {
            // A client of the predecessor that has this message finds it again by its id.
            client_id: Id::from_u128(message.id),
            sender: Some(sender),
            body: Some(message.text),
            created_at: at,
            ..NewMessage::default()
        };
        let post = PostMessage {
            draft: draft.into(),
            destination: Destination::To(to),
            attachments: [].into(),
            conversation_if_new: entropy.id(at),
            random: entropy.u64() as u16,
        };
        self.batch.push((Lane(0), post.into()));
    }

    /// Writes the batch: these posts, or other writes.
    fn commit(&mut self, posts: &[Post]) -> Result<(), String> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let committed = self.store.commit(&mut self.batch);
        if let Some(fault) = committed.fault {
            return Err(format!("the database can't be written: {fault}"));
        }
        for (index, outcome) in committed.outcomes.into_iter().enumerate() {
            let answer = outcome.result.map_err(|refusal| match posts.get(index) {
                Some(post) => {
                    format!("{}: the message is refused: {refusal:?}", self.export.place(post.line))
                }
                None => format!("a member or a profile is refused: {refusal:?}"),
            })?;
            let (Answer::PostMessage(posted), Some(post)) = (answer, posts.get(index)) else { continue };
            let PostedMessage::Complete(message) = &posted.message else { continue };
            if posted.duplicate {
                let place = self.export.place(post.line);
                return Err(format!("{place}: an earlier message of this sender has the same id"));
            }
            let pair = (post.sender.min(post.receiver), post.sender.max(post.receiver));
            let new = || Pair { conversation: message.conversation, read: BTreeMap::new() };
            let pair = self.pairs.entry(pair).or_insert_with(new);
            if post.is_read {
                pair.read.insert(post.receiver, message.n);
            }
        }
        // The write-ahead log is copied into the database.
        self.store.maintain(Instant::now()).map_err(|fault| format!("the database can't be written: {fault}"))
    }

    fn mark_read(&mut self, at: UnixMs) -> Result<(), String> {
        let marks = self.pairs.values().flat_map(|pair| {
            let conversation = pair.conversation;
            pair.read.iter().map(move |(reader, n)| MarkRead { at, reader: *reader, conversation, n: *n })
        });
        for mark in marks.collect::<Vec<_>>() {
            self.batch.push((Lane(0), mark.into()));
            if self.batch.len() >= BATCH_WRITES {
                self.commit(&[])?;
            }
        }
        self.commit(&[])
    }
}
