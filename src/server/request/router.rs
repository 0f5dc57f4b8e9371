//! From a target to a row of the table.
//!
//! Invariant: fixed segments win over parameters, so no parameter can hide a route.

use std::sync::LazyLock;

use crate::auth::rules;
use crate::base::id::Id;
use crate::proto::http::head::Method;
use crate::server::contract::ListenerKind;
use crate::server::request::routes::{self, Access, Route};

/// Parameters that are not ids: any text of one segment.
const TEXT_PARAMS: &[&str] = &["name", "emoji", "token"];

/// Follows the name of a last parameter that takes all segments that are left, at least one.
const TAIL: &str = "...";

pub enum Found {
    Route {
        route: &'static Route,
        path: Vec<(&'static str, String)>,
    },
    /// The path exists for other methods only; these.
    OtherMethods(String),
    Nothing,
}

pub fn find(method: Method, segments: &[String], listener_kind: ListenerKind) -> Found {
    let found = find_exactly(method, segments, listener_kind);
    let is_short =
        listener_kind == ListenerKind::Control && segments.first().is_some_and(|first| first == "admin");
    if !is_short || matches!(found, Found::Route { .. }) {
        return found;
    }
    // A row that admins of the server may use, too.
    let whole: Vec<String> = ["api".to_owned(), "v1".to_owned()].iter().chain(segments).cloned().collect();
    match find_exactly(method, &whole, listener_kind) {
        Found::Nothing => found,
        found => found,
    }
}

fn find_exactly(method: Method, segments: &[String], listener_kind: ListenerKind) -> Found {
    let on_listener =
        |route: &&'static Route| listener_kind == ListenerKind::Control || route.access != Access::Control;
    let matching = || {
        routes::all().filter(on_listener).filter_map(|route| Some((route, captures(route.path, segments)?)))
    };
    let fixed_first = |(_, path): &(&Route, Vec<_>)| path.len();
    // HEAD is GET without the body (RFC 9110 §9.3.2).
    let wanted = if method == Method::Head { Method::Get } else { method };
    // Only rows of the best shape count: `/profile` is never `/{nick_name}`.
    let Some(best) = matching().map(|found| fixed_first(&found)).min() else { return Found::Nothing };
    let found = || matching().filter(|found| fixed_first(found) == best);
    match found().find(|(route, _)| route.method == wanted) {
        Some((route, path)) => Found::Route { route, path },
        None => Found::OtherMethods(allow(found().map(|(route, _)| route.method))),
    }
}

/// The row of a WebSocket op.
pub fn find_op(name: &str) -> Option<&'static Route> {
    // Each frame of a WebSocket asks for one, so that the rows are sorted once.
    static OPS: LazyLock<Vec<&'static Route>> = LazyLock::new(|| {
        let mut ops: Vec<_> = routes::all().filter(|route| route.op).collect();
        ops.sort_unstable_by_key(|route| route.name);
        ops
    });
    OPS.binary_search_by_key(&name, |route| route.name).ok().map(|at| OPS[at])
}

