//! What other programs say, in readable lines: the bodies of GitHub's webhooks and of Alertmanager's notifications.
//!
//! Owns which parts of such a body a line shows. A part that is missing or has another type is left out, since a body is what its sender
//! makes of it.
//! Invariant: the texts in such a body mention nobody: strangers write the titles of issues.

use crate::base::json::{Object, Value};

/// Alerts of one notification that have a line each. Of the others the last line says how many there are.
const ALERTS_MAX: usize = 10;
/// Characters of a title or a summary. The rest is cut.
const PART_CHARS_MAX: usize = 200;

/// What a GitHub event is about, by the member of its body.
const SUBJECTS: [(&str, &str); 8] = [
    ("pull_request", "pull request"),
    ("issue", "issue"),
    ("discussion", "discussion"),
    ("release", "release"),
    ("workflow_run", "workflow"),
    ("check_run", "check"),
    ("check_suite", "checks of"),
    ("alert", "alert"),
];

/// Whether a body is one of Alertmanager's, or of what speaks as it does.
pub fn is_alerts(body: &Object<'_>) -> bool {
    body.get("alerts").is_some_and(|alerts| alerts.as_list().is_some())
}

/// `firing: DiskFull db1 (critical): The disk is full`, one line for each alert.
pub fn alerts(body: &Object<'_>) -> String {
    let alerts = body.get("alerts").and_then(Value::as_list).unwrap_or_default();
    let mut lines: Vec<String> = alerts.iter().take(ALERTS_MAX).map(alert).collect();
    if alerts.len() > ALERTS_MAX {
        lines.push(format!("and {} more", alerts.len() - ALERTS_MAX));
    }
    if let Some(url) = body.get("externalURL").and_then(text) {
        lines.push(url);
    }
    lines.join("\n")
}

fn alert(alert: &Value<'_>) -> String {
    let label = |name: &str| alert.get("labels").and_then(|labels| labels.get(name)).and_then(text);
    let note = |name: &str| alert.get("annotations").and_then(|notes| notes.get(name)).and_then(text);
    let mut line = alert.get("status").and_then(text).unwrap_or_else(|| "alert".to_owned());
    line.push(':');
    append(&mut line, " ", label("alertname"), "");
    append(&mut line, " ", label("instance"), "");
    append(&mut line, " (", label("severity"), ")");
    append(&mut line, ": ", note("summary").or_else(|| note("description")), "");
    line
}

/// `ann/tea: bob opened pull request #7 "Better cups" https://github.com/…`.
pub fn github(event: &str, body: &Object<'_>) -> String {
    let of =
        |object: &str, member: &str| body.get(object).and_then(|object| object.get(member)).and_then(text);
    let mut line = of("repository", "full_name")
        .or_else(|| of("organization", "login"))
        .unwrap_or_else(|| "GitHub".to_owned());
    line.push(':');
    append(&mut line, " ", of("sender", "login").or_else(|| of("pusher", "name")), "");
    if event == "push" {
        push(&mut line, body);
        return line;
    }
    append(&mut line, " ", body.get("action").and_then(text), "");
    let found = SUBJECTS.iter().find_map(|(member, noun)| Some((*noun, body.get(member)?)));
    let Some((noun, subject)) = found else {
        append(&mut line, " ", plain(event), "");
        return line;
    };
    let part = |name: &str| subject.get(name).and_then(text);
    // A comment or a review is about it.
    let about = ["comment", "review"].iter().find(|name| body.get(name).is_some());
    append(&mut line, " ", about.map(|name| format!("a {name} on")), "");
    append(&mut line, " ", Some(noun.to_owned()), "");
    append(
        &mut line,
        " #",
        subject.get("number").and_then(Value::as_i64).map(|number| number.to_string()),
        "",
    );
    let title = ["title", "name", "tag_name", "head_branch"].iter().find_map(|name| part(name));
    append(&mut line, " \"", title, "\"");
    append(&mut line, " (", part("conclusion"), ")");
    let url = about.and_then(|about| of(about, "html_url")).or_else(|| part("html_url"));
    append(&mut line, " ", url, "");
    line
}

