//! The variables of a node of a cluster, as one checked value.
//!
//! Owns which of them are valid together. Leaves the protocol of the log to `proto::nats`.
//! Invariant: a node that exists can ask its log's servers whether an answered entry is on disk, unless CLUSTER_UNSAFE says that nobody
//! needs to know.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::reader::{Reader, SecretRule};
use super::url::{self, Host};
use super::values::{self, Problem};
use crate::base::secret::Secret;
use crate::limits::Limits;
use crate::model::node::NodeName;

/// The port of NATS.
const NATS_PORT: u16 = 4_222;
const HOUR_S: u64 = 3_600;

/// Characters of a message, and members of a group, in a cluster: a write has to fit into one entry of the log. A character has at most
/// four bytes, and a member takes 17.
const MESSAGE_MOST: usize = 100_000;
const MEMBERS_MOST: usize = 20_000;
#[cfg(feature = "cluster")]
const _: () = assert!(
    MESSAGE_MOST * 4 < crate::model::entry::ENTRY_BYTES_MAX
        && MEMBERS_MOST * 20 < crate::model::entry::ENTRY_BYTES_MAX
);

/// All that a node knows of its cluster at the start.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The name of this node; no other node has it.
    pub node: NodeName,
    /// The name of the cluster: its stream and its subjects have it.
    pub name: NodeName,
    /// At least one, in the order in which they are tried.
    pub servers: Vec<LogServer>,
    pub login: LogLogin,
    /// The user of the system account, as whom the servers are asked whether they sync.
    pub system: Option<(String, Secret)>,
    /// The monitoring ports of the servers, which are asked instead: URLs of `/varz`. At most [`MONITORS_MAX`].
    pub monitors: Vec<String>,
    /// Servers that do not sync, streams without three copies, and servers that cannot be asked are accepted.
    pub is_unsafe: bool,
    /// Where other nodes give files and ask for them. `None` only in a cluster for trying, whose nodes keep their files for themselves.
    pub files: Option<FilesAt>,
    /// How long an entry stays in the log.
    pub log_kept: Duration,
    /// Bytes of the log on each of its servers.
    pub log_max: u64,
    /// The names and values of [`SHARED`].
    pub shared: Vec<(&'static str, String)>,
}

/// Where a node is asked for files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesAt {
    pub listen: SocketAddr,
    /// How other nodes reach it, if that is another address.
    pub address: Option<(Host, u16)>,
}

/// The variables that all nodes must have in common: clients see them, or they decide how long something is kept. Which node answers
/// a client or holds the duty must make no difference.
pub const SHARED: [&str; 39] = [
    "PUBLIC_URL",
    "TLS_DOMAIN",
    "ACME_DIRECTORY",
    "ACME_EMAIL",
    "ALLOWED_ORIGINS",
    "EVENTS_KEPT",
    "MESSAGES_KEPT",
    "UPLOADS_KEPT",
    "HSTS",
    "ACCESS_TTL",
    "REFRESH_TTL",
    "SIGN_UP",
    "DIRECTORY",
    "REQUIRE_VERIFIED",
    "EMAIL_HOST",
    "EMAIL_FROM",
    "PUSH_PRIVATE",
    "HOOKS_PRIVATE",
    "HEAD_MAX",
    "JSON_BODY_MAX",
    "UPLOAD_MAX",
    "UPLOAD_QUOTA",
    "UPLOAD_FILES_MAX",
    "PIXELS_MAX",
    "KEEP_METADATA",
    "MESSAGE_MAX",
    "MEMBERS_MAX",
    "WS_MESSAGE_MAX",
    "STREAMS_PER_ACCOUNT",
    "HEARTBEAT",
    "RATE_LIMIT",
    "RATE_CREDENTIALS",
    "RATE_ADDRESS",
    "RATE_ACCOUNT",
    "RATE_WRITES",
    "RATE_BOTS",
    "CLUSTER_UNSAFE",
    "LOG_KEPT",
    "LOG_MAX",
];

/// One server of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogServer {
    pub tls: bool,
    pub host: Host,
    pub port: u16,
}

impl fmt::Display for LogServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", if self.tls { "tls" } else { "nats" }, self.host, self.port)
    }
}

