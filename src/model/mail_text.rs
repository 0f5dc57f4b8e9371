//! The texts of natter's mails in every language: one table, with placeholders in braces.
//!
//! Invariant: each mail has a text in each language, and each text uses every value of its mail.

use super::mail::{Content, DueMail, FactorNews};
use crate::base::crypto::HmacKey;
use crate::base::time::rfc3339;
use crate::proto::http::language::Language;

/// Subject and body.
struct Text(&'static str, &'static str);

/// The row of a mail and a language. `{site}` is PUBLIC_URL.
fn text(content: &Content, language: Language) -> Text {
    match (content, language) {
        (Content::VerifyCode(_), Language::En) => Text(
            "Your verification code",
            "Hello,\n\nyour verification code for {site} is:\n\n{code}\n\n\
             It is valid for five minutes. If you did not ask for it, you need not do anything.\n",
        ),
        (Content::VerifyCode(_), Language::Ar) => Text(
            "رمز التأكيد الخاص بك",
            "مرحبًا،\n\nرمز التأكيد الخاص بك في {site} هو:\n\n{code}\n\n\
             الرمز صالح لخمس دقائق. إذا لم تطلبه فلا حاجة إلى فعل أي شيء.\n",
        ),
        (Content::ResetCode(_), Language::En) => Text(
            "Your code for a new password",
            "Hello,\n\nyour code to set a new password at {site} is:\n\n{code}\n\n\
             It is valid for five minutes. Do not give it to anyone. If you did not ask for it, \
             your password is unchanged and you need not do anything.\n",
        ),
        (Content::ResetCode(_), Language::Ar) => Text(
            "رمز تعيين كلمة مرور جديدة",
            "مرحبًا،\n\nرمز تعيين كلمة مرور جديدة في {site} هو:\n\n{code}\n\n\
             الرمز صالح لخمس دقائق. لا تعطه لأحد. إذا لم تطلبه فكلمة مرورك لم تتغير ولا حاجة إلى فعل أي شيء.\n",
        ),
        (Content::NewDevice(_), Language::En) => Text(
            "New sign-in to your account",
            "Hello,\n\nsomeone signed in to your account at {site} from a new device.\n\n\
             Time: {time}\nAddress: {address}\nPlace: {place}\nDevice: {user_agent}\n\n\
             If it was you, you need not do anything. If not, set a new password now: that signs out every other device.\n",
        ),
        (Content::NewDevice(_), Language::Ar) => Text(
            "تسجيل دخول جديد إلى حسابك",
            "مرحبًا،\n\nسجّل شخص ما الدخول إلى حسابك في {site} من جهاز جديد.\n\n\
             الوقت: {time}\nالعنوان: {address}\nالمكان: {place}\nالجهاز: {user_agent}\n\n\
             إذا كنت أنت فلا حاجة إلى فعل أي شيء. وإلا فعيّن كلمة مرور جديدة الآن: هذا يُخرج كل الأجهزة الأخرى.\n",
        ),
        (Content::PasswordChanged, Language::En) => Text(
            "Your password was changed",
            "Hello,\n\nthe password of your account at {site} was changed.\n\nTime: {time}\n\n\
             If it was not you, ask for a new password now, and check who else can read your mailbox.\n",
        ),
        (Content::PasswordChanged, Language::Ar) => Text(
            "تم تغيير كلمة مرورك",
            "مرحبًا،\n\nتم تغيير كلمة مرور حسابك في {site}.\n\nالوقت: {time}\n\n\
             إذا لم تكن أنت من غيّرها فاطلب كلمة مرور جديدة فورًا وتحقّق ممن يستطيع قراءة بريدك الإلكتروني.\n",
        ),
        (Content::NickNameChanged(_), Language::En) => Text(
            "Your nick name was changed",
            "Hello,\n\nthe server at {site} now needs your nick name for itself. Your new nick name is:\n\n{nick_name}\n\n\
             Nothing else has changed. You can choose another one in your settings.\n",
        ),
        (Content::NickNameChanged(_), Language::Ar) => Text(
            "تم تغيير اسمك المستعار",
            "مرحبًا،\n\nأصبح الخادم {site} يحتاج إلى اسمك المستعار لنفسه. اسمك المستعار الجديد هو:\n\n{nick_name}\n\n\
             لم يتغير أي شيء آخر. يمكنك اختيار اسم آخر من الإعدادات.\n",
        ),
        (Content::Digest(_), Language::En) => Text(
            "Unread messages",
            "Hello,\n\nyou have not read everything at {site}.\n\nUnread messages: {total}\n\n{conversations}\n\
             You get such a mail at most once a day, if you were away. To turn it off, open {site} and go to Settings, Notifications.\n",
        ),
        (Content::Digest(_), Language::Ar) => Text(
            "رسائل غير مقروءة",
            "مرحبًا،\n\nلديك رسائل لم تقرأها في {site}.\n\nالرسائل غير المقروءة: {total}\n\n{conversations}\n\
             تصلك رسالة كهذه مرة واحدة في اليوم على الأكثر أثناء غيابك. لإيقافها افتح {site} ثم الإعدادات، الإشعارات.\n",
        ),
        (Content::SecondFactor(news), language) => factor_text(*news, language),
    }
}