/// The value of `Allow`.
fn allow(methods: impl Iterator<Item = Method>) -> String {
    let mut names: Vec<&str> = vec!["OPTIONS"];
    for method in methods {
        names.push(method.as_str());
        if method == Method::Get {
            names.push("HEAD");
        }
    }
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// The methods of a path, for `OPTIONS`.
pub fn allowed(segments: &[String], listener_kind: ListenerKind) -> Option<String> {
    match find(Method::Options, segments, listener_kind) {
        Found::OtherMethods(methods) => Some(methods),
        Found::Route { .. } | Found::Nothing => None,
    }
}

fn captures(pattern: &'static str, segments: &[String]) -> Option<Vec<(&'static str, String)>> {
    let mut path = Vec::new();
    // The root has no segments.
    let mut parts = pattern[1..].split('/').filter(|part| !part.is_empty());
    let mut given = segments.iter();
    loop {
        match (parts.next(), given.next()) {
            (None, None) => return Some(path),
            (Some(part), Some(segment)) => {
                match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                    Some(name) if name.ends_with(TAIL) => {
                        let mut tail = segment.clone();
                        for segment in given {
                            tail.push('/');
                            tail.push_str(segment);
                        }
                        path.push((name.trim_end_matches(TAIL), tail));
                        return Some(path);
                    }
                    Some(name) => {
                        let good = match name {
                            // A text that can't be a nick name is the path of no profile: 404, also without a token.
                            "nick_name" => rules::good_nick_name(&segment.to_ascii_lowercase()),
                            name if TEXT_PARAMS.contains(&name) => !segment.is_empty(),
                            _ => <Id>::parse(segment).is_some(),
                        };
                        if !good {
                            return None;
                        }
                        path.push((name, segment.clone()));
                    }
                    None if part == segment => {}
                    None => return None,
                }
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::profile::RESERVED_NICK_NAMES;

    fn check(method: Method, path: &str, expect: &str) {
        let segments: Vec<String> = match path {
            "/" => Vec::new(),
            _ => path[1..].split('/').map(str::to_owned).collect(),
        };
        let found = match find(method, &segments, ListenerKind::Public) {
            Found::Route { route, .. } => route.name.to_owned(),
            Found::OtherMethods(methods) => methods,
            Found::Nothing => "nothing".to_owned(),
        };
        assert_eq!(found, expect, "{method:?} {path}");
    }

    #[test]
    fn a_path_finds_its_row() {
        check(Method::Get, "/", "site.index");
        check(Method::Head, "/", "site.index");
        check(Method::Post, "/", "GET, HEAD, OPTIONS");
        check(Method::Post, "/api/v1/messages", "message.post");
        check(Method::Get, "/api/v1/conversations/01ARZ3NDEKTSV4RRFFQ69G5FAV/messages", "message.list");
        check(Method::Get, "/api/v1/conversations/nonsense/messages", "nothing");
        check(Method::Get, "/api/v1/conversations/", "nothing");
        check(Method::Get, "/api/v1", "nothing");
        check(Method::Get, "/client/app.js", "site.file");
        check(Method::Head, "/client/0123456789abcdef/ui/kit.js", "site.file");
        check(Method::Put, "/client/app.js", "GET, HEAD, OPTIONS");
        check(Method::Get, "/client", "nothing");
    }

    #[test]
    fn a_tail_is_all_that_is_left() {
        let tail = |path: &str| {
            let segments: Vec<String> = path[1..].split('/').map(str::to_owned).collect();
            captures("/client/{path...}", &segments).map(|mut path| path.remove(0))
        };
        assert_eq!(tail("/client/a"), Some(("path", "a".to_owned())));
        assert_eq!(tail("/client/a/b/c"), Some(("path", "a/b/c".to_owned())));
        assert_eq!(tail("/client/a/"), Some(("path", "a/".to_owned())));
        assert_eq!((tail("/client"), tail("/other/a")), (None, None));
    }

    #[test]
    fn the_first_segment_of_a_fixed_path_is_a_reserved_nick_name() {
        for route in routes::all() {
            let Some(rest) = route.path.strip_prefix("/api/v1/") else { continue };
            let first = rest.split('/').next().unwrap_or_default();
            let reserved = RESERVED_NICK_NAMES.contains(&first);
            assert!(first.starts_with('{') || reserved, "{first} must be reserved");
        }
        check(Method::Get, "/api/v1/ada.lovelace", "profile.find");
        check(Method::Get, "/api/v1/Ada", "profile.find");
        check(Method::Post, "/api/v1/ada", "GET, HEAD, OPTIONS");
        check(Method::Get, "/api/v1/profile", "profile.me");
        check(Method::Post, "/api/v1/profile", "GET, HEAD, OPTIONS, PUT");
        check(Method::Get, "/api/v1/user", "nothing");
        check(Method::Get, "/admin/members", "nothing");
        check(Method::Get, "/api/v1/no-such-path", "nothing");
    }

    #[test]
    fn every_name_is_one_row_or_one_alias() {
        for route in routes::all() {
            assert!(route.path.starts_with('/'), "{}", route.name);
            let same = routes::all().filter(|r| r.path == route.path && r.method == route.method).count();
            assert_eq!(same, 1, "{}", route.path);
        }
    }
}