/// As whom the node connects to the servers of the log.
#[derive(Clone, Debug)]
pub enum LogLogin {
    Nobody,
    User(String, Secret),
    Token(Secret),
}

/// Monitoring ports that are asked one after another. More servers than hold a log in any cluster.
pub const MONITORS_MAX: usize = 16;

/// All variables but the one that makes a node.
const OTHERS: [&str; 9] = [
    "CLUSTER_LISTEN",
    "CLUSTER_ADDRESS",
    "CLUSTER_SERVERS",
    "CLUSTER_USER",
    "CLUSTER_PASSWORD",
    "CLUSTER_TOKEN",
    "CLUSTER_SYSTEM_USER",
    "CLUSTER_SYSTEM_PASSWORD",
    "CLUSTER_MONITORS",
];

/// `None` for one natter alone.
pub(super) fn read(r: &mut Reader<'_>) -> Option<Cluster> {
    // All are read before any decision, so that all their faults are reported.
    let node = r.optional("CLUSTER_NODE", name);
    let cluster = r.value("CLUSTER_NAME", name);
    let servers = r.optional("CLUSTER_SERVERS", |text| {
        values::list(text)?.into_iter().map(server).collect::<Result<Vec<_>, _>>()
    });
    let listen = r.optional("CLUSTER_LISTEN", socket_address);
    let address = r.optional("CLUSTER_ADDRESS", host_and_port);
    let user = r.optional("CLUSTER_USER", visible);
    let password = r.secret("CLUSTER_PASSWORD", SecretRule::Text);
    let token = r.secret("CLUSTER_TOKEN", SecretRule::Text);
    let system_user = r.optional("CLUSTER_SYSTEM_USER", visible);
    let system_password = r.secret("CLUSTER_SYSTEM_PASSWORD", SecretRule::Text);
    let monitors = r.optional("CLUSTER_MONITORS", monitors);
    let is_unsafe = r.value("CLUSTER_UNSAFE", values::switch);
    let log_kept = Duration::from_secs(r.number("LOG_KEPT") * HOUR_S);
    let log_max = r.number("LOG_MAX");
    if !r.is_set("CLUSTER_NODE") {
        // Half of a configuration would start a server alone, with writes that no other node ever sees.
        let set: Vec<&str> = OTHERS.into_iter().filter(|name| r.is_set(name)).collect();
        for name in set {
            r.fault(name, "is set, and CLUSTER_NODE is not");
        }
        return None;
    }
    if !cfg!(feature = "cluster") {
        r.fault("CLUSTER_NODE", "is set, and this build is without the feature cluster");
    }
    if !r.is_set("CLUSTER_SERVERS") {
        r.fault("CLUSTER_SERVERS", "is not set, and CLUSTER_NODE needs it");
    }
    let has_tls = servers.iter().flatten().any(|server| server.tls);
    if has_tls && !cfg!(feature = "tls") {
        r.fault("CLUSTER_SERVERS", "has a tls:// address, and this build is without the feature tls");
    }
    let is_secret_set = |r: &Reader<'_>, name: &str| r.is_set(name) || r.is_set(&format!("{name}_FILE"));
    if is_secret_set(r, "CLUSTER_TOKEN") && (r.is_set("CLUSTER_USER") || is_secret_set(r, "CLUSTER_PASSWORD"))
    {
        r.fault("CLUSTER_TOKEN", "is set, and CLUSTER_USER or CLUSTER_PASSWORD too: unset one of them");
    }
    for (name, secret) in
        [("CLUSTER_USER", "CLUSTER_PASSWORD"), ("CLUSTER_SYSTEM_USER", "CLUSTER_SYSTEM_PASSWORD")]
    {
        match (r.is_set(name), is_secret_set(r, secret)) {
            (true, false) => r.fault(secret, format!("is not set, and {name} needs it")),
            (false, true) => r.fault(name, format!("is not set, and {secret} needs it")),
            _ => {}
        }
    }
    let has_https = monitors.iter().flatten().any(|url| url.starts_with("https:"));
    if has_https && !cfg!(feature = "tls") {
        r.fault("CLUSTER_MONITORS", "has an https:// address, and this build is without the feature tls");
    }
    match (r.is_set("CLUSTER_SYSTEM_USER"), r.is_set("CLUSTER_MONITORS")) {
        (true, true) => {
            r.fault("CLUSTER_MONITORS", "is set, and CLUSTER_SYSTEM_USER too: unset one of them");
        }
        (false, false) if !is_unsafe => r.fault(
            "CLUSTER_SYSTEM_USER",
            "is not set: as this user of the system account the servers of the log are asked whether they sync each write. Without such \
             a user, name the monitoring ports of all of them in CLUSTER_MONITORS. To try a cluster without, set CLUSTER_UNSAFE=on",
        ),
        _ => {}
    }
    check_files(r, is_unsafe, listen);
    if is_unsafe {
        r.warn("CLUSTER_UNSAFE", "on: answered messages may be lost when a server of the log fails");
    }
    let in_clear = servers.iter().flatten().any(|server| !server.tls && !server.host.is_loopback());
    if in_clear && (password.is_some() || token.is_some()) {
        r.warn(
            "CLUSTER_SERVERS",
            "has a nats:// address: the password is sent in clear text, unless the server asks for TLS",
        );
    }
    let login = match (token, user.zip(password)) {
        (Some(token), _) => LogLogin::Token(token),
        (None, Some((user, password))) => LogLogin::User(user, password),
        (None, None) => LogLogin::Nobody,
    };
    let shared = SHARED.map(|name| (name, r.text(name))).to_vec();
    let (node, servers) = (node?, servers?);
    Some(Cluster {
        node,
        name: cluster,
        servers,
        login,
        system: system_user.zip(system_password),
        monitors: monitors.unwrap_or_default(),
        is_unsafe,
        files: listen.map(|listen| FilesAt { listen, address }),
        log_kept,
        log_max,
        shared,
    })
}

