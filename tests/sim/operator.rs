//! Writes that no device of a run asks for, or too few of them: those of an operator, of codes that came by mail, of the upkeep.
//!
//! Performed on the database at the end of a run, so that the mirror reaches every row of the contract.

use natter::base::crypto::HmacKey;
use natter::base::id::Id;
use natter::base::secret::Secret;
use natter::base::time::{UnixMs, UnixS};
use natter::model::admin::{
    Act, Administer, EndSessions, MakeResetLink, RemoveFactor, Rename, SetPassword, UseResetLink,
};
use natter::model::bot::{AddBot, CreateBotToken, RevokeBotToken};
use natter::model::certificate::{CertificateRow, KeepCertificate};
use natter::model::code::{IssueResetCode, IssueVerifyCode, NewCode, ResetPassword, VerifyMember};
use natter::model::conversation::CreateConversation;
use natter::model::duty::{HoldDuty, RemoveNode};
use natter::model::event::PruneLog;
use natter::model::hook::{MoveHook, NewHook, SetHook};
use natter::model::invite::{CreateInvite, RevokeInvite};
use natter::model::mail::{Content, FactorNews, Language, NewMail, SealedCode, SetDigest, WriteDigests};
use natter::model::member::{AddMember, EraseMessages, NewAccount, SetActive, SetAdmin};
use natter::model::node::NodeName;
use natter::model::operation::Write;
use natter::model::profile::ReleaseNickNames;
use natter::model::push::{ForgetSubscription, PushLevel, Recipient, Subscribe};
use natter::model::report::{MakeReport, Reported};
use natter::model::retention::{EraseOld, Old};
use natter::model::second_factor::{ChangeFactor, FactorChange, NewFactor, UsedFactor};
use natter::model::session::{ChangePassword, NewSession, OpenSession, RevokeSessions, SessionSelector};

const HOLDER: [u8; 16] = [7; 16];
/// No id of a run is this small.
const FIRST_ID: u128 = 1_000;
const HOUR_MS: u64 = 3_600_000;

fn hold_duty(node: &str) -> Write {
    HoldDuty { node: NodeName::parse(node).expect("a name") }.into()
}

