//! The help of the command line: what each command does, and each variable.
//!
//! Owns the texts of the commands; those of the variables are from `config`.
//! Invariant: no line has more than 100 columns.

use std::fmt::{self, Write as _};

use crate::config;

/// A page of help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    Natter,
    Command(&'static Command),
}

/// A command in the help.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    pub(super) name: &'static str,
    pub(super) arguments: &'static str,
    pub(super) summary: &'static str,
    pub(super) details: &'static str,
}

pub(super) static COMMANDS: [Command; 16] = [
    Command {
        name: "serve",
        arguments: "",
        summary: "Run the server (the default command)",
        details: "Listens on HOST and PORT and on control.sock in DATA_DIR. SIGTERM and SIGINT end it: it completes\n\
                  open requests for at most 30 s and exits with 0; a second one ends it at once. SIGHUP reads the\n\
                  certificate and LOG_LEVEL again; with a terminal it ends natter too.",
    },
    Command {
        name: "check",
        arguments: "",
        summary: "Check the configuration and the database, then exit",
        details: "Does what a start does before it listens: reads the files that variables name, the keys and the\n\
                  whole database. Prints every fault. Exits with 2 if the configuration or such a file has one,\n\
                  with 1 if DATA_DIR, the database or a key has one, else with 0. Changes nothing.",
    },
    Command {
        name: "status",
        arguments: "[--json]",
        summary: "Show how the server is that runs here",
        details: "Prints its version, whether messages are taken, members, streams, posts a second, how long a post\n\
                  takes, sizes, memory, background errors, the end of the certificate and the last backup: what\n\
                  /metrics and /readyz have, on one screen. It looks for one second. Exits with 0, with 1 if no\n\
                  message is taken, with 3 if no server runs, or with 5 if it does not answer in 5 s or this\n\
                  user may not read DATA_DIR.\n\n\
                  --json  for a program; times are in microseconds",
    },
    Command {
        name: "backup",
        arguments: "FILE | - | --verify FILE",
        summary: "Write all data, including uploads, to FILE, or check such a file",
        details: "Works while the server runs, and without one. FILE is a tar archive: the database, the uploads\n\
                  and the keys in DATA_DIR. Keys and settings from variables are not in it. FILE gets its name\n\
                  when it is complete; only its owner can read it, and an existing file is never replaced. While\n\
                  it is written, DATA_DIR needs space for a copy of the database.\n\n\
                  -         writes the archive to stdout, for a program that takes it elsewhere\n\
                  --verify  reads FILE to its end: its checksum, every page and reference of the database in it\n\
                  \u{20}         and the SHA-256 of each upload. Exits with 1 if it can't be restored. The folder of\n\
                  \u{20}         FILE, or that of temporary files, needs space for a copy of the database\n\n\
                  With BACKUP_EVERY the server makes and verifies backups by itself.",
    },
    Command {
        name: "restore",
        arguments: "FILE [--end-sessions]",
        summary: "Restore a backup into an empty DATA_DIR",
        details: "DATA_DIR and UPLOADS must be empty, and no server may run there. FILE is the output of `natter\n\
                  backup`, or a database without an archive, for example from Litestream: then you must copy keys\n\
                  and uploads yourself. If FILE is incomplete, damaged or contains anything that natter did not\n\
                  make, nothing is changed. Older access tokens are refused, and clients load everything again.\n\
                  Sessions that were revoked, members that were disabled and content that was erased after the\n\
                  backup are back.\n\n\
                  --end-sessions  end all sessions: every member must sign in again",
    },
    Command {
        name: "import",
        arguments: "FILE...",
        summary: "Bring over the data of the predecessor, the server with MongoDB",
        details: "FILE is what mongoexport writes, one document a line, without --jsonArray; or a folder of such\n\
                  files, whose names end with .json, .jsonl or .ndjson. The collections can be in any order, and\n\
                  DATA_DIR must be empty. Members, profiles and messages keep their ids and times, the messages\n\
                  their order and what was read of them. Passwords are not brought over: each person asks for a\n\
                  reset code. If a line is wrong, it is named, and nothing is imported.",
    },
    Command {
        name: "member",
        arguments: "list | add EMAIL [--create] | add --bot NAME |\n\
                    \u{20}                    disable|enable|promote|demote|verify|delete WHO | password WHO |\n\
                    \u{20}                    rename WHO NAME [--nick-name] | sessions WHO | revoke WHO [ID] |\n\
                    \u{20}                    second-factor off WHO",
        summary: "List, add, change, disable or delete members, and end their sessions",
        details: "WHO is an e-mail address, an id or a nick name.\n\n\
                  list     prints id, e-mail and flags, one member per line\n\
                  add      reads the password from the first line of stdin; if there is no server yet,\n\
                  \u{20}        --create makes its DATA_DIR first\n\
                  \u{20}        --bot makes a bot, and prints its id, its nick name and, this once, a token\n\
                  disable  ends all sessions of the member and refuses new ones\n\
                  enable   allows the member to sign in again\n\
                  promote  makes the member an admin of the server, who invites people and moderates\n\
                  demote   takes that back; the links by which this member let people sign up end\n\
                  second-factor off  lets the member sign in with the password alone again\n\
                  verify   takes the e-mail address as verified\n\
                  delete   erases the account; its messages stay without a sender\n\
                  password reads a new password from the first line of stdin, and ends all sessions\n\
                  rename   sets the name that others see; with --nick-name the nick name\n\
                  sessions prints id, last use, address and user agent, one session per line\n\
                  revoke   ends the session with this ID, or all sessions\n\n\
                  --json   prints what the server answers, one object of JSON per line\n\n\
                  Works while the server runs, and without one.",
    },
    Command {
        name: "group",
        arguments: "list | members ID | delete ID [--json]",
        summary: "List groups and their members, or delete a group",
        details: "list     prints id, number of members, number of messages and title, one group per line\n\
                  members  prints id, nick name, role and name, one member per line\n\
                  delete   removes all members, and erases the messages and their files\n\n\
                  --json   prints what the server answers, one object of JSON per line\n\n\
                  Works while the server runs, and without one.",
    },
    Command {
        name: "message",
        arguments: "delete ID",
        summary: "Delete any message",
        details: "Its text and its files are erased, as when its sender deletes it; its place stays. Works while\n\
                  the server runs, and without one.",
    },
    Command {
        name: "audit",
        arguments: "[--json]",
        summary: "Print what admins and the operator did, the newest first",
        details: "Prints time, who, act, whom and details, one act per line. Nobody can change or delete a line.\n\
                  Of a deleted account only the id stays. Works while the server runs, and without one.\n\n\
                  --json   prints one object of JSON per line",
    },
    Command {
        name: "invite",
        arguments: "[--uses N] [--expires TIME] | list | revoke ID",
        summary: "Print a link by which people sign up",
        details: "list     prints id, uses and expiry of the links that can be used, one per line\n\
                  revoke   ends one of them\n\n\
                  --uses N        how many people can sign up by the link: 1 to 1000, else 1\n\
                  --expires TIME  how long it can be used, such as 12h or 30d: 1h to 365d, else 7d\n\n\
                  Only the server's part of the link is stored: it is not printed again. Works while the server\n\
                  runs, and without one. With SIGN_UP=closed it is refused.",
    },
    Command {
        name: "bot",
        arguments: "list | tokens BOT | token BOT NAME | hook BOT CONVERSATION NAME |\n\
                    \u{20}                 revoke BOT ID | url BOT [URL|off]",
        summary: "List bots; make, list and revoke their tokens and hooks",
        details: "BOT is the nick name of a bot or its id; `natter member add --bot NAME` makes one.\n\n\
                  list    prints id, nick name, whether it is active, and name, one bot per line\n\
                  tokens  prints id, last use, conversation of a hook, and name, one token per line\n\
                  token   prints a new token, by which a program acts as the bot\n\
                  hook    prints an address: what is posted there is a message in the conversation, which the\n\
                  \u{20}       bot must be in\n\
                  revoke  ends a token or a hook\n\
                  url     sets the address that gets the events of the bot, and prints the key of their\n\
                  \u{20}       signatures; off removes it; else prints address, position, failures and the last error\n\n\
                  A token is stored as a hash: it is shown once. NAME is for you. Works while the server runs, and\n\
                  without one.",
    },
    Command {
        name: "secret",
        arguments: "reset",
        summary: "Make a new password_secret after the old one was lost",
        details: "All passwords become invalid: members request a reset code by e-mail and set a new password.\n\
                  Existing sessions continue. Codes that were sent before are invalid. The command is refused while\n\
                  a server runs and while the secret exists. If PASSWORD_SECRET is set, that one is used.",
    },
    Command {
        name: "cluster",
        arguments: "init | join FILE | status [--json] | leave [--new-epoch] | rebuild [OPTIONS] |\n\
                    \u{20}                     remove NODE | skip ENTRY [--confirm]",
        summary: "Several natters over one log: begin, join, look, leave, rebuild",
        details: "init     makes the keys and the stream on the NATS servers, on the first node. A database that is\n\
                  \u{20}        in DATA_DIR goes on as the first node's. A stream that exists is never replaced\n\
                  join     begins a node in an empty DATA_DIR with a backup of another node, or of itself\n\
                  status   prints nodes, positions, the log and its servers, what is wrong and what to do; exits\n\
                  \u{20}        with 1 if anything is wrong\n\
                  remove   says that a node is gone for good: an upgrade no longer waits for it\n\
                  leave    ends the cluster: this node goes on as a natter alone. Stop all natters first\n\
                  rebuild  makes a new log from this node's database after the log was lost or is refused\n\
                  skip     goes past an entry at which all nodes have stopped because it can't be applied. It\n\
                  \u{20}        proves that, and says what the entry is; on each node that has stopped there\n\n\
                  --confirm      skips the entry; without it nothing is changed\n\
                  --json         for a program\n\
                  --new-epoch    also where another node may have answered more than this one has: clients load\n\
                  \u{20}              everything again\n\
                  --seen b=1200  node b is at entry 1200, as `natter cluster status` says there. With all other\n\
                  \u{20}              nodes named, none further than this one, clients continue where they were\n\
                  --replace      deletes the log that is there\n\n\
                  All need CLUSTER_NODE, CLUSTER_SERVERS and what they bring with them, as `natter serve` does.",
    },
    Command {
        name: "completions",
        arguments: "bash | zsh | fish",
        summary: "Print the completions of a shell",
        details: "With them the shell completes the commands and options of natter. A package installs them. By\n\
                  hand: `natter completions bash > /usr/share/bash-completion/completions/natter`, for zsh\n\
                  `_natter` in a folder of $fpath, for fish ~/.config/fish/completions/natter.fish.",
    },
    Command {
        name: "manual",
        arguments: "",
        summary: "Print the manual page, as roff",
        details: "A package installs it. To read it without one: `natter manual | man -l -`.",
    },
];

