//! The table of environment variables.
//!
//! Owns names, defaults and what each variable accepts. Leaves their values to `reader`, and combinations to `config`. Parsing,
//! `natter --help` and the table in the README all come from this table.
//! Invariant: a variable is defined once.

use std::fmt;

use Accepts::{Number, Rate, Secret as Hidden, Switch, Text};

use crate::limits::{MEMBERS_MOST, MESSAGE_MOST};

/// One environment variable.
#[derive(Debug)]
pub struct Variable {
    pub name: &'static str,
    /// As an operator would write it; empty if there is none.
    pub default: &'static str,
    pub accepts: Accepts,
    pub meaning: &'static str,
}

/// What a variable accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// A whole number in this range, both ends included.
    Number(u64, u64),
    Switch,
    Rate,
    Text(&'static str),
    /// Never shown. It can also be read from the file that `NAME_FILE` names.
    Secret(&'static str),
}

impl fmt::Display for Accepts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Accepts::Number(min, max) => write!(f, "a whole number from {min} to {max}"),
            Accepts::Switch => f.write_str("true or false (also on, off, yes, no, 1, 0)"),
            Accepts::Rate => {
                f.write_str("per second/burst, two whole numbers from 1 to 1000000, such as 5/10")
            }
            Accepts::Text(text) | Accepts::Secret(text) => f.write_str(text),
        }
    }
}

impl Variable {
    pub fn is_secret(&self) -> bool {
        matches!(self.accepts, Accepts::Secret(_))
    }

    /// The variable as a row of the README's table: name, default, meaning.
    pub fn markdown_row(&self) -> String {
        let default = if self.default.is_empty() { String::new() } else { format!("`{}`", self.default) };
        format!("| `{}` | {} | {} |", self.name, default, self.meaning)
    }
}

const fn row(name: &'static str, default: &'static str, accepts: Accepts, meaning: &'static str) -> Variable {
    Variable { name, default, accepts, meaning }
}

const KEY: Accepts = Hidden("at least 32 bytes of text, such as the output of `openssl rand -base64 32`");
const YEAR_S: u64 = 31_536_000;

