//! What the rows of two nodes depend on besides the log: the constants that decide what a write stores.
//!
//! All nodes that apply an entry must decide alike, so these values belong to the level of the entries (`model::entry::LEVEL`): whoever
//! changes one raises the level, and an older natter refuses the newer entries instead of storing something else. The same holds for
//! a change of what an operation does. Values that only an answer or a page depends on are not listed.
//!
//! Not a constant of natter: which characters are letters, spaces or marks, by which a text shows whom it mentions. These tables are
//! those of the standard library; the test below fails when they change.
//! Invariant: the values of a level never change.

use super::{
    audit, codes, deletion, digests, event_log, invites, outbox, posting, reserved, retention, sessions,
};
use crate::base::mention;
use crate::limits;
use crate::model::{bot, duty, message, preferences, report, system_message, write_time};

/// Compiles only while each constant has its value of the current level.
macro_rules! level {
    ($($constant:expr => $value:expr;)*) => {
        $(const _: () = assert!($constant == $value, "a new value here is a new LEVEL of the entries");)*
    };
}

level! {
    posting::ID_MS_MAX => (1 << 48) - 1;
    write_time::AHEAD_MS_MAX => 1_000;
    write_time::BEHIND_MS_MAX => 15_000;
    limits::MENTIONS_MAX => 64;
    mention::NAME_MIN => 3;
    limits::NICK_NAME_MAX => 25;
    limits::REACTIONS_MAX => 20;
    message::PINNED_MAX => 100;
    preferences::PINNED_CONVERSATIONS_MAX => 100;
    system_message::SYSTEM_PROFILES_MAX => 50;
    event_log::PRUNE_ROWS => 1_000;
    deletion::NOTIFIED_PEERS_MAX => 1_000;
    deletion::ERASE_STEP => 100;
    retention::RETAIN_STEP => 100;
    limits::SENDER_SCAN => 1_000;
    sessions::SESSIONS_MAX => 1_000;
    sessions::REFRESH_REPEAT_MS => 60_000;
    codes::CODE_LIFE_MS => 300_000;
    codes::CODE_TRIES_MAX => 5;
    codes::UNKNOWN_ADDRESS_ROWS => 4_096;
    limits::CODE_INTERVAL_MS => 60_000;
    limits::CODES_AN_HOUR => 5;
    invites::OPEN_INVITES_MAX => 100;
    limits::PUSH_SUBSCRIPTIONS_MAX => 20;
    outbox::MAIL_RETRY_FIRST_MS => 15_000;
    outbox::MAIL_RETRY_MAX_MS => 3_600_000;
    outbox::MAIL_GIVE_UP_MS => 86_400_000;
    digests::EVERY_MS => 86_400_000;
    duty::DUTY_MS => 15_000;
    reserved::DIGITS => 6;
    reserved::DRAWS_MAX => 16;
    bot::BOTS_MAX => 1_000;
    bot::BOT_TOKENS_MAX => 20;
    report::REPORT_KEPT_MS => 2_592_000_000;
    report::REPORTS_OF_MEMBER_MAX => 20;
    report::REPORTS_MAX => 10_000;
    report::REPORTS_ERASED_STEP => 100;
    audit::AUDIT_ROWS_MAX => 100_000;
}

#[cfg(test)]
mod tests {
    /// Two nodes whose tables differ may read a mention differently next to a character that only one of them knows.
    #[test]
    fn the_tables_of_characters_are_those_of_the_level() {
        assert_eq!(char::UNICODE_VERSION, (17, 0, 0), "new tables are a new LEVEL of the entries");
        assert_eq!(
            unicode_normalization::UNICODE_VERSION,
            (18, 0, 0),
            "new tables are a new LEVEL of the entries"
        );
    }
}
