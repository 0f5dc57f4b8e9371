//! What handlers and the server know of the configuration: keys, limits and switches.
//!
//! Invariant: it does not change after the start, and no secret can be printed.

use std::sync::Arc;
use std::time::Duration;

use super::conversation::Conversation;
use super::event::Fact;
use super::id::UploadId;
use super::measures::Measures;
use super::message::Message;
use super::node::{NodeName, NodeState};
use super::profile::Profile;
use super::upload::{Attachment, Image, PREVIEW, Upload};
use crate::base::crypto::{HmacKey, base64url};
use crate::base::network::Networks;
use crate::base::percent;
use crate::base::time::UnixS;
use crate::limits::Limits;
use crate::proto::x509::Facts;

/// The configuration, as the server and the handlers see it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The limits and rates.
    pub limits: Limits,
    /// Signs access tokens.
    pub access_key: HmacKey,
    /// Signs refresh tokens.
    pub refresh_key: HmacKey,
    /// Signs upload URLs.
    pub urls: UrlSigner,
    /// Keys codes and the counts of failed sign-ins by HMAC, so that neither can be read back.
    pub lookup_key: HmacKey,
    /// ALLOWED_ORIGINS.
    pub origins: Origins,
    /// Peers whose X-Forwarded-For and Forwarded are used.
    pub trusted_proxies: Networks,
    /// `http(s)://host[:port]` as clients reach it; a request is also of the same origin if its Host says so.
    pub public_url: String,
    /// SIGN_UP.
    pub sign_up: SignUpRule,
    /// DIRECTORY.
    pub directory: bool,
    /// REQUIRE_VERIFIED.
    pub require_verified: bool,
    /// The bearer that may read `/metrics`; without it only loopback may.
    pub metrics_token: Option<HmacKey>,
    /// `false` with `SYNCHRONOUS=normal`, which `/readyz` reports.
    pub synchronous_full: bool,
    /// Keeps places, times and devices in images.
    pub keep_metadata: bool,
    /// Events that are older than this are removed; `None` keeps all.
    pub events_kept: Option<Duration>,
    /// Messages that are older become tombstones; `None` keeps all.
    pub messages_kept: Option<Duration>,
    /// Uploads that are older are erased; `None` keeps all.
    pub uploads_kept: Option<Duration>,
    /// EMAIL_HOST is not set: the answer to a request for a code says that the code is in the server's mailbox file.
    pub mail_to_file: bool,
    /// Whether a service or a database for the place of an address is configured.
    pub places: bool,
    /// How it sends notifications; `None` in a build without TLS.
    pub push: Option<PushSettings>,
    /// HOOKS_PRIVATE: whether an outgoing hook may be called at an address that is not public, or not https.
    pub hooks_private: bool,
    /// How it speaks https, if it does so itself.
    pub https: Option<Https>,
    /// Which of several natters this is; `None` if it is the only one.
    pub cluster: Option<ClusterSettings>,
    /// ACCESS_LOG: of how many requests one is logged; 0 for none.
    pub access_log: u32,
    /// What all threads of this process measure.
    pub measures: Arc<Measures>,
}

/// One of several natters that apply one log.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// The name of this node.
    pub node: NodeName,
    /// The level and the settings that this node tells the others.
    pub state: NodeState,
    /// The names of these settings, in the same order.
    pub names: Vec<&'static str>,
}

impl ClusterSettings {
    /// A node that tells nothing but its name.
    pub fn new(node: NodeName) -> ClusterSettings {
        ClusterSettings { node, state: NodeState::default(), names: Vec::new() }
    }

    /// The names of the settings that have another value on another node. One that only one of both builds knows is left out.
    pub fn differences(&self, other: &NodeState) -> Vec<&'static str> {
        let is_other =
            |own: &(u32, u32)| other.settings.iter().any(|theirs| theirs.0 == own.0 && theirs.1 != own.1);
        let pairs = self.names.iter().zip(&self.state.settings);
        pairs.filter(|(_, own)| is_other(own)).map(|(name, _)| *name).collect()
    }
}

/// Who may create an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignUpRule {
    /// Anyone.
    Open,
    /// Who presents an invite that permits it.
    Invite,
    /// Nobody: only the operator makes accounts.
    Closed,
}

/// What members need to subscribe to notifications.
#[derive(Clone, Debug)]
pub struct PushSettings {
    /// The public key of this server for push services (RFC 8292 §4), in base64url.
    pub key: String,
    /// PUSH_PRIVATE: whether a push service may have an address that is not public.
    pub private: bool,
}

