//! Bots and hooks on several nodes: a token of one is good on all, and one node calls an outgoing hook.

use std::time::Duration;

use natter::base::id::Id;

use super::socket;
use crate::support::cluster::Cluster;
use crate::support::http::{Person, Response};

/// Longer than the duty lasts after its holder has asked for it.
const TAKEN_OVER: Duration = Duration::from_secs(16);

fn operator(cluster: &mut Cluster, at: usize, method: &str, path: &str, body: Option<&str>) -> Response {
    let response = cluster[at].ask_operator(method, path, body);
    cluster.settle();
    response
}

/// A bot of the first node, in a group of the second one.
fn scene(cluster: &mut Cluster) -> (Person, String, String) {
    let ann = cluster[1].sign_up("ann");
    cluster.settle();
    let bot = operator(cluster, 0, "POST", "/admin/bots", Some(r#"{"display_name":"disk"}"#));
    let bot = bot.at("data.profile.id");
    let body = format!(r#"{{"title":"Tea","members":["{bot}"]}}"#);
    let group = cluster[1].ask_as(&ann, "POST", "/api/v1/conversations", Some(&body)).at("data.id");
    cluster.settle();
    (ann, bot, group)
}

fn say(cluster: &mut Cluster, at: usize, who: &Person, group: &str, number: u128) -> Response {
    let id = <Id>::from_u128(number);
    let body = format!(r#"{{"conversation":"{group}","client_id":"{id}","body":"hi {number}"}}"#);
    let posted = cluster[at].ask_as(who, "POST", "/api/v1/messages", Some(&body));
    cluster.settle();
    posted
}

#[test]
fn a_token_is_good_on_all_nodes_and_ends_on_all() {
    let mut cluster = Cluster::new(3);
    let (_, bot, group) = scene(&mut cluster);
    let tokens = format!("/admin/bots/{bot}/tokens");
    let made = operator(&mut cluster, 0, "POST", &tokens, Some(r#"{"name":"first"}"#));
    let access = made.at("data.token");
    let disk = Person { profile: bot, member: String::new(), access, refresh: String::new() };
    for at in 0..3 {
        assert_eq!(say(&mut cluster, at, &disk, &group, at as u128).status, 201);
    }
    cluster.restart(1);
    assert_eq!(say(&mut cluster, 1, &disk, &group, 9).status, 201, "also after a start");
    let conn = socket(&mut cluster, 2, &disk);
    let one = format!("{tokens}/{}", made.at("data.id"));
    assert_eq!(operator(&mut cluster, 1, "DELETE", &one, None).status, 204);
    for at in 0..3 {
        assert_eq!(say(&mut cluster, at, &disk, &group, 10).status, 401);
    }
    assert_eq!(cluster[2].close_code(conn), Some(4401));
}

fn calls(cluster: &mut Cluster) -> Vec<usize> {
    (0..cluster.len()).map(|at| std::mem::take(&mut cluster[at].hook_calls).len()).collect()
}

#[test]
fn one_node_calls_a_hook_and_the_next_one_goes_on() {
    let mut cluster = Cluster::new(3);
    let (ann, bot, group) = scene(&mut cluster);
    let url = Some(r#"{"url":"https://bot.example.org/"}"#);
    let set = operator(&mut cluster, 2, "PUT", &format!("/admin/bots/{bot}/hook"), url);
    assert_eq!(set.status, 200, "{}", set.text());
    say(&mut cluster, 1, &ann, &group, 1);
    say(&mut cluster, 2, &ann, &group, 2);
    cluster.pass(Duration::from_secs(5));
    assert_eq!(calls(&mut cluster), [2, 0, 0]);
    cluster.dead.insert(0);
    say(&mut cluster, 1, &ann, &group, 3);
    cluster.pass(TAKEN_OVER + Duration::from_secs(2));
    assert_eq!(calls(&mut cluster).iter().sum::<usize>(), 1, "the stored cursor is known to all");
}
