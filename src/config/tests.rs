//! Tests of the configuration: each variable at and outside its range, combinations, and all faults at once.

use super::*;
use crate::logging::LogFormat;
use crate::model::settings::SignUpRule;
use proptest::prelude::*;
use std::time::Duration;

const KEY_A: &str = "aaaaaaaaaaaaaaaa-aaaaaaaaaaaaaaaa";
const KEY_B: &str = "bbbbbbbbbbbbbbbb-bbbbbbbbbbbbbbbb";

type Loaded = Result<(Config, Vec<Warning>), Vec<Fault>>;

fn load(env: &[(&str, &str)], dotenv: &str) -> Loaded {
    let get = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
    Config::load(get, Some(dotenv))
}

#[track_caller]
pub(super) fn good(env: &[(&str, &str)]) -> Config {
    let (config, warnings) = load(env, "").expect("no fault");
    assert_eq!(warnings, [], "{env:?}");
    config
}

/// `expect` is the start of each fault's text, in order.
#[track_caller]
pub(super) fn check_faults(env: &[(&str, &str)], expect: &[&str]) {
    let faults = load(env, "").expect_err("a fault");
    let seen: Vec<String> = faults.iter().map(Fault::to_string).collect();
    let fits = seen.len() == expect.len() && seen.iter().zip(expect).all(|(s, e)| s.starts_with(e));
    assert!(fits, "{env:?}: {seen:#?}, expected {expect:#?}");
}

#[track_caller]
pub(super) fn check_warnings(env: &[(&str, &str)], dotenv: &str, expect: &[&str]) -> Config {
    let (config, warnings) = load(env, dotenv).expect("no fault");
    let seen: Vec<String> = warnings.iter().map(Warning::to_string).collect();
    let fits = seen.len() == expect.len() && seen.iter().zip(expect).all(|(s, e)| s.starts_with(e));
    assert!(fits, "{env:?} {dotenv:?}: {seen:#?}, expected {expect:#?}");
    config
}

#[test]
fn an_empty_environment_gives_the_documented_defaults() {
    let config = good(&[]);
    assert_eq!(config.limits, Limits::default());
    assert_eq!((config.host.to_string().as_str(), config.port), ("127.0.0.1", 8080));
    assert_eq!(config.data_dir, Path::new("data"));
    assert_eq!(config.uploads, Path::new("data/uploads"));
    assert_eq!(config.uploads.to_str(), Some(fields_default("UPLOADS")));
    assert_eq!(config.allowed_origins, Origins::Any);
    assert!(config.trusted_proxies.is_empty());
    assert_eq!(config.synchronous, Synchronous::Full);
    assert_eq!(config.log.level, log::LevelFilter::Info);
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.argon2, Argon2 { memory_kib: 7_168, passes: 5, lanes: 1 });
    assert!(
        config.sign_up == SignUpRule::Open
            && !config.require_verified
            && !config.keep_metadata
            && !config.push_private
            && !config.hooks_private
    );
    assert!(config.access_secret.is_none() && config.metrics_token.is_none() && config.ip_info.is_none());
    assert!(matches!(config.mail, Mail::Mbox { from: None }));
    assert_eq!(config.backups.every, None);
    assert_eq!(config.access_log, 1);
    assert_eq!(config.public_url(8080), "http://127.0.0.1:8080");
    // Every default parses, alone and together.
    let all: Vec<_> = variables().filter(|v| !v.default.is_empty()).map(|v| (v.name, v.default)).collect();
    assert_eq!(format!("{:?}", good(&all)), format!("{config:?}"));
}

fn fields_default(name: &str) -> &'static str {
    variables().find(|v| v.name == name).expect("a variable").default
}

