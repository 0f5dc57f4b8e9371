//! Password hashes: Argon2id (RFC 9106) over the HMAC of a password in its compared form, as PHC strings.
//!
//! The only module that uses argon2. Owns an arena that is reused from hash to hash and freed when idle; draws no salt
//! itself.
//! Invariant: a stored hash can't be tested against a guess without PASSWORD_SECRET, which the database does not hold.

use std::borrow::Cow;
use std::hint::black_box;

use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::base::crypto::{HmacKey, base64url, base64url_decode};
use crate::base::secret::Secret;
use crate::base::text::password_form;
use crate::model::job::{Done, Job};

/// KiB one password hash may use: a mistyped ARGON2 must not use all memory. Above it: refused at the start.
const ARGON2_MEMORY_KIB_MAX: u32 = 1_048_576;
/// Passes over that memory. Above it: refused at the start.
const ARGON2_PASSES_MAX: u32 = 64;
/// Lanes, which this build computes one after the other. Above it: refused at the start.
const ARGON2_LANES_MAX: u32 = 16;

/// The cost of one hash: ARGON2=m,t,p.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

impl Default for Cost {
    /// OWASP's profile with the least memory: 7 MiB and 18 ms on a small machine. With 64 MiB per guess a dozen
    /// strangers would fill its memory.
    fn default() -> Self {
        Cost { memory_kib: 7_168, passes: 5, lanes: 1 }
    }
}

/// A cost outside of what Argon2 can do or of what is reasonable for a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCost;

impl Cost {
    fn params(self) -> Result<Params, BadCost> {
        let fits = self.lanes <= ARGON2_LANES_MAX
            && self.passes <= ARGON2_PASSES_MAX
            && self.memory_kib <= ARGON2_MEMORY_KIB_MAX;
        if !fits {
            return Err(BadCost);
        }
        Params::new(self.memory_kib, self.passes, self.lanes, Some(HASH_LEN)).map_err(|_| BadCost)
    }
}

#[derive(Clone, Debug)]
pub struct PasswordOptions {
    /// Made from PASSWORD_SECRET.
    pub secret: HmacKey,
    pub cost: Cost,
}

/// One worker thread's hasher.
pub struct PasswordHasher {
    secret: HmacKey,
    cost: Cost,
    params: Params,
    arena: Vec<Block>,
}

const HASH_LEN: usize = 32;

/// The content of a PHC string that natter wrote.
struct Stored {
    cost: Cost,
    params: Params,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl PasswordHasher {
    pub fn new(options: PasswordOptions) -> Result<PasswordHasher, BadCost> {
        let PasswordOptions { secret, cost } = options;
        Ok(PasswordHasher { secret, cost, params: cost.params()?, arena: Vec::new() })
    }

    /// Does the job, in this thread, for as long as it takes.
    pub fn run(&mut self, job: Job) -> Done {
        let done = match job {
            Job::HashPassword { password, salt } => self.hash(&password, &salt).map(Done::PasswordHashed),
            Job::VerifyPassword(job) => match &job.hash {
                Some(hash) => self.verify(&job.password, hash, &job.salt),
                None => self.verify_without_hash(&job.password, &job.salt),
            },
            // The pools give each worker only its own kinds of job.
            _ => Err("the job is of another kind of worker"),
        };
        done.unwrap_or_else(|reason| {
            log::error!("a password could not be hashed: {reason}");
            Done::Failed
        })
    }

    /// Frees the arena. Call it when no job is waiting.
    pub fn idle(&mut self) {
        self.arena = Vec::new();
    }

    fn hash(&mut self, password: &Secret, salt: &[u8]) -> Result<Secret, &'static str> {
        let hash = self.derive(&password_form(password.expose()), salt, &self.params.clone())?;
        let Cost { memory_kib, passes, lanes } = self.cost;
        let (salt, hash) = (phc_base64(salt), phc_base64(&hash));
        let phc = format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}");
        Ok(Secret::new(phc))
    }

    fn verify(&mut self, password: &Secret, phc: &Secret, salt: &[u8]) -> Result<Done, &'static str> {
        let stored = parse_phc(phc.expose()).ok_or("the stored hash is not one of ours")?;
        let (mut matches, mut is_raw) = (false, false);
        for (form, text) in forms(password).enumerate() {
            let hash = self.derive(&text, &stored.salt, &stored.params)?;
            // Two HMACs compared in constant time, rather than two hashes compared byte by byte.
            if !matches && self.secret.verify(&stored.hash, &self.secret.sign(&hash)) {
                (matches, is_raw) = (true, form > 0);
            }
        }
        let rehash = match matches && (is_raw || stored.cost != self.cost) {
            true => Some(self.hash(password, salt)?),
            false => None,
        };
        Ok(Done::PasswordVerified { matches, rehash })
    }

    /// Spends the time of a comparison although there is no hash.
    fn verify_without_hash(&mut self, password: &Secret, salt: &[u8]) -> Result<Done, &'static str> {
        let params = self.params.clone();
        for text in forms(password) {
            black_box(self.derive(&text, salt, &params)?);
        }
        Ok(Done::PasswordVerified { matches: false, rehash: None })
    }

    fn derive(
        &mut self,
        password: &str,
        salt: &[u8],
        params: &Params,
    ) -> Result<[u8; HASH_LEN], &'static str> {
        let input = self.secret.sign(password.as_bytes());
        argon2id(&mut self.arena, &input, salt, params)
    }
}