/// Every variable, under the headings of `--help` and of the README.
#[rustfmt::skip]
pub static SECTIONS: [(&str, &[Variable]); 8] = [
    ("Server", &[
        row("HOST", "127.0.0.1", Text("an IP address or a host name"), "Address to listen on; `0.0.0.0` or `::` for all. With TLS_DOMAIN all, when unset."),
        row("PORT", "8080", Number(0, 65_535), "Port to listen on; 0 means any free one. With TLS_DOMAIN 443, when unset."),
        row("PUBLIC_URL", "", Text("http(s)://host[:port] without a path"), "The URL at which clients reach this server; made from HOST and PORT when unset."),
        row("DATA_DIR", "data", Text("a folder"), "The database, the secrets, the lock and the control socket."),
        row("UPLOADS", "data/uploads", Text("a folder other than DATA_DIR"), "Uploaded files; `uploads` in DATA_DIR when unset."),
        row("DEFAULT_PROFILE_PIC", "", Text("an image file"), "Picture of profiles that have none."),
        row("ALLOWED_ORIGINS", "*", Text("*, or none, or origins (scheme://host[:port]) separated by commas"), "Web pages that may call the API; `*` is all, without credentials."),
        row("TRUSTED_PROXIES", "", Text("IP addresses and networks separated by commas, such as 10.0.0.0/8,::1"), "Peers whose X-Forwarded-For and Forwarded are used."),
        row("SYNCHRONOUS", "full", Text("full or normal"), "`normal` may lose the last acknowledged messages in a power cut."),
        row("WAL_MAX", "268435456", Number(33_554_432, 1_099_511_627_776), "Bytes up to which the database's write-ahead log may grow while another process, such as a shell or a replication, reads the database; above it writes are refused until that read ends. On a nearly full disk the limit is lower."),
        row("EVENTS_KEPT", "", Number(1, 36_500), "Days an event can be replayed; all when unset."),
        row("MESSAGES_KEPT", "0", Number(0, 36_500), "Days a message is kept; then its content is erased, and a tombstone stays. 0 keeps all; the admins of a group may set less for it."),
        row("UPLOADS_KEPT", "0", Number(0, 36_500), "Days a file is kept; 0 keeps all. Pictures of profiles and groups stay while they are in use."),
        row("LOG_LEVEL", "info", Text("off, error, warn, info, debug or trace, and module=level, separated by commas"), "What is logged, such as `warn,natter::store=debug`."),
        row("LOG_FORMAT", "text", Text("text or json"), "Format of the log lines on stderr."),
        row("ACCESS_LOG", "all", Text("all, off, or one of so many such as 1/100"), "Which requests get a line in the log: with one of so many also each that failed here (5xx)."),
        row("BACKUP_EVERY", "", Text("a number of minutes, hours or days, such as 30m, 6h or 1d"), "Time between two backups that the server makes by itself; none when unset."),
        row("BACKUP_KEEP", "7", Number(1, 10_000), "How many of them, and as many of those that an admin asked for, are kept, and with them what was erased since."),
        row("BACKUP_DIR", "", Text("a folder"), "Where they are; `backups` in DATA_DIR when unset. Better a folder on another disk."),
        row("METRICS_TOKEN", "", Hidden("at least 32 visible ASCII characters"), "Bearer token of /metrics; when unset, only loopback peers may read it."),
        row("CONFORMANCE_FILES", "", Text("a folder"), "Files of the conformance build's routes; ignored by any other build."),
    ]),
    ("HTTPS", &[
        row("TLS_DOMAIN", "", Text("host names separated by commas, such as chat.example.org"), "Names of this server: it gets a certificate for them from an authority by ACME, and PORT speaks https. Changes the defaults of HOST, PORT, HTTP_PORT and SIGN_UP."),
        row("ACME_DIRECTORY", "https://acme-v02.api.letsencrypt.org/directory", Text("https://host[:port]/path"), "The directory of that authority; its terms of service are agreed to."),
        row("ACME_EMAIL", "", Text("an e-mail address"), "Where the authority reaches you."),
        row("TLS_CERT", "", Text("a PEM file"), "Certificate of this server, then those of its authorities: PORT then speaks https. A new file is read without a restart."),
        row("TLS_KEY", "", Text("a PEM file"), "Its private key: ECDSA, Ed25519 or RSA."),
        row("HTTP_PORT", "", Number(0, 65_535), "Port on which plain requests are redirected to https; when unset, 80 with TLS_DOMAIN, else none. 0 takes any free one."),
        row("HSTS", "0", Number(0, 2 * YEAR_S), "Seconds for which browsers that were here use only https; 0 does not ask them to."),
    ]),
    ("Accounts", &[
        row("ACCESS_SECRET", "", KEY, "Signs access tokens; when unset, it is made on the first start and kept in DATA_DIR."),
        row("REFRESH_SECRET", "", KEY, "Signs refresh tokens; when unset, likewise."),
        row("PASSWORD_SECRET", "", KEY, "Part of every password hash and code; when unset, likewise."),
        row("ACCESS_TTL", "900", Number(1, YEAR_S), "Seconds until an access token expires."),
        row("REFRESH_TTL", "2592000", Number(1, 10 * YEAR_S), "Seconds until a refresh token expires."),
        row("ARGON2", "7168,5,1", Text("memory in KiB (1024 to 1048576), passes (1 to 64), lanes (1 to 16), separated by commas"), "Cost of a password hash."),
        row("SIGN_UP", "open", Text("open, invite or closed"), "Who may create an account: anyone, who has an invite that permits it, or only the operator; with TLS_DOMAIN `invite` when unset."),
        row("DIRECTORY", "off", Switch, "Whether members can list all profiles that are not private."),
        row("REQUIRE_VERIFIED", "false", Switch, "Whether members must verify their e-mail address before they chat."),
        row("IP_INFO", "", Hidden("visible ASCII characters"), "Token of the service that looks up the place of an address; no look-ups when unset."),
        row("IP_INFO_URL", "https://ipinfo.io", Text("http(s)://host[:port][/path]"), "URL of that service."),
        row("GEOIP_DB", "", Text("an .mmdb file"), "Database of places of addresses, preferred to the service; a new file is read without a restart."),
    ]),
    ("Mail", &[
        row("EMAIL_HOST", "", Text("a host name or an IP address"), "SMTP server; without it mails go to `mail.mbox` in DATA_DIR."),
        row("EMAIL_PORT", "", Number(1, 65_535), "Its port; 587, 465 or 25 by EMAIL_TLS when unset."),
        row("EMAIL_TLS", "", Text("starttls, tls or none"), "Encryption; when unset, `tls` if EMAIL_PORT is 465, else `starttls`."),
        row("EMAIL_FROM", "", Text("an e-mail address, or Name <address>"), "Sender of all mails."),
        row("EMAIL_USER", "", Text("visible ASCII characters"), "User to sign in as; the address of EMAIL_FROM when unset."),
        row("EMAIL_PASSWORD", "", Hidden("text without control characters"), "Password of that user; no sign-in when unset."),
        row("TLS_CA_FILE", "", Text("a PEM file"), "Certificate authorities to trust in addition to the built-in ones; a server certificate in it is trusted without an authority."),
    ]),
    ("Notifications", &[
        row("PUSH_PRIVATE", "off", Switch, "Whether notifications may be sent to a push service whose address is not public, such as one of your own network."),
        row("HOOKS_PRIVATE", "off", Switch, "Whether outgoing hooks of bots may be called at an address that is not public, such as one of your own network, and without https."),
    ]),
    ("Limits", &[
        row("MEMORY_MAX", "", Text("bytes, or a number with KiB, MiB or GiB"), "Memory that the process may take, such as `24MiB`: it bounds hashes at once, queues, caches and connections where no other variable does. Without it a busy server may take some 200 MiB."),
        row("HEAD_MAX", "16384", Number(1_024, 1_048_576), "Bytes of a request head."),
        row("JSON_BODY_MAX", "65536", Number(256, 16_777_216), "Bytes of a JSON request."),
        row("UPLOAD_MAX", "104857600", Number(1, 1_099_511_627_776), "Bytes of one upload."),
        row("UPLOAD_QUOTA", "1073741824", Number(0, 1_125_899_906_842_624), "Bytes of uploads a member may keep."),
        row("UPLOAD_FILES_MAX", "10000", Number(0, 1_000_000), "Uploads a member may keep, whatever their size."),
        row("DISK_FREE_MIN", "536870912", Number(0, 1_125_899_906_842_624), "Bytes that uploads leave to the database, if they are on its file system. Less: uploads are refused with 507, and posts go on."),
        row("PIXELS_MAX", "250000000", Number(1, 4_294_967_296), "Width × height of one picture, as it declares them."),
        row("KEEP_METADATA", "false", Switch, "Whether pictures, movies and sounds keep places, times, devices and comments."),
        row("MESSAGE_MAX", "4000", Number(1, MESSAGE_MOST as u64), "Characters of a message."),
        row("MEMBERS_MAX", "1000", Number(2, MEMBERS_MOST as u64), "Members of a group."),
        row("WS_MESSAGE_MAX", "65536", Number(256, 16_777_216), "Bytes of a WebSocket message."),
        row("SEND_QUEUE_MAX", "1048576", Number(4_096, 1_073_741_824), "Bytes that may wait for a slow stream before it is closed."),
        row("CONNECTIONS_MAX", "10000", Number(1, 1_000_000), "Open connections."),
        row("CONNECTIONS_PER_ADDRESS", "1024", Number(1, 1_000_000), "Open connections of one address (a /64 of IPv6); through a trusted proxy, its streams and requests in progress."),
        row("STREAMS_PER_ACCOUNT", "256", Number(1, 1_000_000), "Open WebSockets, event streams and long polls of one member; lifted by RATE_LIMIT=off."),
        row("HEARTBEAT", "30", Number(1, 3_600), "Seconds between two pings of a stream."),
    ]),
    ("Rates", &[
        row("RATE_LIMIT", "on", Switch, "`off` lifts the five rates below, and the bounds on the open streams of a member and on the groups it makes an hour. A rate of 5/10 is 5 a second, and at most 10 at once."),
        row("RATE_CREDENTIALS", "5/10", Rate, "Sign-up, sign-in, refresh and reset, by address."),
        row("RATE_ADDRESS", "50/100", Rate, "Other requests without an access token, and failed ones, by address."),
        row("RATE_ACCOUNT", "50/100", Rate, "Requests of a member."),
        row("RATE_WRITES", "20/60", Rate, "Writes of a member."),
        row("RATE_BOTS", "5/60", Rate, "Writes of a bot, those of its incoming hooks included."),
    ]),
    ("Cluster", &[
        row("CLUSTER_NODE", "", Text("1 to 32 of a-z, 0-9 and -"), "Name of this node: it shares a log with other nodes, each with a name of its own. Alone when unset."),
        row("CLUSTER_NAME", "natter", Text("1 to 32 of a-z, 0-9 and -"), "Name of the cluster, in the names of its stream and subjects."),
        row("CLUSTER_SERVERS", "", Text("nats:// or tls://host[:port], separated by commas"), "NATS servers of the log, in the order in which they are tried."),
        row("CLUSTER_LISTEN", "", Text("an IP address and a port, such as 10.0.0.1:7001"), "Where the other nodes give uploaded files to this one and ask for them."),
        row("CLUSTER_ADDRESS", "", Text("a host and a port, such as node1.example:7001"), "How they reach that; CLUSTER_LISTEN when unset."),
        row("CLUSTER_USER", "", Text("visible ASCII characters"), "User of the cluster's account there."),
        row("CLUSTER_PASSWORD", "", Hidden("text without control characters"), "Password of that user."),
        row("CLUSTER_TOKEN", "", Hidden("text without control characters"), "Token instead of a user."),
        row("CLUSTER_SYSTEM_USER", "", Text("visible ASCII characters"), "User of the system account, by which the servers are asked whether they sync each write."),
        row("CLUSTER_SYSTEM_PASSWORD", "", Hidden("text without control characters"), "Password of that user."),
        row("CLUSTER_MONITORS", "", Text("http:// or https://host[:port], separated by commas"), "Monitoring ports of all servers of the log, asked at `/varz` instead."),
        row("CLUSTER_UNSAFE", "off", Switch, "Whether servers that do not sync, streams without three copies, servers that cannot be asked and uploads on one node alone are accepted; for trying only."),
        row("LOG_KEPT", "24", Number(1, 8_760), "Hours that an entry stays in the log, also of what was erased since; a node that was away for longer takes a copy of another."),
        row("LOG_MAX", "8589934592", Number(67_108_864, 1_125_899_906_842_624), "Bytes of the log on each of its servers; older entries go first."),
    ]),
];

