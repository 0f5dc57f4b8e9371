//! Accounts: created once, found again, and refused.

use natter::base::id::Id;
use natter::base::secret::Secret;
use natter::model::member::{FindAccount, FindCredential};
use natter::model::operation::Refusal;

use crate::store_kit::Kit;

#[test]
fn an_account_is_made_once_and_found_again() {
    let mut kit = Kit::new("accounts");
    let command = kit.sign_up_command("ann");
    let (opened, events) = kit.write(command.clone());
    let opened = opened.expect("a sign-up");
    assert!(events.is_empty());
    assert_eq!(
        (opened.account.member.id, opened.account.profile.id),
        (command.account.member, command.account.profile)
    );
    assert_eq!(opened.account.profile.member, Some(command.account.member));
    assert_eq!((opened.account.profile.is_private, opened.account.profile.presence), (false, Some(true)));
    assert_eq!((opened.account.member.verified, opened.account.member.active), (false, true));
    assert_eq!(
        (opened.pair.session, opened.pair.access_uuid),
        (command.session.id, command.session.access_uuid)
    );

    let find = |email: &str| FindCredential { email: email.to_owned(), device: None };
    let found = kit.read(find("ann@example.org")).expect("a look-up").expect("an account");
    assert_eq!(
        (found.member, found.profile, found.active),
        (command.account.member, command.account.profile, true)
    );
    assert_eq!(found.hash, command.account.hash);
    assert!(kit.read(find("bob@example.org")).expect("a look-up").is_none());

    let account = kit.read(FindAccount { member: command.account.member }).expect("an account");
    assert_eq!(
        (account.member.email.as_str(), account.profile.nick_name.as_str()),
        ("ann@example.org", "ann")
    );
    assert_eq!(kit.read(FindAccount { member: Id::from_u128(1) }).err(), Some(Refusal::NotFound));
}

#[test]
fn an_address_and_a_nick_name_have_one_owner() {
    let mut kit = Kit::new("taken");
    kit.person("ann");
    // The address, the nick names, and the result: a refusal or the nick name that was given.
    let rows: &[(&str, &[&str], Result<&str, Refusal>)] = &[
        ("ann@example.org", &["free"], Err(Refusal::EmailTaken)),
        ("a2@example.org", &["ann"], Err(Refusal::NicknameTaken)),
        ("a2@example.org", &["ANN"], Err(Refusal::NicknameTaken)),
        ("a2@example.org", &[], Err(Refusal::NicknameTaken)),
        ("a2@example.org", &["ann", "Ann", "ann.2", "ann.3"], Ok("ann.2")),
    ];
    for (email, nick_names, expect) in rows {
        let mut command = kit.sign_up_command("x");
        command.account.email = Secret::new((*email).to_owned());
        command.account.nick_names = nick_names.iter().map(|name| (*name).to_owned()).collect();
        let member = command.account.member;
        let answer = kit.write(command).0.map(|opened| opened.account.profile.nick_name);
        assert_eq!(answer, expect.map(str::to_owned), "{email} {nick_names:?}");
        if expect.is_err() {
            assert_eq!(kit.read(FindAccount { member }).err(), Some(Refusal::NotFound), "nothing is left");
        }
    }
}

#[test]
fn a_session_opens_only_for_active_members() {
    let mut kit = Kit::new("open");
    let (ann, bob) = (kit.person("ann"), kit.person("bob"));
    kit.close();
    kit.sql("UPDATE members SET active = 0 WHERE email = 'bob@example.org'");
    kit.reopen();
    let refused = Err(Refusal::Unauthorized);
    for (name, member, expect) in [
        ("ann", ann.member, Ok(())),
        ("bob", bob.member, refused),
        ("nobody", Id::from_u128(9), refused),
        // Ann's password was compared with a hash that was replaced meanwhile.
        ("ann", ann.member, refused),
    ] {
        let mut command = kit.sign_in_command(name, member, "phone");
        command.rehash = Some(Secret::new("$argon2id$new".to_owned()));
        let id = command.session.id;
        let answer = kit.write(command).0;
        assert_eq!(answer.as_ref().map(|opened| assert_eq!(opened.pair.session, id)).map_err(|r| *r), expect);
        assert_eq!(answer.ok().and_then(|opened| opened.pair.device).is_some(), expect.is_ok());
    }
    let hash = |kit: &mut Kit, email: &str| {
        let find = FindCredential { email: email.to_owned(), device: None };
        kit.read(find).expect("a look-up").expect("an account").hash.expose().clone()
    };
    assert_eq!(hash(&mut kit, "ann@example.org"), "$argon2id$new");
    assert_eq!(hash(&mut kit, "bob@example.org"), "$argon2id$bob", "a refused sign-in changes nothing");
}