#[test]
fn every_variable_is_read() {
    // A variable that is in the table and that no code reads would be documented and ignored. A NUL is an error in each.
    for v in variables() {
        let conformance = v.name == "CONFORMANCE_FILES" && !cfg!(feature = "conformance");
        let free = v.name == "GEOIP_DB" && !cfg!(feature = "geoip")
            || v.name == "TLS_CA_FILE" && !cfg!(feature = "tls");
        match load(&[(v.name, "x\0y")], "") {
            Err(faults) => {
                assert!(faults.iter().any(|fault| fault.source == v.name) || free, "{}", v.name)
            }
            Ok(_) => assert!(conformance, "{}", v.name),
        }
        if v.is_secret() {
            let name = format!("{}_FILE", v.name);
            let faults = load(&[(&name, "/nonexistent/natter")], "").expect_err("a fault");
            assert_eq!(faults[0].source, name);
            assert!(!faults[0].to_string().contains("nonexistent"), "the path might be the secret itself");
        }
    }
}

#[test]
fn each_limit_from_its_variable() {
    let env: Vec<(String, String)> = variables()
        .filter_map(|v| match v.accepts {
            Accepts::Number(min, _) if v.default.len() > 1 || v.name == "HEARTBEAT" => Some((v.name, min)),
            _ => None,
        })
        .filter(|(name, _)| !["PORT"].contains(name))
        .map(|(name, min)| (name.to_owned(), min.to_string()))
        .chain(
            (1..)
                .zip(["CREDENTIALS", "ADDRESS", "ACCOUNT", "WRITES", "BOTS"])
                .map(|(n, name)| (format!("RATE_{name}"), format!("{n}/{}", n + 10))),
        )
        .chain([("RATE_LIMIT".to_owned(), "off".to_owned())])
        .collect();
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let rate = |n| crate::limits::Rate { per_second: n, burst: n + 10 };
    let expect = Limits {
        head_max: 1_024,
        json_body_max: 256,
        upload_max: 1,
        upload_quota: 0,
        upload_files_max: 0,
        pixels_max: 1,
        message_max: 1,
        members_max: 2,
        ws_message_max: 256,
        send_queue_max: 4_096,
        connections_max: 1,
        connections_per_address: 1,
        streams_per_account: 1,
        access_ttl: 1,
        refresh_ttl: 1,
        heartbeat: Duration::from_secs(1),
        rate_credentials: rate(1),
        rate_address: rate(2),
        rate_account: rate(3),
        rate_writes: rate(4),
        rate_bots: rate(5),
        rate_limit: false,
        memory: crate::limits::MemoryShares::default(),
    };
    assert_eq!(good(&env).limits, expect);
}