/// All variables in the order of the sections.
pub fn variables() -> impl Iterator<Item = &'static Variable> {
    SECTIONS.iter().flat_map(|(_, variables)| variables.iter())
}

pub(super) fn variable(name: &str) -> &'static Variable {
    variables().find(|v| v.name == name).unwrap_or_else(|| panic!("{name} is in the table"))
}

pub(super) fn range(name: &str) -> (u64, u64) {
    match variable(name).accepts {
        Accepts::Number(min, max) => (min, max),
        _ => panic!("{name} is a number in the table"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::values;
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        let mut names: Vec<_> = variables().map(|v| v.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "a name is in the table twice");
        for v in variables() {
            assert!(v.name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_' || b == b'2'), "{}", v.name);
            assert!(v.meaning.ends_with('.') && !v.meaning.contains('|'), "{}", v.name);
            assert!(!v.is_secret() || v.default.is_empty(), "{} has a known secret", v.name);
            if let Accepts::Number(min, max) = v.accepts {
                assert!(min < max && i64::try_from(max).is_ok(), "{}", v.name);
                assert!(v.default.is_empty() || values::number(v.default, min, max).is_ok(), "{}", v.name);
            }
        }
        for size in [
            "HEAD_MAX",
            "JSON_BODY_MAX",
            "MESSAGE_MAX",
            "MEMBERS_MAX",
            "WS_MESSAGE_MAX",
            "SEND_QUEUE_MAX",
            "CONNECTIONS_MAX",
            "CONNECTIONS_PER_ADDRESS",
            "STREAMS_PER_ACCOUNT",
        ] {
            assert!(u32::try_from(range(size).1).is_ok(), "{size}");
        }
    }

    #[test]
    fn a_row_for_the_readme() {
        let row = variable("PORT").markdown_row();
        assert_eq!(
            row,
            "| `PORT` | `8080` | Port to listen on; 0 means any free one. With TLS_DOMAIN 443, when unset. |"
        );
        assert!(variable("PUBLIC_URL").markdown_row().starts_with("| `PUBLIC_URL` |  | "));
    }
}
