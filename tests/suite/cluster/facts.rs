//! What another node wrote has the same effect here as what was written here.

use std::time::Duration;

use super::{events, post, socket};
use crate::support::cluster::Cluster;
use crate::support::http::Person;

#[test]
fn a_post_reaches_the_sockets_of_all_nodes_once() {
    let mut cluster = Cluster::new(3);
    let (ann, bob) = (cluster[0].sign_up("ann"), cluster[1].sign_up("bob"));
    cluster.settle();
    // A token of one node is one of all.
    let sockets: Vec<_> = (0..3).flat_map(|at| [(at, ann.clone()), (at, bob.clone())]).collect();
    let sockets: Vec<_> = sockets.into_iter().map(|(at, who)| (at, socket(&mut cluster, at, &who))).collect();
    post(&mut cluster, 2, &ann, &bob, 1);
    post(&mut cluster, 0, &bob, &ann, 2);
    cluster.settle();
    let mut seen = Vec::new();
    for (at, conn) in sockets {
        seen.push(events(&mut cluster, at, conn, "message.posted"));
    }
    assert!(seen[0].len() == 2 && seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    assert_eq!(
        (0..3).map(|at| cluster[at].metric("natter_log_seq")).collect::<Vec<_>>(),
        vec![cluster[0].metric("natter_log_seq"); 3]
    );
}

#[test]
fn a_session_that_ends_on_one_node_ends_on_all() {
    let mut cluster = Cluster::new(3);
    let ann = cluster[0].sign_up("ann");
    cluster.settle();
    let phone = cluster[1].sign_in("ann");
    cluster.settle();
    let (here, there) = (socket(&mut cluster, 1, &phone), socket(&mut cluster, 2, &phone));
    let mine = socket(&mut cluster, 2, &ann);
    let out = cluster[0].ask_as(&phone, "POST", "/api/v1/user/logout", None);
    assert_eq!(out.status, 200, "{}", out.text());
    cluster.settle();
    assert_eq!((cluster[1].close_code(here), cluster[2].close_code(there)), (Some(4401), Some(4401)));
    assert!(!cluster[2].is_closed(mine));
    for at in 0..3 {
        assert_eq!(cluster[at].ask_as(&phone, "GET", "/api/v1/user/me", None).status, 401);
        assert_eq!(cluster[at].ask_as(&ann, "GET", "/api/v1/user/me", None).status, 200);
    }
}

/// Two members with a conversation, on a cluster of two.
fn two() -> (Cluster, Person, Person, String) {
    let mut cluster = Cluster::new(2);
    let (ann, bob) = (cluster[0].sign_up("ann"), cluster[0].sign_up("bob"));
    let conversation = post(&mut cluster, 0, &ann, &bob, 1).at("data.conversation");
    cluster.settle();
    (cluster, ann, bob, conversation)
}

#[test]
fn a_block_on_one_node_hides_presence_and_typing_on_the_other() {
    let (mut cluster, ann, bob, conversation) = two();
    let (a, b) = (socket(&mut cluster, 1, &ann), socket(&mut cluster, 1, &bob));
    cluster.pass(Duration::from_secs(4));
    assert_eq!(events(&mut cluster, 1, b, "presence").len(), 1);
    cluster[1].texts(a);
    let typing = format!(r#"{{"id":1,"op":"typing","conversation":"{conversation}"}}"#);
    cluster[1].say(a, &typing);
    assert_eq!(events(&mut cluster, 1, b, "typing").len(), 1);
    let block = format!("/api/v1/blocks/{}", ann.profile);
    let blocked = cluster[0].ask_as(&bob, "PUT", &block, None);
    assert!(blocked.status < 300, "{}", blocked.text());
    cluster.settle();
    let offline = events(&mut cluster, 1, b, "presence");
    assert!(offline.len() == 1 && offline[0].contains("\"online\":false"), "{offline:?}");
    assert_eq!(events(&mut cluster, 1, a, "presence").len(), 1);
    // What she was typing ends without a word to him.
    cluster[1].reset(a);
    assert!(events(&mut cluster, 1, b, "typing").is_empty());
    let back = cluster[0].ask_as(&bob, "DELETE", &block, None);
    assert!(back.status < 300, "{}", back.text());
}

/// A profile that hides itself on one node is taken back on the others.
#[test]
fn presence_that_is_hidden_is_hidden_everywhere() {
    let (mut cluster, ann, bob, _) = two();
    let _a = socket(&mut cluster, 0, &ann);
    let b = socket(&mut cluster, 1, &bob);
    cluster.pass(Duration::from_secs(4));
    assert_eq!(events(&mut cluster, 1, b, "presence").len(), 1);
    let hidden = cluster[0].ask_as(&ann, "PUT", "/api/v1/profile", Some(r#"{"presence":false}"#));
    assert_eq!(hidden.status, 200, "{}", hidden.text());
    cluster.pass(Duration::from_secs(4));
    let offline = events(&mut cluster, 1, b, "presence");
    assert!(offline.len() == 1 && offline[0].contains("\"online\":false"), "{offline:?}");
}
