//! The error contract: one closed table of stable codes ([`protocol`](crate::protocol), "Errors"; RFC 9457).
//!
//! Invariant: every code has a status and a title in every language; no problem holds SQL, a path or a secret.

#![warn(missing_docs)]

use serde::Serialize;

use super::operation::Refusal;
use crate::proto::http::language::Language;

/// A refusal on its way to the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What went wrong.
    pub code: Code,
    /// The member of the request that is wrong.
    pub field: Option<&'static str>,
    /// After how many milliseconds a retry may succeed.
    pub retry_after_ms: Option<u64>,
    /// What few problems have. In a box, since each step of a handler returns a value with room for a problem.
    beside: Option<Box<Beside>>,
}

/// The rare parts of a problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Beside {
    /// The cursor from which a client continues after `cursor_reset`.
    cursor: Option<String>,
    /// A response field that belongs to this code: `Content-Range` of a 416.
    header: Option<(&'static str, String)>,
}

macro_rules! codes {
    ($($variant:ident $status:literal $text:literal $retry:literal $en:literal $ar:literal;)*) => {
        /// A stable code. `Invalid` reads `invalid_<field>`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(
                #[doc = concat!(stringify!($status), " `", $text, "`: ", $en)]
                $variant
            ),*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Code::$variant => $status),* }
            }

            /// The stable text on the wire.
            pub fn text(self) -> &'static str {
                match self { $(Code::$variant => $text),* }
            }

            /// Whether the same request may succeed later.
            pub fn retry(self) -> bool {
                match self { $(Code::$variant => $retry),* }
            }

            /// One sentence for people.
            pub fn title(self, language: Language) -> &'static str {
                match (self, language) {
                    $((Code::$variant, Language::En) => $en, (Code::$variant, Language::Ar) => $ar),*
                }
            }
        }
    };
}

codes! {
    BadRequest 400 "bad_request" false "The request could not be understood." "تعذّر فهم الطلب.";
    ErrorParsingData 400 "error_parsing_data" false "The data sent could not be read." "تعذّرت قراءة البيانات المرسلة.";
    CodeWrong 400 "code_wrong" false "The code is wrong or has expired." "الرمز خاطئ أو انتهت صلاحيته.";
    PasswordMismatch 400 "password_mismatch" false "The two passwords are not the same." "كلمتا المرور غير متطابقتين.";
    HttpsRequired 400 "https_required" false "This port speaks HTTPS: the address must begin with https://." "هذا المنفذ يستخدم HTTPS: يجب أن يبدأ العنوان بـ https://.";
    UnauthorizedAccess 401 "unauthorized_access" false "Please sign in." "يرجى تسجيل الدخول.";
    EmailPasswordWrong 401 "email_password_wrong" false "The e-mail address or the password is wrong." "البريد الإلكتروني أو كلمة المرور غير صحيحة.";
    SecondFactorRequired 401 "second_factor_required" false "Please give the code of your authenticator app, too." "يرجى إدخال رمز تطبيق المصادقة أيضًا.";
    NotAllowed 403 "not_allowed" false "You may not do this." "لا يُسمح لك بهذا.";
    NotVerified 403 "not_verified" false "Please verify your e-mail address first." "يرجى تأكيد بريدك الإلكتروني أولًا.";
    OriginNotAllowed 403 "origin_not_allowed" false "This web site may not use this server." "لا يُسمح لهذا الموقع باستخدام هذا الخادم.";
    SignUpClosed 403 "sign_up_closed" false "This server does not take new members." "هذا الخادم لا يقبل أعضاء جددًا.";
    NotFound 404 "not_found" false "This does not exist, or you may not see it." "هذا غير موجود، أو لا يُسمح لك برؤيته.";
    MethodNotAllowed 405 "method_not_allowed" false "This address does not take this method." "هذا العنوان لا يقبل هذه الطريقة.";
    RequestTimeout 408 "request_timeout" false "The request took too long to arrive." "استغرق وصول الطلب وقتًا طويلًا.";
    EmailTaken 409 "email_taken" false "This e-mail address is already in use." "هذا البريد الإلكتروني مستخدم بالفعل.";
    NicknameTaken 409 "nickname_taken" false "This nick name is already in use." "هذا الاسم المستعار مستخدم بالفعل.";
    InUse 409 "in_use" false "This is still in use." "هذا لا يزال قيد الاستخدام.";
    BackupRunning 409 "backup_running" false "A backup is being made already." "يجري إعداد نسخة احتياطية بالفعل.";
    CursorReset 410 "cursor_reset" false "The log no longer reaches back this far." "لم يعد السجل يمتد إلى هذا الحد.";
    LengthRequired 411 "length_required" false "The length of the body is missing." "طول المحتوى مفقود.";
    PreconditionFailed 412 "precondition_failed" false "The condition of the request does not hold." "شرط الطلب غير متحقق.";
    TooLarge 413 "too_large" false "This is too large." "هذا أكبر من المسموح.";
    QuotaExceeded 413 "quota_exceeded" false "Your account has reached its limit for this." "بلغ حسابك الحد الأقصى لهذا.";
    TargetTooLong 414 "target_too_long" false "The address is too long." "العنوان طويل جدًا.";
    NotSupportedType 415 "not_supported_type" false "This type of content is not supported." "هذا النوع من المحتوى غير مدعوم.";
    RangeNotSatisfiable 416 "range_not_satisfiable" false "The range lies outside of the file." "النطاق خارج حدود الملف.";
    ExpectationFailed 417 "expectation_failed" false "The expectation cannot be met." "لا يمكن تلبية التوقّع.";
    Invalid 422 "invalid" false "This value is not valid." "هذه القيمة غير صالحة.";
    UpgradeRequired 426 "upgrade_required" false "This address takes WebSocket connections only." "هذا العنوان يقبل اتصالات WebSocket فقط.";
    RateLimited 429 "rate_limited" true "Too many requests. Please wait a moment." "طلبات كثيرة جدًا. يرجى الانتظار قليلًا.";
    HeadTooLarge 431 "head_too_large" false "The head of the request is too large." "ترويسة الطلب كبيرة جدًا.";
    GeneralError 500 "general_error" false "Something went wrong here." "حدث خطأ ما هنا.";
    NotImplemented 501 "not_implemented" false "This method is not known." "هذه الطريقة غير معروفة.";
    Unavailable 503 "unavailable" true "Not available at the moment. Please try again." "غير متاح حاليًا. يرجى المحاولة مرة أخرى.";
    Busy 503 "busy" true "Too busy at the moment. Please try again." "الخادم مشغول حاليًا. يرجى المحاولة مرة أخرى.";
    VersionNotSupported 505 "version_not_supported" false "This version of HTTP is not supported." "إصدار HTTP هذا غير مدعوم.";
    StorageFull 507 "storage_full" true "The server's disk is full." "قرص الخادم ممتلئ.";
    // WebSocket only.
    UnknownOp 400 "unknown_op" false "There is no such operation." "لا توجد عملية كهذه.";
}