/// https of this server's own, without a proxy.
#[derive(Clone, Debug)]
pub struct Https {
    /// Seconds for which browsers use nothing but https (RFC 6797); 0 says nothing about it.
    pub hsts_s: u64,
    /// Where plain requests are redirected: PUBLIC_URL, if an operator set it. Else to the host they name, at `port`.
    pub redirect_to: Option<String>,
    /// The port of https.
    pub port: u16,
    /// Of the certificate that it starts with, if there is one yet.
    pub validity: Option<Validity>,
    /// The names for which it orders certificates, in lower case; none with a certificate in files. A plain request for another
    /// host is redirected to the first.
    pub domains: Vec<String>,
}

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub not_before: UnixS,
    /// Its last one.
    pub not_after: UnixS,
}

impl Validity {
    /// Of a certificate that was read.
    pub fn of(facts: &Facts) -> Validity {
        Validity { not_before: facts.not_before, not_after: facts.not_after }
    }
}

impl Settings {
    /// The defaults of the configuration, for an example or a test. `key` makes the key of a purpose.
    pub fn with_defaults(key: impl Fn(&str) -> HmacKey) -> Settings {
        Settings {
            limits: Limits::default(),
            access_key: key("access"),
            refresh_key: key("refresh"),
            urls: UrlSigner::new(key("urls"), String::new()),
            lookup_key: key("lookup"),
            origins: Origins::Any,
            trusted_proxies: Networks::default(),
            public_url: "http://127.0.0.1:8080".to_owned(),
            sign_up: SignUpRule::Open,
            directory: false,
            require_verified: false,
            metrics_token: None,
            synchronous_full: true,
            keep_metadata: false,
            mail_to_file: false,
            events_kept: None,
            messages_kept: None,
            uploads_kept: None,
            places: false,
            push: Some(PushSettings { key: base64url(&[4; 65]), private: false }),
            hooks_private: false,
            https: None,
            cluster: None,
            access_log: 1,
            measures: Arc::default(),
        }
    }
}

/// Which web sites may use the server from a browser (CORS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// `*`: every site, without credentials.
    Any,
    /// These, which are echoed, with credentials. In lower case, without a trailing slash.
    Listed(Vec<String>),
}

/// Makes and checks the capability in an upload's URL: `/uploads/{id}/{name}?expires=…&sig=…`.
#[derive(Clone, Debug)]
pub struct UrlSigner {
    key: HmacKey,
    /// Comes before `/uploads`: empty, so that a client uses the host of its API.
    prefix: String,
    default_image: Option<DefaultImage>,
}

/// The picture of profiles that have none: a file of the operator, read like an upload without an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultImage {
    /// The file name.
    pub name: String,
    /// The media type, found from the bytes.
    pub mime: &'static str,
}

impl DefaultImage {
    /// No upload has this id, since each contains a time.
    pub const ID: UploadId = UploadId::from_u128(0);
}

/// A signed URL is valid for at least this long, in seconds, then up to the full hour, so that caches see one URL.
const URL_LIFE_S: u64 = 86_400;
const HOUR_S: u64 = 3_600;

impl UrlSigner {
    /// Signs with `key`; `prefix` comes before `/uploads`.
    pub fn new(key: HmacKey, prefix: String) -> UrlSigner {
        UrlSigner { key, prefix, default_image: None }
    }

    /// With the picture of profiles that have none.
    pub fn with_default_image(self, default_image: Option<DefaultImage>) -> UrlSigner {
        UrlSigner { default_image, ..self }
    }

    /// The picture of profiles that have none.
    pub fn default_image(&self) -> Option<&DefaultImage> {
        self.default_image.as_ref()
    }

    fn signed_bytes(upload: UploadId, expires: UnixS) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(&upload.to_bytes());
        bytes[16..].copy_from_slice(&expires.0.to_be_bytes());
        bytes
    }

    /// The signed URL of an upload at this time.
    pub fn url(&self, upload: UploadId, name: &str, unix_s: UnixS) -> String {
        let expires = UnixS(unix_s.after(URL_LIFE_S).0.div_ceil(HOUR_S) * HOUR_S);
        let sig = base64url(&self.key.sign(&Self::signed_bytes(upload, expires)));
        format!("{}/uploads/{upload}/{}?expires={expires}&sig={sig}", self.prefix, percent::encode(name))
    }

    /// Whether `sig` was made for this upload and this expiry, and the expiry has not passed.
    pub fn verify(&self, upload: UploadId, expires: UnixS, sig: &[u8], unix_s: UnixS) -> bool {
        unix_s < expires && self.key.verify(&Self::signed_bytes(upload, expires), sig)
    }
}

/// A value with uploads in it, whose URLs are signed once, just before it is encoded.
pub trait SignUrls {
    /// Signs every URL of the value, as of this time.
    fn sign_urls(&mut self, urls: &UrlSigner, unix_s: UnixS);
}

impl SignUrls for Image {
    fn sign_urls(&mut self, urls: &UrlSigner, unix_s: UnixS) {
        self.url = urls.url(self.upload, &self.name, unix_s);
    }
}