/// ` pushed 2 commits to main: "Better cups" https://github.com/…`.
fn push(line: &mut String, body: &Object<'_>) {
    let count = body.get("commits").and_then(Value::as_list).map_or(0, <[Value<'_>]>::len);
    let what = if count == 1 { "commit" } else { "commits" };
    line.push_str(&format!(" pushed {count} {what}"));
    let branch = body.get("ref").and_then(text).map(|name| name.trim_start_matches("refs/heads/").to_owned());
    append(line, " to ", branch, "");
    let newest = body.get("head_commit").and_then(|commit| commit.get("message")).and_then(text);
    append(line, ": \"", newest, "\"");
    append(line, " ", body.get("compare").and_then(text), "");
}

/// A text of a body, if it shows anything.
fn text(value: &Value<'_>) -> Option<String> {
    plain(value.as_str()?)
}

/// The first line of a text, cut, without a control and without anything that mentions somebody.
fn plain(text: &str) -> Option<String> {
    let line = text.trim().lines().next()?;
    let mut out = String::with_capacity(line.len());
    for c in line.chars().filter(|c| !c.is_control()).take(PART_CHARS_MAX) {
        out.push(c);
        // A name follows an @ at once.
        if c == '@' {
            out.push('\u{200b}');
        }
    }
    Some(out).filter(|out| !out.is_empty())
}

fn append(line: &mut String, before: &str, part: Option<String>, after: &str) {
    if let Some(part) = part {
        line.push_str(before);
        line.push_str(&part);
        line.push_str(after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json;
    use crate::base::mention;

    fn check(event: &str, body: &str, expect: &str) {
        let value = json::parse(body.as_bytes()).expect("JSON");
        let body = value.as_object().expect("an object");
        let line = if event.is_empty() { alerts(body) } else { github(event, body) };
        assert_eq!(line, expect);
        assert!(mention::names(&line, 9).is_empty(), "{line}");
    }

    #[test]
    fn github_events_in_a_line() {
        let tea = r#""repository":{"full_name":"ann/tea"},"sender":{"login":"bob"}"#;
        let with = |rest: &str| format!("{{{tea},{rest}}}");
        check(
            "push",
            &with(
                r#""ref":"refs/heads/main","commits":[{},{}],"compare":"https://github.com/c","head_commit":{"message":"Better cups\n\nLong"}"#,
            ),
            r#"ann/tea: bob pushed 2 commits to main: "Better cups" https://github.com/c"#,
        );
        check(
            "pull_request",
            &with(
                r#""action":"opened","pull_request":{"number":7,"title":"Better @all cups","html_url":"https://github.com/p"}"#,
            ),
            "ann/tea: bob opened pull request #7 \"Better @\u{200b}all cups\" https://github.com/p",
        );
        check(
            "issue_comment",
            &with(
                r#""action":"created","issue":{"number":3,"title":"Leak","html_url":"u"},"comment":{"html_url":"https://github.com/i"}"#,
            ),
            r#"ann/tea: bob created a comment on issue #3 "Leak" https://github.com/i"#,
        );
        check(
            "workflow_run",
            &with(
                r#""action":"completed","workflow_run":{"name":"CI","conclusion":"failure","html_url":"https://github.com/w"}"#,
            ),
            r#"ann/tea: bob completed workflow "CI" (failure) https://github.com/w"#,
        );
        check("ping", &with(r#""zen":"Keep it logically awesome.","hook_id":1"#), "ann/tea: bob ping");
        check("star", r#"{"action":7,"issue":[],"sender":null}"#, "GitHub: issue");
        check("push", "{}", "GitHub: pushed 0 commits");
    }

    #[test]
    fn alerts_in_lines() {
        let one = r#"{"status":"firing","labels":{"alertname":"DiskFull","instance":"db1","severity":"critical"},"annotations":{"summary":"@ann the disk\nis full"}}"#;
        check(
            "",
            &format!(r#"{{"externalURL":"http://am:9093","alerts":[{one},{{"status":"resolved"}}]}}"#),
            "firing: DiskFull db1 (critical): @\u{200b}ann the disk\nresolved:\nhttp://am:9093",
        );
        let many = format!(r#"{{"alerts":[{}]}}"#, ["7"; ALERTS_MAX + 2].join(","));
        check("", &many, &format!("{}and 2 more", "alert:\n".repeat(ALERTS_MAX)));
    }
}
