//! Sessions: the exchange of refresh tokens, and which ended sessions are remembered.

use natter::base::id::Id;
use natter::base::time::UnixS;
use natter::model::event::{Event, Fact};
use natter::model::id::SessionId;
use natter::model::operation::Refusal;
use natter::model::session::{EndSession, RefreshSession};

use crate::store_kit::{ACCESS_S, Kit, REFRESH_S};

pub fn refresh(kit: &mut Kit, session: SessionId, refresh_uuid: Id) -> RefreshSession {
    let unix_s = kit.now_ms.s();
    RefreshSession {
        at: kit.now_ms,
        session,
        refresh_uuid,
        device: None,
        next_access_uuid: kit.id(),
        next_refresh_uuid: kit.id(),
        access_expire: unix_s.after(ACCESS_S),
        refresh_expire: unix_s.after(REFRESH_S),
    }
}

fn ended(events: &[Event]) -> Option<(SessionId, UnixS)> {
    match events {
        [Event { fact: Fact::SessionEnded(ended), .. }] => Some((ended.session, ended.until)),
        _ => None,
    }
}

#[test]
fn a_refresh_token_rotates_repeats_and_detects_reuse() {
    /// Which token is presented, how long after the last step, and the expected result.
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Expect {
        /// A new token pair.
        Rotates,
        /// The token pair of the last rotation.
        Repeats,
        /// Refused, and the session ends.
        Ends,
        /// Refused; the session stays.
        Refused,
    }
    use Expect::{Ends, Refused, Repeats, Rotates};
    // Tokens are numbered in the order of issue: 0 at sign-in, 1 by the first rotation …
    let rows: &[&[(usize, u64, Expect)]] = &[
        &[(0, 1_000, Rotates), (1, 1_000, Rotates), (2, 1_000, Rotates)],
        &[(0, 1_000, Rotates), (0, 60_000, Repeats), (0, 0, Repeats), (1, 1_000, Rotates)],
        &[(0, 1_000, Rotates), (0, 60_001, Ends), (1, 0, Refused)],
        &[(0, 1_000, Rotates), (1, 1_000, Rotates), (0, 1_000, Ends), (2, 0, Refused)],
        &[(0, 1_000, Rotates), (1, 1_000, Rotates), (1, 1_000, Repeats), (2, 1_000, Rotates), (1, 0, Ends)],
        &[(0, REFRESH_S * 1_000, Refused)],
        &[(0, REFRESH_S * 1_000 - 1_000, Rotates), (1, REFRESH_S * 1_000, Refused)],
        &[(99, 0, Ends), (0, 0, Refused)],
    ];
    for (row, steps) in rows.iter().enumerate() {
        let mut kit = Kit::new(&format!("refresh-{row}"));
        let ann = kit.person("ann");
        let mut given = vec![ann.refresh_uuid];
        let mut newest = None;
        let mut until = kit.now_ms.s().after(ACCESS_S);
        for (step, (token, later, expect)) in steps.iter().enumerate() {
            kit.now_ms.0 += later;
            let presented = given.get(*token).copied().unwrap_or(Id::from_u128(*token as u128));
            let command = refresh(&mut kit, ann.session, presented);
            let (next_refresh, access_expire) = (command.next_refresh_uuid, command.access_expire);
            let (answer, events) = kit.write(command);
            let seen = match (&answer, events.is_empty()) {
                (Ok(refreshed), true) if refreshed.pair.refresh_uuid == next_refresh => Rotates,
                (Ok(refreshed), true) if Some(refreshed.pair) == newest => Repeats,
                (Err(Refusal::Unauthorized), true) => Refused,
                (Err(Refusal::Unauthorized), false) => Ends,
                other => panic!("row {row} step {step}: {other:?}"),
            };
            assert_eq!(seen, *expect, "row {row} step {step}");
            match seen {
                Rotates => {
                    given.push(next_refresh);
                    newest = answer.ok().map(|refreshed| refreshed.pair);
                    until = until.max(access_expire);
                }
                Ends => assert_eq!(ended(&events), Some((ann.session, until)), "row {row}"),
                Repeats | Refused => {}
            }
        }
    }
}

#[test]
fn a_session_bound_to_a_device_is_valid_there_only() {
    let mut kit = Kit::new("device");
    let ann = kit.person("ann");
    let command = kit.sign_in_command("ann", ann.member, "phone");
    let (id, token) = (command.session.id, command.session.refresh_uuid);
    let pair = kit.write(command).0.expect("a session").pair;
    let hash = natter::base::crypto::sha256(b"phone");
    assert_eq!(pair.device, Some(hash));
    for (device, good) in [(None, false), (Some([7; 32]), false), (Some(hash), true)] {
        let mut command = refresh(&mut kit, id, token);
        command.device = device;
        let (answer, events) = kit.write(command);
        assert_eq!(answer.is_ok(), good, "{device:?}");
        assert!(events.is_empty(), "another device does not end the session");
    }
    // A session without a device ignores the device id.
    let mut command = refresh(&mut kit, ann.session, ann.refresh_uuid);
    command.device = Some([7; 32]);
    assert!(kit.write(command).0.is_ok());
}

#[test]
fn an_ended_session_is_remembered_until_its_tokens_expire() {
    let mut kit = Kit::new("ended");
    let (ann, bob) = (kit.person("ann"), kit.person("bob"));
    let until = kit.now_ms.s().after(ACCESS_S);
    let end = |kit: &Kit, session| EndSession { at: kit.now_ms, session };
    let command = end(&kit, ann.session);
    let (answer, events) = kit.write(command.clone());
    assert_eq!((answer, ended(&events)), (Ok(()), Some((ann.session, until))));
    assert_eq!(&*events[0].audience.profiles, &[ann.profile]);
    let (answer, events) = kit.write(command);
    assert!(answer.is_ok() && events.is_empty(), "a second end changes nothing");
    let command = refresh(&mut kit, ann.session, ann.refresh_uuid);
    assert_eq!(kit.write(command).0.err(), Some(Refusal::Unauthorized));

    // A reused token ends the session, although its request was refused.
    let command = refresh(&mut kit, bob.session, Id::from_u128(5));
    assert_eq!(ended(&kit.write(command).1), Some((bob.session, until)));
    kit.crash();
    kit.reopen();
    let mut remembered = kit.start.ended.clone();
    remembered.sort();
    let mut expect = vec![(ann.session, until), (bob.session, until)];
    expect.sort();
    assert_eq!(remembered, expect);
    let command = refresh(&mut kit, bob.session, bob.refresh_uuid);
    assert_eq!(kit.write(command).0.err(), Some(Refusal::Unauthorized));

    kit.close();
    kit.now_ms = until.ms();
    kit.reopen();
    assert_eq!(kit.start.ended, []);
    let cat = kit.person("cat");
    let command = end(&kit, cat.session);
    kit.write(command).0.expect("an end");
    assert_eq!(kit.sql_number("SELECT count(*) FROM ended_sessions"), 1, "expired entries are removed");
}