fn factor_text(news: FactorNews, language: Language) -> Text {
    match (news, language) {
        (FactorNews::On, Language::En) => Text(
            "Two-step sign-in was turned on",
            "Hello,\n\na sign-in to your account at {site} now needs a code of your authenticator app, too.\n\nTime: {time}\n\n\
             If it was not you, ask for a new password now, and then the operator of the server to turn it off.\n",
        ),
        (FactorNews::On, Language::Ar) => Text(
            "تم تفعيل تسجيل الدخول بخطوتين",
            "مرحبًا،\n\nأصبح تسجيل الدخول إلى حسابك في {site} يتطلب أيضًا رمزًا من تطبيق المصادقة.\n\nالوقت: {time}\n\n\
             إذا لم تكن أنت من فعل ذلك فاطلب كلمة مرور جديدة فورًا، ثم اطلب من مشغّل الخادم إيقافه.\n",
        ),
        (FactorNews::Off, Language::En) => Text(
            "Two-step sign-in was turned off",
            "Hello,\n\na sign-in to your account at {site} now needs the password alone.\n\nTime: {time}\n\n\
             If it was not you, set a new password now, end all other sessions, and turn it on again.\n",
        ),
        (FactorNews::Off, Language::Ar) => Text(
            "تم إيقاف تسجيل الدخول بخطوتين",
            "مرحبًا،\n\nأصبح تسجيل الدخول إلى حسابك في {site} يتطلب كلمة المرور وحدها.\n\nالوقت: {time}\n\n\
             إذا لم تكن أنت من فعل ذلك فعيّن كلمة مرور جديدة الآن، وأنهِ بقية الجلسات، وفعّله من جديد.\n",
        ),
        (FactorNews::Renewed, Language::En) => Text(
            "You have new recovery codes",
            "Hello,\n\nyour account at {site} has new recovery codes. The old ones can't be used any more.\n\nTime: {time}\n\n\
             If it was not you, set a new password now, end all other sessions, and make new codes.\n",
        ),
        (FactorNews::Renewed, Language::Ar) => Text(
            "لديك رموز استرداد جديدة",
            "مرحبًا،\n\nأصبحت لحسابك في {site} رموز استرداد جديدة. لم يعد بالإمكان استخدام القديمة.\n\nالوقت: {time}\n\n\
             إذا لم تكن أنت من فعل ذلك فعيّن كلمة مرور جديدة الآن، وأنهِ بقية الجلسات، وأنشئ رموزًا جديدة.\n",
        ),
        (FactorNews::CodeUsed, Language::En) => Text(
            "A recovery code was used",
            "Hello,\n\nsomeone signed in to your account at {site} with one of your recovery codes. It can't be used again.\n\n\
             Time: {time}\n\n\
             If it was not you, set a new password now, end all other sessions, and make new codes.\n",
        ),
        (FactorNews::CodeUsed, Language::Ar) => Text(
            "استُخدم رمز استرداد",
            "مرحبًا،\n\nسجّل شخص ما الدخول إلى حسابك في {site} بأحد رموز الاسترداد. لا يمكن استخدامه مرة أخرى.\n\n\
             الوقت: {time}\n\n\
             إذا لم تكن أنت من فعل ذلك فعيّن كلمة مرور جديدة الآن، وأنهِ بقية الجلسات، وأنشئ رموزًا جديدة.\n",
        ),
    }
}

/// The word for a value that is not known.
fn unknown(language: Language) -> &'static str {
    match language {
        Language::En => "unknown",
        Language::Ar => "غير معروف",
    }
}

/// Subject and body of a mail. `key` opens its code.
pub fn render(mail: &DueMail, key: &HmacKey, site: &str) -> (String, String) {
    let Text(subject, body) = text(&mail.content, mail.language);
    let one_line = |text: Option<&str>| -> String {
        // A device may send any text; it must stay on its line.
        let line: String = text.unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
        if line.trim().is_empty() { unknown(mail.language).to_owned() } else { line }
    };
    // "2026-11-22T13:03:54.120Z" without the milliseconds.
    let stamp = rfc3339(mail.written_at);
    let time = format!("{} {} UTC", &stamp[..10], &stamp[11..19]);
    let (mut code, mut address, mut place, mut user_agent, mut nick_name) = Default::default();
    let (mut total, mut conversations) = (String::new(), String::new());
    match &mail.content {
        Content::VerifyCode(sealed) | Content::ResetCode(sealed) => code = sealed.open(key, mail.id),
        Content::NewDevice(device) => {
            address = one_line(Some(&device.address));
            place = one_line(device.place.as_deref());
            user_agent = one_line(Some(&device.user_agent));
        }
        Content::PasswordChanged | Content::SecondFactor(_) => {}
        Content::NickNameChanged(name) => nick_name = one_line(Some(name)),
        Content::Digest(digest) => {
            total = digest.total.to_string();
            for (title, count) in &digest.conversations {
                conversations.push_str(&format!("{}: {count}\n", one_line(Some(title))));
            }
        }
    }
    let values: [(&str, &str); 9] = [
        ("site", site),
        ("time", &time),
        ("code", &code),
        ("address", &address),
        ("place", &place),
        ("user_agent", &user_agent),
        ("nick_name", &nick_name),
        ("total", &total),
        ("conversations", &conversations),
    ];
    (subject.to_owned(), fill(body, &values))
}