/// Where this node is asked for files.
fn check_files(r: &mut Reader<'_>, is_unsafe: bool, listen: Option<SocketAddr>) {
    if !r.is_set("CLUSTER_LISTEN") {
        if r.is_set("CLUSTER_ADDRESS") {
            r.fault("CLUSTER_ADDRESS", "is set, and CLUSTER_LISTEN is not");
        } else if !is_unsafe {
            r.fault(
                "CLUSTER_LISTEN",
                "is not set: there the other nodes give uploaded files to this one and ask for them. To try a cluster whose nodes keep \
                 their files for themselves, set CLUSTER_UNSAFE=on",
            );
        }
    }
    let is_any = listen.is_some_and(|listen| listen.ip().is_unspecified());
    if is_any && !r.is_set("CLUSTER_ADDRESS") {
        r.fault(
            "CLUSTER_ADDRESS",
            "is not set, and CLUSTER_LISTEN is no address that other nodes could connect to",
        );
    }
}

/// Limits that allow writes which no entry of the log can hold.
pub(super) fn check_limits(r: &mut Reader<'_>, limits: &Limits) {
    for (name, value, most) in
        [("MESSAGE_MAX", limits.message_max, MESSAGE_MOST), ("MEMBERS_MAX", limits.members_max, MEMBERS_MOST)]
    {
        if value > most {
            r.fault(name, format!("{value} is more than {most}, which an entry of a cluster's log can hold"));
        }
    }
}

fn name(text: &str) -> Result<NodeName, Problem> {
    NodeName::parse(text).ok_or_else(|| "is not 1 to 32 of a-z, 0-9 and -".to_owned())
}

fn visible(text: &str) -> Result<String, Problem> {
    match text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err("has a blank or a character outside ASCII".to_owned()),
    }
}

fn socket_address(text: &str) -> Result<SocketAddr, Problem> {
    text.parse().map_err(|_| "is not an IP address and a port, such as 10.0.0.1:7001".to_owned())
}

fn host_and_port(text: &str) -> Result<(Host, u16), Problem> {
    let url = format!("node://{text}");
    let (_, host, port, tail) = url::authority(&url)?;
    match port.filter(|_| tail.is_empty()) {
        Some(port) => Ok((host, port)),
        None => Err("is not a host and a port, such as node1.example:7001".to_owned()),
    }
}

fn server(text: &str) -> Result<LogServer, Problem> {
    let (scheme, host, port, tail) =
        url::authority(text).map_err(|problem| format!("has an entry that {problem}"))?;
    let tls = values::word(&scheme, &[("nats", false), ("tls", true)])
        .map_err(|_| "has an entry that is neither nats:// nor tls://")?;
    if !tail.is_empty() && tail != "/" {
        return Err("has an entry with a path".to_owned());
    }
    Ok(LogServer { tls, host, port: port.unwrap_or(NATS_PORT) })
}