/// Where variables come from.
pub(super) const ENVIRONMENT: &str = "A .env file in the working directory is read first, real variables win; an empty\n\
    value counts as unset. Each secret can also come from a file: NAME_FILE=path.";

/// What the exit status of a command means.
pub(super) const STATUS: [(&str, &str); 7] = [
    ("0", "It is done; the server has ended in order."),
    ("1", "It has failed; the reason is on stderr."),
    ("2", "The command line or the configuration is wrong."),
    ("3", "What was named does not exist."),
    ("4", "A rule refuses it: asked again, it is refused again."),
    ("5", "The server can't be reached, or can't do it now: try again later."),
    ("141", "Nobody reads what is printed, as after `| head`: nothing is said."),
];

/// What can be given to every command: option, value, meaning.
pub(super) const FOR_ALL: [(&str, &str, &str); 3] = [
    ("--data", "DIR", "The server's folder, instead of DATA_DIR; for every command"),
    ("-h, --help", "", "Print this help, or that of a command, as natter help COMMAND does"),
    ("-V, --version", "", "Print the version"),
];

/// The command of this name.
pub(super) fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// A page of help, with a line break at its end.
pub fn help(topic: Topic) -> String {
    match topic {
        Topic::Natter => help_natter(),
        Topic::Command(Command { name, arguments, summary, details }) => {
            let usage = format!("natter {name} {arguments}");
            format!("{summary}.\n\nUsage: {}\n\n{details}\n", usage.trim_end())
        }
    }
}

