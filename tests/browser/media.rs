//! Pictures, films and sounds: made small, described, shown, played and recorded in a real browser.

use super::chromium::Chromium;
use super::page::{PHONE, Page, all, by, last};
use super::{ONLINE, Stage, open_person, send, views};

/// Chooses a file that a script of the page makes: `blob` is an expression that gives its bytes.
fn choose(c: &mut Chromium, page: &Page, blob: &str, name: &str) {
    let script = format!(
        "(async () => {{ const blob = await ({blob}); const list = new DataTransfer(); \
         list.items.add(new File([blob], '{name}', {{ type: blob.type }})); \
         const field = {}; field.files = list.files; field.dispatchEvent(new Event('change')); return blob.size; }})()",
        by("composer-file")
    );
    page.eval(c, &script);
}

/// A picture of many colours, as an expression.
fn drawn(width: u32, height: u32, mime: &str) -> String {
    format!(
        "(() => {{ const canvas = document.createElement('canvas'); canvas.width = {width}; canvas.height = {height}; \
         const pen = canvas.getContext('2d'); for (let i = 0; i < 400; i++) {{ \
         pen.fillStyle = `hsl(${{i * 47 % 360}} 70% ${{20 + i % 60}}%)`; \
         pen.fillRect(i * 7919 % {width}, i * 104729 % {height}, {width} / 7, {height} / 9); }} \
         return new Promise((done) => canvas.toBlob(done, '{mime}', 0.92)); }})()"
    )
}

/// Bytes that no picture is smaller than: noise without an end of compression.
fn noise(edge: u32) -> String {
    format!(
        "(() => {{ const canvas = document.createElement('canvas'); canvas.width = canvas.height = {edge}; \
         const pen = canvas.getContext('2d'), image = pen.createImageData({edge}, {edge}); let n = 1; \
         for (let i = 0; i < image.data.length; i++) {{ n = (n * 48271) % 2147483647; \
         image.data[i] = i % 4 === 3 ? 255 : n & 255; }} \
         pen.putImageData(image, 0, 0); return new Promise((done) => canvas.toBlob(done, 'image/png')); }})()"
    )
}

/// A film of a second, as an expression.
const FILM: &str = "(async () => { const canvas = document.createElement('canvas'); canvas.width = 320; canvas.height = 240; \
     const pen = canvas.getContext('2d'); let n = 0; const draw = () => { \
     pen.fillStyle = `hsl(${n * 9 % 360} 80% 50%)`; pen.fillRect(0, 0, 320, 240); pen.fillStyle = '#fff'; \
     pen.fillRect(n * 5 % 300, 100, 20, 40); n += 1; }; draw(); const timer = setInterval(draw, 40); \
     const recorder = new MediaRecorder(canvas.captureStream(25), { mimeType: 'video/webm' }), pieces = []; \
     recorder.ondataavailable = ({ data }) => pieces.push(data); recorder.start(100); \
     while (n < 40) await new Promise((done) => setTimeout(done, 50)); \
     const over = new Promise((done) => { recorder.onstop = done; }); recorder.stop(); await over; clearInterval(timer); \
     return new Blob(pieces, { type: 'video/webm' }); })()";

/// Whether an element is a picture that was loaded, as wide as this.
fn is_wide(element: &str, width: &str) -> String {
    format!("(() => {{ const i = {element}; return i?.complete && i.naturalWidth {width}; }})()")
}

/// The fields by which the server knows the member of a page, as an expression.
const KNOWN: &str = "{ Authorization: `Bearer ${JSON.parse(localStorage.getItem('natter.token')).access}`, \
     UniqueId: localStorage.getItem('natter.device') }";

fn sent(count: usize) -> String {
    format!("document.querySelectorAll('[data-testid=message][data-state=sent]').length === {count}")
}