/// URLs of monitoring ports. What is asked there is `/varz`, below a path if there is one.
fn monitors(text: &str) -> Result<Vec<String>, Problem> {
    let entries = values::list(text)?;
    if entries.len() > MONITORS_MAX {
        return Err(format!("has more than {MONITORS_MAX} entries"));
    }
    let varz = |entry: &str| {
        let url = url::url(entry).map_err(|problem| format!("has an entry that {problem}"))?.to_string();
        Ok(if url.ends_with("/varz") { url } else { url + "/varz" })
    };
    entries.into_iter().map(varz).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_faults, check_warnings, good};

    const BASE: [(&str, &str); 5] = [
        ("CLUSTER_NODE", "a"),
        ("CLUSTER_LISTEN", "10.0.0.1:7001"),
        ("CLUSTER_SERVERS", "nats://127.0.0.1"),
        ("CLUSTER_SYSTEM_USER", "sys"),
        ("CLUSTER_SYSTEM_PASSWORD", "secret"),
    ];

    /// The variables of a node, with others in their place; an empty one is not set.
    fn node<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let kept = BASE.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| name != other));
        kept.chain(more.iter().copied()).filter(|(_, value)| !value.is_empty()).collect()
    }

    #[test]
    fn a_node_has_a_name_and_servers() {
        assert!(good(&[]).cluster.is_none());
        let servers = ("CLUSTER_SERVERS", "nats://Log-1, tls://[::1]:4333/,nats://10.0.0.3:7");
        let cluster = good(&node(&[servers, ("CLUSTER_NAME", "chat")])).cluster.expect("a cluster");
        let shown: Vec<String> = cluster.servers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["nats://log-1:4222", "tls://[::1]:4333", "nats://10.0.0.3:7"]);
        assert_eq!((cluster.node.as_str(), cluster.name.as_str()), ("a", "chat"));
        assert_eq!((cluster.log_kept.as_secs(), cluster.log_max), (86_400, 8_589_934_592));
    }

    #[test]
    fn what_all_nodes_have_in_common_is_known_as_it_counts() {
        let shared = |more: &[(&str, &str)]| good(&node(more)).cluster.expect("a cluster").shared;
        let usual = shared(&[]);
        assert!(usual.contains(&("MESSAGE_MAX", "4000".to_owned())));
        assert_eq!(shared(&[("MESSAGE_MAX", " 4000 "), ("HEARTBEAT", "30")]), usual, "the defaults");
        assert!(shared(&[("MESSAGE_MAX", "4001")]).contains(&("MESSAGE_MAX", "4001".to_owned())));
    }

    #[test]
    fn half_a_cluster_does_not_start() {
        let server = ("CLUSTER_SERVERS", "nats://a");
        check_faults(&[server], &["CLUSTER_SERVERS: is set, and CLUSTER_NODE is not"]);
        for (set, expect) in [
            (("CLUSTER_SERVERS", ""), "CLUSTER_SERVERS: is not set"),
            (("CLUSTER_SYSTEM_PASSWORD", ""), "CLUSTER_SYSTEM_PASSWORD: is not set"),
            (("CLUSTER_NODE", "A b"), "CLUSTER_NODE: \"A b\" is not 1 to 32"),
            (("CLUSTER_SERVERS", "http://a"), "CLUSTER_SERVERS: \"http://a\" has an entry that is neither"),
            (("CLUSTER_SERVERS", "nats://a/b"), "CLUSTER_SERVERS: \"nats://a/b\" has an entry with a path"),
            (("CLUSTER_SERVERS", "nats://u:p@a"), "CLUSTER_SERVERS: the value (not shown"),
            (("CLUSTER_LISTEN", ""), "CLUSTER_LISTEN: is not set: there the other nodes"),
            (("CLUSTER_LISTEN", "a:7001"), "CLUSTER_LISTEN: \"a:7001\" is not an IP address"),
            (("CLUSTER_ADDRESS", "a"), "CLUSTER_ADDRESS: \"a\" is not a host and a port"),
            (("CLUSTER_ADDRESS", "a:1/b"), "CLUSTER_ADDRESS: \"a:1/b\" is not a host and a port"),
            (("CLUSTER_USER", "u"), "CLUSTER_PASSWORD: is not set"),
            (("CLUSTER_MONITORS", "http://a:8222"), "CLUSTER_MONITORS: is set, and CLUSTER_SYSTEM_USER too"),
            (("SYNCHRONOUS", "normal"), "SYNCHRONOUS: normal"),
            (("MEMBERS_MAX", "20001"), "MEMBERS_MAX: 20001 is more than 20000"),
        ] {
            check_faults(&node(&[set]), &[expect]);
        }
        let both = [("CLUSTER_TOKEN", "t"), ("CLUSTER_USER", "u"), ("CLUSTER_PASSWORD", "p")];
        check_faults(&node(&both), &["CLUSTER_TOKEN: is set, and CLUSTER_USER"]);
        let any = ("CLUSTER_LISTEN", "0.0.0.0:7001");
        check_faults(&node(&[any]), &["CLUSTER_ADDRESS: is not set, and CLUSTER_LISTEN is no address"]);
        let only_address = [("CLUSTER_LISTEN", ""), ("CLUSTER_ADDRESS", "a:1")];
        check_faults(&node(&only_address), &["CLUSTER_ADDRESS: is set, and CLUSTER_LISTEN is not"]);
        let nobody = [("CLUSTER_SYSTEM_USER", ""), ("CLUSTER_SYSTEM_PASSWORD", "")];
        check_faults(&node(&nobody), &["CLUSTER_SYSTEM_USER: is not set: as this user"]);
    }

    #[test]
    fn servers_are_asked_at_their_monitoring_ports_instead() {
        let with = |monitors| {
            node(&[
                ("CLUSTER_SYSTEM_USER", ""),
                ("CLUSTER_SYSTEM_PASSWORD", ""),
                ("CLUSTER_MONITORS", monitors),
            ])
        };
        let urls = "http://Log-1:8222, https://[::1]:8223/varz,http://10.0.0.3/nats/";
        let cluster = good(&with(urls)).cluster.expect("a cluster");
        let expect = ["http://log-1:8222/varz", "https://[::1]:8223/varz", "http://10.0.0.3/nats/varz"];
        assert_eq!(
            (cluster.monitors.as_slice(), cluster.system.is_none()),
            (&expect.map(str::to_owned)[..], true)
        );
        for (bad, expect) in [
            ("nats://a", "has an entry that is neither http nor https"),
            ("http://a,", "has an empty entry"),
            ("http://a?x", "has an entry that has a query"),
        ] {
            check_faults(&with(bad), &[&format!("CLUSTER_MONITORS: \"{bad}\" {expect}")]);
        }
        let many = ["http://a"; 17].join(",");
        check_faults(&with(&many), &["CLUSTER_MONITORS: \"http://a,http://a,"]);
        check_faults(
            &[("CLUSTER_MONITORS", "http://a")],
            &["CLUSTER_MONITORS: is set, and CLUSTER_NODE is not"],
        );
    }

    #[test]
    fn a_node_is_asked_for_files_where_it_says() {
        let files = |more: &[(&str, &str)]| good(&node(more)).cluster.expect("a cluster").files;
        let told = |more: &[(&str, &str)]| {
            files(more)
                .map(|at| (at.listen.to_string(), at.address.map(|(host, port)| format!("{host}:{port}"))))
        };
        assert_eq!(told(&[]), Some(("10.0.0.1:7001".to_owned(), None)));
        let behind = [("CLUSTER_LISTEN", "[::]:7001"), ("CLUSTER_ADDRESS", "Node1.example:9")];
        assert_eq!(told(&behind), Some(("[::]:7001".to_owned(), Some("node1.example:9".to_owned()))));
    }

    #[test]
    fn what_is_less_than_safe_is_said() {
        check_warnings(&node(&[("CLUSTER_UNSAFE", "on")]), "", &["CLUSTER_UNSAFE: on"]);
        let clear = [("CLUSTER_SERVERS", "nats://a"), ("CLUSTER_TOKEN", "t")];
        check_warnings(&node(&clear), "", &["CLUSTER_SERVERS: has a nats:// address"]);
    }
}
