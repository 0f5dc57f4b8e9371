//! Tests that the README is correct: its table equals the table of variables, its tour runs unchanged, and each script says what it does.

use std::path::Path;
use std::process::{Command, Stdio};

use natter::config;

use super::support::TestDir;
use super::support::process::{Launch, Natter};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

fn readme() -> String {
    std::fs::read_to_string(README).expect("a README")
}

/// The text between two lines with these beginnings, without the two lines.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(begin).unwrap_or_else(|| panic!("no {begin:?}"));
    let (_, rest) = rest.split_once('\n').expect("a line");
    let (inside, _) = rest.split_once(end).unwrap_or_else(|| panic!("no {end:?}"));
    inside
}

#[test]
fn the_table_holds_every_variable() {
    let mut expect = String::new();
    for (heading, variables) in &config::SECTIONS {
        expect.push_str(&format!("\n**{heading}**\n\n| variable | default | meaning |\n|---|---|---|\n"));
        variables.iter().for_each(|variable| expect.push_str(&format!("{}\n", variable.markdown_row())));
    }
    expect.push('\n');
    let text = readme();
    let written = between(&text, "<!-- configuration:", "<!-- /configuration -->");
    if written != expect && std::env::var_os("README_UPDATE").is_some() {
        std::fs::write(README, text.replacen(&format!("{written}<!-- /"), &format!("{expect}<!-- /"), 1))
            .expect("written");
        return;
    }
    assert_eq!(written, expect, "README_UPDATE=1 writes it");
}

/// Runs a script with the address of this server instead of the default; returns its output, if the program exists.
fn run(program: &str, script: &str, dir: &Path, natter: &Natter, env: &[(&str, &str)]) -> Option<String> {
    let flag = if program == "node" { "-e" } else { "-euc" };
    let script = script.replace("127.0.0.1:8080", &natter.address.to_string());
    let mut command = Command::new(program);
    command.args([flag, &script]).current_dir(dir).envs(env.iter().copied()).stdin(Stdio::null());
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

#[test]
fn each_script_says_what_it_does_and_does_nothing_else() {
    let scripts = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts")).expect("a folder");
    let mut asked = 0;
    // A folder holds parts of a script.
    for script in scripts.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()) {
        let text = std::fs::read_to_string(&script).expect("a script is text");
        // The others are parts of one.
        let Some(first) = text.lines().next().filter(|line| line.starts_with("#!")) else { continue };
        let program = if first.ends_with("python3") { "python3" } else { "bash" };
        let Ok(output) = Command::new(program).arg(&script).arg("--help").stdin(Stdio::null()).output()
        else {
            eprintln!("{}: not tested, since there is no {program}", script.display());
            continue;
        };
        assert!(output.status.success(), "{}: {:?}", script.display(), output);
        let help = String::from_utf8(output.stdout).expect("text");
        let beginning = text.lines().find(|line| line.starts_with("# ") || line.starts_with("\"\"\""));
        let beginning = beginning.expect("a comment").trim_start_matches(['#', ' ', '"']);
        assert!(help.starts_with(beginning), "{}: {help}", script.display());
        asked += 1;
    }
    assert!(asked > 10, "only {asked} scripts");
}

#[test]
fn the_tour_runs_unchanged() {
    let old = |program: &str, least: (u32, u32)| {
        // `curl 7.88.1 (…)`, `v22.1.0`
        let output = Command::new(program).arg("--version").output().ok();
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let number = text.trim_start_matches(|c: char| !c.is_ascii_digit());
        let mut parts = number.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < least
    };
    if old("curl", (7, 82)) {
        eprintln!("skipped: the tour needs curl 7.82");
        return;
    }
    let dir = TestDir::new();
    let natter = Launch::bare(dir.path()).start();
    let text = readme();
    let tour = between(&text, "## A two-minute tour", "\n## ");
    let shell = between(tour, "```sh", "```");
    let shown = run("sh", shell, dir.path(), &natter, &[]).expect("a shell");
    for expect in [
        r#""body":"hello, Bob""#,
        r#""duplicate":true"#,
        r#""unread_total":1"#,
        r#""event":"message.posted""#,
        "event: message.posted",
        r#""body":"are you there?""#,
    ] {
        assert!(shown.contains(expect), "{expect} is missing in {shown}");
    }
    assert!(!shown.contains("reset"), "the cursor is good: {shown}");
    if old("node", (22, 0)) {
        eprintln!("skipped: the JavaScript needs node 22");
        return;
    }
    let bob = std::fs::read_to_string(dir.path().join("bob.json")).expect("bob");
    let access = super::support::net::at(&bob, "data.token.access");
    let script = format!(
        "const access = process.env.ACCESS;\n{}\nsetTimeout(() => process.exit(3), 20000).unref();\n\
         socket.addEventListener('message', (m) => m.data.startsWith('{{\"re\":1') && process.exit(0));",
        between(tour, "```js", "```")
    );
    let shown = run("node", &script, dir.path(), &natter, &[("ACCESS", &access)]).expect("node");
    assert!(shown.contains(r#""event":"hello""#) && shown.contains(r#"{"re":1,"ok":["#), "{shown}");
}