#[test]
fn pictures_are_made_small_and_their_previews_are_shown() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let c = &mut stage.chromium;
    open_person(c, &ann, "Bob");

    // A large photograph with a description.
    choose(c, &ann, &drawn(3_000, 2_000, "image/jpeg"), "photo.jpg");
    ann.click(c, "file-describe");
    ann.fill(c, "field-alt", "Many \u{202e}colours");
    ann.picture(c, "media-describe");
    ann.click(c, "describe-submit");
    ann.wait(c, "described", &format!("{}.textContent.includes('Many colours')", by("composer-files")));
    ann.click(c, "composer-send");
    ann.wait(c, "sent", &sent(1));
    bob.click(c, "conversation");
    let image = by("message-image");
    bob.wait(c, "its preview", &is_wide(&image, "=== 640"));
    assert_eq!(bob.eval(c, &format!("{image}.alt")), "Many colours");
    let small = format!("fetch({image}.src).then((r) => r.blob()).then((b) => b.size <= 40000 && b.type)");
    assert_eq!(bob.eval(c, &small), "image/webp");
    let loaded =
        "performance.getEntriesByType('resource').filter((it) => it.name.includes('/photo.')).length";
    assert_eq!(bob.eval(c, loaded), "0", "the picture itself is not loaded before it is opened");
    bob.click(c, "message-image");
    bob.wait(c, "the picture", &is_wide(&by("lightbox-image"), "=== 2048"));
    assert_eq!(bob.eval(c, "document.querySelector('.lightbox-alt').textContent"), "Many colours");
    bob.picture(c, "media-lightbox");
    bob.click(c, "lightbox-close");

    // The original, as it is asked for.
    choose(c, &ann, &drawn(3_000, 2_000, "image/jpeg"), "photo.jpg");
    ann.click(c, "file-describe");
    ann.click(c, "describe-original");
    ann.click(c, "describe-submit");
    ann.click(c, "composer-send");
    bob.wait(c, "the second", &format!("{}.length === 2", all("message-image")));
    bob.click_on(c, &last("message-image"));
    bob.wait(c, "all its pixels", &is_wide(&by("lightbox-image"), "=== 3000"));
    bob.click(c, "lightbox-close");

    // A picture without a preview, from another client: small ones are shown, large ones only when they are asked for.
    let post = |edge: u32| {
        format!(
            "(async () => {{ const known = {KNOWN}, body = await ({}); \
             const answer = await fetch('/api/v1/uploads', {{ method: 'POST', body, headers: {{ ...known, 'X-Filename': 'n.png' }} }}); \
             const {{ data }} = await answer.json(); \
             const conversation = document.querySelector('[data-testid=chat]').dataset.conversation; \
             const posted = await fetch('/api/v1/messages', {{ method: 'POST', \
             headers: {{ ...known, 'Content-Type': 'application/json' }}, \
             body: JSON.stringify({{ conversation, client_id: data.id, attachments: [data.id] }}) }}); \
             return posted.status + (data.preview ?? ''); }})()",
            noise(edge)
        )
    };
    assert_eq!(ann.eval(c, &post(60)), "201");
    bob.wait(c, "a small one", &format!("{}.length === 3", all("message-image")));
    bob.wait(c, "loaded", &is_wide(&last("message-image"), "=== 60"));
    assert_eq!(ann.eval(c, &post(600)), "201");
    bob.wait(c, "a large one", &by("message-large"));
    bob.settle(c);
    let loaded = "performance.getEntriesByType('resource').filter((it) => it.name.includes('/n.png')).length";
    assert_eq!(bob.eval(c, loaded), "1", "only the small one");
    views::check(c, &bob, "media-pictures");
    bob.click(c, "message-large");
    bob.wait(c, "shown", &is_wide(&by("lightbox-image"), "=== 600"));
    bob.click(c, "lightbox-close");

    // All of them at once, and from one of them to its message.
    for (name, size, scheme) in [("phone", PHONE, "dark"), ("desktop", super::DESKTOP, "light")] {
        bob.size(c, size);
        bob.scheme(c, scheme);
        bob.click(c, "chat-info");
        bob.click(c, "info-files");
        bob.wait(c, "all four", &format!("{}.length === 4", all("gallery-tile")));
        bob.settle(c);
        bob.picture(c, &format!("media-gallery-{name}"));
        if size == PHONE {
            bob.click(c, "gallery-dialog-close");
            bob.click(c, "info-dialog-close");
        }
    }
    bob.click(c, "gallery-file");
    bob.wait(c, "none", &format!("{}.hidden === false", by("gallery-none")));
    bob.click(c, "gallery-media");
    bob.wait(c, "again", &format!("{}.length === 4", all("gallery-tile")));
    bob.click_on(c, &last("gallery-tile"));
    bob.click(c, "lightbox-jump");
    bob.wait(
        c,
        "its message",
        "(() => { const at = document.querySelector('[data-testid=message][data-n=\"1\"]').getBoundingClientRect(); \
         return !document.querySelector('dialog') && at.top > 0 && at.bottom < innerHeight; })()",
    );
    for page in [&ann, &bob] {
        page.has_no_faults(c);
    }
}

