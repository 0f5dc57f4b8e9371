//! The three secret keys of the server, the one that signs for push services, and that of a cluster.
//!
//! Owns their files in DATA_DIR: each is made once, has mode 0600, and is on disk before it is used. The caller must hold
//! the lock of DATA_DIR.
//! Invariant: a key that signed anything can be read again after any crash, and a [`Secret`] is never printed.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::Config;
use super::reader::{Fault, SecretRule, Warning, read_text};
use crate::base::crypto::{Entropy, base64url};
use crate::base::secret::Secret;

/// The keys of a running server. No two are equal.
#[derive(Debug)]
pub struct Secrets {
    pub access: Secret,
    pub refresh: Secret,
    pub password: Secret,
    /// Files that were made by this call.
    pub made: Vec<&'static str>,
}

/// Name in the environment and in DATA_DIR.
const NAMES: [(&str, &str); 3] = [
    ("ACCESS_SECRET", "access_secret"),
    ("REFRESH_SECRET", "refresh_secret"),
    ("PASSWORD_SECRET", "password_secret"),
];

/// The file of the key that signs for push services. No variable sets it.
pub const PUSH_KEY: &str = "push_key";

/// The file of the key that seals what the nodes of a cluster send to each other. No variable sets it.
pub const CLUSTER_KEY: &str = "cluster_key";

/// The files of the keys in DATA_DIR, if they were made there. A backup without them is not complete, and the nodes of a cluster have
/// the same.
pub const FILES: [&str; 5] = [NAMES[0].1, NAMES[1].1, NAMES[2].1, PUSH_KEY, CLUSTER_KEY];

/// The name of the key that is part of password hashes and codes. A new one cannot replace it.
pub const PASSWORD: &str = NAMES[2].0;

/// The names of the keys that are neither set nor in `data_dir`: [`load_or_create`] would make new ones.
pub fn missing(data_dir: &Path, config: &Config) -> Vec<&'static str> {
    [&config.access_secret, &config.refresh_secret, &config.password_secret]
        .into_iter()
        .zip(NAMES)
        .filter(|(key, (_, file))| key.is_none() && !data_dir.join(file).exists())
        .map(|(_, (name, _))| name)
        .collect()
}

/// The keys from `config`, else from their files in `data_dir`, else new ones. The caller holds the lock of `data_dir`, so
/// that two first starts cannot make two keys.
pub fn load_or_create(
    data_dir: &Path,
    config: &Config,
    entropy: &mut dyn Entropy,
) -> Result<(Secrets, Vec<Warning>), Vec<Fault>> {
    gather(data_dir, config, Some(entropy)).map(|(keys, made, warnings)| {
        let [Some(access), Some(refresh), Some(password)] = keys else {
            unreachable!("a key that is missing was made")
        };
        (Secrets { access, refresh, password, made }, warnings)
    })
}

/// The keys that exist, and for each missing one a key that is not stored. Creates and changes no file.
pub fn load_or_replace(
    data_dir: &Path,
    config: &Config,
    entropy: &mut dyn Entropy,
) -> Result<(Secrets, Vec<Warning>), Vec<Fault>> {
    gather(data_dir, config, None).map(|(keys, made, warnings)| {
        let [access, refresh, password] = keys.map(|key| key.unwrap_or_else(|| random(entropy)));
        (Secrets { access, refresh, password, made }, warnings)
    })
}

/// The faults and warnings of [`load_or_create`]. Creates and changes no file.
pub fn check(data_dir: &Path, config: &Config) -> Result<Vec<Warning>, Vec<Fault>> {
    gather(data_dir, config, None).map(|(_, _, warnings)| warnings)
}

/// The key of [`PUSH_KEY`] or [`CLUSTER_KEY`], if its file exists. Changes no file.
pub fn stored(data_dir: &Path, file: &str) -> Result<(Option<Secret>, Vec<Warning>), Vec<Fault>> {
    in_file(data_dir, file, false)
}