/// The forms in which a presented password is compared: its compared form, then the password as sent if it differs,
/// since older hashes were made of passwords as sent. The number of forms depends on the password alone, and each is
/// tried even if an earlier one matched: the time discloses nothing about the stored hash.
fn forms(password: &Secret) -> impl Iterator<Item = Cow<'_, str>> {
    let form = password_form(password.expose());
    let raw = (form != *password.expose()).then_some(Cow::Borrowed(password.expose().as_str()));
    std::iter::once(form).chain(raw)
}

fn argon2id(
    arena: &mut Vec<Block>,
    input: &[u8],
    salt: &[u8],
    params: &Params,
) -> Result<[u8; HASH_LEN], &'static str> {
    let blocks = params.block_count();
    if arena.len() < blocks {
        arena.resize(blocks, Block::new());
    }
    let mut hash = [0; HASH_LEN];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(input, salt, &mut hash, &mut arena[..blocks])
        .map_err(|_| "Argon2 refused its input")?;
    Ok(hash)
}

/// Reads `$argon2id$v=19$m=…,t=…,p=…$salt$hash`, in exactly this form.
fn parse_phc(text: &str) -> Option<Stored> {
    let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
    let (costs, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let mut costs = costs.split(',');
    let mut cost = |name: &str| -> Option<u32> { costs.next()?.strip_prefix(name)?.parse().ok() };
    let cost = Cost { memory_kib: cost("m=")?, passes: cost("t=")?, lanes: cost("p=")? };
    let (salt, hash) = (from_phc_base64(salt)?, from_phc_base64(hash)?);
    let is_complete =
        parts.next().is_none() && costs.next().is_none() && salt.len() >= 8 && hash.len() == HASH_LEN;
    if !is_complete {
        return None;
    }
    Some(Stored { cost, params: cost.params().ok()?, salt, hash })
}

/// The PHC format uses the standard alphabet, unpadded; it differs from base64url in two characters.
fn phc_base64(bytes: &[u8]) -> String {
    base64url(bytes).replace('-', "+").replace('_', "/")
}

fn from_phc_base64(text: &str) -> Option<Vec<u8>> {
    if text.contains(['-', '_']) {
        return None;
    }
    base64url_decode(&text.replace('+', "-").replace('/', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job::VerifyPassword;

    const CHEAP: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };

    fn hasher(cost: Cost) -> PasswordHasher {
        PasswordHasher::new(PasswordOptions { secret: HmacKey::new(b"pepper"), cost }).expect("a cost")
    }

    fn hash(hasher: &mut PasswordHasher, password: &str, salt: u8) -> String {
        let job = Job::HashPassword { password: Secret::new(password.to_owned()), salt: [salt; 16] };
        match hasher.run(job) {
            Done::PasswordHashed(hash) => hash.expose().clone(),
            done => panic!("{done:?}"),
        }
    }

    /// Whether the password matches, and the new hash if there is one.
    fn verify(hasher: &mut PasswordHasher, password: &str, hash: Option<&str>) -> (bool, Option<String>) {
        let hash = hash.map(|hash| Secret::new(hash.to_owned()));
        match hasher.run(Job::VerifyPassword(Box::new(VerifyPassword {
            password: Secret::new(password.to_owned()),
            hash,
            salt: [9; 16],
            known_to: None,
        }))) {
            Done::PasswordVerified { matches, rehash } => {
                (matches, rehash.map(|secret| secret.expose().clone()))
            }
            done => panic!("{done:?}"),
        }
    }

    #[test]
    fn the_reference_vector_of_argon2id() {
        // phc-winner-argon2, src/test.c, version 0x13: m=2^8, t=2, p=1.
        let params = Params::new(256, 2, 1, Some(HASH_LEN)).expect("a cost");
        let hash = argon2id(&mut Vec::new(), b"password", b"somesalt", &params).expect("a hash");
        assert_eq!(phc_base64(b"somesalt"), "c29tZXNhbHQ");
        assert_eq!(phc_base64(&hash), "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4");
    }

    #[test]
    fn a_password_matches_its_own_hash_only() {
        let mut hasher = hasher(CHEAP);
        let phc = hash(&mut hasher, "analytical engine", 1);
        assert!(phc.starts_with("$argon2id$v=19$m=64,t=1,p=1$AQEBAQEBAQEBAQEBAQEBAQ$"), "{phc}");
        assert_eq!(verify(&mut hasher, "analytical engine", Some(&phc)), (true, None));
        for wrong in ["analytical engin", "Analytical engine", "", "analytical engine\0"] {
            assert_eq!(verify(&mut hasher, wrong, Some(&phc)), (false, None), "{wrong:?}");
        }
        // Without the secret the right password proves nothing.
        let options = PasswordOptions { secret: HmacKey::new(b"other"), cost: CHEAP };
        let mut other = PasswordHasher::new(options).expect("a cost");
        assert_eq!(verify(&mut other, "analytical engine", Some(&phc)), (false, None));
    }

    /// Equal passwords have different hashes. The predecessor's salt was one constant byte: equal passwords had equal
    /// hashes.
    #[test]
    fn equal_passwords_have_different_hashes() {
        let mut hasher = hasher(CHEAP);
        let (a, b) = (hash(&mut hasher, "analytical engine", 1), hash(&mut hasher, "analytical engine", 2));
        assert_ne!(a.rsplit('$').next(), b.rsplit('$').next());
    }

    #[test]
    fn a_missing_hash_never_matches_and_uses_the_same_arena() {
        let mut hasher = hasher(CHEAP);
        assert_eq!(verify(&mut hasher, "analytical engine", None), (false, None));
        assert_eq!(hasher.arena.len(), 64);
        hasher.idle();
        assert_eq!(hasher.arena.capacity(), 0);
        assert_eq!(verify(&mut hasher, "", None), (false, None));
    }

    #[test]
    fn a_changed_cost_renews_the_hash_at_the_next_success() {
        let phc = hash(&mut hasher(CHEAP), "analytical engine", 1);
        let mut dearer = hasher(Cost { memory_kib: 128, passes: 2, lanes: 2 });
        assert_eq!(verify(&mut dearer, "wrong", Some(&phc)), (false, None));
        let (matches, rehash) = verify(&mut dearer, "analytical engine", Some(&phc));
        let rehash = rehash.expect("a new hash");
        assert!(
            matches && rehash.starts_with("$argon2id$v=19$m=128,t=2,p=2$CQkJCQkJCQkJCQkJCQkJCQ$"),
            "{rehash}"
        );
        assert_eq!(verify(&mut dearer, "analytical engine", Some(&rehash)), (true, None));
        // And back: a smaller cost runs in the larger arena.
        let mut cheaper = hasher(CHEAP);
        assert!(verify(&mut cheaper, "analytical engine", Some(&rehash)).1.is_some());
    }

    #[test]
    fn a_password_is_the_same_in_each_unicode_composition() {
        let (composed, decomposed, spaced) =
            ("P\u{e4}ss w\u{f6}rd", "Pa\u{308}ss wo\u{308}rd", "P\u{e4}ss\u{a0}w\u{f6}rd");
        let mut hasher = hasher(CHEAP);
        for typed in [composed, decomposed, spaced] {
            let phc = hash(&mut hasher, typed, 1);
            for again in [composed, decomposed, spaced] {
                assert_eq!(verify(&mut hasher, again, Some(&phc)), (true, None), "{typed:?} then {again:?}");
            }
            assert_eq!(verify(&mut hasher, "P\u{c4}ss w\u{f6}rd", Some(&phc)), (false, None));
        }
    }

    /// Older hashes were made of passwords as sent.
    #[test]
    fn a_hash_of_a_password_as_sent_still_works_and_is_renewed() {
        let sent = "Pa\u{308}ssword";
        let mut hasher = hasher(CHEAP);
        let params = hasher.params.clone();
        let old = hasher.derive(sent, &[1; 16], &params).expect("a hash");
        let old = format!("$argon2id$v=19$m=64,t=1,p=1${}${}", phc_base64(&[1; 16]), phc_base64(&old));
        assert_eq!(verify(&mut hasher, "P\u{e4}ssword", Some(&old)), (false, None));
        let (matches, rehash) = verify(&mut hasher, sent, Some(&old));
        let rehash = rehash.expect("a new hash");
        assert!(matches && rehash != old);
        assert_eq!(verify(&mut hasher, sent, Some(&rehash)), (true, None));
        assert_eq!(verify(&mut hasher, "P\u{e4}ssword", Some(&rehash)), (true, None));
    }

    #[test]
    fn a_hash_that_is_not_ours_fails_the_job() {
        let mut hasher = hasher(CHEAP);
        let good = hash(&mut hasher, "analytical engine", 1);
        let more = format!("{good}$");
        let bad = [
            "",
            "$",
            "plain",
            &more,
            &good.replace("argon2id", "argon2i"),
            &good.replace("v=19", "v=16"),
            &good.replace("m=64", "m=4294967295"),
            &good.replace("m=64", "m=x"),
            &good.replace(",p=1", ""),
            &good.replace("p=1", "p=1,x=1"),
            &good.replace("AQEB", ""),
            &good[..good.len() - 4],
        ];
        for phc in bad {
            let job = Job::VerifyPassword(Box::new(VerifyPassword {
                password: Secret::new("analytical engine".to_owned()),
                hash: Some(Secret::new(phc.to_owned())),
                salt: [0; 16],
                known_to: None,
            }));
            let done = hasher.run(job);
            assert!(matches!(done, Done::Failed), "{phc}: {done:?}");
        }
    }

    #[test]
    fn only_reasonable_costs_are_accepted() {
        let check = |memory_kib, passes, lanes, good: bool| {
            let cost = Cost { memory_kib, passes, lanes };
            let options = PasswordOptions { secret: HmacKey::new(b"pepper"), cost };
            assert_eq!(PasswordHasher::new(options).is_ok(), good, "{cost:?}");
        };
        check(7_168, 5, 1, true);
        check(8, 1, 1, true);
        check(7, 1, 1, false);
        check(15, 1, 2, false);
        check(64, 0, 1, false);
        check(64, 1, 0, false);
        check(1_048_576, 64, 16, true);
        check(1_048_577, 1, 1, false);
        check(64, 65, 1, false);
        check(1_024, 1, 17, false);
    }
}
