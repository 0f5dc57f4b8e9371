//! Content of other members is shown and never executed: names, titles, messages, file names, addresses.

use super::*;

/// Text that tries to be markup or code, and the addresses in it that may become links.
const TEXTS: [(&str, &str); 14] = [
    ("<script>window.ran = 1</script>", ""),
    ("<img src=x onerror='window.ran = 2'>", ""),
    ("<svg/onload=window.ran=3>&lt;b&gt;", ""),
    ("javascript:window.ran=4", ""),
    ("data:text/html,<script>window.ran=5</script>", ""),
    ("[read me](javascript:window.ran=6)", ""),
    ("{{constructor.constructor('window.ran=7')()}}", ""),
    ("see https://a.example/\"onclick=\"window.ran=8", "https://a.example/"),
    ("see https://a.example/'><svg/onload=window.ran=9>", "https://a.example/"),
    ("https://bank.example@evil.example/", ""),
    ("https://a.example/\u{202e}gnp.exe", "https://a.example/"),
    (
        "https://xn--pple-43d.com/ and https://\u{430}pple.com/",
        "https://xn--pple-43d.com/ https://xn--pple-43d.com/",
    ),
    ("(https://a.example/b_(c)), and no more.", "https://a.example/b_(c)"),
    ("HTTP://A.EXAMPLE/x?y=1&z=2#w.", "http://a.example/x?y=1&z=2#w"),
];

#[test]
fn content_of_other_members_never_runs() {
    let Some(mut stage) = Stage::set() else { return };
    let folder = stage.launch.folder.clone();
    let (ann, eve) = (stage.sign_up("Ann"), stage.sign_up("Eve"));
    let c = &mut stage.chromium;

    let name = "<b onmouseover=window.ran=10>evE";
    eve.click(c, "open-settings");
    // The server refuses a name that changes the direction of the text.
    eve.fill(c, "profile-display-name", &format!("\u{202e}{name}"));
    eve.click(c, "profile-submit");
    eve.wait(
        c,
        "the refusal",
        &format!("{}.getAttribute('aria-invalid') === 'true'", by("profile-display-name")),
    );
    eve.fill(c, "profile-display-name", name);
    eve.click(c, "profile-submit");
    eve.wait(c, "renamed", &by("toast"));
    eve.click(c, "settings-close");

    make_group(c, &eve, "\"><img src=x onerror=window.ran=11>", &["Ann"]);
    for (text, _) in TEXTS {
        send(c, &eve, text);
    }
    let file = folder.join("\"><img src=x onerror=window.ran=12>\u{202e}fdp.txt");
    std::fs::write(&file, "<script>window.ran = 13</script>").expect("a file");
    eve.choose(c, "composer-file", &file);
    eve.click(c, "composer-send");

    ann.click(c, "conversation");
    ann.wait(
        c,
        "everything",
        &format!("{} && !document.querySelector('[data-state=sending]')", by("message-file")),
    );
    let said = "JSON.stringify([...document.querySelectorAll('[data-testid=message-body]')].map((body) => \
         [body.textContent, [...body.querySelectorAll('a')].map((a) => a.href).join(' ')]))";
    let expected: Vec<_> = TEXTS.iter().map(|(text, links)| [*text, *links]).collect();
    assert_eq!(ann.eval(c, said), json::to_string(&expected));
    let safe = "[...document.querySelectorAll('main a[target=_blank]')].every((a) => \
         ['http:', 'https:'].includes(a.protocol) && a.rel.includes('noopener'))";
    assert_eq!(ann.eval(c, safe), "true");

    // The profile is fetched separately and may arrive after the texts.
    let shown = json::to_string(&name);
    ann.wait(c, "the name", &format!("document.querySelector('.sender').textContent === {shown}"));
    // The address of the file gives a file, not a page.
    let served = format!(
        "fetch({}.href).then((r) => [r.headers.get('content-type'), r.headers.get('content-disposition').split(';')[0], \
         r.headers.get('content-security-policy').startsWith('sandbox')].join(' '))",
        by("message-file")
    );
    assert_eq!(ann.eval(c, &served), "text/plain; charset=utf-8 attachment true");

    // Everywhere it is shown: list, details, search, the quote of a reply, the question of a menu.
    ann.click(c, "chat-info");
    ann.wait(c, "the members", "document.querySelectorAll('[data-testid=member]').length === 2");
    ann.click(c, "info-leave");
    ann.click(c, "confirm-no");
    ann.click(c, "info-dialog-close");
    ann.hover(c, &message(TEXTS[1].0));
    ann.click(c, "message-reply");
    send(c, &ann, "No.");
    eve.wait(c, "the quote", &format!("{}?.textContent.includes('<img')", by("message-quote")));
    ann.fill(c, "search", "onerror");
    ann.wait(c, "found", &format!("{}?.textContent.includes('<img')", by("found-message")));
    for page in [&ann, &eve] {
        assert_eq!(page.eval(c, "String(window.ran)"), "undefined");
        let made = "document.querySelectorAll('script:not([src]), [onerror], [onclick], [onload], [onmouseover], iframe, object, main b').length";
        assert_eq!(page.eval(c, made), "0");
        page.has_no_faults(c);
    }
}
