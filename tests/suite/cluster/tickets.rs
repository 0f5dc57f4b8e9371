//! Tickets for a WebSocket, and failed attempts: good and counted across nodes.

use std::time::Duration;

use natter::base::totp;

use crate::support::cluster::Cluster;
use crate::support::http::{Person, base32_bytes};

fn ticket(cluster: &mut Cluster, at: usize, who: &Person) -> String {
    let issued = cluster[at].ask_as(who, "POST", "/api/v1/user/ticket", None);
    assert_eq!(issued.status, 201, "{}", issued.text());
    format!("/api/v1/ws?ticket={}", issued.at("data.ticket"))
}

fn opens(cluster: &mut Cluster, at: usize, path: &str) -> bool {
    cluster[at].upgrade(path, &[]).is_ok()
}

#[test]
fn a_ticket_of_one_node_opens_one_socket_on_any() {
    let mut cluster = Cluster::new(3);
    let ann = cluster[0].sign_up("ann");
    cluster.settle();
    let path = ticket(&mut cluster, 0, &ann);
    assert!(opens(&mut cluster, 1, &path) && !opens(&mut cluster, 1, &path));
    cluster.settle();
    assert!(!opens(&mut cluster, 0, &path) && !opens(&mut cluster, 2, &path));
    // It ends after half a minute, on each.
    let late = ticket(&mut cluster, 2, &ann);
    cluster.pass(Duration::from_secs(30));
    assert!(!opens(&mut cluster, 0, &late));
}

/// If no node hears of its use, a ticket is good once on each.
#[test]
fn a_ticket_whose_use_was_not_heard_of_is_good_once_on_each_node() {
    let mut cluster = Cluster::new(2);
    let ann = cluster[0].sign_up("ann");
    cluster.settle();
    cluster.is_deaf = true;
    let path = ticket(&mut cluster, 0, &ann);
    for at in [1, 0] {
        assert!(opens(&mut cluster, at, &path) && !opens(&mut cluster, at, &path));
        cluster.settle();
    }
    // One that starts again does not know what it has taken, so it takes none that is older.
    cluster.pass(Duration::from_millis(1));
    cluster.restart(1);
    assert!(!opens(&mut cluster, 1, &path));
    let fresh = ticket(&mut cluster, 0, &ann);
    assert!(opens(&mut cluster, 1, &fresh));
}

fn sign_in(cluster: &mut Cluster, at: usize, password: &str) -> u16 {
    let body = format!(r#"{{"email":"ann@example.org","password":"{password}"}}"#);
    cluster[at].ask("POST", "/api/v1/user/sign-in", &[], Some(&body)).status
}

#[test]
fn guesses_count_on_all_nodes() {
    let mut cluster = Cluster::new(3);
    cluster[0].sign_up("ann");
    cluster.settle();
    for guess in 0..9 {
        assert_eq!(sign_in(&mut cluster, guess % 3, "wrong"), 401);
        cluster.settle();
    }
    // The right one clears the count on all.
    assert_eq!(sign_in(&mut cluster, 0, "correct horse ann's"), 200);
    cluster.settle();
    for guess in 0..10 {
        assert_eq!(sign_in(&mut cluster, guess % 3, "wrong"), 401);
        cluster.settle();
    }
    for at in 0..3 {
        assert_eq!(sign_in(&mut cluster, at, "correct horse ann's"), 429);
    }
}

#[test]
fn guesses_of_a_password_with_a_token_count_on_all_nodes() {
    let mut cluster = Cluster::new(2);
    let ann = cluster[0].sign_up("ann");
    cluster.settle();
    let change = |cluster: &mut Cluster, at: usize| {
        let body =
            r#"{"password":"wrong","new_password":"a better horse 1","confirm_password":"a better horse 1"}"#;
        let status = cluster[at].ask_as(&ann, "PUT", "/api/v1/user/password", Some(body)).status;
        cluster.settle();
        status
    };
    for guess in 0..10 {
        assert_eq!(change(&mut cluster, guess % 2), 401);
    }
    assert_eq!((change(&mut cluster, 0), change(&mut cluster, 1)), (429, 429));
}

/// A code is used on whichever node: that is a write of all.
#[test]
fn a_code_of_the_second_factor_is_used_once_in_a_cluster() {
    let mut cluster = Cluster::new(3);
    let ann = cluster[0].sign_up("ann");
    cluster.settle();
    let begun = cluster[0].ask_as(&ann, "POST", "/api/v1/user/second-factor", None);
    let secret = base32_bytes(&begun.at("data.secret"));
    let shown = |cluster: &Cluster| totp::shown(&secret, cluster[0].now.unix_s());
    let password = "correct horse ann's";
    let code = shown(&cluster);
    let setup = begun.at("data.setup");
    let body = format!(r#"{{"password":"{password}","code":"{code}","setup":"{setup}"}}"#);
    let on = cluster[1].ask_as(&ann, "PUT", "/api/v1/user/second-factor", Some(&body));
    assert_eq!(on.status, 200, "{}", on.text());
    cluster.settle();
    cluster.pass(Duration::from_secs(30));
    let recovery = on.at("data.recovery_codes.0");
    for code in [shown(&cluster), recovery] {
        let body = format!(r#"{{"email":"ann@example.org","password":"{password}","code":"{code}"}}"#);
        for (at, status) in [(2, 200), (1, 400), (2, 400)] {
            let answer = cluster[at].ask("POST", "/api/v1/user/sign-in", &[], Some(&body));
            assert_eq!(answer.status, status, "{at} {}", answer.text());
            cluster.settle();
        }
    }
}