/// The password secret, if it exists. Creates and changes no file.
pub fn password(data_dir: &Path, config: &Config) -> Result<Option<Secret>, Vec<Fault>> {
    gather(data_dir, config, None).map(|([_, _, password], _, _)| password)
}

/// The key that signs for push services, as text: from its file, else the one that `make` makes, which is stored. The caller holds
/// the lock of `data_dir`.
pub fn push_key(
    data_dir: &Path,
    make: impl FnOnce() -> Secret,
) -> Result<(Secret, Vec<Warning>), Vec<Fault>> {
    let (known, warnings) = in_file(data_dir, PUSH_KEY, true)?;
    let key = known.map_or_else(|| store(data_dir, PUSH_KEY, make()), Ok)?;
    Ok((key, warnings))
}

/// The key of the cluster, if its file exists. The caller holds the lock of `data_dir`.
#[cfg(feature = "cluster")]
pub fn cluster_key(data_dir: &Path) -> Result<(Option<Secret>, Vec<Warning>), Vec<Fault>> {
    in_file(data_dir, CLUSTER_KEY, true)
}

/// Makes and stores the key of a new cluster. The caller holds the lock of `data_dir`, and found none.
#[cfg(feature = "cluster")]
pub fn make_cluster_key(data_dir: &Path, entropy: &mut dyn Entropy) -> Result<Secret, Vec<Fault>> {
    store(data_dir, CLUSTER_KEY, random(entropy))
}

fn in_file(data_dir: &Path, file: &str, tighten: bool) -> Result<(Option<Secret>, Vec<Warning>), Vec<Fault>> {
    let (path, mut warnings) = (data_dir.join(file), Vec::new());
    match read(&path, file, tighten, &mut warnings) {
        Ok(key) => Ok((key, warnings)),
        Err(problem) => Err(vec![fault(&path, problem)]),
    }
}

fn store(data_dir: &Path, file: &str, key: Secret) -> Result<Secret, Vec<Fault>> {
    let made = create(data_dir, file, key);
    made.map_err(|error| vec![fault(&data_dir.join(file), format!("cannot be made: {error}"))])
}

