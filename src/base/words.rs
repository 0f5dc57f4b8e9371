//! The words of a text for search: the terms of the index, and whether a text matches a query.
//!
//! Owns where a word begins and ends in every script, after `fold`; leaves the storage of the index to `store`.
//! Invariant: if [`Query::matches`] accepts a text, then each term of [`Query::terms`] is the beginning of a term that
//! [`terms`] gives for this text. So an index finds every match, and the text itself decides.

use super::fold::fold;

/// Characters of a word that go into the index. For longer words the text itself decides.
const TERM_CHARS_MAX: usize = 24;
/// Pairs of one run of unspaced writing that the index is asked for. For longer runs the text itself decides.
const PAIRS_ASKED_MAX: usize = 16;

/// What a character is for the division into words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Letters, digits and marks of scripts with spaces between words.
    Spaced,
    /// Letters of scripts without spaces: a word is found inside a run of them.
    Unspaced,
    /// Emoji, currency signs, arrows: each is a word.
    Symbol,
    Nothing,
}

fn class(c: char) -> Class {
    match c {
        '0'..='9' | 'a'..='z' => Class::Spaced,
        '\0'..='\x7f' => Class::Nothing,
        _ if is_unspaced(c) => Class::Unspaced,
        _ if c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c) => Class::Spaced,
        _ if is_symbol(c) => Class::Symbol,
        _ => Class::Nothing,
    }
}

/// Whether it is a letter of a script that writes no spaces between words.
pub fn is_unspaced(c: char) -> bool {
    let script = matches!(c,
        // Thai, Lao, Tibetan, Myanmar; Khmer; Tai scripts; Javanese; Myanmar extensions, Tai Viet.
        '\u{e00}'..='\u{109f}' | '\u{1780}'..='\u{17d3}' | '\u{1950}'..='\u{19df}' | '\u{1a20}'..='\u{1aad}'
        | '\u{a980}'..='\u{a9df}' | '\u{a9e0}'..='\u{a9fe}' | '\u{aa60}'..='\u{aadf}'
        // Hangul, Han, kana, bopomofo.
        | '\u{1100}'..='\u{11ff}' | '\u{2e80}'..='\u{2fdf}' | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3029}'
        | '\u{3031}'..='\u{3035}' | '\u{3041}'..='\u{31bf}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{a4cf}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}'
        | '\u{1b000}'..='\u{1b16f}' | '\u{20000}'..='\u{3ffff}');
    script && (c.is_alphabetic() || unicode_normalization::char::is_combining_mark(c) || c == 'ー')
}

/// Blocks of symbols. Punctuation is not a symbol.
fn is_symbol(c: char) -> bool {
    matches!(c,
        '¢'..='©' | '¬' | '®'..='±' | '×' | '÷'
        | '\u{20a0}'..='\u{20cf}' | '\u{2100}'..='\u{214f}' | '\u{2190}'..='\u{2bff}'
        | '\u{1f000}'..='\u{1faff}')
        && c != '§'
}

/// Signs that belong to an adjacent word: before it (`#tag`, `@ann`, `$5`) or after it (`c++`, `f#`, `100%`).
fn leads(c: char) -> bool {
    matches!(c, '#' | '@' | '$')
}

fn trails(c: char) -> bool {
    matches!(c, '+' | '#' | '%' | '$')
}

/// A piece of a folded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// `text` has the adjacent signs; `text[bare..]` is without the leading one.
    Word {
        text: &'a str,
        bare: usize,
    },
    /// A run of unspaced writing.
    Run(&'a str),
    Symbol(&'a str),
}

/// The tokens of a folded text, in order.
fn tokens(folded: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = folded;
    std::iter::from_fn(move || {
        loop {
            let first = rest.chars().next()?;
            let lead = if leads(first) { first.len_utf8() } else { 0 };
            let kind = rest[lead..].chars().next().map_or(Class::Nothing, class);
            // A leading sign belongs only to a spaced word.
            let (skip, kind) = match (lead, kind) {
                (0, kind) => (0, kind),
                (_, Class::Spaced) => (lead, Class::Spaced),
                _ => (0, Class::Nothing),
            };
            let body = &rest[skip..];
            let len = match kind {
                Class::Symbol => first.len_utf8(),
                Class::Nothing => {
                    rest = &rest[first.len_utf8()..];
                    continue;
                }
                kind => body.find(|c| class(c) != kind).unwrap_or(body.len()),
            };
            let signs = match kind {
                Class::Spaced => body[len..].find(|c| !trails(c)).unwrap_or(body.len() - len),
                _ => 0,
            };
            // In `a#b` and `a@b` the sign belongs to the next word, since a word follows it directly.
            let signs = match body[len + signs..].chars().next().map(class) {
                Some(Class::Spaced) if signs > 0 && body[len..len + signs].ends_with(leads) => signs - 1,
                _ => signs,
            };
            let (text, after) = rest.split_at(skip + len + signs);
            rest = after;
            return Some(match kind {
                Class::Unspaced => Token::Run(text),
                Class::Symbol => Token::Symbol(text),
                Class::Spaced | Class::Nothing => Token::Word { text, bare: skip },
            });
        }
    })
}

/// The first `chars` characters of a text.
fn cut(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(at, _)| &text[..at])
}