/// In order. Each is performed, none refused.
pub fn writes(at: UnixMs) -> Vec<Write> {
    let member = Id::from_u128(FIRST_ID);
    let session = |number: u128| NewSession {
        id: Id::from_u128(FIRST_ID + number),
        access_uuid: Id::from_u128(FIRST_ID + number),
        refresh_uuid: Id::from_u128(FIRST_ID + number + 100),
        unique_id: None,
        user_agent: "simulation".to_owned(),
        address: "9.0.0.1".to_owned(),
        access_expire: UnixS(at.s().0 + 60),
        refresh_expire: UnixS(at.s().0 + 3_600),
    };
    let mail_of =
        |number: u128, content| NewMail::new(Id::from_u128(FIRST_ID + number), Language::En, content);
    let mail = |number: u128| mail_of(number, Content::PasswordChanged);
    let sealed = SealedCode::seal(&HmacKey::new(b"simulation"), Id::from_u128(FIRST_ID), 123_456);
    let email = || Secret::new("operator@example.org".to_owned());
    let endpoint = || Secret::new("https://push.example.org/1".to_owned());
    let hash = |text: &str| Secret::new(text.to_owned());
    let tag = |byte: u8| Secret::new([byte; 32]);
    let code = |byte: u8, content| NewCode {
        tag: tag(byte),
        holder: HOLDER,
        mail: mail_of(u128::from(byte), content),
    };
    let open = |number: u128, password: &str| OpenSession {
        at,
        member,
        session: session(number),
        hash: hash(password),
        rehash: None,
        mail: mail(10 + number),
        used: None,
        used_mail: None,
    };
    let account = NewAccount {
        at,
        member,
        profile: Id::from_u128(FIRST_ID + 1),
        email: email(),
        hash: hash("first"),
        display_name: "Operator".to_owned().into(),
        nick_names: vec!["operator_of_the_run".to_owned()],
    };
    let bot = NewAccount {
        at,
        member: Id::from_u128(FIRST_ID + 70),
        profile: Id::from_u128(FIRST_ID + 71),
        email: Secret::new("bot of the run".to_owned()),
        hash: hash(""),
        display_name: "Bot".to_owned().into(),
        nick_names: vec!["bot_of_the_run".to_owned()],
    };
    let act = |act| Administer { at, by: None, act }.into();
    let invite = CreateInvite {
        at,
        by: None,
        id: Id::from_u128(FIRST_ID + 50),
        hash: [9; 32],
        conversation: None,
        uses_max: 1,
        expires_at: UnixMs(at.0 + HOUR_MS),
    };
    vec![
        AddMember { account, by: None }.into(),
        SetAdmin { at, member, admin: true }.into(),
        IssueVerifyCode { at, member, code: code(1, Content::VerifyCode(sealed)) }.into(),
        VerifyMember { at, member, holder: HOLDER, tag: tag(1) }.into(),
        open(20, "first").into(),
        open(21, "first").into(),
        ChangePassword {
            at,
            member,
            session: Id::from_u128(FIRST_ID + 20),
            old_hash: hash("first"),
            hash: hash("second"),
            mail: mail(3),
        }
        .into(),
        open(22, "second").into(),
        SetDigest { member, on: true, language: Language::En }.into(),
        WriteDigests { at, mails: vec![(member, Id::from_u128(FIRST_ID + 60))] }.into(),
        Subscribe {
            at,
            member,
            session: Id::from_u128(FIRST_ID + 22),
            endpoint: endpoint(),
            recipient: Recipient { public: [4; 65], auth: [1; 16] },
            level: PushLevel::Who,
        }
        .into(),
        ForgetSubscription { session: Id::from_u128(FIRST_ID + 22), endpoint: endpoint() }.into(),
        RevokeSessions { at, member, which: SessionSelector::AllBut(Id::from_u128(FIRST_ID + 22)) }.into(),
        IssueResetCode { at, email: email(), code: code(2, Content::ResetCode(sealed)) }.into(),
        ResetPassword {
            at,
            email: email(),
            holder: HOLDER,
            tag: tag(2),
            hash: Some(hash("third")),
            mail: mail(4),
        }
        .into(),
        ChangeFactor {
            at,
            member,
            proven: Some(hash("third")),
            used: None,
            change: FactorChange::Add(NewFactor {
                sealed: hash("sealed"),
                step: 7,
                recovery: vec![tag(8), tag(9)],
            }),
            mail: mail_of(7, Content::SecondFactor(FactorNews::On)),
        }
        .into(),
        OpenSession { used: Some(UsedFactor::Step(8)), ..open(24, "third") }.into(),
        OpenSession {
            used: Some(UsedFactor::Recovery(tag(8))),
            used_mail: Some(mail_of(8, Content::SecondFactor(FactorNews::CodeUsed))),
            ..open(25, "third")
        }
        .into(),
        ChangeFactor {
            at,
            member,
            proven: None,
            used: None,
            change: FactorChange::Remove,
            mail: mail_of(9, Content::SecondFactor(FactorNews::Off)),
        }
        .into(),
        EraseOld { at, old: Old::Conversation(Id::from_u128(FIRST_ID + 90)), kept: Some(1) }.into(),
        SetActive { at, by: None, member, active: false }.into(),
        SetActive { at, by: None, member, active: true }.into(),
        invite.into(),
        RevokeInvite { at, by: None, invite: Id::from_u128(FIRST_ID + 50) }.into(),
        AddBot { by: None, account: bot }.into(),
        CreateBotToken {
            at,
            by: None,
            bot: Id::from_u128(FIRST_ID + 71),
            id: Id::from_u128(FIRST_ID + 72),
            hash: [8; 32],
            name: "simulation".to_owned(),
            conversation: None,
        }
        .into(),
        SetHook {
            at,
            by: None,
            bot: Id::from_u128(FIRST_ID + 71),
            epoch: "k3".to_owned(),
            hook: Some(NewHook {
                id: Id::from_u128(FIRST_ID + 73),
                url: Secret::new("https://bot.example.org/".to_owned()),
                secret: Secret::new([7; 32]),
            }),
        }
        .into(),
        MoveHook {
            hook: Id::from_u128(FIRST_ID + 73),
            epoch: "k3".to_owned(),
            through: 1 << 40,
            failures: 2,
            retry_at: UnixMs(at.0 + HOUR_MS),
            error: Some("simulated".to_owned()),
        }
        .into(),
        RevokeBotToken {
            at,
            by: None,
            bot: Id::from_u128(FIRST_ID + 71),
            token: Id::from_u128(FIRST_ID + 72),
        }
        .into(),
        ReleaseNickNames { at, names: vec!["operator_of_the_run".to_owned()], seed: [5; 16] }.into(),
        PruneLog { before: UnixMs(at.0 - HOUR_MS / 60) }.into(),
        hold_duty("a"),
        hold_duty("b"),
        KeepCertificate {
            node: NodeName::parse("a").expect("a name"),
            rows: vec![CertificateRow { name: "state".to_owned(), sealed: "AAAA".to_owned() }],
        }
        .into(),
        RemoveNode { at, node: NodeName::parse("gone").expect("a name") }.into(),
        act(Act::VerifyAddress(member)),
        act(Act::Rename(Rename {
            member,
            display_name: Some("Renamed".to_owned().into()),
            nick_name: Some("renamed_in_the_run".to_owned()),
        })),
        act(Act::SetPassword(SetPassword { member, hash: hash("fourth"), mail: mail(5) })),
        open(23, "fourth").into(),
        act(Act::EndSessions(EndSessions { member, session: None })),
        act(Act::MakeResetLink(MakeResetLink { member, hash: [6; 32], expires_at: UnixMs(at.0 + HOUR_MS) })),
        UseResetLink { at, link: [6; 32], hash: hash("fifth"), mail: mail(6) }.into(),
        MakeReport {
            at,
            reporter: Id::from_u128(FIRST_ID + 1),
            id: Id::from_u128(FIRST_ID + 80),
            what: Reported::Person(Id::from_u128(FIRST_ID + 71)),
            reason: "simulation".to_owned(),
        }
        .into(),
        act(Act::CloseReport(Id::from_u128(FIRST_ID + 80))),
        act(Act::BackUp),
        act(Act::RemoveFactor(RemoveFactor { member, mail: mail(40) })),
        CreateConversation {
            at,
            creator: Id::from_u128(FIRST_ID + 1),
            client_id: None,
            id: Id::from_u128(FIRST_ID + 81),
            title: "Simulation".to_owned(),
            members: vec![Id::from_u128(FIRST_ID + 71)],
            members_max: 10,
        }
        .into(),
        act(Act::DeleteGroup(Id::from_u128(FIRST_ID + 81))),
        EraseMessages { at }.into(),
    ]
}