fn help_natter() -> String {
    let mut out = String::from(
        "natter: a self-hosted real-time chat server.\n\nUsage: natter [COMMAND]\n\nCommands:\n",
    );
    for command in &COMMANDS {
        let usage = match command.name {
            "member" => "member ...",
            "group" => "group ...",
            "message" => "message delete ID",
            "invite" => "invite ...",
            "bot" => "bot ...",
            "secret" => "secret reset",
            "cluster" => "cluster ...",
            name => name,
        };
        line(
            &mut out,
            format_args!("  {:<14} {}", format!("{usage} {}", short(command)).trim_end(), command.summary),
        );
    }
    out.push_str("\nOptions:\n");
    for (option, value, meaning) in FOR_ALL {
        line(&mut out, format_args!("  {:<14} {meaning}", format!("{option} {value}").trim_end()));
    }
    out.push_str("\nExit status:\n");
    for (status, meaning) in STATUS {
        line(&mut out, format_args!("  {status:<3}  {meaning}"));
    }
    line(&mut out, format_args!("\nEnvironment. {ENVIRONMENT}"));
    for (heading, variables) in &config::SECTIONS {
        line(&mut out, format_args!("\n{heading}:"));
        for variable in *variables {
            match variable.default {
                "" => line(&mut out, format_args!("  {}", variable.name)),
                default => line(&mut out, format_args!("  {}={default}", variable.name)),
            }
            wrapped(&mut out, &variable.meaning.replace('`', ""));
            wrapped(&mut out, &format!("Accepts {}.", variable.accepts).replace('`', ""));
        }
    }
    out
}