#[test]
fn a_film_has_a_poster_and_plays_in_place() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let c = &mut stage.chromium;
    open_person(c, &ann, "Bob");
    choose(c, &ann, FILM, "film.webm");
    send(c, &ann, "look");
    ann.wait(c, "sent", &sent(1));
    bob.click(c, "conversation");
    bob.wait(c, "its poster", &is_wide(&format!("{}?.querySelector('img')", by("message-film")), "=== 320"));
    let loaded = "performance.getEntriesByType('resource').filter((it) => it.name.includes('/film.')).length";
    assert_eq!(bob.eval(c, loaded), "0", "the film itself is not loaded before it is played");
    bob.picture(c, "media-film");
    bob.click(c, "message-film");
    let film = by("message-film-playing");
    bob.wait(c, "it plays", &format!("{film}?.currentTime > 0"));
    // What happens meanwhile does not stop it.
    bob.eval(c, &format!("(window.film = {film}, film.loop = true, 1)"));
    ann.hover(c, &by("message"));
    ann.click(c, "message-react");
    ann.click(c, "emoji");
    bob.wait(c, "drawn again", &by("reaction"));
    assert_eq!(
        bob.eval(
            c,
            &format!("{film} === window.film && !film.paused && film.parentElement.matches('.picture')")
        ),
        "true"
    );
    for page in [&ann, &bob] {
        page.has_no_faults(c);
    }
}

#[test]
fn an_upload_that_is_cancelled_leaves_nothing() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let c = &mut stage.chromium;
    open_person(c, &ann, "Bob");
    send(c, &ann, "first");
    ann.wait(c, "sent", &sent(1));
    let slow = r#"{"offline":false,"latency":0,"downloadThroughput":-1,"uploadThroughput":20000}"#;
    ann.must(c, "Network.emulateNetworkConditions", slow);
    choose(c, &ann, "new Blob(['text '.repeat(4000000)], { type: 'text/plain' })", "long.txt");
    ann.click(c, "composer-send");
    ann.wait(c, "under way", &format!("{}?.value > 0", by("upload-progress")));
    ann.picture(c, "media-progress");
    ann.click(c, "upload-cancel");
    ann.wait(c, "gone", &format!("{}.length === 1", all("message")));
    ann.offline(c, false);
    send(c, &ann, "second");
    ann.wait(c, "sent", &sent(2));
    bob.click(c, "conversation");
    bob.wait(c, "both, and no third", &sent(2));
    let exported = format!(
        "fetch('/api/v1/user/export', {{ headers: {KNOWN} }}).then((r) => r.text()) \
         .then((text) => ['\"kind\":\"message\"', '\"kind\":\"upload\"'].map((kind) => text.includes(kind)).join(' '))"
    );
    assert_eq!(ann.eval(c, &exported), "true false", "no file of it is kept");
    for page in [&ann, &bob] {
        page.has_no_faults(c);
    }
}

#[test]
fn a_voice_message_is_recorded_and_played() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let c = &mut stage.chromium;
    open_person(c, &ann, "Bob");
    send(c, &ann, "Listen:");
    ann.wait(c, "sent", &sent(1));
    let module = "performance.getEntriesByType('resource').some((it) => it.name.endsWith('/recorder.js'))";
    assert_eq!(ann.eval(c, module), "false", "the recorder is loaded when it is first used");

    // One that is discarded.
    ann.click(c, "composer-voice");
    ann.wait(c, "it records", &by("voice-time"));
    ann.click(c, "voice-cancel");
    ann.wait(c, "discarded", &format!("!{} && {}", by("voice"), by("composer-voice")));

    // One that is sent.
    ann.click(c, "composer-voice");
    ann.wait(c, "a second", &format!("/0:0[1-9]/.test({}?.textContent)", by("voice-time")));
    ann.picture(c, "media-voice-recording");
    ann.click(c, "voice-send");
    ann.wait(c, "sent", &sent(2));
    ann.wait(c, "and the composer again", &by("composer-voice"));
    bob.wait(
        c,
        "its word in the list",
        &format!("{}?.textContent.includes('Voice message')", by("conversation-preview")),
    );
    bob.click(c, "conversation");
    bob.wait(c, "the message", &by("message-sound"));
    bob.wait(c, "its length", &format!("/0:0[1-9]/.test({}.textContent)", by("sound-time")));
    let audio = format!("{}.querySelector('audio')", by("message-sound"));
    assert_eq!(
        bob.eval(c, &format!("{audio}.readyState")),
        "0",
        "nothing of it is loaded before it is played"
    );
    views::check(c, &bob, "media-voice");
    bob.click(c, "sound-play");
    bob.wait(c, "it plays", &format!("{audio}.currentTime > 0"));
    bob.must(c, "Page.reload", "{}");
    bob.wait(c, "again", ONLINE);
    bob.wait(c, "still there", &by("message-sound"));
    for page in [&ann, &bob] {
        page.has_no_faults(c);
    }
}