/// Titles of `invalid_<field>` that say more than "not valid". A field without a row has the general title.
const FIELD_TITLES: &[(&str, &str, &str)] = &[
    ("email", "Please give a valid e-mail address.", "يرجى إدخال بريد إلكتروني صالح."),
    (
        "password",
        "A password has 8 to 128 characters, is not your name or address, and is not a common one.",
        "كلمة المرور من 8 إلى 128 حرفًا، وليست اسمك أو بريدك، وليست شائعة.",
    ),
    (
        "new_password",
        "A password has 8 to 128 characters, is not your name or address, and is not a common one.",
        "كلمة المرور من 8 إلى 128 حرفًا، وليست اسمك أو بريدك، وليست شائعة.",
    ),
    ("code", "Please give the code of the mail as a text.", "يرجى إدخال الرمز الوارد في الرسالة كنص."),
    ("display_name", "A name has 1 to 64 characters.", "الاسم من 1 إلى 64 حرفًا."),
    (
        "nick_name",
        "A nick name has 3 to 25 of a–z, 0–9, dot and underscore.",
        "الاسم المستعار من 3 إلى 25 من الأحرف a–z والأرقام والنقطة والشرطة السفلية.",
    ),
    (
        "body",
        "A message needs a text within the limit, or an attachment.",
        "الرسالة تحتاج إلى نص ضمن الحد أو إلى مرفق.",
    ),
    (
        "invite",
        "This invite is not valid: it is wrong, used up, expired or revoked.",
        "هذه الدعوة غير صالحة: خاطئة أو مستنفدة أو منتهية أو ملغاة.",
    ),
    ("to", "A message goes to another person.", "الرسالة توجَّه إلى شخص آخر."),
    ("file", "Please send one file that is not empty.", "يرجى إرسال ملف واحد غير فارغ."),
];

impl Problem {
    /// A problem with nothing but its code.
    pub fn new(code: Code) -> Problem {
        Problem { code, field: None, retry_after_ms: None, beside: None }
    }

    /// 422 `invalid_<field>`.
    pub fn invalid(field: &'static str) -> Problem {
        Problem { field: Some(field), ..Problem::new(Code::Invalid) }
    }

    /// 429 with the time after which a request will pass.
    pub fn rate_limited(retry_after_ms: u64) -> Problem {
        Problem { retry_after_ms: Some(retry_after_ms), ..Problem::new(Code::RateLimited) }
    }

    /// 410 with the cursor from which the client continues: its own is older than the log, or of another epoch.
    pub fn reset(cursor: String) -> Problem {
        let beside = Beside { cursor: Some(cursor), header: None };
        Problem { beside: Some(Box::new(beside)), ..Problem::new(Code::CursorReset) }
    }