fn short(command: &Command) -> &'static str {
    if command.arguments.starts_with("FILE") { "FILE" } else { "" }
}

/// Writing to a `String` can't fail.
fn line(out: &mut String, args: fmt::Arguments<'_>) {
    let _ = out.write_fmt(args);
    out.push('\n');
}

/// Writes `text` in lines of at most 100 columns; the first six are blank.
fn wrapped(out: &mut String, text: &str) {
    let mut width = 0;
    for word in text.split(' ') {
        if width > 0 && width + 1 + word.len() <= 100 {
            out.push(' ');
            width += 1;
        } else {
            out.push_str(if width > 0 { "\n      " } else { "      " });
            width = 6;
        }
        out.push_str(word);
        width += word.len();
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_command_and_variable() {
        let text = help(Topic::Natter);
        for command in &COMMANDS {
            assert!(text.contains(&format!("\n  {}", command.name)), "{}", command.name);
            let page = help(Topic::Command(command));
            assert!(page.contains(command.summary) && page.contains("Usage: natter "));
            assert!(page.lines().all(|line| line.len() <= 100) && page.ends_with('\n'));
        }
        for v in config::variables() {
            let expect = match v.default {
                "" => format!("\n  {}\n", v.name),
                default => format!("\n  {}={default}\n", v.name),
            };
            assert!(text.contains(&expect), "{}", v.name);
        }
        assert!(text.lines().all(|line| line.len() <= 100 && line.trim_end() == line));
    }
}