#[cfg(feature = "acme")]
#[test]
fn a_domain_changes_defaults_and_needs_no_files() {
    let config = good(&[("TLS_DOMAIN", "Chat.example.org, b.example")]);
    let https = config.https.as_ref().expect("https");
    assert_eq!(https.domains(), ["chat.example.org", "b.example"]);
    assert_eq!((config.host.to_string().as_str(), config.port, https.http_port), ("[::]", 443, Some(80)));
    assert!(config.host_is_any && config.sign_up == SignUpRule::Invite);
    assert_eq!(config.public_url(443), "https://chat.example.org");
    let set = [("HOST", "::1"), ("PORT", "8443"), ("HTTP_PORT", "8080"), ("SIGN_UP", "open")];
    let directory = ("ACME_DIRECTORY", "https://127.0.0.1:14000/dir");
    let config =
        good(&[&set[..], &[("TLS_DOMAIN", "a.example"), directory, ("ACME_EMAIL", "me@b.example")]].concat());
    let https = config.https.as_ref().expect("https");
    let CertificateSource::Acme(acme) = &https.certificate else { panic!("not from files") };
    assert_eq!(
        (acme.directory.to_string().as_str(), acme.email.as_deref()),
        (directory.1, Some("me@b.example"))
    );
    assert_eq!(
        (config.host.to_string().as_str(), config.port, https.http_port),
        ("[::1]", 8_443, Some(8_080))
    );
    assert!(!config.host_is_any && config.sign_up == SignUpRule::Open);
    assert_eq!(good(&[("SIGN_UP", "closed")]).sign_up, SignUpRule::Closed);
    for (value, expect) in [
        ("*.example.org", "TLS_DOMAIN: \"*.example.org\" has a wildcard"),
        ("192.0.2.1", "TLS_DOMAIN: \"192.0.2.1\" has an address"),
        ("a,,b", "TLS_DOMAIN: \"a,,b\" has an empty entry"),
        ("a b", "TLS_DOMAIN: \"a b\" has an entry that is neither"),
    ] {
        check_faults(&[("TLS_DOMAIN", value)], &[expect]);
    }
    let many = vec!["a"; crate::limits::TLS_DOMAINS_MAX + 1].join(",");
    check_faults(&[("TLS_DOMAIN", &many)], &["TLS_DOMAIN: \"a,"]);
    let domain = ("TLS_DOMAIN", "a.example");
    check_faults(
        &[domain, ("ACME_DIRECTORY", "http://a/dir")],
        &["ACME_DIRECTORY: \"http://a/dir\" is not https"],
    );
    check_faults(
        &[domain, ("TLS_CERT", "Cargo.toml"), ("TLS_KEY", "Cargo.toml")],
        &["TLS_DOMAIN: is set, and TLS_CERT"],
    );
    check_warnings(&[("ACME_EMAIL", "a@b.example")], "", &["ACME_EMAIL: has no effect without TLS_DOMAIN"]);
}

#[test]
fn real_variables_win_and_blank_ones_are_unset() {
    let config = check_warnings(&[("PORT", "1")], "PORT=2\nHOST=::1 # here", &[]);
    assert_eq!((config.port, config.host.to_string().as_str()), (1, "[::1]"));
    assert_eq!(check_warnings(&[("PORT", "")], "PORT=2", &[]).port, 8080);
    assert_eq!(check_warnings(&[], "PORT=2", &[]).port, 2);
    assert_eq!(check_warnings(&[("PORT", " 9 ")], "", &[]).port, 9);
    check_faults(&[("EMAIL_HOST", " "), ("PORT", "x")], &["PORT: \"x\" is not a whole number"]);
}

#[test]
fn the_dotenv_file_warns_and_faults_by_line() {
    check_warnings(
        &[("MONGO_URI", "x")],
        "MONGO_URI=secret\nPORT_FILE=x",
        &["MONGO_URI: is unknown to natter and ignored (.env line 1)", "PORT_FILE: is unknown"],
    );
    check_warnings(&[], "PORT=1\nPORT=2", &["PORT: is set twice in .env; line 2 counts"]);
    let faults = load(&[("PORT", "-1")], "hunter2\nHOST='hunter2").expect_err("three faults");
    let text: Vec<String> = faults.iter().map(Fault::to_string).collect();
    assert_eq!(text.len(), 3, "{text:?}");
    assert!(text[0].starts_with(".env line 1: ") && text[1].starts_with(".env line 2: "));
    assert!(!text.concat().contains("hunter2"));
    // The missing name and the misspelled one are reported together.
    let faults = load(&[], "EMAIL_HOST=mail.example.org\nEMAIL_FORM=a@example.org").expect_err("a fault");
    let text: Vec<String> = faults.iter().map(Fault::to_string).collect();
    assert!(text[0].starts_with("EMAIL_FROM: is not set"), "{text:?}");
    assert_eq!(text[1..], ["EMAIL_FORM: is unknown to natter and ignored (.env line 2)"]);
}