type Gathered = ([Option<Secret>; 3], Vec<&'static str>, Vec<Warning>);

/// With `entropy`, makes missing keys and corrects file modes that are too open; without, it only reads.
fn gather(
    data_dir: &Path,
    config: &Config,
    mut entropy: Option<&mut (dyn Entropy + '_)>,
) -> Result<Gathered, Vec<Fault>> {
    let mut keys = [&config.access_secret, &config.refresh_secret, &config.password_secret].map(Clone::clone);
    let (mut made, mut warnings, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for (key, (name, file)) in keys.iter_mut().zip(NAMES) {
        if key.is_some() {
            continue;
        }
        let path = data_dir.join(file);
        match read(&path, name, entropy.is_some(), &mut warnings) {
            Ok(Some(secret)) => *key = Some(secret),
            Ok(None) => {
                let Some(entropy) = entropy.as_deref_mut() else { continue };
                match create(data_dir, file, random(entropy)) {
                    Ok(secret) => {
                        made.push(file);
                        *key = Some(secret);
                    }
                    Err(error) => faults.push(fault(&path, format!("cannot be made: {error}"))),
                }
            }
            Err(problem) => faults.push(fault(&path, problem)),
        }
    }
    for (left, right) in same(keys.each_ref().map(Option::as_ref)) {
        faults.push(fault(Path::new(left), format!("the secret is the same as {right}")));
    }
    match faults.is_empty() {
        true => Ok((keys, made, warnings)),
        false => Err(faults),
    }
}

/// Pairs of equal keys, by name, the later one first. With one key for two purposes a token of one kind would be accepted
/// as the other kind.
pub(super) fn same(keys: [Option<&Secret>; 3]) -> Vec<(&'static str, &'static str)> {
    [(1, 0), (2, 0), (2, 1)]
        .into_iter()
        .filter(|&(a, b)| keys[a].is_some() && keys[a] == keys[b])
        .map(|(a, b)| (NAMES[a].0, NAMES[b].0))
        .collect()
}

fn fault(path: &Path, problem: String) -> Fault {
    Fault { source: path.display().to_string(), problem, accepts: String::new() }
}

fn read(
    path: &Path,
    name: &str,
    tighten: bool,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Secret>, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    let mode = match path.metadata() {
        Ok(metadata) if metadata.is_file() => metadata.permissions().mode() & 0o7777,
        Ok(_) => return Err("is not a file".into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    let text = path.to_str().ok_or("has a path that is not UTF-8")?;
    let value = read_text(text)?;
    if let Some(problem) = SecretRule::Key.problem(name, &value) {
        let way =
            if [PUSH_KEY, CLUSTER_KEY].contains(&name) { String::new() } else { format!(", or set {name}") };
        return Err(format!("{problem}: restore the file from a backup{way}"));
    }
    if mode & 0o077 != 0 {
        let message = match tighten {
            true => {
                std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(|error| {
                    format!(
                        "can be read by other users (mode {mode:04o}), and its mode can't be changed: {error}"
                    )
                })?;
                format!(
                    "could be read by other users (mode {mode:04o}) and is 0600 now: a user who read it can forge what it signs"
                )
            }
            false => format!("can be read by other users (mode {mode:04o}): set its mode to 0600"),
        };
        warnings.push(Warning { source: path.display().to_string(), message });
    }
    Ok(Some(Secret::new(value)))
}

fn random(entropy: &mut dyn Entropy) -> Secret {
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    Secret::new(base64url(&bytes))
}

/// Writes the key to a temporary file and renames it: a crash leaves no incomplete key, which the next start would have to
/// refuse. No file is overwritten: the caller holds the lock and found no key.
fn create(data_dir: &Path, file: &str, secret: Secret) -> io::Result<Secret> {
    let fresh = data_dir.join(format!("{file}.new"));
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    out.write_all(secret.expose().as_bytes())?;
    out.write_all(b"\n")?;
    out.sync_all()?;
    std::fs::rename(&fresh, data_dir.join(file))?;
    // The name must also be on disk before the key signs anything.
    File::open(data_dir)?.sync_all()?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::testing::Folder;

    struct Counting(u8);

    impl Entropy for Counting {
        fn fill(&mut self, bytes: &mut [u8]) {
            self.0 += 1;
            bytes.fill(self.0);
        }
    }

    fn put(folder: &Path, file: &str, text: &str, mode: u32) {
        let path = folder.join(file);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its mode");
    }

    fn mode(folder: &Path, file: &str) -> u32 {
        folder.join(file).metadata().expect("a file").permissions().mode() & 0o7777
    }

    fn config(access: Option<&str>) -> Config {
        let env = |name: &str| (name == "ACCESS_SECRET").then_some(access).flatten().map(Into::into);
        Config::load(env, None).expect("no fault").0
    }

    const KEY: &str = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";

    #[test]
    fn made_once_kept_private_and_read_again() {
        let folder = Folder::new();
        // A crash during the first start leaves this file.
        put(&folder, "access_secret.new", "half", 0o644);
        assert_eq!(check(&folder, &config(None)), Ok(vec![]));
        let (first, warnings) = load_or_create(&folder, &config(None), &mut Counting(0)).expect("keys");
        assert_eq!(first.made, ["access_secret", "refresh_secret", "password_secret"]);
        assert_eq!(warnings, []);
        assert!(first.access != first.refresh && first.refresh != first.password);
        assert_eq!(first.access.expose().len(), 43);
        for (_, file) in NAMES {
            assert_eq!(mode(&folder, file), 0o600);
            assert!(!folder.join(format!("{file}.new")).exists());
        }
        let (again, _) = load_or_create(&folder, &config(None), &mut Counting(100)).expect("keys");
        assert!(again.made.is_empty());
        assert!(again.access == first.access && again.password == first.password);
        let (set, _) = load_or_create(&folder, &config(Some(KEY)), &mut Counting(0)).expect("keys");
        assert!(set.access.expose() == KEY && set.refresh == first.refresh);
        assert_eq!(format!("{set:?}").matches("Secret(..)").count(), 3);
    }

    #[test]
    fn the_key_for_push_services_is_made_once() {
        let folder = Folder::new();
        let (first, warnings) = push_key(&folder, || Secret::new(KEY.to_owned())).expect("a key");
        assert!(first.expose() == KEY && warnings.is_empty());
        assert_eq!(mode(&folder, PUSH_KEY), 0o600);
        let (again, _) = push_key(&folder, || unreachable!("it is there")).expect("a key");
        assert!(again == first);
        put(&folder, PUSH_KEY, "short", 0o600);
        let faults = push_key(&folder, || unreachable!("it is there")).expect_err("a fault");
        assert!(faults.len() == 1 && faults[0].to_string().contains("push_key: the secret is too short"));
    }

    #[test]
    fn a_check_creates_and_changes_no_file() {
        let folder = Folder::new();
        put(&folder, "access_secret", KEY, 0o644);
        let warnings = check(&folder, &config(None)).expect("no fault");
        assert!(warnings.len() == 1 && warnings[0].message.contains("0644"), "{warnings:?}");
        assert_eq!(mode(&folder, "access_secret"), 0o644);
        assert!(!folder.join("refresh_secret").exists());
    }

    #[test]
    fn files_that_others_can_read_get_mode_0600() {
        let folder = Folder::new();
        put(&folder, "access_secret", &format!("{KEY}\n"), 0o640);
        let (secrets, warnings) = load_or_create(&folder, &config(None), &mut Counting(0)).expect("keys");
        assert_eq!(secrets.access.expose(), KEY);
        assert!(warnings.len() == 1 && warnings[0].message.contains("0640"), "{warnings:?}");
        assert_eq!(mode(&folder, "access_secret"), 0o600);
    }

    #[test]
    fn bad_files_are_refused_all_at_once() {
        let folder = Folder::new();
        put(&folder, "access_secret", "hunter2\n", 0o600);
        put(&folder, "refresh_secret", "REFRESH_SECRET", 0o600);
        std::fs::create_dir(folder.join("password_secret")).expect("a folder");
        let faults = load_or_create(&folder, &config(None), &mut Counting(0)).expect_err("faults");
        let text: Vec<String> = faults.iter().map(Fault::to_string).collect();
        for (text, expect) in text.iter().zip(["too short", "own name", "not a file"]) {
            assert!(text.contains(expect) && text.contains("secret: "), "{text}");
        }
        assert!(text.len() == 3 && !text.concat().contains("hunter2"));
        assert_eq!(std::fs::read(folder.join("access_secret")).expect("untouched"), b"hunter2\n");
    }

    #[test]
    fn two_uses_of_one_key_are_refused() {
        let folder = Folder::new();
        put(&folder, "refresh_secret", KEY, 0o600);
        let faults = load_or_create(&folder, &config(Some(KEY)), &mut Counting(0)).expect_err("a fault");
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].to_string(), "REFRESH_SECRET: the secret is the same as ACCESS_SECRET");
    }

    #[test]
    fn a_missing_folder_is_a_fault_that_names_the_file() {
        let folder = Folder::new();
        let faults = load_or_create(&folder.join("x"), &config(None), &mut Counting(0)).expect_err("faults");
        assert_eq!(faults.len(), 3);
        assert!(faults[0].to_string().contains("x/access_secret: cannot be made"), "{}", faults[0]);
    }
}