/// Each character of a run with the next one, and the last character alone, so that each character begins a term.
fn pairs(run: &str) -> impl Iterator<Item = &str> {
    run.char_indices().map(move |(at, _)| cut(&run[at..], 2))
}

/// Calls `term` with each index term of a text. A term may come more than once.
pub fn terms(text: &str, mut term: impl FnMut(&str)) {
    for token in tokens(&fold(text)) {
        match token {
            Token::Word { text, bare } => {
                term(cut(&text[bare..], TERM_CHARS_MAX));
                if bare > 0 {
                    term(cut(text, TERM_CHARS_MAX));
                }
            }
            Token::Run(run) => pairs(run).for_each(&mut term),
            Token::Symbol(symbol) => term(symbol),
        }
    }
}

/// One word of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    /// The beginning of a word.
    Word(String),
    /// A part of a run.
    Run(String),
    Symbol(String),
}

/// A search query: a text matches if it has all these words, in any order.
#[derive(Clone, Debug)]
pub struct Query {
    asked: Vec<Asked>,
}

impl Query {
    /// Any text is a query. Repeated words count once; words after the first `words_max` are ignored.
    pub fn new(text: &str, words_max: usize) -> Query {
        let folded = fold(text);
        let mut asked: Vec<Asked> = Vec::new();
        for token in tokens(&folded) {
            let word = match token {
                Token::Word { text, .. } => Asked::Word(text.to_owned()),
                Token::Run(run) => Asked::Run(run.to_owned()),
                Token::Symbol(symbol) => Asked::Symbol(symbol.to_owned()),
            };
            if !asked.contains(&word) {
                asked.push(word);
            }
            if asked.len() == words_max {
                break;
            }
        }
        Query { asked }
    }

    /// A query without a word finds nothing.
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// The terms to look up in an index: a matching text has, for each of these, a term that begins with it.
    pub fn terms(&self) -> Vec<&str> {
        let mut terms = Vec::new();
        for asked in &self.asked {
            match asked {
                Asked::Word(word) => terms.push(cut(word, TERM_CHARS_MAX)),
                Asked::Symbol(symbol) => terms.push(symbol),
                Asked::Run(run) => {
                    let count = run.chars().count();
                    // The last character begins no pair of this run. It is looked up only if it is the only character.
                    terms.extend(pairs(run).take(PAIRS_ASKED_MAX.min(count.max(2) - 1)));
                }
            }
        }
        terms.sort_unstable();
        terms.dedup();
        terms
    }

    /// Whether a text has every word of the query.
    pub fn matches(&self, text: &str) -> bool {
        let folded = fold(text);
        // At most as many as the query has words. A word that is found is removed.
        let mut missing: Vec<&Asked> = self.asked.iter().collect();
        for token in tokens(&folded) {
            missing.retain(|asked| !found(asked, token));
            if missing.is_empty() {
                return true;
            }
        }
        false
    }
}

