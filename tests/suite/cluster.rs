//! Several natters over one log: what one does, the others know.

mod bots;
mod cursors;
mod duties;
mod facts;
mod files;
mod tickets;
mod whispers;

use crate::support::cluster::Cluster;
use crate::support::http::{Person, Response};
use natter::server::contract::ConnId;

/// Posts a direct message on one node.
fn post(cluster: &mut Cluster, at: usize, from: &Person, to: &Person, number: u32) -> Response {
    let body =
        format!(r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G{number:04}","body":"hi"}}"#, to.profile);
    let posted = cluster[at].ask_as(from, "POST", "/api/v1/messages", Some(&body));
    assert_eq!(posted.status, 201, "{}", posted.text());
    posted
}

/// A native socket of a member on one node, which has caught up.
fn socket(cluster: &mut Cluster, at: usize, who: &Person) -> ConnId {
    let conn = cluster[at].open_socket(who, "/api/v1/ws");
    cluster[at].texts(conn);
    conn
}

/// The events of one kind that arrived since the last call.
fn events(cluster: &mut Cluster, at: usize, conn: ConnId, event: &str) -> Vec<String> {
    let named = format!("\"event\":\"{event}\"");
    cluster[at].texts(conn).into_iter().filter(|text| text.contains(&named)).collect()
}
