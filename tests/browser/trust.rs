//! What another member writes is shown, and never done: names, titles, messages, file names, addresses.

use super::*;

/// Text that would like to be more, and the addresses that may be links in it.
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
fn nothing_that_others_write_runs() {
    let Some(mut stage) = Stage::set() else { return };
    let folder = stage.launch.folder.clone();
    let (ann, eve) = (stage.sign_up("Ann"), stage.sign_up("Eve"));
    let c = &mut stage.chromium;

    let name = "<b onmouseover=window.ran=10>\u{202e}evE";
    eve.click(c, "open-settings");
    eve.fill(c, "profile-display-name", name);
    eve.click(c, "profile-submit");
    eve.wait(c, "renamed", &by("toast"));
    eve.click(c, "settings-close");

    eve.click(c, "new-conversation");
    eve.click(c, "new-group");
    eve.fill(c, "field-title", "\"><img src=x onerror=window.ran=11>");
    eve.fill(c, "people-search", "Ann");
    eve.click_on(c, "document.querySelector('[data-testid=people-results] [data-testid=person]')");
    eve.click(c, "group-submit");
    eve.wait(c, "the group", &by("composer-input"));
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

    // Whoever turns the writing round in their name turns nothing but the name.
    // Who it is, is asked for apart, and may come after the words.
    let shown = json::to_string(&name.replace('\u{202e}', ""));
    ann.wait(c, "the name", &format!("document.querySelector('.sender').textContent === {shown}"));
    // What is behind the file's address is a file, not a page.
    let served = format!(
        "fetch({}.href).then((r) => [r.headers.get('content-type'), r.headers.get('content-disposition').split(';')[0], \
         r.headers.get('content-security-policy').startsWith('sandbox')].join(' '))",
        by("message-file")
    );
    assert_eq!(ann.eval(c, &served), "text/plain; charset=utf-8 attachment true");

    // Everywhere it is shown: list, details, search, a reply's quote, a menu's question.
    ann.click(c, "chat-info");
    ann.wait(c, "the members", "document.querySelectorAll('[data-testid=member]').length === 2");
    ann.settle(c);
    ann.picture(c, "hostile-desktop-light");
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