fn found(asked: &Asked, token: Token<'_>) -> bool {
    match (asked, token) {
        (Asked::Word(word), Token::Word { text, bare }) => {
            text.starts_with(&**word) || text[bare..].starts_with(&**word)
        }
        (Asked::Run(run), Token::Run(text)) => text.contains(&**run),
        (Asked::Symbol(symbol), Token::Symbol(text)) => symbol == text,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn indexed(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        terms(text, |term| all.push(term.to_owned()));
        all
    }

    #[test]
    fn a_text_has_these_terms() {
        let rows: [(&str, &[&str]); 12] = [
            ("Hello, World", &["hello", "world"]),
            (
                "\"a\" AND (b* OR -c) NEAR/2 ^d:e 'f",
                &["a", "and", "b", "or", "c", "near", "2", "d", "e", "f"],
            ),
            ("؟ !  ", &[]),
            ("I like C++ and F#.", &["i", "like", "c++", "and", "f#"]),
            ("#tag @ann $5 100%", &["tag", "#tag", "ann", "@ann", "5", "$5", "100%"]),
            ("ann@example.org", &["ann", "example", "@example", "org"]),
            ("a + b", &["a", "b"]),
            ("5€ 🎉🎉", &["5", "€", "🎉", "🎉"]),
            ("今日API改了", &["今日", "日", "api", "改了", "了"]),
            ("北京", &["北京", "京"]),
            ("हिन्दी भाषा", &["हिन्दी", "भाषा"]),
            ("ラーメン、食べ", &["ラー", "ーメ", "メン", "ン", "食べ", "べ"]),
        ];
        for (text, expect) in rows {
            assert_eq!(indexed(text), expect, "{text}");
        }
        let long = "x".repeat(100);
        assert_eq!(indexed(&long), ["x".repeat(TERM_CHARS_MAX)]);
    }

    #[test]
    fn a_query_finds_these_texts() {
        // A text, queries that match it, queries that do not.
        let rows: [(&str, &[&str], &[&str]); 12] = [
            ("Crème brûlée at noon", &["creme", "BRUL noo", "n"], &["rule", "noon absent"]),
            ("我们明天在北京图书馆见面吧", &["北京", "图书馆", "明天 见面", "吧", "我"], &["京北", "天北"]),
            ("昨日の会議の資料を送りました", &["会議", "資料", "送りました"], &["議会"]),
            ("내일회의자료를보냈습니다", &["회의", "자료"], &["료자"]),
            ("พบกันพรุ่งนี้ที่สถานี", &["พรุ่งนี้", "สถานี"], &["นีสถา"]),
            ("ສະບາຍດີຫມູ່", &["ຫມູ່", "ໝູ່"], &["ດີສະ"]),
            ("步2 重跑gen-itgc后50条", &["gen", "itgc", "重跑", "50"], &["跑重"]),
            ("今日API改了", &["API", "今日api", "改"], &["了改"]),
            ("C++ beats C#", &["c++", "c#", "c", "beats"], &["c+++", "c##", "c+#"]),
            ("see #rust, @ann", &["#rust", "rust", "@ann", "#ru"], &["#ann", "@rust"]),
            ("it costs 5€ 🎉", &["€", "🎉", "5€", "5"], &["$", "🙂 5"]),
            ("👍🏽 ❤️", &["👍", "❤"], &["👎"]),
        ];
        for (text, yes, no) in rows {
            for query in yes {
                let query = Query::new(query, 16);
                assert!(!query.is_empty() && query.matches(text), "{query:?} in {text}");
            }
            for query in no {
                let query = Query::new(query, 16);
                assert!(query.is_empty() || !query.matches(text), "{query:?} in {text}");
            }
        }
    }

    #[test]
    fn words_count_once_and_up_to_a_bound() {
        assert_eq!(Query::new("a b A a c", 16).terms(), ["a", "b", "c"]);
        assert_eq!(Query::new("a b c", 2).terms(), ["a", "b"]);
        assert_eq!(Query::new("图", 16).terms(), ["图"]);
        assert_eq!(Query::new("图书馆", 16).terms(), ["书馆", "图书"]);
        assert!(Query::new(" *?¿ ", 16).is_empty());
    }

    proptest! {
        #[test]
        fn each_matching_text_is_in_the_index(
            words in prop::collection::vec("[a-cÅéß#@$+%. 北京明ก็ü€🎉👍\u{301}\u{200d}أىة٣-]{1,9}", 1..5),
            at in any::<(usize, usize)>(),
        ) {
            let text = words.join(" ");
            let chars: Vec<char> = text.chars().collect();
            let (from, to) = (at.0 % chars.len(), at.1 % chars.len());
            let query: String = chars[from.min(to)..=from.max(to)].iter().collect();
            let query = Query::new(&query, 16);
            if !query.is_empty() && query.matches(&text) {
                let all = indexed(&text);
                for term in query.terms() {
                    prop_assert!(all.iter().any(|each| each.starts_with(term)), "{} of {:?}", term, text);
                }
            }
        }
    }
}