impl SignUrls for Upload {
    fn sign_urls(&mut self, urls: &UrlSigner, unix_s: UnixS) {
        self.url = urls.url(self.id, &self.name, unix_s);
        self.preview.iter_mut().for_each(|preview| *preview = urls.url(self.id, PREVIEW, unix_s));
    }
}

impl SignUrls for Attachment {
    fn sign_urls(&mut self, urls: &UrlSigner, unix_s: UnixS) {
        self.url = urls.url(self.id, &self.name, unix_s);
        self.preview.iter_mut().for_each(|preview| *preview = urls.url(self.id, PREVIEW, unix_s));
    }
}

impl SignUrls for Profile {
    fn sign_urls(&mut self, urls: &UrlSigner, unix_s: UnixS) {
        if let (None, Some(default)) = (&self.profile_image, urls.default_image()) {
            let (upload, name) = (DefaultImage::ID, default.name.clone());
            self.profile_image = Some(Image { upload, name, url: String::new() });
        }
        self.profile_image.iter_mut().for_each(|image| image.sign_urls(urls, unix_s));
    }
}

impl SignUrls for Message {
    fn sign_urls(&mut self, urls: &UrlSigner, unix_s: UnixS) {
        self.attachments.sign_urls(urls, unix_s);
    }
}

impl SignUrls for Conversation {
    fn sign_urls(&mut self, urls: &UrlSigner, unix_s: UnixS) {
        self.image.sign_urls(urls, unix_s);
        self.peer.sign_urls(urls, unix_s);
        self.last_message.sign_urls(urls, unix_s);
    }
}

impl<T: SignUrls> SignUrls for Option<T> {
    fn sign_urls(&mut self, urls: &UrlSigner, unix_s: UnixS) {
        self.iter_mut().for_each(|value| value.sign_urls(urls, unix_s));
    }
}

impl<T: SignUrls> SignUrls for Vec<T> {
    fn sign_urls(&mut self, urls: &UrlSigner, unix_s: UnixS) {
        self.iter_mut().for_each(|value| value.sign_urls(urls, unix_s));
    }
}

impl SignUrls for std::sync::Arc<Message> {
    fn sign_urls(&mut self, urls: &UrlSigner, unix_s: UnixS) {
        // A message without attachments, as nearly all are, is not copied.
        if !self.attachments.is_empty() {
            std::sync::Arc::make_mut(self).sign_urls(urls, unix_s);
        }
    }
}

impl SignUrls for Fact {
    fn sign_urls(&mut self, urls: &UrlSigner, unix_s: UnixS) {
        match self {
            Fact::MessagePosted(message)
            | Fact::MessageEdited(message)
            | Fact::MessageDeleted(message)
            | Fact::MessageReacted(message)
            | Fact::MessagePinned(message) => message.sign_urls(urls, unix_s),
            Fact::ConversationCreated(brief) | Fact::ConversationUpdated(brief) => {
                brief.image.sign_urls(urls, unix_s);
            }
            Fact::ProfileUpdated(profile) => profile.sign_urls(urls, unix_s),
            Fact::ConversationRead(_)
            | Fact::MemberAdded(_)
            | Fact::MemberRemoved(_)
            | Fact::SessionEnded(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;

    #[test]
    fn a_setting_that_another_node_has_otherwise_has_a_name() {
        let node = NodeName::parse("a").expect("a name");
        let state =
            |settings: &[(u32, u32)]| NodeState { settings: settings.to_vec(), ..NodeState::default() };
        let names = vec!["ONE", "TWO", "THREE"];
        let own = ClusterSettings { node, state: state(&[(1, 10), (2, 20), (3, 30)]), names };
        for (other, expect) in [
            (&[(1, 10), (2, 20), (3, 30)][..], &[][..]),
            (&[(3, 30), (2, 21), (1, 11)], &["ONE", "TWO"]),
            // Another build knows others.
            (&[(2, 20), (4, 40)], &[]),
            (&[], &[]),
        ] {
            assert_eq!(own.differences(&state(other)), expect);
        }
    }

    #[test]
    fn a_url_is_good_for_its_upload_until_it_expires() {
        let urls = UrlSigner::new(HmacKey::new(b"key"), String::new());
        let url = urls.url(Id::from_u128(7), "a b.png", UnixS(1_000_000));
        let expires = UnixS(1_087_200); // 24 h later, rounded up to the hour
        assert!(
            url.starts_with("/uploads/00000000000000000000000007/a%20b.png?expires=1087200&sig="),
            "{url}"
        );
        let sig =
            crate::base::crypto::base64url_decode(url.rsplit('=').next().expect("sig")).expect("base64url");
        assert!(urls.verify(Id::from_u128(7), expires, &sig, UnixS(expires.0 - 1)));
        assert!(!urls.verify(Id::from_u128(7), expires, &sig, expires));
        assert!(
            !urls.verify(Id::from_u128(8), expires, &sig, UnixS(0))
                && !urls.verify(Id::from_u128(7), expires.after(1), &sig, UnixS(0))
        );
    }
}