/// Replaces the placeholders in one pass, so that a value never contains one.
fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(text.len() + 256);
    let mut rest = text;
    while let Some((front, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        out.push_str(front);
        out.push_str(values.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;
    use crate::base::time::UnixMs;
    use crate::model::mail::{Digest, NewDevice, SealedCode};

    fn key() -> HmacKey {
        HmacKey::new(b"key")
    }

    fn contents() -> [(Content, &'static [&'static str]); 10] {
        let code = || SealedCode::seal(&key(), Id::from_u128(1), 42);
        let device = NewDevice {
            session: Id::from_u128(2),
            address: "192.0.2.7".to_owned(),
            user_agent: "{code} Mozilla\r\nBcc: x".to_owned(),
            place: Some("Cairo, Egypt".to_owned()),
        };
        [
            (Content::VerifyCode(code()), &["000042"]),
            (Content::ResetCode(code()), &["000042"]),
            (
                Content::NewDevice(Box::new(device)),
                &["2026-11-22 13:03:54 UTC", "192.0.2.7", "Cairo, Egypt", "{code} MozillaBcc: x\n"],
            ),
            (Content::PasswordChanged, &["2026-11-22 13:03:54 UTC"]),
            (Content::NickNameChanged("docs123456".to_owned()), &["docs123456"]),
            (
                Content::Digest(Digest {
                    total: 12,
                    conversations: vec![("{site} tea\nBcc: x".to_owned(), 11), (String::new(), 1)],
                }),
                &[": 12\n", "{site} teaBcc: x: 11\n", ": 1\n"],
            ),
            (Content::SecondFactor(FactorNews::On), &["2026-11-22 13:03:54 UTC"]),
            (Content::SecondFactor(FactorNews::Off), &["2026-11-22 13:03:54 UTC"]),
            (Content::SecondFactor(FactorNews::Renewed), &["2026-11-22 13:03:54 UTC"]),
            (Content::SecondFactor(FactorNews::CodeUsed), &["2026-11-22 13:03:54 UTC"]),
        ]
    }

    fn rendered(content: Content, language: Language) -> (String, String) {
        let mail = DueMail {
            id: Id::from_u128(1),
            to: None,
            language,
            written_at: UnixMs(1_795_352_634_120),
            content,
        };
        render(&mail, &key(), "https://chat.example.org")
    }

    #[test]
    fn every_mail_tells_all_it_has_to_in_every_language() {
        let mut subjects = Vec::new();
        for (content, tells) in contents() {
            for language in [Language::En, Language::Ar] {
                let (subject, body) = rendered(content.clone(), language);
                for part in tells.iter().chain(&["https://chat.example.org"]) {
                    assert!(body.contains(part), "{part} in {body}");
                }
                let arabic = |text: &str| text.chars().any(|c| ('\u{600}'..'\u{700}').contains(&c));
                assert_eq!(
                    (arabic(&subject), arabic(&body)),
                    (language == Language::Ar, language == Language::Ar)
                );
                // Every placeholder of the table is one that is filled.
                let template = text(&content, language).1;
                for name in template.split('{').skip(1).filter_map(|part| part.split('}').next()) {
                    assert!(
                        [
                            "site",
                            "time",
                            "code",
                            "address",
                            "place",
                            "user_agent",
                            "nick_name",
                            "total",
                            "conversations"
                        ]
                        .contains(&name),
                        "{name}"
                    );
                }
                assert!(!subjects.contains(&subject));
                subjects.push(subject);
            }
        }
    }

    #[test]
    fn what_is_not_known_is_said_to_be_unknown() {
        let device = NewDevice {
            session: Id::from_u128(2),
            address: "::1".to_owned(),
            user_agent: String::new(),
            place: None,
        };
        let (_, body) = rendered(Content::NewDevice(Box::new(device.clone())), Language::En);
        assert!(body.contains("Place: unknown\nDevice: unknown\n"), "{body}");
        let (_, body) = rendered(Content::NewDevice(Box::new(device)), Language::Ar);
        assert_eq!(body.matches("غير معروف").count(), 2, "{body}");
    }
}