    /// Adds a response field.
    pub fn with_header(mut self, name: &'static str, value: String) -> Problem {
        self.beside.get_or_insert_default().header = Some((name, value));
        self
    }

    /// The response field that belongs to this problem, if one does.
    pub fn header(&self) -> Option<(&'static str, &str)> {
        let (name, value) = self.beside.as_ref()?.header.as_ref()?;
        Some((name, value))
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.code.status()
    }

    /// Whether the same request may succeed later.
    pub fn retry(&self) -> bool {
        self.code.retry()
    }

    /// The stable code as sent.
    pub fn code_text(&self) -> String {
        match (self.code, self.field) {
            (Code::Invalid, Some("nick_name")) => "invalid_nickname".to_owned(),
            (Code::Invalid, Some(field)) => format!("invalid_{field}"),
            (code, _) => code.text().to_owned(),
        }
    }

    /// One sentence for people.
    pub fn title(&self, language: Language) -> &'static str {
        let row =
            FIELD_TITLES.iter().find(|(field, ..)| self.code == Code::Invalid && self.field == Some(field));
        match (row, language) {
            (Some((_, en, _)), Language::En) => en,
            (Some((_, _, ar)), Language::Ar) => ar,
            (None, language) => self.code.title(language),
        }
    }

    /// The body of an HTTP response, `application/problem+json`.
    pub fn body(&self, language: Language) -> ProblemBody {
        ProblemBody {
            kind: "about:blank",
            status: self.status(),
            code: self.code_text(),
            title: self.title(language),
            field: self.field,
            retry: self.retry(),
            retry_after_ms: self.retry_after_ms,
            cursor: self.beside.as_ref().and_then(|beside| beside.cursor.clone()),
        }
    }

    /// The `error` of an op: without a status.
    pub fn on_stream(&self, language: Language) -> StreamProblem {
        StreamProblem {
            code: self.code_text(),
            title: self.title(language),
            field: self.field,
            retry: self.retry(),
            retry_after_ms: self.retry_after_ms,
        }
    }
}

/// See [`Problem::on_stream`].
#[derive(Serialize)]
pub struct StreamProblem {
    code: String,
    title: &'static str,
    field: Option<&'static str>,
    retry: bool,
    retry_after_ms: Option<u64>,
}

/// See [`Problem::body`].
#[derive(Serialize)]
pub struct ProblemBody {
    #[serde(rename = "type")]
    kind: &'static str,
    status: u16,
    code: String,
    title: &'static str,
    field: Option<&'static str>,
    retry: bool,
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// After how long a request that was refused by load or by a fault may be retried.
const RETRY_AFTER_MS: u64 = 1_000;

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let code = match refusal {
            Refusal::NotFound => Code::NotFound,
            Refusal::NotAllowed => Code::NotAllowed,
            Refusal::Unauthorized => Code::UnauthorizedAccess,
            Refusal::EmailTaken => Code::EmailTaken,
            Refusal::NicknameTaken => Code::NicknameTaken,
            Refusal::InUse => Code::InUse,
            Refusal::CodeWrong => Code::CodeWrong,
            Refusal::Invalid(field) => return Problem::invalid(field),
            Refusal::QuotaExceeded => Code::QuotaExceeded,
            Refusal::Busy => Code::Busy,
            Refusal::Unavailable => Code::Unavailable,
            Refusal::StorageFull => Code::StorageFull,
            Refusal::Internal => Code::GeneralError,
        };
        Problem { retry_after_ms: code.retry().then_some(RETRY_AFTER_MS), ..Problem::new(code) }
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Problem {
        Problem { retry_after_ms: code.retry().then_some(RETRY_AFTER_MS), ..Problem::new(code) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json;

    #[test]
    fn every_code_has_a_title_in_every_language() {
        for &code in Code::ALL {
            assert!((400..600).contains(&code.status()), "{code:?}");
            let (en, ar) = (code.title(Language::En), code.title(Language::Ar));
            assert!(!en.is_empty() && !ar.is_empty() && en != ar, "{code:?}");
            assert!(en.is_ascii() && !ar.is_ascii(), "{code:?}");
        }
        for (field, en, ar) in FIELD_TITLES {
            assert!(!en.is_empty() && !ar.is_ascii(), "{field}");
        }
    }

    #[test]
    fn a_problem_on_the_wire() {
        let text = json::to_string(&Problem::invalid("email").body(Language::En));
        assert_eq!(
            text,
            r#"{"type":"about:blank","status":422,"code":"invalid_email","title":"Please give a valid e-mail address.","field":"email","retry":false,"retry_after_ms":null}"#
        );
        assert_eq!(Problem::invalid("nick_name").code_text(), "invalid_nickname");
    }
}