#[test]
fn all_faults_at_once_each_with_what_it_accepts() {
    check_faults(
        &[("PORT", "65536"), ("HOST", "a b"), ("RATE_WRITES", "20"), ("ACCESS_SECRET", "short")],
        &[
            "HOST: \"a b\" is neither an IP address nor a host name; it accepts an IP address or a host name",
            "PORT: \"65536\" is out of range; it accepts a whole number from 0 to 65535",
            "ACCESS_SECRET: the secret is too short; it accepts at least 32 bytes",
            "RATE_WRITES: \"20\" is not two numbers separated by a /; it accepts per second/burst",
        ],
    );
    // Bytes of the environment that are not UTF-8.
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt;
        let env = |name: &str| (name == "HOST").then(|| OsString::from_vec(vec![0xff]));
        let faults = Config::load(env, None).expect_err("a fault");
        assert_eq!(faults.len(), 1);
        assert!(faults[0].to_string().starts_with("HOST: the value is not UTF-8"));
    }
}

#[test]
fn each_variable_at_and_outside_its_range() {
    for v in variables() {
        let Accepts::Number(min, max) = v.accepts else { continue };
        let alone = |value: u64| load(&[(v.name, &value.to_string())], "");
        let out_of_range = |loaded: Loaded| {
            loaded
                .is_err_and(|faults| faults.iter().any(|f| f.source == v.name && f.problem.contains("range")))
        };
        assert!(!out_of_range(alone(min)) && !out_of_range(alone(max)), "{}", v.name);
        assert!(out_of_range(alone(max + 1)), "{}", v.name);
        assert!(min == 0 || out_of_range(alone(min - 1)), "{}", v.name);
    }
}

#[test]
fn folders_follow_each_other() {
    let folders = |env: &[(&str, &str)]| {
        let config = good(env);
        (config.data_dir.display().to_string(), config.uploads.display().to_string())
    };
    assert_eq!(folders(&[("DATA_DIR", "/srv/n")]), ("/srv/n".into(), "/srv/n/uploads".into()));
    assert_eq!(folders(&[("UPLOADS", "up")]), ("data".into(), "up".into()));
    check_faults(&[("DATA_DIR", "x/"), ("UPLOADS", "x")], &["UPLOADS: is the folder of the database"]);
}

#[test]
fn public_urls() {
    let url = |env: &[(&str, &str)]| good(env).public_url(9000);
    assert_eq!(url(&[("HOST", "0.0.0.0")]), "http://localhost:9000");
    assert_eq!(url(&[("HOST", "::")]), "http://localhost:9000");
    assert_eq!(url(&[("HOST", "::1"), ("PORT", "0")]), "http://[::1]:9000");
    assert_eq!(url(&[("PUBLIC_URL", "https://Chat.example:443/")]), "https://chat.example");
    assert_eq!(good(&[]).public_url(80), "http://127.0.0.1");
    check_faults(&[("PUBLIC_URL", "https://a/chat")], &["PUBLIC_URL: \"https://a/chat\" has a path"]);
    check_faults(&[("PUBLIC_URL", "https://u:hunter2@a")], &["PUBLIC_URL: the value (not shown"]);
}

#[test]
fn impossible_combinations() {
    check_faults(&[("ACCESS_TTL", "86400"), ("REFRESH_TTL", "3600")], &["ACCESS_TTL: 86400 is more than"]);
    good(&[("ACCESS_TTL", "60"), ("REFRESH_TTL", "60")]);
    check_faults(&[("SEND_QUEUE_MAX", "65535")], &["SEND_QUEUE_MAX: 65535 is less than WS_MESSAGE_MAX"]);
    good(&[("SEND_QUEUE_MAX", "65536")]);
    check_faults(&[("ALLOWED_ORIGINS", "*,https://a")], &["ALLOWED_ORIGINS: \"*,https://a\" mixes *"]);
    good(&[("CONNECTIONS_MAX", "10"), ("CONNECTIONS_PER_ADDRESS", "100")]);
    check_faults(
        &[("ACCESS_SECRET", KEY_A), ("REFRESH_SECRET", KEY_B), ("PASSWORD_SECRET", KEY_A)],
        &["PASSWORD_SECRET: the secret is the same as ACCESS_SECRET"],
    );
    check_faults(
        &[("DEFAULT_PROFILE_PIC", "/nonexistent/x.png")],
        &["DEFAULT_PROFILE_PIC: \"/nonexistent/x.png\" cannot be read"],
    );
    check_faults(&[("DEFAULT_PROFILE_PIC", "/")], &["DEFAULT_PROFILE_PIC: \"/\" is not a file"]);
    if !cfg!(feature = "geoip") {
        check_faults(&[("GEOIP_DB", "x.mmdb")], &["GEOIP_DB: is set, and this build"]);
    }
}

