//! Outgoing hooks: which events they get, in which order, what follows from failures, and what goes on after a restart.

use std::time::Duration;

use natter::base::id::Id;
use natter::base::json;
use natter::model::hook::{HookCall, HookFailure};
use natter::model::settings::Settings;
use natter::server::contract::Input;

use crate::support::World;
use crate::support::http::{Person, Response, text_at};

const SECOND: Duration = Duration::from_secs(1);

/// A bot with a hook, and a group that it is in with a person.
struct Scene {
    world: World,
    ann: Person,
    path: String,
    id: String,
    group: String,
    posted: u128,
}

impl Scene {
    fn new() -> Scene {
        Scene::with(crate::support::settings(crate::support::limits()))
    }

    fn with(settings: Settings) -> Scene {
        let mut world = World::with(settings);
        let ann = world.sign_up("ann");
        let made = world.ask_operator("POST", "/admin/bots", Some(r#"{"display_name":"disk"}"#));
        let bot = made.at("data.profile.id");
        let body = format!(r#"{{"title":"Tea","members":["{bot}"]}}"#);
        let group = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(&body)).at("data.id");
        let mut scene = Scene {
            world,
            ann,
            path: format!("/admin/bots/{bot}/hook"),
            id: String::new(),
            group,
            posted: 0,
        };
        scene.say("before the hook");
        let set = scene.set();
        assert!(set.at("data.secret").starts_with("whsec_"), "{}", set.text());
        scene.id = set.at("data.id");
        scene
    }

    fn set(&mut self) -> Response {
        let body = r#"{"url":"https://bot.example.org/natter?a=b"}"#;
        let set = self.world.ask_operator("PUT", &self.path.clone(), Some(body));
        assert_eq!(set.status, 200, "{}", set.text());
        set
    }

    fn say(&mut self, text: &str) {
        self.posted += 1;
        let (group, id) = (&self.group, <Id>::from_u128(self.posted));
        let body = format!(r#"{{"conversation":"{group}","client_id":"{id}","body":"{text}"}}"#);
        let posted = self.world.ask_as(&self.ann, "POST", "/api/v1/messages", Some(&body));
        assert_eq!(posted.status, 201, "{}", posted.text());
    }

    /// The calls since the last look, after some time.
    fn calls(&mut self, time: Duration) -> Vec<HookCall> {
        // As after each turn of the loop.
        self.world.input(Input::Tick);
        self.world.pass(time);
        std::mem::take(&mut self.world.hook_calls)
    }

    fn state(&mut self) -> Response {
        self.world.ask_operator("GET", &self.path.clone(), None)
    }

    fn fail(&mut self, times: usize, retry_after: Option<Duration>) {
        let failure = HookFailure { error: "the answer was 500".to_owned(), retry_after };
        self.world.hook_failures.extend(std::iter::repeat_n(failure, times));
    }
}

fn at(call: &HookCall, path: &str) -> String {
    text_at(&json::parse(call.body.expose()).expect("JSON"), path)
}

fn texts(calls: &[HookCall]) -> Vec<String> {
    calls.iter().map(|call| at(call, "data.body")).collect()
}

#[test]
fn the_events_of_a_bot_come_in_order_and_once() {
    let mut scene = Scene::new();
    scene.say("one");
    scene.say("two");
    let calls = scene.calls(SECOND);
    assert_eq!(texts(&calls), ["one", "two"]);
    assert_eq!(at(&calls[0], "event"), "message.posted");
    let epoch = scene.world.ask_as(&scene.ann.clone(), "GET", "/api/v1/events?cursor=now", None).at("cursor");
    let epoch = epoch.split(':').next().expect("an epoch").to_owned();
    for call in &calls {
        assert_eq!(call.id, format!("{}-{epoch}-{}", scene.id, at(call, "seq")));
        assert_eq!(call.url.expose(), "https://bot.example.org/natter?a=b");
    }
    assert_eq!(scene.calls(60 * SECOND).len(), 0, "nothing twice");
    // What the bot can't see is not sent.
    let bob = scene.world.sign_up("bob");
    let body =
        format!(r#"{{"to":"{}","client_id":"{}","body":"private"}}"#, bob.profile, <Id>::from_u128(1 << 90));
    scene.world.ask_as(&scene.ann.clone(), "POST", "/api/v1/messages", Some(&body));
    assert_eq!(scene.calls(SECOND).len(), 0);
    let state = scene.state();
    assert_eq!(
        (state.at("data.seq"), state.at("data.error"), state.at("data.retry_at")),
        (at(&calls[1], "seq"), "null".into(), "null".into())
    );
    // After a restart it goes on where it was, also with what came just before.
    scene.say("three");
    scene.world = scene.world.restart();
    assert_eq!(texts(&scene.calls(SECOND)), ["three"]);
    scene.world.ask_operator("DELETE", &scene.path.clone(), None);
    scene.say("four");
    assert_eq!(scene.calls(SECOND).len(), 0, "it was removed");
    assert_eq!(scene.state().status, 404);
}

#[test]
fn a_failure_is_tried_again_with_the_same_id_and_delays_what_follows() {
    let mut scene = Scene::new();
    scene.fail(3, None);
    scene.say("one");
    scene.say("two");
    let first = scene.calls(SECOND);
    assert_eq!(texts(&first), ["one"]);
    let state = scene.state();
    assert_eq!(
        (state.at("data.failures"), state.at("data.error")),
        ("1".into(), "the answer was 500".into())
    );
    assert!(state.at("data.retry_at").ends_with('Z'), "{}", state.text());
    assert_eq!(scene.calls(3 * SECOND).len(), 0, "not before its time");
    let second = scene.calls(2 * SECOND);
    assert_eq!((texts(&second), &second[0].id), (texts(&first), &first[0].id));
    assert_eq!(scene.calls(8 * SECOND).len(), 0, "the wait doubles");
    assert_eq!(scene.calls(3 * SECOND).len(), 1);
    // The wait goes on after a restart.
    scene.world = scene.world.restart();
    assert_eq!(scene.calls(15 * SECOND).len(), 0);
    assert_eq!(texts(&scene.calls(6 * SECOND)), ["one", "two"]);
    let state = scene.state();
    assert_eq!((state.at("data.failures"), state.at("data.error")), ("0".into(), "null".into()));
}

#[test]
fn the_wait_is_as_long_as_asked_for_and_at_most_a_day() {
    let mut scene = Scene::new();
    scene.fail(1, Some(600 * SECOND));
    scene.say("one");
    assert_eq!(scene.calls(590 * SECOND).len(), 1);
    scene.fail(40, None);
    assert_eq!(scene.calls(20 * SECOND).len(), 1);
    scene.calls(Duration::from_secs(3 * 86_400));
    assert_eq!(scene.calls(Duration::from_secs(86_400)).len(), 1, "once a day");
    scene.world.hook_failures.clear();
    scene.fail(1, Some(Duration::from_secs(1 << 40)));
    scene.calls(Duration::from_secs(86_400));
    assert_eq!(scene.calls(Duration::from_secs(86_401)).len(), 1, "nobody asks for a longer one");
}

#[test]
fn a_pruned_cursor_is_one_reset() {
    let mut settings = crate::support::settings(crate::support::limits());
    settings.events_kept = Some(Duration::from_secs(86_400));
    let mut scene = Scene::with(settings);
    scene.fail(60, None);
    scene.say("one");
    scene.calls(Duration::from_secs(4 * 86_400));
    scene.world.hook_failures.clear();
    let calls = scene.calls(Duration::from_secs(86_400));
    let events: Vec<String> = calls.iter().map(|call| at(call, "event")).collect();
    assert_eq!((events, at(&calls[0], "reason")), (vec!["reset".to_owned()], "pruned".into()));
    scene.ann = scene.world.sign_in("ann");
    scene.say("two");
    assert_eq!(texts(&scene.calls(SECOND)), ["two"]);
}

#[test]
fn a_disabled_bot_is_not_called_and_another_hook_begins_anew() {
    let mut scene = Scene::new();
    let who = Some(r#"{"who":"disk"}"#);
    scene.world.ask_operator("POST", "/admin/members/disable", who);
    scene.say("one");
    assert_eq!(scene.calls(SECOND).len(), 0);
    scene.world.ask_operator("POST", "/admin/members/enable", who);
    assert_eq!(texts(&scene.calls(SECOND)), ["one"], "what it missed");
    scene.fail(1, None);
    scene.say("two");
    assert_eq!(scene.calls(SECOND).len(), 1);
    let other = scene.set().at("data.id");
    assert_ne!(other, scene.id);
    scene.say("three");
    let calls = scene.calls(60 * SECOND);
    assert_eq!(texts(&calls), ["three"]);
    assert!(calls[0].id.starts_with(&other));
    scene.world.ask_operator("POST", "/admin/members/delete", who);
    scene.say("four");
    assert_eq!(scene.calls(SECOND).len(), 0);
}

#[test]
fn a_hook_leads_nowhere_inside() {
    let mut scene = Scene::new();
    for url in [
        "http://bot.example.org/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://192.168.1.1:8443/a",
        "https://user@bot.example.org/",
        "ftp://bot.example.org/",
        "",
    ] {
        let set =
            scene.world.ask_operator("PUT", &scene.path.clone(), Some(&format!(r#"{{"url":"{url}"}}"#)));
        assert_eq!((set.status, set.code().as_str()), (422, "invalid_url"), "{url}");
    }
    let path = scene.path.replace("/admin", "/api/v1");
    let ann = scene.ann.clone();
    for (method, body) in [("PUT", Some(r#"{"url":"https://a.example/"}"#)), ("GET", None), ("DELETE", None)]
    {
        let asked = scene.world.ask_as(&ann, method, &path, body);
        assert_eq!((asked.status, asked.code().as_str()), (403, "not_allowed"), "{method}");
    }
    let mut settings = crate::support::settings(crate::support::limits());
    settings.hooks_private = true;
    let mut world = World::with(settings);
    let bot = world.ask_operator("POST", "/admin/bots", Some(r#"{"display_name":"disk"}"#));
    let path = format!("/admin/bots/{}/hook", bot.at("data.profile.id"));
    let set = world.ask_operator("PUT", &path, Some(r#"{"url":"http://127.0.0.1:9000/a"}"#));
    assert_eq!(set.status, 200, "{}", set.text());
}