#[test]
fn warnings() {
    check_warnings(&[("SYNCHRONOUS", "normal")], "", &["SYNCHRONOUS: normal: a power cut"]);
    check_warnings(&[("ARGON2", "1024,1,1")], "", &["ARGON2: an attacker"]);
    check_warnings(&[("WS_MESSAGE_MAX", "1024")], "", &["MESSAGE_MAX: 4000 characters"]);
    check_warnings(
        &[("IP_INFO", "token"), ("IP_INFO_URL", "http://places.example")],
        "",
        &["IP_INFO_URL: is http"],
    );
    if !cfg!(feature = "conformance") {
        let config = check_warnings(&[("CONFORMANCE_FILES", "/")], "", &["CONFORMANCE_FILES: is ignored"]);
        assert_eq!(config.conformance_files, None);
    }
}

#[test]
fn mail_servers() {
    #[track_caller]
    fn server(env: &[(&str, &str)]) -> (u16, EmailTls, Option<String>) {
        let Mail::Server(server) = good(env).mail else { panic!("{env:?}") };
        (server.port, server.tls, server.login.map(|(user, _)| user))
    }
    let (host, from) = (("EMAIL_HOST", "localhost"), ("EMAIL_FROM", "Chat <a@b>"));
    let password = ("EMAIL_PASSWORD", "p w");
    if cfg!(feature = "tls") {
        assert_eq!(server(&[host, from]), (587, EmailTls::Starttls, None));
        assert_eq!(server(&[host, from, ("EMAIL_PORT", "465")]), (465, EmailTls::Tls, None));
        assert_eq!(server(&[host, from, ("EMAIL_TLS", "tls")]), (465, EmailTls::Tls, None));
        assert_eq!(server(&[host, from, password]).2.as_deref(), Some("a@b"));
    } else {
        check_faults(&[host, from], &["EMAIL_TLS: needs the feature tls"]);
    }
    let none = ("EMAIL_TLS", "NONE");
    assert_eq!(server(&[host, from, none]), (25, EmailTls::None, None));
    assert_eq!(server(&[host, from, none, password, ("EMAIL_USER", "u")]).2.as_deref(), Some("u"));
    check_faults(&[host, none], &["EMAIL_FROM: is not set"]);
    check_faults(&[host, none, ("EMAIL_FROM", "x")], &["EMAIL_FROM: \"x\" is not an e-mail address"]);
    check_faults(&[host, from, none, ("EMAIL_USER", "u")], &["EMAIL_PASSWORD: is not set"]);
    check_faults(&[("EMAIL_HOST", "a:25"), none], &["EMAIL_HOST: \"a:25\"", "EMAIL_FROM: is not set"]);
    check_warnings(&[("EMAIL_HOST", "mail"), from, none, password], "", &["EMAIL_TLS: none: the password"]);
    check_warnings(&[password, from], "", &["EMAIL_PASSWORD: has no effect"]);
}

#[test]
fn secrets_are_read_from_files_and_never_shown() {
    let folder = crate::base::testing::Folder::new();
    let path = folder.join("key");
    let path_text = path.to_str().expect("UTF-8");
    let write = |bytes: &[u8]| std::fs::write(&path, bytes).expect("a file");
    write(format!("{KEY_A}\r\n").as_bytes());
    let config = good(&[("ACCESS_SECRET_FILE", path_text)]);
    assert_eq!(config.access_secret.as_ref().map(|key| key.expose().as_str()), Some(KEY_A));
    check_faults(
        &[("ACCESS_SECRET_FILE", path_text), ("ACCESS_SECRET", KEY_B)],
        &["ACCESS_SECRET: is set, and ACCESS_SECRET_FILE too"],
    );
    check_faults(&[("ACCESS_SECRET_FILE", folder.to_str().expect("UTF-8"))], &["ACCESS_SECRET_FILE: "]);
    write(b"short\n");
    check_faults(&[("ACCESS_SECRET_FILE", path_text)], &["ACCESS_SECRET: the secret is too short"]);
    write(&[0xff; 40]);
    check_faults(&[("ACCESS_SECRET_FILE", path_text)], &["ACCESS_SECRET_FILE: "]);
    write(&vec![b'a'; crate::limits::CONFIG_FILE_BYTES_MAX + 1]);
    check_faults(&[("ACCESS_SECRET_FILE", path_text)], &["ACCESS_SECRET_FILE: "]);

    let env = [
        ("ACCESS_SECRET", KEY_A),
        ("METRICS_TOKEN", KEY_B),
        ("IP_INFO", "hunter2"),
        ("EMAIL_PASSWORD", "hunter2"),
        ("EMAIL_HOST", "localhost"),
        ("EMAIL_TLS", "none"),
        ("EMAIL_FROM", "a@b"),
        ("IP_INFO_URL", "http://localhost"),
    ];
    let seen = format!("{:#?}", good(&env));
    assert!(!seen.contains(KEY_A) && !seen.contains(KEY_B) && !seen.contains("hunter2"), "{seen}");
}

proptest! {
    #[test]
    fn no_text_panics(text in "[a-z0-9:/@.,=<>\\[\\]\"'#$* ü\\\\\n-]{0,24}") {
        if let Err(faults) = Config::load(|_| Some(text.clone().into()), Some(&text)) {
            prop_assert!(!faults.is_empty());
        }
    }
}

#[test]
fn backups_are_made_every_so_often() {
    let backups = |env: &[(&str, &str)]| good(env).backups;
    let six = backups(&[("BACKUP_EVERY", "6h"), ("DATA_DIR", "d")]);
    let every = Some(Duration::from_secs(21_600));
    assert_eq!(six, Backups { every, keep: 7, folder: "d/backups".into() });
    let asked = backups(&[("BACKUP_DIR", "e"), ("BACKUP_KEEP", "2")]);
    assert_eq!(asked, Backups { every: None, keep: 2, folder: "e".into() });
    for (text, minutes) in [("1m", 1), ("90m", 90), ("2d", 2_880), ("366d", 527_040)] {
        let every = Some(Duration::from_secs(minutes * 60));
        assert_eq!(backups(&[("BACKUP_EVERY", text)]).every, every, "{text}");
    }
    for text in ["0h", "6", "h", "1.5h", "6H", "-1h", "367d", "6 h", "6s", "½h"] {
        assert!(load(&[("BACKUP_EVERY", text)], "").is_err(), "{text}");
    }
    assert!(load(&[("BACKUP_EVERY", "1d"), ("BACKUP_KEEP", "0")], "").is_err());
}

#[test]
fn access_lines_are_all_none_or_a_sample() {
    for (text, many) in [("all", 1), ("off", 0), ("1/1", 1), ("1/100", 100), ("1/1000000", 1_000_000)] {
        assert_eq!(good(&[("ACCESS_LOG", text)]).access_log, many, "{text}");
    }
    for text in ["1/0", "2/100", "100", "none", "1/1000001", "1/ 5", "1/"] {
        assert!(load(&[("ACCESS_LOG", text)], "").is_err(), "{text}");
    }
}
